"""What the tests of augmentations share: pipelines of some transforms, prescribed and recorded draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan.augment import Ada
from facegan.augment.ada import TRANSFORMS

Array = npt.NDArray[np.float64]
EVERYTHING = Ada(**dict.fromkeys(TRANSFORMS, 1.0))
SHAPES = [(24, 24), (16, 28), (28, 16)]
CENTERS = [[0.5, 0.5], [0.02, 0.9], [0.7, 0.3]]
HIT, MISS = 0.0, 0.999  # a gate's number where p = 0.5


def only(*names: str, multiplier: float = 1.0) -> Ada:
    return Ada(**dict.fromkeys(TRANSFORMS, 0.0) | dict.fromkeys(names, multiplier))


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def number(value: float) -> Tensor:
    return torch.tensor(value)


class Prescribed:
    """The given numbers, one a call: the same for each image, or one an image, or one an image and axis."""

    def __init__(self, count: int, *numbers: object) -> None:
        self.count, self.numbers = count, list(numbers)

    def uniform(self, *shape: int) -> Tensor:
        given = torch.as_tensor(self.numbers.pop(0), dtype=torch.float32)
        return given.expand(self.count, *shape)

    normal = uniform


class Seeded:
    """Random numbers, and a record of what was asked for; with `same`, every image gets the same ones."""

    def __init__(self, count: int, seed: int = 0, *, same: bool = False) -> None:
        self.count, self.same, self.asked = count, same, list[tuple[object, ...]]()
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        return self._drawn(torch.randn, shape)

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        self.asked.append((draw.__name__, *shape))
        numbers = draw(1 if self.same else self.count, *shape, generator=self.generator)
        return numbers.expand(self.count, *shape)


def single(name: str, x: Tensor, *numbers: object) -> Tensor:
    """x under one transform that each image gets, with the given numbers."""
    return only(name)(x, Prescribed(len(x), HIT, *numbers), number(1.0))


def cut_by_loop(x: Tensor, centers: list[list[float]]) -> Tensor:
    count, _, height, width = x.shape
    y = x.clone()
    for n in range(count):
        for i in range(height):
            for j in range(width):
                off_x, off_y = (j + 0.5) / width - centers[n][0], (i + 0.5) / height - centers[n][1]
                if abs(off_x) < 0.25 and abs(off_y) < 0.25:
                    y[n, :, i, j] = 0
    return y
