"""A smooth surface about a part of anybody's head: of a hat, of a headscarf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats, Indices, head
from facegan.people.raster import normalized

CLEARANCE = 0.02  # dm between the skin and the surface


@dataclass(frozen=True, eq=False)
class Dome:
    """Directions [R, C, 3] from a centre [3] of rest space, and what makes a head's radii a surface's.

    vertices [K] of the head that must be inside, weights [R * C, K] of their radii, bumps [K, R * C]
    by which the surface gives way to each, cells [K, 4] and shares [K, 4]: the grid's points about each.
    """

    centre: Floats
    directions: Floats
    vertices: Indices
    weights: Floats
    bumps: NDArray[np.float32]
    cells: Indices
    shares: Floats

    def radii(self, points: Floats) -> Floats:
        """Radii [R, C] of a smooth surface about vertices [K, 3] in rest space."""
        radius = np.sqrt(((points - self.centre) ** 2).sum(axis=1))
        smooth = self.weights @ radius
        missing = radius + CLEARANCE - (smooth[self.cells] * self.shares).sum(axis=1)
        outside = missing > 0
        if outside.any():
            pushed = self.bumps[outside] * missing[outside, None].astype(np.float32)
            smooth += pushed.max(axis=0)
        return np.asarray(smooth.reshape(self.directions.shape[:2]))


def dome_of(centre: Floats, directions: Floats, vertices: Indices, spread: float) -> Dome:
    """The dome about these vertices [K] that smooths over `spread` radians; each counts by its area."""
    own = normalized(head().vertices[vertices] - centre)
    grid = directions.reshape(-1, 3)
    near = np.exp((grid @ own.T - 1) / spread**2) * _areas(vertices)  # [R * C, K]
    closeness = own @ grid.T
    bumps = np.exp(np.minimum(closeness - 1 + 0.002, 0) / (0.75 * spread) ** 2)
    cells = np.argsort(-closeness, axis=1)[:, :4]
    distance = 1 - np.take_along_axis(closeness, cells, 1) + 1e-6
    shares = (1 / distance) / (1 / distance).sum(axis=1, keepdims=True)
    return Dome(
        centre,
        directions,
        vertices,
        near / near.sum(axis=1, keepdims=True),
        bumps.astype(np.float32),
        cells,
        shares,
    )


def _areas(vertices: Indices) -> Floats:
    """What area each vertex [K] stands for: 1 / how many are near."""
    points = head().vertices[vertices]
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    return np.asarray(1 / np.exp(-squared / 0.1**2).sum(axis=1))
