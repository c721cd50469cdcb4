"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): pipeline and controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facegan.augment.bands import BANDS, amplify
from facegan.augment.color import recolor, with_alpha
from facegan.augment.draws import Draws, Gate
from facegan.augment.geometry import compose, flip, identical, move_by_pixels, shift, stretch, turn, warp
from facegan.augment.pixels import by_image, cut_out, taken_in
from facegan.config import UsageError

BLIT = ("x_flip", "rotate_90", "translate_int")
GEOMETRY = ("scale", "rotate", "anisotropic", "translate")
COLOR = ("brightness", "contrast", "luma_flip", "hue", "saturation")
DAMAGE = ("image_filter", "noise", "cutout")
TRANSFORMS = (*BLIT, *GEOMETRY, *COLOR, *DAMAGE)

# Standard deviations, of octaves where the number is a factor (app. B); shifts are in widths and heights.
SHIFT = 0.125
SCALE_OCTAVES = 0.2
BRIGHTNESS = 0.2
CONTRAST_OCTAVES = 0.5
NOISE = 0.1


@dataclass(frozen=True)
class Ada:
    """TRANSFORMS one after the other, each image getting each with probability p times its multiplier.

    p follows how much D overfits: see `next_p`. It goes from 0 to 1 in `full_images` images at the fastest
    (0: it stays at p_start), and is set every `interval` steps. The default is the paper's "bgc": pixel
    blits, geometry and colour (app. B). A multiplier of 0 switches its transform off.

    Differs: an image that draws no geometric transform is not resampled; see also `warp`.
    """

    name: Literal["ada"] = "ada"
    target: float = 0.6
    full_images: int = 500_000
    interval: int = 4
    p_start: float = 0.0
    p_max: float = 1.0
    x_flip: float = 1.0
    rotate_90: float = 1.0
    translate_int: float = 1.0
    scale: float = 1.0
    rotate: float = 1.0
    anisotropic: float = 1.0
    translate: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    luma_flip: float = 1.0
    hue: float = 1.0
    saturation: float = 1.0
    image_filter: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("target", "p_start", "p_max", *TRANSFORMS):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"augment.{name} {getattr(self, name)}: 0 to 1")
        if self.full_images < 0:
            raise UsageError(f"augment.full_images {self.full_images}: 0 (p stays at p_start) or more")
        if self.interval < 1:
            raise UsageError(f"augment.interval {self.interval}: 1 or more")
        if self.p_start > self.p_max:
            raise UsageError(f"augment.p_start {self.p_start}: at most p_max {self.p_max}")
        if self.p_start == 0 and self.full_images == 0:
            raise UsageError("augment.full_images 0: p would stay at 0; set p_start, or augment.name=none")
        if not self._has(TRANSFORMS):
            raise UsageError("augment: every transform's multiplier is 0; set one, or augment.name=none")

    def __call__(self, images: Tensor, draws: Draws, p: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1], p a number on their device -> images of the same shape and type.

        Twice differentiable by the images. Blit, geometry and the three last act on all channels, colour on
        grey or on the first three. Values can leave [-1, 1], as in the paper.

        Raises:
            ValueError: not 1, 3 or 4 channels, or an odd side.
        """
        x = taken_in(images)
        gate = Gate(draws, p, x)
        x = self._moved(x, gate)
        if self._has(COLOR):
            x = with_alpha(self._recolored(x[:, :3], gate), x)
        if self.image_filter > 0:
            octaves = [gate.normal(self.image_filter) for _ in range(BANDS)]
            x = amplify(x, torch.stack(octaves, dim=1))
        if self.noise > 0:
            deviation = NOISE * gate.normal(self.noise).abs()
            x = x + by_image(deviation) * draws.normal(*x.shape[1:])
        if self.cutout > 0:
            is_cut = by_image(gate.hit(self.cutout))
            x = torch.where(is_cut, cut_out(x, draws.uniform(2)), x)
        return x.to(images.dtype)

    def next_p(self, p: Tensor, mean_sign: Tensor, images: int) -> Tensor:
        """p after `images` more images, of which the mean of sign(D(real)) was `mean_sign` (sec. 3.1).

        Up where that is above the target, down where it is below, within 0 to p_max; all on p's device.
        """
        if self.full_images == 0:
            return p
        return (p + (mean_sign - self.target).sign() * (images / self.full_images)).clamp(0, self.p_max)

    def _has(self, transforms: tuple[str, ...]) -> bool:
        return any(getattr(self, name) > 0 for name in transforms)

    def _moved(self, x: Tensor, gate: Gate) -> Tensor:
        """x after blits and geometry, resampled only where some of the geometry was drawn."""
        if not self._has(BLIT + GEOMETRY):
            return x
        height, width = x.shape[2:]
        is_flipped = gate.choice(self.x_flip, 2)
        quarters = gate.choice(self.rotate_90, 4) * (torch.pi / 2)
        across, along = (gate.uniform(self.translate_int, 2) * SHIFT).unbind(dim=1)
        whole_shift = shift((across * width).round(), (along * height).round())
        by_pixels = compose(flip(is_flipped), turn(quarters), whole_shift)
        x_by_pixels = move_by_pixels(x, by_pixels) if self._has(BLIT) else x
        if not self._has(GEOMETRY):
            return x_by_pixels
        scale = (gate.normal(self.scale) * SCALE_OCTAVES).exp2()
        before = gate.uniform(self.rotate, of=2) * torch.pi
        wider = (gate.normal(self.anisotropic) * SCALE_OCTAVES).exp2()
        after = gate.uniform(self.rotate, of=2) * torch.pi
        across, along = (gate.normal(self.translate, 2) * SHIFT).unbind(dim=1)
        smoothly = compose(
            stretch(scale, scale),
            turn(before),
            stretch(wider, 1 / wider),
            turn(after),
            shift(across * width, along * height),
        )
        return torch.where(identical(smoothly), x_by_pixels, warp(x, compose(by_pixels, smoothly)))

    def _recolored(self, x: Tensor, gate: Gate) -> Tensor:
        return recolor(
            x,
            brightness=gate.normal(self.brightness) * BRIGHTNESS,
            contrast=(gate.normal(self.contrast) * CONTRAST_OCTAVES).exp2(),
            luma_flip=gate.choice(self.luma_flip, 2),
            hue=gate.uniform(self.hue) * torch.pi,
            saturation=gate.normal(self.saturation).exp2(),
        )


FACE_SAFE = Ada(p_max=0.8, rotate_90=0.0, luma_flip=0.0, hue=0.0)  # what leaks into faces first is left out
