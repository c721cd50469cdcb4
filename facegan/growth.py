"""Progressive growing: which part of a network is trained when (Karras et al. 2018, arXiv 1710.10196).

    images seen    |-- stable --|-- fade --|-- stable --|-- fade --|-- stable ...
    resolution           8       16 fades in     16       32 fades in     32

A stage is a function of images seen alone, the run's one clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from facegan.config import UsageError
from facegan.networks.base import Stage


@dataclass(frozen=True)
class Growth:
    """The times of growing, and what else a resolution decides.

    batches, lrs: at first_resolution, at twice that, ..., the last one for all that follow; empty: the run's.
    While a resolution fades in, its own values hold.
    """

    first_resolution: int = 8
    stable_images: int = 600_000
    fade_images: int = 600_000
    batches: tuple[int, ...] = ()
    lrs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.first_resolution not in (4, 8, 16, 32, 64, 128, 256, 512, 1024):
            raise UsageError(
                f"growth.first_resolution {self.first_resolution}: a power of two from 4 to 1024"
            )
        if self.stable_images < 1 or self.fade_images < 0:
            raise UsageError(
                f"growth.stable_images {self.stable_images}: 1 or more; "
                f"fade_images {self.fade_images}: 0 or more"
            )
        if not all(batch > 0 for batch in self.batches) or not all(lr > 0 for lr in self.lrs):
            raise UsageError(f"growth.batches {self.batches}, lrs {self.lrs}: positive")

    def stage(self, images_seen: int, resolution: int) -> Stage:
        """The stage of the batch that begins with this image, in a network of that resolution."""
        phase, within = divmod(images_seen, self.stable_images + self.fade_images)
        reached = self.first_resolution * 2 ** min(phase, 10)
        if reached >= resolution:
            return Stage(resolution)
        if within <= self.stable_images:
            return Stage(reached)
        return Stage(2 * reached, (within - self.stable_images) / self.fade_images)

    def images_to(self, resolution: int) -> int:
        """How many images have been seen when that resolution has faded in."""
        phases = (resolution // self.first_resolution).bit_length() - 1
        return phases * (self.stable_images + self.fade_images)

    def batch(self, stage: Stage, own: int) -> int:
        """Images a step; own: the run's."""
        return self.batches[min(self._level(stage), len(self.batches) - 1)] if self.batches else own

    def lr(self, stage: Stage, own: float) -> float:
        """Adam's learning rate; own: the run's."""
        return self.lrs[min(self._level(stage), len(self.lrs) - 1)] if self.lrs else own

    def _level(self, stage: Stage) -> int:
        return (stage.resolution // self.first_resolution).bit_length() - 1
