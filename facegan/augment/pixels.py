"""What both kinds of augmentation do with pixels: take them in, pick them by their places, cut some out."""

from __future__ import annotations

import torch
from torch import Tensor


def taken_in(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in float32, or in float64 if that is what they are.

    Raises:
        ValueError: not 1, 3 or 4 channels, or an odd side.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or images.shape[2] % 2 or images.shape[3] % 2:
        raise ValueError(
            f"images {list(images.shape)}: need [N, C, H, W] with 1, 3 or 4 channels, even sides"
        )
    return images.to(torch.promote_types(images.dtype, torch.float32))


def pick(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x [N, C, H, W] at places of its own for each image, row and column [N, H', W'] -> [N, C, H', W']."""
    count, channels, _, width = x.shape
    place = (row * width + column).view(count, 1, -1).expand(-1, channels, -1)
    return x.flatten(2).gather(2, place).view(count, channels, *row.shape[1:])


def by_image(numbers: Tensor) -> Tensor:
    """Numbers [N] as [N, 1, 1, 1]."""
    return numbers[:, None, None, None]


def cut_out(x: Tensor, center: Tensor) -> Tensor:
    """x [N, C, H, W] with 0 in a rectangle of half its height and width, which may reach out of the picture.

    center [N, 2]: the rectangle's middle as x and y in 0 to 1, from one border to the other.
    """
    height, width = x.shape[2:]
    row, column = (torch.arange(size, device=x.device) + 0.5 for size in (height, width))
    in_columns = (column / width - center[:, :1]).abs() < 0.25  # [N, W]
    in_rows = (row / height - center[:, 1:]).abs() < 0.25  # [N, H]
    return torch.where(in_rows[:, None, :, None] & in_columns[:, None, None, :], 0.0, x)
