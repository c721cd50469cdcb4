"""Pictures moved: by whole pixels exactly, and by any affine map between pixels.

A transform is the matrix [N, 3, 3] that leads back: from a pixel of the result to the place in the picture
that it shows. Places are (x right, y down, 1) in pixels, with (0, 0) in the picture's middle. Transforms one
after the other are their matrices' product in the same order.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from facegan.augment.pixels import by_image, pick
from facegan.augment.resampling import CENTER, bilinear, down, fine_size, reflected, up


def flip(is_flipped: Tensor) -> Tensor:
    """Left and right exchanged where [N] is 1."""
    return _matrix(1 - 2 * is_flipped, 0, 0, 1)


def turn(angle: Tensor) -> Tensor:
    """Turned counter-clockwise by an angle [N] in radians."""
    cos, sin = angle.cos(), angle.sin()
    return _matrix(cos, -sin, sin, cos)


def stretch(x: Tensor, y: Tensor) -> Tensor:
    """Made x [N] times as wide and y [N] times as high."""
    return _matrix(1 / x, 0, 0, 1 / y)


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Moved x [N] pixels to the right and y [N] down."""
    return _matrix(1, 0, 0, 1, -x, -y)


def compose(*matrices: Tensor) -> Tensor:
    """Transforms one after the other, as one; in float32 on every device, where matmul may round more."""
    return reduce(lambda first, then: (first[:, :, :, None] * then[:, None]).sum(dim=2), matrices)


def _matrix(
    xx: Tensor | int,
    xy: Tensor | int,
    yx: Tensor | int,
    yy: Tensor | int,
    x: Tensor | int = 0,
    y: Tensor | int = 0,
) -> Tensor:
    entries = xx, xy, x, yx, yy, y, 0, 0, 1
    zero = next(torch.zeros_like(entry) for entry in entries if isinstance(entry, Tensor))
    return torch.stack([zero + entry for entry in entries], dim=1).view(-1, 3, 3)


def move_by_pixels(x: Tensor, matrix: Tensor) -> Tensor:
    """x [N, C, H, W] under a transform that takes pixels to pixels: every value is a pixel's own."""
    height, width = x.shape[2:]
    column, row = _leading_back(matrix, _centred(width, x), _centred(height, x))
    column, row = column + (width - 1) / 2, row + (height - 1) / 2
    return pick(x, reflected(row, height).round().long(), reflected(column, width).round().long())


def warp(x: Tensor, matrix: Tensor) -> Tensor:
    """x [N, C, H, W] under any transform (Karras et al. 2020, arXiv 2006.06676, app. B).

    Differs: the fine picture is reflected, not the picture before it is doubled, so that no margin depends on
    the matrix. sym6 is not quite symmetric: what is shown from beyond the borders differs by 0.02 (rms) in
    [-1, 1], the rest not at all. Positions count from the filter's centroid, tap 5.098, not from a tap.
    """
    height, width = x.shape[2:]
    fine = up(x)
    column, row = _leading_back(2 * matrix, _fine(width, x), _fine(height, x))
    return down(bilinear(fine, _within(row, height), _within(column, width)), height, width)


def identical(matrix: Tensor) -> Tensor:
    """Which transforms change nothing, a truth value each [N, 1, 1, 1]."""
    same = matrix == torch.eye(3, device=matrix.device)
    return by_image(same.all(dim=2).all(dim=1))


def _leading_back(matrix: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The places that the pixels x [W], y [H] show, as x [N, H, W] and y [N, H, W]."""
    a = matrix[:, :2, :, None, None]  # [N, 2, 3, 1, 1]
    places = a[:, :, 0] * x + a[:, :, 1] * y[:, None] + a[:, :, 2]  # [N, 2, H, W]
    return places[:, 0], places[:, 1]


def _centred(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device) - (size - 1) / 2


def _fine(size: int, like: Tensor) -> Tensor:
    """The fine line's places, in pixels from the picture's middle."""
    return (torch.arange(fine_size(size), device=like.device) - CENTER - (size - 1)) / 2


def _within(place: Tensor, size: int) -> Tensor:
    """Places in half pixels from the picture's middle -> the fine line's, reflected beyond its ends."""
    place, last = place + (size - 1) + CENTER, fine_size(size) - 1
    inside = (place > -0.5) & (place < last + 0.5)  # what rounding has moved over the end is still inside
    return torch.where(inside, place.clamp(0, last), reflected(place - CENTER, 2 * size - 1) + CENTER)
