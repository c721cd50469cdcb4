"""Augmentations of what D sees, real and fake alike, so that little data lasts: configuration and pipeline.

    name         what it does
    none         nothing
    diffaugment  colour, translation and cutout, always (Zhao et al. 2020, arXiv 2006.10738)
    ada          12 transforms (3 more are off), each with a probability p that follows D's overfitting
                 (Karras et al. 2020, arXiv 2006.06676); FACE_SAFE leaves out what turns faces into none

Each is a frozen dataclass, called with images [N, C, H, W] in [-1, 1], the micro-batch's random numbers, and
p. The result has the images' shape and type and is twice differentiable by them. Nothing waits for the
device, and shapes do not depend on what was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from facegan.augment.ada import FACE_SAFE, Ada
from facegan.augment.diffaugment import DiffAugment
from facegan.augment.draws import Draws

__all__ = ["FACE_SAFE", "Ada", "Augment", "DiffAugment", "Draws", "NoAugment"]


@dataclass(frozen=True)
class NoAugment:
    """The images as they are."""

    name: Literal["none"] = "none"

    def __call__(self, images: Tensor, draws: Draws, p: Tensor) -> Tensor:
        """The given images; nothing is drawn."""
        return images


Augment = NoAugment | DiffAugment | Ada
