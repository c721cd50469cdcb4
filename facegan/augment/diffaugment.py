"""Differentiable augmentation (Zhao et al. 2020, arXiv 2006.10738, sec. 3 and app. A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facegan.augment.color import with_alpha
from facegan.augment.draws import Draws
from facegan.augment.pixels import by_image, cut_out, pick, taken_in
from facegan.config import UsageError

LARGEST_SHIFT = 1 / 8  # of the side


@dataclass(frozen=True)
class DiffAugment:
    """Colour, then translation, then cutout, of every image and always.

    Differs: the cut's middle is drawn from a continuum instead of the pixels' corners.
    """

    name: Literal["diffaugment"] = "diffaugment"
    color: bool = True
    translation: bool = True
    cutout: bool = True

    def __post_init__(self) -> None:
        if not (self.color or self.translation or self.cutout):
            raise UsageError("augment: color, translation and cutout are off; set one, or augment.name=none")

    def __call__(self, images: Tensor, draws: Draws, p: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] -> images of the same shape and type; p is not used.

        Twice differentiable by the images. Colour leaves alpha alone.

        Raises:
            ValueError: not 1, 3 or 4 channels, or an odd side.
        """
        x = taken_in(images)
        if self.color:
            x = with_alpha(recolor(x[:, :3], draws), x)
        if self.translation:
            x = translate(x, draws)
        if self.cutout:
            x = cut_out(x, draws.uniform(2))
        return x.to(images.dtype)


def recolor(x: Tensor, draws: Draws) -> Tensor:
    """x [N, 1 or 3, H, W] with another brightness, then saturation, then contrast.

    x + U(-0.5, 0.5), then the distance to the pixel's mean times U(0, 2), then that to the image's mean times
    U(0.5, 1.5).
    """
    x = x + by_image(draws.uniform() - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * by_image(draws.uniform() * 2)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * by_image(draws.uniform() + 0.5)


def translate(x: Tensor, draws: Draws) -> Tensor:
    """x [N, C, H, W] moved by whole pixels, up to 1/8 of the side across and along; zeros come in."""
    height, width = x.shape[2:]
    column = torch.arange(width, device=x.device) - _steps(draws, width)  # [N, W]
    row = torch.arange(height, device=x.device) - _steps(draws, height)  # [N, H]
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    rows, columns = row.clamp(0, height - 1)[:, :, None], column.clamp(0, width - 1)[:, None, :]
    moved = pick(x, rows.expand_as(inside), columns.expand_as(inside))
    return torch.where(inside[:, None], moved, 0.0)


def _steps(draws: Draws, size: int) -> Tensor:
    """By how many pixels to move [N, 1]: each number to size / 8 either way, halves up, is as likely."""
    furthest = int(size * LARGEST_SHIFT + 0.5)
    return (draws.uniform(1) * (2 * furthest + 1)).floor().long() - furthest
