"""Pictures read between their pixels: the wavelet sym6 doubles them, and halves what was read.

    x [H, W] --U x U^T--> fine [2H + 10, 2W + 10] --bilinear--> fine --D f D^T--> [H, W]

sym6 is the low-pass filter of an orthogonal wavelet with 6 vanishing moments: h is orthonormal to itself
moved by 2, 4 ..., so D U = 1 with U[n, m] = sqrt(2) h[n - 2m] and D = U^T / 2. Pixel m has its centre at
place 2m + CENTER of the fine line. Karras et al. 2020, arXiv 2006.06676, app. B. As dense matrices both are
four matrix products a channel, whose cost grows with the cube of the side: small at 64 px, not at 1024.

Outside its borders a picture goes on as its reflection about the outermost pixels' centres.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.augment.pixels import pick

Array = npt.NDArray[np.float64]

SYM6: Array = np.array(
    [
        0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
        0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
        -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
    ]
)  # fmt: skip
TAPS = len(SYM6)
CENTER = float(SYM6 @ np.arange(TAPS) / SYM6.sum())  # 5.1: the filter is nearly, but not quite, symmetric


def fine_size(size: int) -> int:
    """How many places of the fine line a line of pixels reaches."""
    return 2 * size + TAPS - 2


def up(x: Tensor) -> Tensor:
    """x [N, C, H, W] -> [N, C, 2H + 10, 2W + 10]."""
    return separable(x, constant(upsampling, x.shape[2], x), constant(upsampling, x.shape[3], x))


def down(fine: Tensor, height: int, width: int) -> Tensor:
    """[N, C, 2H + 10, 2W + 10] -> [N, C, H, W]."""
    return separable(fine, constant(downsampling, height, fine), constant(downsampling, width, fine))


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x [N, C, H, W], rows [..., H', H], columns [..., W', W] -> [N, C, H', W']."""
    return rows @ x @ columns.mT


def upsampling(size: int) -> Array:
    """U [2 size + 10, size]: sqrt(2) h[n - 2m] over all pixels m of the reflected line."""
    pad = TAPS // 2
    n, m = np.arange(fine_size(size))[:, None], np.arange(-pad, size + pad)
    doubling: Array = taps_at(SYM6, n - 2 * m) * 2**0.5
    return doubling @ reflection(size, pad)


def downsampling(size: int) -> Array:
    """D [size, 2 size + 10]: h[n - 2m] / sqrt(2)."""
    m, n = np.arange(size)[:, None], np.arange(fine_size(size))
    return taps_at(SYM6, n - 2 * m) / 2**0.5


def taps_at(taps: Array, places: npt.NDArray[np.int64]) -> Array:
    """taps[place] for each place, 0 where there is no such tap."""
    inside = (places >= 0) & (places < len(taps))
    return np.where(inside, taps[np.where(inside, places, 0)], 0.0)


def reflection(size: int, pad: int) -> Array:
    """The matrix [size + 2 pad, size] that reflects a line beyond both its ends."""
    return np.eye(size)[np.pad(np.arange(size), pad, mode="reflect")]


def reflected(place: Tensor, size: int) -> Tensor:
    """Places of any distance folded into 0 ... size - 1, about both ends."""
    last = size - 1
    return last - (place.remainder(2 * last) - last).abs()


def constant(make: Callable[[int], Array], size: int, like: Tensor) -> Tensor:
    """make(size) in the type and on the device of `like`; made once."""
    return _kept(make, size, like.device, like.dtype)


@lru_cache(maxsize=64)
def _kept(make: Callable[[int], Array], size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # it outlives whoever asks first, and training asks too
        return torch.from_numpy(make(size)).to(device, dtype)


# ---- between pixels


def bilinear(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x [N, C, H, W] at places [N, H', W'] within it, between pixels -> [N, C, H', W'].

    Linear in x, and differentiable by it any number of times; not by the places.
    """
    height, width = x.shape[2:]
    if torch.are_deterministic_algorithms_enabled() or x.device.type == "mps":
        return _bilinear_by_picking(x, row, column)  # CUDA adds up the other's gradients in any order
    grid = torch.stack([column * (2 / (width - 1)) - 1, row * (2 / (height - 1)) - 1], dim=3)
    sampled: Tensor = _Sample.apply(x, grid.to(x.dtype))  # type: ignore[no-untyped-call]
    return sampled


def _bilinear_by_picking(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    top, left = row.floor().clamp(0, x.shape[2] - 2), column.floor().clamp(0, x.shape[3] - 2)
    i, j = top.long(), left.long()
    down, right = (row - top)[:, None].to(x.dtype), (column - left)[:, None].to(x.dtype)
    above = torch.lerp(pick(x, i, j), pick(x, i, j + 1), right)
    below = torch.lerp(pick(x, i + 1, j), pick(x, i + 1, j + 1), right)
    return torch.lerp(above, below, down)


class _Sample(torch.autograd.Function):
    """x [N, C, H, W], grid [N, H', W', 2] in [-1, 1] -> [N, C, H', W']: F.grid_sample, whose gradient torch
    cannot differentiate. It is linear in x, so its gradient is its transpose, and that one's is itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """The transpose of _Sample: [N, C, H', W'] -> `shape`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        x = y.new_zeros(()).expand(shape)  # only the gradient by the grid depends on x
        bilinear, border, align_corners = 0, 1, True
        by_x, _ = torch.ops.aten.grid_sampler_2d_backward(
            y, x, grid, bilinear, border, align_corners, [True, False]
        )
        transposed: Tensor = by_x
        return transposed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]
