"""What stands behind a person, out of focus: a sharp little scene in linear light, seen through a lens.

    backdrop(person, 256)        linear RGB [256, 256, 3]

    draw on SIDE x SIDE samples, bright things as bright as they are -> convolve with the aperture's disc
    -> cut the margin off and interpolate to the picture's size

A lens out of focus spreads each point over a disc, so lights become bokeh and edges soften by themselves.
Everything is drawn at one resolution: a larger picture shows the same thing smoother.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from facegan.people import indoors, outdoors
from facegan.people.brush import BORDER, PICTURE, SIDE, Random, Scene, bell, noise
from facegan.people.head import Floats
from facegan.people.person import Detail, Person

BRIGHTEST = 1.5  # what the film holds
SCENES: dict[str, Callable[[Random], Scene]] = {
    "studio": indoors.studio, "wall": indoors.wall, "room": indoors.room, "window": indoors.window,
    "foliage": outdoors.foliage, "sky": outdoors.sky, "street": outdoors.street, "night": outdoors.night,
}  # fmt: skip


def backdrop(person: Person, size: int) -> Floats:
    """The blurred surroundings [size, size, 3] of a person, linear RGB, 0 .. BRIGHTEST.

    A function of the kind and the seed alone; smaller sizes show the same picture.
    """
    rng = person.detail(Detail.BACKDROP)
    scene, blur = SCENES[person.backdrop](rng)
    scene = np.maximum(scene, 0) * (1 + 0.025 * noise(rng, 9)[..., None])
    channels = scene.transpose(2, 0, 1).astype(np.float32)
    blurred = fft.irfft2(fft.rfft2(channels) * _aperture(blur), (SIDE, SIDE))
    weights = _spline(size)
    enlarged = weights @ np.clip(blurred, 0, BRIGHTEST) @ weights.T  # [3, size, size]
    return np.ascontiguousarray(enlarged.transpose(1, 2, 0), np.float64)


def _aperture(blur: float) -> NDArray[np.complex64]:
    """The Fourier transform [SIDE, SIDE // 2 + 1] of a disc of this radius, in picture widths."""
    radius = min(max(blur * PICTURE, 1.0), BORDER)
    offset = np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE)).astype(np.float32)
    disc = np.clip(radius + 0.5 - np.sqrt(offset[:, None] ** 2 + offset[None] ** 2), 0, 1)
    transform: NDArray[np.complex64] = fft.rfft2(disc / disc.sum())
    return transform


@lru_cache(maxsize=8)
def _spline(size: int) -> NDArray[np.float32]:
    """Weights [size, SIDE] of the scene's samples in the picture's: a cubic B-spline, positive and smooth."""
    places = BORDER + (np.arange(size) + 0.5) * PICTURE / size - 0.5
    return bell(places[:, None] - np.arange(SIDE)).astype(np.float32)
