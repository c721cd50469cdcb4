"""A run at one stage of growing: its batch and learning rate, its reals, its model."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.networks import Generator, NetworkConfig, build_generator
from facegan.networks.base import Stage
from facegan.networks.ops import upsample
from facegan.networks.shape import StyleConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.run import Run
from facegan.training.state import TrainState, adam_share


def stage_of(run: Run, images_seen: int) -> Stage | None:
    """Where the batch that begins with this image stands; None for a network that does not grow."""
    return None if run.growth is None else run.growth.stage(images_seen, run.model.resolution)


def never_reached(run: Run) -> str:
    """What a run that is too short to grow to its size comes to; nothing to say of others."""
    size = run.model.resolution
    if run.growth is None or run.growth.images_to(size) <= run.total_images:
        return ""
    last = run.growth.stage(run.total_images - 1, size).resolution
    measured = ", without a measurement" if run.measure.every_images else ""
    return (
        f"{size} px are there after {run.growth.images_to(size):,} images; this run ends after "
        f"{run.total_images:,}, at {last} px at most{measured}"
    )


def stage_remembered(memory: dict[str, Tensor]) -> Stage | None:
    """The stage of the last step, of a state's memory."""
    if "stage_resolution" not in memory:
        return None
    return Stage(int(memory["stage_resolution"]), float(memory["stage_alpha"]))


def run_at(run: Run, stage: Stage | None) -> Run:
    """The run with that stage's batch and learning rate, and no others."""
    if run.growth is None or stage is None:
        return run
    batch, lr = run.growth.batch(stage, run.batch), run.growth.lr(stage, run.optimizer.lr)
    optimizer, micro_batch = replace(run.optimizer, lr=lr), min(run.micro_batch, batch)
    growth = replace(run.growth, batches=(), lrs=())
    return replace(run, growth=growth, batch=batch, micro_batch=micro_batch, optimizer=optimizer)


def enter(state: TrainState, run: Run, stage: Stage | None) -> None:
    """Makes the state ready for a step there: Adam afresh where a fade begins or ends, the learning rate set.

    Moments of weights that were not used before would be of nothing; those of the others are of another
    network's gradients (as published with Karras et al. 2019).
    """
    before, state.stage = stage_remembered(state.memory), stage
    if _network(before) != _network(stage) and state.images_seen:
        for optimizer in state.optimizers.values():
            optimizer.state.clear()
    if stage is not None or state.retry:
        for player, optimizer in state.optimizers.items():
            optimizer.param_groups[0]["lr"] = run.optimizer.lr * adam_share(run, player) * 0.5**state.retry
    if stage is None:
        for name in ("stage_resolution", "stage_alpha"):
            state.memory.pop(name, None)
        return
    state.memory["stage_resolution"] = torch.tensor(float(stage.resolution))
    state.memory["stage_alpha"] = torch.tensor(stage.alpha, dtype=torch.float64)


def _network(stage: Stage | None) -> tuple[int, bool] | None:
    """What of a stage decides on which weights are used."""
    return None if stage is None else (stage.resolution, stage.alpha < 1)


def reals_at(images: Tensor, stage: Stage | None, config: NetworkConfig) -> Tensor:
    """Reals [N, C, H, W] of the full resolution at a stage: smaller, and faded in as the network is."""
    if stage is None:
        return images
    images = F.avg_pool2d(images, config.resolution // stage.resolution)
    if stage.alpha < 1:
        below = F.avg_pool2d(images, 2)
        if isinstance(config, StyleGAN2Config):
            below = upsample(below)
        else:
            below = F.interpolate(below, scale_factor=2, mode="nearest")
        images = below.lerp(images, stage.alpha)
    return images


def so_far(weights: dict[str, Tensor], stage: Stage | None) -> dict[str, Tensor]:
    """The weights that a network has at a stage, without those of resolutions not yet reached."""
    if stage is None:
        return weights
    return {name: value for name, value in weights.items() if _resolution(name) <= stage.resolution}


def _resolution(name: str) -> int:
    """Of a StyleGAN's weight, net.b64.conv0.weight or b64.conv0.weight; 0 for those of all resolutions."""
    found = re.match(r"(?:net\.)?b(\d+)\.", name)
    return int(found[1]) if found else 0


def model_at(
    average: Generator, config: NetworkConfig, stage: Stage | None
) -> tuple[Generator, NetworkConfig]:
    """G as far as it has grown, and the config of that network."""
    if stage is None or stage == Stage(config.resolution) or not isinstance(config, StyleConfig):
        return average, config
    config = replace(config, resolution=stage.resolution, alpha=stage.alpha)
    with torch.random.fork_rng(devices=[]):
        generator = build_generator(config)
    generator.load_state_dict(so_far(average.state_dict(), stage))
    return generator.to(average.w_avg.device), config
