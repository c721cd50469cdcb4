"""The random numbers of a micro-batch, and the gate that lets a share of them through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """Random numbers of one micro-batch, one row an image, float32 on the images' device."""

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), [N, *shape]."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers [N, *shape]."""


class Gate:
    """Draws that an image keeps with probability p * multiplier; it gets zeros otherwise.

    Every transform is written so that 0 changes nothing. The gate's own number comes first, then the
    transform's: equally many whatever p is. A multiplier of 0 switches the transform off and draws nothing.
    """

    def __init__(self, draws: Draws, p: Tensor, images: Tensor) -> None:
        self._draws, self._p = draws, p
        self._nothing = torch.zeros(len(images), device=images.device)

    def hit(self, multiplier: float, of: int = 1) -> Tensor:
        """Which images are changed, a truth value each [N]; p * multiplier for `of` such draws together."""
        return self._draws.uniform() < 1 - (1 - self._p * multiplier) ** (1 / of)

    def normal(self, multiplier: float, *shape: int) -> Tensor:
        """Standard normal numbers [N, *shape], or 0."""
        return self._kept(multiplier, self._draws.normal, shape)

    def uniform(self, multiplier: float, *shape: int, of: int = 1) -> Tensor:
        """Numbers in [-1, 1), [N, *shape], or 0."""
        return self._kept(multiplier, lambda *shape: self._draws.uniform(*shape) * 2 - 1, shape, of)

    def choice(self, multiplier: float, count: int) -> Tensor:
        """One of 0, 1 ... count - 1, as a float [N], or 0."""
        return self._kept(multiplier, lambda: (self._draws.uniform() * count).floor())

    def _kept(
        self, multiplier: float, draw: Callable[..., Tensor], shape: tuple[int, ...] = (), of: int = 1
    ) -> Tensor:
        rows = (-1, *[1] * len(shape))
        if multiplier == 0:
            return self._nothing.view(rows).expand(-1, *shape)
        is_hit = self.hit(multiplier, of).view(rows)
        return torch.where(is_hit, draw(*shape), 0.0)
