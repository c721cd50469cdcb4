"""What every architecture offers: the first of the two seams.

    z [N, z_dim] --mapping--> w [N, num_ws, w_dim] --synthesis--> image [N, C, H, W] in [-1, 1]

Seeds, truncation, mixing, interpolation, editing and serving are written once, on top of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """image = synthesis(mapping(z)).

    `compute_dtype` is the precision of the convolutions (float32 or bfloat16); weights stay float32.
    `w_avg` [w_dim] is the mean of w, towards which truncation pulls.
    """

    w_avg: Tensor
    has_noise = False  # whether `noise` changes anything

    def __init__(self, *, z_dim: int, w_dim: int, num_ws: int, resolution: int, channels: int) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.num_ws = z_dim, w_dim, num_ws
        self.resolution, self.channels = resolution, channels
        self.compute_dtype = torch.float32

    @abstractmethod
    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim] -> w [N, num_ws, w_dim]."""

    @abstractmethod
    def synthesis(self, w: Tensor, noise: str | Sequence[Tensor] = "const", stage: object = None) -> Tensor:
        """w [N, num_ws, w_dim] -> image [N, channels, resolution, resolution], float32.

        noise: "const", "random", "none", or one map [N, 1, H, W] for each of `noise_shapes()`.
        """

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """The shape [1, H, W] of one image's noise map of each layer that has one."""
        return []

    def track(self, w_mean: Tensor) -> None:
        """Moves w_avg towards the mean w [w_dim] of a training batch, where the architecture keeps it so."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim] -> image [N, channels, resolution, resolution], float32."""
        return self.synthesis(self.mapping(z, label))


class Discriminator(nn.Module, ABC):
    """image [N, C, H, W] in [-1, 1] -> logits [N], float32; high means real."""

    def __init__(self) -> None:
        super().__init__()
        self.compute_dtype = torch.float32

    @abstractmethod
    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """image [N, C, H, W] -> logits [N], float32."""


def require_shape(name: str, tensor: Tensor, *expected: int | None) -> None:
    """Checks a tensor's shape at a public entry; None stands for any size.

    Raises:
        ValueError: the shape differs; the message holds both.
    """
    shape = tuple(tensor.shape)
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected, strict=True)):
        wanted = ", ".join("N" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {list(shape)}, expected [{wanted}]")


def exact_convolutions() -> AbstractContextManager[None]:
    """A block in which CUDA's float32 convolutions are float32 (no TF32) and repeatable, as the CPU's are."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
