"""Where hair may be rooted: places on the rest skin that are found once and carried along by every head.

places = Candidates.over(chosen_triangles, count, seed)
places.rest, places.on(shape.vertices), places.on(shape.normals)     [N, 3] each
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats, Indices, Part, head
from facegan.people.shape import skin_triangles

CENTRE = np.array([0.0, 7.4, 0.42])  # of the rest head, from which radii are measured


@dataclass(frozen=True, eq=False)
class Candidates:
    """Places on the rest skin, evenly scattered in random order: where a hair may have its root.

    corners [N, 3] vertices, shares [N, 3] of them, rest [N, 3] the place on the rest head.
    """

    corners: Indices
    shares: Floats
    rest: Floats

    @staticmethod
    def over(chosen: NDArray[np.bool_], count: int, seed: int) -> Candidates:
        """`count` places on those triangles of skin_triangles() that are chosen [T]."""
        random = np.random.default_rng(seed)
        triangles = skin_triangles()[chosen]
        a, b, c = (head().vertices[triangles[:, corner]] for corner in range(3))
        areas = np.sqrt((np.cross(b - a, c - a) ** 2).sum(axis=1))
        # a sorted even sequence instead of draws: no triangle gets more than its area's share by chance
        even = (np.arange(count) + random.random()) / count * areas.sum()
        triangle = np.searchsorted(np.cumsum(areas), even).clip(max=len(areas) - 1)
        u, v = random.random((2, count))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        corners, shares = triangles[triangle], np.stack([1 - u - v, u, v], axis=1)
        order = random.permutation(count)
        corners, shares = corners[order], shares[order]
        return Candidates(corners, shares, _blended(head().vertices, corners, shares))

    def take(self, places: Indices) -> Candidates:
        """Some of them, in the order of the indices [K]."""
        return Candidates(self.corners[places], self.shares[places], self.rest[places])

    def on(self, values: Floats) -> Floats:
        """What vertices have [V, 3], at these places [N, 3]."""
        return _blended(values, self.corners, self.shares)


def _blended(values: Floats, corners: Indices, shares: Floats) -> Floats:
    a, b, c = corners.T
    u, v, w = shares.T[:, :, None]
    return np.asarray(values[a] * u + values[b] * v + values[c] * w)


@lru_cache(maxsize=8)
def skin_mask(name: str) -> Floats:
    """How much of a vertex [V] is in a region of Head.masks, 0 .. 1; 0 off the skin."""
    skin = head().parts == Part.SKIN
    corners, uv, mask = head().triangles[skin].ravel(), head().uv[skin].reshape(-1, 2), head().masks[name]
    column, row = (uv * [1, -1] + [0, 1]).T * len(mask)
    values = mask[row.astype(int).clip(0, len(mask) - 1), column.astype(int).clip(0, len(mask) - 1)] / 255
    count = len(head().vertices)
    inside: Floats = np.bincount(corners, values, count) / np.bincount(corners, minlength=count).clip(1)
    inside.setflags(write=False)
    return inside


@lru_cache(maxsize=1)
def triangle_centres() -> Floats:
    """The middles [T, 3] of skin_triangles() on the rest head."""
    return np.asarray(head().vertices[skin_triangles()].mean(axis=1))


@lru_cache(maxsize=1)
def outer_triangles() -> NDArray[np.bool_]:
    """Which skin_triangles() [T] face away from the middle of the head and are not in the mouth."""
    a, b, c = (head().vertices[skin_triangles()[:, corner]] for corner in range(3))
    outward = (np.cross(b - a, c - a) * (triangle_centres() - CENTRE)).sum(axis=1) > 0
    return np.asarray(outward & (skin_mask("inside_mouth")[skin_triangles()].max(axis=1) < 0.2))
