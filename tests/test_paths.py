"""Paths of a film from key to key: arcs, splines with the derivatives they promise, motion along them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facegan.animation import MAX_FRAMES_PER_KEY, Array, Curve, Motion, arcs, frames_per_key, slerp, spline
from facegan.config import UsageError


def test_slerp_stays_on_the_circle_and_meets_its_ends() -> None:
    a, b = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    for t in np.linspace(0, 1, 5):
        expected = [2 * np.cos(t * np.pi / 2), 2 * np.sin(t * np.pi / 2)]
        np.testing.assert_allclose(slerp(a, b, float(t)), expected, atol=1e-12)


def test_slerp_interpolates_lengths_and_survives_parallel_vectors() -> None:
    a = np.array([1.0, 0.0])
    np.testing.assert_allclose(slerp(a, 3 * a, 0.5), [2.0, 0.0])
    assert np.linalg.norm(slerp(a, np.array([0.0, 3.0]), 0.5)) == pytest.approx(2.0)


def test_arcs_pass_each_key_and_come_back_to_the_first() -> None:
    keys = np.random.default_rng(0).normal(size=(3, 4))
    curve = arcs(keys)
    for position in range(4):
        np.testing.assert_allclose(curve(position), keys[position % 3], atol=1e-12)
    np.testing.assert_allclose(curve(2.5), slerp(keys[2], keys[0], 0.5), atol=1e-12)


def textbook_spline(keys: Array, loop: bool) -> list[Array]:
    """The cubics' coefficients [4, D] of each segment, from all their conditions written out, 4 a segment."""
    segments = len(keys) if loop else len(keys) - 1
    at = np.array([[1, t, t**2, t**3] for t in (0.0, 1.0)])
    slope = np.array([[0, 1, 2 * t, 3 * t**2] for t in (0.0, 1.0)])
    curvature = np.array([[0, 0, 2, 6 * t] for t in (0.0, 1.0)])
    rows, right = [], []

    def condition(value: Array, *terms: tuple[int, Array]) -> None:
        row = np.zeros(4 * segments)
        for segment, factors in terms:
            row[4 * segment : 4 * segment + 4] += factors
        rows.append(row)
        right.append(value)

    nothing = np.zeros(keys.shape[1])
    for s in range(segments):
        condition(keys[s], (s, at[0]))
        condition(keys[(s + 1) % len(keys)], (s, at[1]))
        if loop or s + 1 < segments:
            after = (s + 1) % segments
            condition(nothing, (s, slope[1]), (after, -slope[0]))
            condition(nothing, (s, curvature[1]), (after, -curvature[0]))
    if not loop:
        condition(nothing, (0, curvature[0]))
        condition(nothing, (segments - 1, curvature[1]))
    solved = np.linalg.solve(np.array(rows), np.array(right))
    return list(solved.reshape(segments, 4, -1))


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_spline_is_the_one_of_the_written_out_conditions(count: int, loop: bool) -> None:
    keys = np.random.default_rng(count).normal(size=(count, 5))
    curve = spline(keys, loop)
    for segment, coefficients in enumerate(textbook_spline(keys, loop)):
        for t in (0.0, 0.2, 0.5, 0.9):
            expected = np.array([1, t, t**2, t**3]) @ coefficients
            np.testing.assert_allclose(curve(segment + t), expected, atol=1e-10)


def derivatives(curve: Curve, segment: int, t: float) -> list[npt.NDArray[Any]]:
    """Value, slope and curvature at t of one segment, from the cubic through four of its points."""
    points = np.array([0.1, 0.3, 0.6, 0.8])  # inside, so that each side of a key is seen by itself
    cubic = np.polyfit(points, np.array([curve(segment + p) for p in points]), 3)
    powers = [[t**3, t**2, t, 1], [3 * t**2, 2 * t, 1, 0], [6 * t, 2, 0, 0]]
    return [np.array(factors) @ cubic for factors in powers]


@pytest.mark.parametrize("loop", [True, False])
def test_spline_passes_its_keys_with_two_continuous_derivatives_also_at_the_seam(loop: bool) -> None:
    keys = np.random.default_rng(1).normal(size=(5, 3))
    curve = spline(keys, loop)
    for key in range(5):
        np.testing.assert_allclose(curve(key), keys[key], atol=1e-12)
    for key in range(5) if loop else range(1, 4):
        before, after = derivatives(curve, (key - 1) % 5, 1.0), derivatives(curve, key, 0.0)
        for one, other in zip(before, after, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-8)
    if not loop:
        np.testing.assert_allclose(derivatives(curve, 0, 0.0)[2], 0, atol=1e-8)
        np.testing.assert_allclose(derivatives(curve, 3, 1.0)[2], 0, atol=1e-8)


def test_smooth_motion_rests_at_the_keys_and_none_is_even() -> None:
    even = Motion(100, easing="none")
    assert [even.position(frame) for frame in (0, 25, 100, 250)] == [0, 0.25, 1, 2.5]
    smooth = Motion(100)
    positions = np.array([smooth.position(frame) for frame in range(301)])
    steps = np.diff(positions)
    np.testing.assert_allclose(positions[[0, 50, 100, 150, 200, 300]], [0, 0.5, 1, 1.5, 2, 3])
    assert (steps > 0).all()
    assert steps.max() == pytest.approx(1.5 / 100, rel=0.01)  # smoothstep's slope in the middle, 3/2
    assert max(steps[99], steps[100], steps[199], steps[200]) < 0.05 * steps.max()


def test_frames_per_key_are_the_nearest_whole_number() -> None:
    assert [frames_per_key(s, 30) for s in (2.0, 0.5, 0.02, 0.01)] == [60, 15, 1, 0]
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="seconds per key"):
            frames_per_key(seconds, 30)
    assert frames_per_key(MAX_FRAMES_PER_KEY / 30, 30) == MAX_FRAMES_PER_KEY
    for seconds in (3334.0, 1e300, 1e308):
        with pytest.raises(UsageError, match="at most 100,000 frames from key to key"):
            frames_per_key(seconds, 200)
