"""Solid noise: random values that vary smoothly in space, so that skin and cloth carry them along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from facegan.people.head import Floats
from facegan.people.raster import trilinear

SIZE = 64  # samples of a volume along each axis; it repeats after that
COARSE = ((8.0, 1.0), (4.0, 0.6), (2.0, 0.4), (1.0, 0.3))  # blur in samples, share: clouds with detail
FINE = ((0.8, 1.0),)  # grains


def clouds(points: Floats, size: float, seed: float = 0.0) -> Floats:
    """Cloudy noise [...] of mean 0.12 and deviation 1 at points [..., 3]; `size` dm is a large cloud's."""
    return _noise(COARSE, points, size / COARSE[0][0], seed)


def grains(points: Floats, size: float, seed: float = 0.0) -> Floats:
    """Grainy noise [...] of mean 0 and deviation 0.84 at points [..., 3]; `size` dm is a grain's."""
    return _noise(FINE, points, size / 2, seed)


def _noise(octaves: tuple[tuple[float, float], ...], points: Floats, sample: float, seed: float) -> Floats:
    offset = np.array([17.3, 5.9, 41.7]) * seed
    return trilinear(_volume(octaves), points / sample + offset)


@lru_cache(maxsize=2)
def _volume(octaves: tuple[tuple[float, float], ...]) -> Floats:
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    volume = np.zeros((SIZE, SIZE, SIZE))
    for blur, share in octaves:
        layer = gaussian_filter(random.standard_normal(volume.shape), blur, mode="wrap")
        volume += share * layer / layer.std()
    volume = np.asarray(volume / volume.std())
    volume.setflags(write=False)
    return volume
