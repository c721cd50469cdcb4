"""Solid noise: its moments, its period, and its values against a slow trilinear reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from facegan.people import noise
from facegan.people.head import Floats
from facegan.people.noise import clouds, grains

pytestmark = pytest.mark.usefixtures("kernels")

Noise = Callable[..., Floats]
SAMPLE = {clouds: 1 / 8, grains: 1 / 2}  # dm between samples where `size` is 1 dm
OCTAVES = {clouds: noise.COARSE, grains: noise.FINE}
SEED_OFFSET = np.array([17.3, 5.9, 41.7])  # samples by which a seed of 1 moves the volume


@pytest.mark.parametrize("kind", [clouds, grains])
def test_deviation_at_the_samples_is_one(kind: Noise) -> None:
    samples = np.stack(np.mgrid[:64, :64, :64], axis=-1).reshape(-1, 3)
    values = kind(samples[::7] * SAMPLE[kind], 1.0)
    assert values.std() == pytest.approx(1, abs=0.02)  # a seventh of the samples


@pytest.mark.parametrize(("kind", "most"), [(clouds, 0.2), (grains, 0.02)])
def test_the_mean_is_near_zero(kind: Noise, most: float) -> None:
    """64^3 samples hold some 40 independent clouds, so their mean has a deviation of about 1 / sqrt(40)."""
    points = np.random.default_rng(0).uniform(0, 64 * SAMPLE[kind], (20_000, 3))
    assert abs(kind(points, 1.0).mean()) < most


@pytest.mark.parametrize("kind", [clouds, grains])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_repeats_after_64_samples(kind: Noise, axis: int) -> None:
    points = np.random.default_rng(1).uniform(-3, 3, (200, 3))
    period = np.eye(3)[axis] * 64 * SAMPLE[kind] * 0.3
    np.testing.assert_allclose(kind(points + period, 0.3), kind(points, 0.3), atol=1e-9)
    assert np.abs(kind(points + period / 2, 0.3) - kind(points, 0.3)).mean() > 0.3


@pytest.mark.parametrize("kind", [clouds, grains])
def test_values_equal_a_slow_trilinear_reference(kind: Noise) -> None:
    points, seed, size = np.random.default_rng(2).uniform(-2, 2, (40, 3)), 3.25, 0.7
    volume = noise._volume(OCTAVES[kind])
    expected = []
    for point in points:
        place = point / (SAMPLE[kind] * size) + SEED_OFFSET * seed
        low, total = np.floor(place).astype(int), 0.0
        for corner in itertools.product((0, 1), repeat=3):
            weight = np.prod([1 - abs(low[k] + corner[k] - place[k]) for k in range(3)])
            total += weight * volume[tuple((low + corner) % 64)]
        expected.append(total)
    np.testing.assert_allclose(kind(points, size, seed), expected, atol=1e-9)


@pytest.mark.parametrize("kind", [clouds, grains])
def test_a_volume_made_anew_is_the_same(kind: Noise) -> None:
    points = np.random.default_rng(3).uniform(-2, 2, (500, 3))
    before = kind(points, 0.4)
    noise._volume.cache_clear()
    np.testing.assert_array_equal(kind(points, 0.4), before)


@pytest.mark.parametrize("kind", [clouds, grains])
def test_another_seed_is_another_noise(kind: Noise) -> None:
    points = np.random.default_rng(3).uniform(-2, 2, (500, 3))
    assert abs(np.corrcoef(kind(points, 0.4), kind(points, 0.4, 1.0))[0, 1]) < 0.4


def test_shapes_of_points_are_kept() -> None:
    points = np.random.default_rng(5).uniform(-2, 2, (4, 5, 3))
    np.testing.assert_array_equal(grains(points, 0.4).ravel(), grains(points.reshape(-1, 3), 0.4))
    assert grains(points, 0.4).shape == (4, 5)
