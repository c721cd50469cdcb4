"""A run at one stage of growing: its batch and learning rate, its reals, its model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.networks import Generator, NetworkConfig, build_generator
from facegan.networks.base import Stage
from facegan.networks.stylegan import StyleGANConfig
from facegan.run import Run
from facegan.training.state import TrainState, adam_share


def stage_of(run: Run, images_seen: int) -> Stage | None:
    """Where the batch that begins with this image stands; None for a network that does not grow."""
    return None if run.growth is None else run.growth.stage(images_seen, run.model.resolution)


def run_at(run: Run, stage: Stage | None) -> Run:
    """The run with that stage's batch and learning rate, and no others to come."""
    if run.growth is None or stage is None:
        return run
    batch, lr = run.growth.batch(stage, run.batch), run.growth.lr(stage, run.optimizer.lr)
    optimizer, micro_batch = replace(run.optimizer, lr=lr), min(run.micro_batch, batch)
    return replace(run, growth=None, batch=batch, micro_batch=micro_batch, optimizer=optimizer)


def enter(state: TrainState, run: Run, stage: Stage | None) -> None:
    """Makes the state ready for a step there: Adam afresh where a fade begins or ends, the learning rate set.

    Moments of weights that were not used before would be of nothing; those of the others are of another
    network's gradients (as published with Karras et al. 2019).
    """
    state.stage = stage
    if stage is None:
        return
    now = torch.tensor(2.0 * stage.resolution + (stage.alpha < 1))
    before = state.memory.get("stage", now)
    for player, optimizer in state.optimizers.items():
        if float(before) != float(now):
            optimizer.state.clear()
        optimizer.param_groups[0]["lr"] = run.optimizer.lr * adam_share(run, player)
    state.memory["stage"] = now


def reals_at(images: Tensor, stage: Stage | None, resolution: int) -> Tensor:
    """Reals [N, C, H, W] of the full resolution at a stage: smaller, and faded in as the network is."""
    if stage is None:
        return images
    images = F.avg_pool2d(images, resolution // stage.resolution)
    if stage.alpha < 1:
        below = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest")
        images = below.lerp(images, stage.alpha)
    return images


def model_at(
    average: Generator, config: NetworkConfig, stage: Stage | None
) -> tuple[Generator, NetworkConfig]:
    """G as far as it has grown, and the config of that network."""
    if stage is None or not isinstance(config, StyleGANConfig):
        return average, config
    config = replace(config, resolution=stage.resolution, alpha=stage.alpha)
    with torch.random.fork_rng(devices=[]):
        generator = build_generator(config)
    weights = average.state_dict()
    generator.load_state_dict({name: weights[name] for name in generator.state_dict()})
    return generator.to(average.w_avg.device), config
