"""Small runs of each kind that several processes can share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from small_growing import growing_run
from small_stylegan2 import small_run

from facegan.augment import Ada
from facegan.growth import Growth
from facegan.run import Intervals, Run


def growing(pictures: Path) -> Run:
    """8 px for 8 images, 16 px fades in for 8."""
    return replace(
        growing_run(pictures),
        intervals=Intervals(log_images=8, sample_images=64, checkpoint_images=64),
        growth=Growth(first_resolution=8, stable_images=8, fade_images=8),
        micro_batch=2,
        total_images=24,
    )


def with_everything(pictures: Path) -> Run:
    """StyleGAN2 with path length, lazy R1, mixing, minibatch std, and ADA that moves every other step."""
    run = replace(small_run(pictures), batch=16, micro_batch=8, total_images=96)
    return replace(run, augment=Ada(interval=2, full_images=500, p_start=0.4))


RUNS: dict[str, Callable[[Run, Path], Run]] = {
    "dcgan": lambda tiny, _: replace(
        tiny, model=replace(tiny.model, resolution=16)
    ),  # D has BatchNorm as well
    "stylegan": lambda _, pictures: growing(pictures),
    "stylegan2": lambda _, pictures: with_everything(pictures),
    "four parts": lambda _, pictures: replace(with_everything(pictures), micro_batch=4),
}
