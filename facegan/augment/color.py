"""Colours changed, one way for all pixels of an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facegan.augment.pixels import by_image


def recolor(
    x: Tensor, brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> Tensor:
    """x [N, 1 or 3, H, W] brightened, then contrasted, luma flipped, hue turned and saturated; all [N].

    With v = (1, 1, 1) / sqrt(3) the grey axis and P = v v^T (Karras et al. 2020, arXiv 2006.06676, app. B):

        y = x + brightness
        y = contrast y
        y = (1 - 2 luma_flip P) y           luma_flip 0 or 1
        y = R y                             R turns about v by the angle hue
        y = (P + saturation (1 - P)) y

    All but the first keep v and the plane across it apart, so they are one formula of the pixel's mean P y,
    of y, and of v x y, which lies across both. Grey has nothing across v: hue and saturation do not show.
    """
    y = x + by_image(brightness)
    mean = y.mean(dim=1, keepdim=True)
    across = (y.roll(1, dims=1) - y.roll(-1, dims=1)) / math.sqrt(3)
    along, turned, sideways = 1 - 2 * luma_flip, saturation * hue.cos(), saturation * hue.sin()
    mixed = by_image(turned) * y + by_image(along - turned) * mean + by_image(sideways) * across
    return by_image(contrast) * mixed


def with_alpha(color: Tensor, x: Tensor) -> Tensor:
    """`color` [N, 1 or 3, H, W] and what x [N, C, H, W] has beyond three channels."""
    return torch.cat([color, x[:, 3:]], dim=1) if x.shape[1] > 3 else color
