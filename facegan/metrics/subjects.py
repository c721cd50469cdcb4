"""What can be measured: a model's pictures, or a set of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from facegan.config import UsageError, choose
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.images import CROPS, Crop
from facegan.synthesis import MAX_SEED, Sampler

CHUNK = 64  # pictures read at once


class Subject(Protocol):
    """What is measured."""

    @property
    def name(self) -> str:
        """How the result calls it."""

    @property
    def resolution(self) -> int:
        """Width and height of its pictures."""

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB, 4 RGBA."""

    @property
    def images_seen(self) -> int:
        """Of a model's training, else 0."""

    @property
    def psi(self) -> float:
        """Truncation, 1 for none."""

    @property
    def seed(self) -> int:
        """The first one."""

    @property
    def precision(self) -> str:
        """The convolutions' while sampling."""

    def pictures(self, count: int) -> Iterator[Tensor]:
        """`count` pictures in batches of any size, uint8 [n, C, H, W]."""


@dataclass(frozen=True)
class ModelSubject:
    """The pictures of seeds seed, seed + 1, ... of a model."""

    sampler: Sampler
    psi: float = 1.0
    seed: int = 0

    @property
    def name(self) -> str:
        """The model's name."""
        return self.sampler.model.name

    @property
    def resolution(self) -> int:
        """Width and height of its pictures."""
        return self.sampler.generator.resolution

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB, 4 RGBA."""
        return self.sampler.generator.channels

    @property
    def images_seen(self) -> int:
        """Of the model's training."""
        return self.sampler.model.card.images_seen

    @property
    def precision(self) -> str:
        """The convolutions'."""
        return {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.sampler.generator.compute_dtype]

    def pictures(self, count: int) -> Iterator[Tensor]:
        """The pictures of `count` seeds, one by one, uint8 [1, C, H, W]."""
        if self.seed + count - 1 > MAX_SEED:
            raise UsageError(f"{count:,} samples from seed {self.seed} on: seeds end at {MAX_SEED}")
        for _, picture in self.sampler.stream(range(self.seed, self.seed + count), self.psi):
            yield torch.from_numpy(picture).permute(2, 0, 1)[None]


@dataclass(frozen=True)
class PicturesSubject:
    """A set of pictures, measured as if a model had made them: the floor, another program's samples."""

    dataset: Dataset
    seed: int = 0
    images_seen = 0
    psi = 1.0
    precision = "fp32"

    @classmethod
    def opened(cls, path: str, *, resolution: int, crop: str, seed: int) -> PicturesSubject:
        """The pictures of a folder or zip.

        Raises:
            UsageError: no such data, an unknown crop, or a resolution out of range.
        """
        return cls(opened(path, crop, resolution=resolution, channels=3), seed)

    @property
    def name(self) -> str:
        """The set's name."""
        return self.dataset.name

    @property
    def resolution(self) -> int:
        """Width and height of its pictures."""
        return self.dataset.resolution

    @property
    def channels(self) -> int:
        """Colours only: transparency is not compared."""
        return 3

    def pictures(self, count: int) -> Iterator[Tensor]:
        """`count` of them, drawn without repetition, uint8 [n, C, H, W]."""
        if count > len(self.dataset.names):
            raise UsageError(f"{count:,} samples of {self.name}: it has {len(self.dataset.names):,} pictures")
        return shuffled(self.dataset, count, self.seed)


def opened(path: str, crop: str, *, resolution: int, channels: int) -> Dataset:
    """The unmirrored pictures of a folder or zip.

    Raises:
        UsageError: no such data, an unknown crop, or a resolution out of range.
    """
    if not 4 <= resolution <= 4096:
        raise UsageError(f"resolution {resolution}: 4 to 4096")
    choose("crop", crop, CROPS)
    config = DataConfig(path, crop=cast(Crop, crop), mirror=False)
    return open_dataset(config, resolution=resolution, channels=channels)


def shuffled(dataset: Dataset, count: int, seed: int) -> Iterator[Tensor]:
    """`count` unmirrored pictures in random order: a set may be sorted, and not all are remembered."""
    order = np.random.default_rng(np.random.SeedSequence([seed])).permutation(len(dataset.names))[:count]
    for first in range(0, count, CHUNK):
        yield dataset.pictures(order[first : first + CHUNK])
