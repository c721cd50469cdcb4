"""What can be measured: a model's pictures, or a set of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facegan.config import UsageError, choose
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.data.source import on_one_line
from facegan.images import CROPS, Crop
from facegan.networks.base import NOISE_MODES
from facegan.run import FEWER, MIN_SAMPLES, USUAL_SAMPLES
from facegan.synthesis import MAX_SEED, Sampler, check_psi, check_seed

CHUNK = 64  # pictures read at once


@dataclass(frozen=True)
class Subject:
    """What is measured: `pictures(count)` gives so many, uint8 [n, C, H, W], in batches of any size."""

    name: str
    size: tuple[int, int]  # height, width
    channels: int
    pictures: Callable[[int], Iterator[Tensor]]
    remade: Callable[[Sequence[int]], Tensor] | None = None  # some of them, where there is a short way
    called: Callable[[int], str] = "picture {}".format  # what one of them is called
    key: str = ""  # of a set of pictures, see Dataset.key
    images_seen: int = 0  # of a model
    psi: float = 1.0
    seed: int = 0
    precision: str = "fp32"
    noise: str = "none"  # of a model with noise inputs

    def some(self, numbers: Sequence[int]) -> Tensor:
        """Those of its pictures, counted from 0, once more: uint8 [n, C, H, W]."""
        if self.remade is not None:
            return self.remade(numbers)
        every = (picture for batch in self.pictures(max(numbers) + 1) for picture in batch)
        wanted = set(numbers)
        found = {number: picture for number, picture in enumerate(every) if number in wanted}
        return torch.stack([found[number] for number in numbers])


def model_subject(sampler: Sampler, *, psi: float = 1.0, seed: int = 0, noise: str | None = None) -> Subject:
    """The pictures of seeds seed, seed + 1, ... of a model, as the bytes that `facegan generate` writes.

    noise: one of NOISE_MODES; by default each picture has its own, as those behind the papers' numbers.

    Raises:
        UsageError: a seed, psi or noise out of range; from `pictures`: seeds that go beyond the last.
    """
    check_seed(seed)
    check_psi(psi)
    generator, model = sampler.generator, sampler.model
    mode = choose("noise", noise or ("random" if generator.has_noise else "const"), NOISE_MODES)

    def made(seeds: Sequence[int]) -> Iterator[Tensor]:
        pictures = sampler.stream(seeds, psi, mode)
        return (torch.from_numpy(picture).permute(2, 0, 1)[None] for _, picture in pictures)

    def pictures(count: int) -> Iterator[Tensor]:
        if seed + count - 1 > MAX_SEED:
            raise UsageError(f"{count:,} samples from seed {seed} on: seeds end at {MAX_SEED}")
        return made(range(seed, seed + count))

    channels, *size = generator.image_shape
    return Subject(
        name=model.name,
        size=(size[0], size[1]),
        channels=channels,
        pictures=pictures,
        called=lambda number: f"seed {seed + number}",
        remade=lambda numbers: torch.cat(list(made([seed + number for number in numbers]))),
        images_seen=model.card.images_seen,
        psi=psi,
        seed=seed,
        precision={torch.float32: "fp32", torch.bfloat16: "bf16"}[generator.compute_dtype],
        noise=mode if generator.has_noise else "none",
    )


def pictures_subject(dataset: Dataset, *, seed: int = 0) -> Subject:
    """A set of pictures as if a model had made them: the floor, another program's samples.

    Raises:
        UsageError: a seed out of range; from `pictures`: more than there are, or too few.
    """
    check_seed(seed)

    def pictures(count: int) -> Iterator[Tensor]:
        there = len(dataset.names)
        require_enough(dataset)
        if count > there:
            few = "" if there >= USUAL_SAMPLES else f", though {USUAL_SAMPLES:,} or more are usual"
            raise UsageError(f"{count:,} samples of {dataset.name}: it has {there:,}; --samples {there}{few}")
        return shuffled(dataset, count, seed)

    order = shuffled_numbers(dataset, seed)
    return Subject(
        dataset.name,
        dataset.size,
        3,
        pictures,
        remade=lambda numbers: dataset.pictures(order[list(numbers)]),
        called=lambda number: on_one_line(dataset.names[order[number]]),
        key=dataset.key,
        seed=seed,
    )


def require_enough(dataset: Dataset) -> None:
    """Checks that a distance to these pictures, or of them, can mean something.

    Raises:
        UsageError: they are too few.
    """
    if (count := len(dataset.names)) < MIN_SAMPLES:
        raise UsageError(
            f"{dataset.name}: {count:,} usable pictures; at least {MIN_SAMPLES} to measure with: {FEWER}"
        )


def opened(
    path: str,
    crop: str,
    *,
    size: tuple[int, int],
    channels: int,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The unmirrored pictures of a folder or zip, of that height and width; says how many were no good.

    Warns: of enlarged ones, which show, and of those that are left out.

    Raises:
        UsageError: no such data, an unknown crop, or a side out of range.
    """
    for side in size:
        if not 4 <= side <= 4096:
            raise UsageError(f"resolution {side}: 4 to 4096")
    choose("crop", crop, CROPS)
    config = DataConfig(path, crop=cast(Crop, crop), mirror=False)
    dataset = open_dataset(config, resolution=size, channels=channels, cache=cache, progress=progress)
    if dataset.enlarged:
        smaller = f"smaller than {size[0]}x{size[1]} in a side, and enlarged"
        warnings.warn(f"{dataset.name}: pictures {smaller}: {dataset.enlarged:,}", stacklevel=2)
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        example = f"{on_one_line(name)}: {reason}"
        warnings.warn(
            f"{dataset.name}: pictures left out: {len(dataset.skipped):,}, such as {example}", stacklevel=2
        )
    return dataset


def shuffled(dataset: Dataset, count: int, seed: int) -> Iterator[Tensor]:
    """`count` unmirrored pictures in random order: a set may be sorted, and not all are remembered."""
    order = shuffled_numbers(dataset, seed)[:count]
    for first in range(0, count, CHUNK):
        yield dataset.pictures(order[first : first + CHUNK])


def shuffled_numbers(dataset: Dataset, seed: int) -> NDArray[np.int64]:
    """The numbers of all pictures in the order of `shuffled`."""
    return np.random.default_rng(np.random.SeedSequence([seed])).permutation(len(dataset.names))
