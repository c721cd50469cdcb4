"""The default features rank as the eye does: the more faces are spoilt, the larger their distances."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.data import DataConfig, open_dataset
from facegan.metrics.distances import GaussianStatistics, frechet_distance, kernel_distance
from facegan.perception.features import extractor

COUNT = 200  # faces of each set: real ones, and others to be spoilt


def blurred(x: Tensor, strength: int) -> Tensor:
    """A box of 2 strength + 1 pixels."""
    kernel = 2 * strength + 1
    return F.avg_pool2d(F.pad(x, (strength,) * 4, mode="replicate"), kernel, stride=1)


def noisy(x: Tensor, strength: int) -> Tensor:
    """Normal noise of a deviation of 12 grey levels, times the strength."""
    return x + 12 * strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def shuffled(x: Tensor, strength: int) -> Tensor:
    """2 x 2, 4 x 4, 8 x 8 patches in random order, one order for each picture."""
    patches, size = 2**strength, x.shape[2] // 2**strength
    cut = x.unfold(2, size, size).unfold(3, size, size).flatten(2, 3)  # [N, C, patches^2, size, size]
    random = torch.Generator().manual_seed(0)
    mixed = torch.stack([one[:, torch.randperm(patches**2, generator=random)] for one in cut])
    rows = mixed.unflatten(2, (patches, patches)).permute(0, 1, 2, 4, 3, 5)
    return rows.reshape(x.shape)


def collapsed(x: Tensor, strength: int) -> Tensor:
    """Only every 4th, 16th, 64th face, again and again."""
    few = x[:: 4**strength]
    return few.repeat(COUNT // len(few) + 1, 1, 1, 1)[: len(x)]


SPOILT: dict[str, Callable[[Tensor, int], Tensor]] = {
    "blurred": blurred, "noisy": noisy, "patches shuffled": shuffled, "modes dropped": collapsed
}  # fmt: skip


@pytest.mark.slow
def test_spoilt_faces_are_ranked_worse_the_more_they_are_spoilt() -> None:
    faces = open_dataset(DataConfig(mirror=False), resolution=64)
    network = extractor("efficientnet")
    real = network(faces.pictures(range(COUNT)))
    others = faces.pictures(range(COUNT, 2 * COUNT)).float()
    gaussian = GaussianStatistics.of(real)

    def distances(pictures: Tensor) -> tuple[float, float]:
        features = network(pictures.clamp(0, 255).to(torch.uint8))
        kernel, _ = kernel_distance(real, features, subsets=10, subset_size=COUNT)
        return frechet_distance(gaussian, GaussianStatistics.of(features)), kernel

    untouched = distances(others)
    for name, spoil in SPOILT.items():
        found = [untouched, *(distances(spoil(others, strength)) for strength in (1, 2, 3))]
        for number, metric in enumerate(("FD", "KID")):
            values = [pair[number] for pair in found]
            assert values == sorted(values), f"{name}: {metric} {values}"
            assert values[3] > 2 * values[0] or metric == "KID", f"{name}: {metric} {values}"
