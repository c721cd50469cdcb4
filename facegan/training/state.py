"""Everything that changes while training, and its named parts for the checkpoint."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from facegan.augment import Ada
from facegan.checkpoint import Parts
from facegan.config import MAX_INT, UsageError
from facegan.data.dataset import STARTER
from facegan.losses import Player, lazy_interval
from facegan.models import shipped
from facegan.networks import Discriminator, Generator, build_discriminator, build_generator
from facegan.networks.base import Stage
from facegan.randomness import Purpose, seeded
from facegan.run import Adam, Compile, Device, Precision, Run
from facegan.runtime import choose_device, place, training_dtype

# of the memory, what is read on the host, and may be of types that a device lacks
ON_HOST = ("stage_", "watch_", "retry")


@dataclass(frozen=True)
class Forms:
    """What a step's main phases call, eager or compiled: G's synthesis, D in its own and in G's phase."""

    synthesis: Callable[..., Tensor]
    discriminate: Callable[[Tensor, Tensor | None, Stage | None], Tensor]
    judge: Callable[[Tensor, Tensor | None, Stage | None], Tensor]


def eager(generator: Generator, discriminator: Discriminator) -> Forms:
    """The networks as they are."""
    return Forms(generator.synthesis, discriminator, discriminator)


@dataclass
class TrainState:
    """G, D, G's running mean, the optimisers, the clock, and the log's open interval."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    optimizers: dict[Player, torch.optim.Adam]
    images_seen: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)  # numbers that loss and augmentation keep
    log_sums: dict[str, Tensor] = field(default_factory=dict)  # of the loss terms since the last log line
    log_steps: int = 0
    compiled: Forms | None = None  # of both networks; no part of a checkpoint
    stage: Stage | None = None  # of the step that is being taken, where the networks grow
    retry: int = 0  # how often the run went back to a checkpoint; part of its memory
    bad_at: Tensor = field(
        default_factory=lambda: torch.tensor(math.inf)
    )  # the first batch of a bad gradient

    @property
    def augment_p(self) -> Tensor:
        """How likely each transform of an adaptive augmentation is."""
        return self.memory.get("augment_p", torch.zeros([], device=self.device))

    @property
    def forms(self) -> Forms:
        """What the main phases call."""
        return self.compiled or eager(self.generator, self.discriminator)

    @property
    def networks(self) -> dict[Player, Generator | Discriminator]:
        """The two players."""
        return {"G": self.generator, "D": self.discriminator}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.average.w_avg.device

    def parts(self) -> Parts:
        """The named parts of a checkpoint."""
        parts: Parts = {player: network.state_dict() for player, network in self.networks.items()}
        parts |= {
            f"optimizer_{player}": optimizer.state_dict() for player, optimizer in self.optimizers.items()
        }
        log = {"sums": dict(self.log_sums), "steps": self.log_steps}
        retry = {"retry": torch.tensor(float(self.retry))} if self.retry else {}
        return parts | {
            "G_ema": self.average.state_dict(),
            "images_seen": self.images_seen,
            "memory": self.memory | retry,
            "log": log,
        }

    def load_parts(self, parts: Parts) -> None:
        """Takes over what `parts` gave; learning rate and the like stay those of this state's own config.

        Raises:
            UsageError: a part is missing or does not fit.
        """
        try:
            memory = parts["memory"] if "memory" in parts else parts["loss"]  # as it was called
            grows = "stage_resolution" in memory  # then some weights had no gradient yet
            for player, network in self.networks.items():
                network.load_state_dict(parts[player])
                _load_adam(self.optimizers[player], parts[f"optimizer_{player}"], grows=grows)
            self.average.load_state_dict(parts["G_ema"])
            images_seen, steps, sums = parts["images_seen"], parts["log"]["steps"], parts["log"]["sums"]
            if not (isinstance(images_seen, int) and 0 <= images_seen < MAX_INT):
                raise ValueError(f"images_seen is {str(images_seen)[:40]}")
            if not all(value.shape == () for value in memory.values()):
                raise ValueError("the memory holds something that is not a number")
            if not (isinstance(steps, int) and all(total.shape == () for total in sums.values())):
                raise ValueError("the log's sums are not numbers")
            self.images_seen, self.log_steps = images_seen, steps
            self.memory |= {
                name: value.to("cpu" if name.startswith(ON_HOST) else self.device)
                for name, value in memory.items()
            }
            self.retry = int(self.memory.pop("retry", torch.zeros([])))
            self.log_sums = {name: total.to(self.device) for name, total in sums.items()}
        except KeyError as error:
            raise UsageError(f"the checkpoint has no part {error}") from None
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UsageError(f"the checkpoint does not fit this run: {_reason(error)}") from None


def settled(run: Run) -> Run:
    """The run with device, precision and compile named, and the paths of data and first weights absolute.

    Raises:
        UsageError: the device is not on this machine.
    """
    device = choose_device(run.device)
    precision: Precision = "bf16" if training_dtype(run.precision, device) == torch.bfloat16 else "fp32"
    path = run.data.path if run.data.path == STARTER else os.path.realpath(run.data.path)
    device_name = cast(Device, device.type)
    compile_: Compile = run.compile
    if compile_ == "auto":  # on a CPU it costs minutes and gains little
        compile_ = "yes" if device.type == "cuda" and run.growth is None else "no"
    is_path = run.init not in shipped() and os.path.exists(run.init)
    data = replace(run.data, path=path)
    return replace(
        run,
        device=device_name,
        precision=precision,
        compile=compile_,
        data=data,
        init=os.path.abspath(run.init) if is_path else run.init,
    )


def new_state(run: Run) -> TrainState:
    """Fresh networks and optimisers on the run's device, the weights a function of the run's seed.

    Raises:
        UsageError: D has fewer layers than are to be frozen.
    """
    device = choose_device(run.device)
    dtype = training_dtype(run.precision, device)
    with seeded(run.seed, 0, Purpose.WEIGHTS):
        generator = place(build_generator(run.model), device, dtype)
        discriminator = place(build_discriminator(run.model), device, dtype)
    layers = discriminator.layers_from_image()
    if run.freeze_d > len(layers):
        raise UsageError(f"freeze_d {run.freeze_d}: this D has {len(layers)} layers that can be frozen")
    for layer in layers[: run.freeze_d]:
        layer.requires_grad_(False)
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    optimizers: dict[Player, torch.optim.Adam] = {
        "G": _adam(generator, run.optimizer, device, adam_share(run, "G")),
        "D": _adam(discriminator, run.optimizer, device, adam_share(run, "D")),
    }
    state = TrainState(generator, discriminator, average, optimizers)
    if isinstance(run.augment, Ada):
        state.memory["augment_p"] = torch.tensor(run.augment.p_start, device=device)
    return state


def adam_share(run: Run, player: Player) -> float:
    """c = k / (k + 1) of a player with k + 1 steps instead of k (Karras et al. 2020, StyleGAN2, app. B)."""
    interval = lazy_interval(run.loss.phases(), player)
    return interval / (interval + 1) if interval > 1 else 1.0


def _adam(network: nn.Module, config: Adam, device: torch.device, share: float) -> torch.optim.Adam:
    """Adam with its learning rate times the share, and its betas to the power of it."""
    betas, fused = (config.beta1**share, config.beta2**share), device.type in ("cpu", "cuda")
    return torch.optim.Adam(
        trainable(network), lr=config.lr * share, betas=betas, eps=config.eps, fused=fused
    )


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The weights that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _load_adam(optimizer: torch.optim.Adam, stored: Parts, *, grows: bool) -> None:
    """Takes over moments and step counts, but not the settings: those may have been changed by --force."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = stored["state"]
    all_there = set(state) == set(range(len(parameters)))
    if state and not (all_there or (grows and set(state) < set(range(len(parameters))))):
        raise ValueError("Adam's moments are of other weights")
    for number, moments in state.items():
        # torch takes moments of any shape, and then writes where they are not
        for name in ("exp_avg", "exp_avg_sq"):
            if moments[name].shape != parameters[number].shape or moments[name].dtype != torch.float32:
                raise ValueError(f"Adam's {name} {number} is of another shape or type than its weight")
        if moments["step"].shape != ():
            raise ValueError(f"Adam's step {number} is no number")
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(copy.deepcopy(stored))  # it keeps references into what it is given
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        group.update(values)


def _reason(error: Exception) -> str:
    """The first named mismatch of torch's error, which begins with a line that says nothing."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip() if lines else type(error).__name__
