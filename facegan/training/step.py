"""One step for every model, on the two seams.

    for each phase of the loss:            phase = (player, terms, every)
        for each micro-batch of the batch:
            terms -> mean -> backward, into this player's parameters only
        the sum over the processes, one optimiser step
    EMA, then the clock (images seen) moves on by one batch

Every random draw is a function of (seed, images seen), so a checkpoint needs no generator state, and on a CPU
a resumed run is bit-equal to an uninterrupted one with the same machine, thread count and torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facegan.augment import Ada
from facegan.data import Dataset
from facegan.losses import Phase
from facegan.networks.dcgan import DCGANConfig
from facegan.run import Run
from facegan.training import growing
from facegan.training.batch import TrainingBatch
from facegan.training.distributed import World
from facegan.training.ema import ema_beta, update_ema
from facegan.training.state import TrainState, trainable

ALONE = World()


def train_step(
    state: TrainState, run: Run, dataset: Dataset, phases: list[Phase], world: World = ALONE
) -> dict[str, Tensor]:
    """One batch: every phase's update, then EMA and clock. Returns the mean of each term, on the device."""
    stage = growing.stage_of(run, state.images_seen)
    run = growing.run_at(run, stage)
    growing.enter(state, run, stage)
    step = state.images_seen // run.batch
    parts = run.batch // run.micro_batch
    own = world.share(parts)
    # a BatchNorm of G counts its passes, which may not depend on the number of processes
    keeps = len(own) == 1 and (parts == 1 or not isinstance(run.model, DCGANConfig))
    batches = [TrainingBatch(state, run, dataset, state.images_seen, part, keep_fake=keeps) for part in own]
    means: dict[str, Tensor] = {}
    for phase in phases:
        if step % phase.every:
            continue
        parameters = trainable(state.networks[phase.player])
        optimizer = state.optimizers[phase.player]
        optimizer.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        with world.statistics(list(state.networks.values())):
            for batch in batches:
                batch.player = phase.player
                terms = {name: term.mean() / parts for name, term in phase.terms(batch).items()}
                torch.autograd.backward(torch.stack(list(terms.values())).sum(), inputs=parameters)
                add(found, {name: term.detach() for name, term in terms.items()})
        memories = {
            name: _mean([batch.memories[name] for batch in batches], world) for name in batches[0].memories
        }
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        world.add([*gradients, *found.values(), *memories.values()])
        _look_at(state, gradients)
        optimizer.step()
        state.memory |= memories
        add(means, found)
        if phase.player == "G":
            for batch in batches:
                batch.generator_changed()
    w_means = [batch.w_mean for batch in batches if batch.w_mean is not None]
    signs = [batch.sign for batch in batches if batch.sign is not None]
    w_mean, sign = (_mean(each, world) if each else None for each in (w_means, signs))
    world.add([each for each in (w_mean, sign) if each is not None])
    if w_mean is not None:
        state.generator.track(w_mean)
    means |= adapted(state, run, sign)
    state.images_seen += run.batch
    update_ema(state.average, state.generator, ema_beta(run.ema, run.batch, state.images_seen))
    return means


def _look_at(state: TrainState, gradients: list[Tensor]) -> None:
    """Notes the first batch with a gradient that is not finite, or whose square is not; waits for nothing."""
    if gradients:
        norm = torch.nn.utils.get_total_norm(gradients)
        here = torch.where(norm.isfinite(), torch.inf, float(state.images_seen))
        state.bad_at = torch.minimum(state.bad_at.to(here.device), here)


def _mean(values: list[Tensor], world: World) -> Tensor:
    """This process's share of the mean over all parts."""
    return torch.stack(values).mean(dim=0) / world.size


def adapted(state: TrainState, run: Run, sign: Tensor | None) -> dict[str, Tensor]:
    """ADA's controller: collects D's mean signs of the reals, and moves p at the end of each interval."""
    ada, memory = run.augment, state.memory
    if not isinstance(ada, Ada) or sign is None:
        return {}
    p, zero = state.augment_p, torch.zeros_like(sign)
    collected, steps = memory.get("augment_signs", zero) + sign, memory.get("augment_steps", zero) + 1
    if (state.images_seen // run.batch + 1) % ada.interval == 0:
        # of as many steps as there were: an interval may have begun with another batch
        memory["augment_p"] = ada.next_p(p, collected / steps, run.batch * ada.interval)
        collected, steps = zero, zero
    memory["augment_signs"], memory["augment_steps"] = collected, steps
    return {"augment_p": p, "augment_sign": sign}


def add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Adds values to the sums of their names."""
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value
