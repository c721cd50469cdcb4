"""A brush for little scenes in linear light: boxes, ovals, lights and noise on SIDE x SIDE samples.

The picture reaches from 0 to 1 in x (right) and y (down); the scene a margin of BORDER samples further, since
a blur brings in what is beside the picture. Edges are softened over one sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from facegan.people.head import Floats
from facegan.people.person import RGB

Random = np.random.Generator
Scene = tuple[Floats, float]  # [SIDE, SIDE, 3], and the radius of its blur in picture widths

PICTURE = 96  # samples across the picture
BORDER = 16  # samples around it: no blur may be wider
SIDE = PICTURE + 2 * BORDER
PLACES = (np.arange(SIDE) + 0.5 - BORDER) / PICTURE  # x of the columns, y of the rows
ACROSS, DOWN = PLACES[None, :], PLACES[:, None]
START, END = -BORDER / PICTURE, 1 + BORDER / PICTURE  # of the scene

# ---- colours that several scenes share

PAINTS: tuple[RGB, ...] = (
    (0.62, 0.59, 0.53), (0.55, 0.54, 0.52), (0.45, 0.41, 0.35), (0.38, 0.42, 0.42), (0.50, 0.44, 0.34),
    (0.30, 0.34, 0.33), (0.34, 0.30, 0.28), (0.20, 0.24, 0.28),
)  # fmt: skip
WOODS: tuple[RGB, ...] = (
    (0.23, 0.13, 0.07), (0.13, 0.075, 0.045), (0.34, 0.23, 0.14), (0.30, 0.27, 0.23), (0.07, 0.05, 0.04),
)  # fmt: skip
HOUSES: tuple[RGB, ...] = (
    (0.42, 0.37, 0.31), (0.30, 0.27, 0.25), (0.36, 0.22, 0.16), (0.52, 0.49, 0.45), (0.24, 0.26, 0.29),
    (0.18, 0.16, 0.15),
)  # fmt: skip
LEAVES: tuple[RGB, ...] = (
    (0.10, 0.17, 0.035), (0.07, 0.13, 0.04), (0.19, 0.22, 0.05), (0.12, 0.16, 0.07), (0.24, 0.17, 0.05),
)  # fmt: skip
SPINES: tuple[RGB, ...] = (
    (0.30, 0.06, 0.05), (0.07, 0.12, 0.20), (0.40, 0.35, 0.26), (0.06, 0.06, 0.06), (0.10, 0.18, 0.12),
    (0.50, 0.48, 0.44), (0.30, 0.20, 0.08), (0.16, 0.10, 0.08),
)  # fmt: skip


def pick(rng: Random, colours: Sequence[RGB], spread: float = 0.15) -> Floats:
    """One of these colours [3], varied in lightness, and a little in hue."""
    colour = np.array(colours[int(rng.integers(len(colours)))])
    return np.asarray(colour * np.exp(rng.normal(0, spread) + rng.normal(0, spread / 9, 3)))


def flat(colour: RGB | Floats) -> Floats:
    """A scene of one colour [SIDE, SIDE, 3]."""
    return np.full((SIDE, SIDE, 3), colour, np.float64)


def noise(rng: Random, cells: int, cells_across: int | None = None) -> Floats:
    """Smooth noise [SIDE, SIDE] about 0 with a deviation of about 1; the number of bumps down and across."""
    across = cells if cells_across is None else cells_across
    values = rng.standard_normal((cells + 2, across + 2))
    return np.asarray(_noise_spline(cells) @ values @ _noise_spline(across).T * 2.2)


@lru_cache(maxsize=32)
def _noise_spline(cells: int) -> Floats:
    places = (np.arange(SIDE) + 0.5) / SIDE * cells + 0.5
    return bell(places[:, None] - np.arange(cells + 2))


def bell(distance: Floats) -> Floats:
    """The cubic B-spline at distances in samples."""
    near = np.abs(distance)
    return np.asarray((np.clip(2 - near, 0, None) ** 3 - 4 * np.clip(1 - near, 0, None) ** 3) / 6)


def glow(x: float, y: float, reach: float) -> Floats:
    """A bell [SIDE, SIDE, 1] of light about a point, 1 there."""
    squared = (((ACROSS - x) / reach) ** 2 + ((DOWN - y) / reach) ** 2)[..., None]
    return np.asarray(np.exp(-squared))


def side_light(rng: Random, strength: float) -> Floats:
    """A light from one side [SIDE, SIDE, 1]: about 1 +- strength."""
    angle = rng.uniform(0, 2 * np.pi)
    along = (ACROSS - 0.5) * np.cos(angle) + 0.7 * (DOWN - 0.5) * np.sin(angle)
    return np.asarray(np.exp(strength * 1.6 * along)[..., None])


def box(
    scene: Floats, left: float, top: float, right: float, bottom: float, colour: Floats, opacity: float = 1.0
) -> None:
    """Paints a rectangle of colour [3], or [rows, columns, 3] for all of the scene's samples."""
    (rows, down), (columns, across) = span(top, bottom), span(left, right)
    share = opacity * (down[:, None] * across)[..., None]
    ink = colour if colour.ndim == 1 else colour[rows, columns]
    scene[rows, columns] += (ink - scene[rows, columns]) * share


def oval(scene: Floats, x: float, y: float, half_width: float, half_height: float, colour: Floats) -> None:
    """Paints an ellipse."""
    (rows, _), (columns, _) = span(y - half_height, y + half_height), span(x - half_width, x + half_width)
    down, across = (PLACES[rows, None] - y) / half_height, (PLACES[None, columns] - x) / half_width
    distance = np.sqrt(down * down + across * across)  # [r, c], 1 on the outline
    steepness = min(half_width, half_height) * PICTURE
    share = np.minimum(np.maximum((1 - distance) * steepness + 0.5, 0), 1)[..., None]
    scene[rows, columns] += (colour - scene[rows, columns]) * share


def span(low: float, high: float) -> tuple[slice, Floats]:
    """The samples that low .. high touches, and how much of each it covers."""
    start = min(max(int(low * PICTURE + BORDER), 0), SIDE)
    stop = min(max(int(high * PICTURE + BORDER) + 1, start), SIDE)
    places = PLACES[start:stop]
    coverage = np.minimum((places - low) * PICTURE, (high - places) * PICTURE) + 0.5
    return slice(start, stop), np.minimum(np.maximum(coverage, 0), 1)


def lights(scene: Floats, x: Floats, y: Floats, colours: Floats) -> None:
    """Adds lights smaller than a sample at x, y [N]; colours [N, 3] are what one sample gets of each."""
    column, row = (place * PICTURE + BORDER - 0.5 for place in (x, y))
    for down in (0, 1):
        for across in (0, 1):
            r, c = np.floor(row).astype(int) + down, np.floor(column).astype(int) + across
            share = (1 - np.abs(row - r)) * (1 - np.abs(column - c))
            inside = (r >= 0) & (r < SIDE) & (c >= 0) & (c < SIDE)
            np.add.at(scene, (r[inside], c[inside]), (colours * share[:, None])[inside])
