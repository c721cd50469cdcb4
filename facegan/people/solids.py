"""Things that are put on a person, as triangles: what a piece is, and how sheets and tubes become one.

    sheet   a grid of points [R, C, 3], open or closed along its rows or columns
    shell   a sheet with a thickness
    tube    a sheet around a path

Looked at from outside, rows go up and columns to the right; normals follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from facegan.people.head import Floats, Indices
from facegan.people.person import RGB, Detail, Person
from facegan.people.raster import normalized

Turns = Literal["head", "body", "blend"]


class Worn(IntEnum):
    """What is drawn by chance apart from the others."""

    GLASSES = 0
    HAT = 1
    NECKLINE = 2
    COLLAR = 3
    CLOTH = 4


def chances(person: Person, worn: Worn) -> np.random.Generator:
    """The generator of one thing that this person wears."""
    return person.detail(Detail.WEAR).spawn(len(Worn))[worn]


@dataclass(frozen=True, eq=False)
class Piece:
    """Triangles of one material on the unturned person, in the space of the person's own head.

    vertices      [P, 3] dm
    triangles     [T, 3]
    normals       [P, 3] of unit length, outward
    colours       [P, 3] linear RGB
    roughness     0 a mirror .. 1 chalk
    specular      reflectance at normal incidence
    turns         with the head, with the body, or as shape.Posture.share says of each point
    transparency  how much of what is behind shows through
    """

    vertices: Floats
    triangles: Indices
    normals: Floats
    colours: Floats
    roughness: float
    specular: float
    turns: Turns
    transparency: float = 0.0


class Mesh(NamedTuple):
    """Vertices [P, 3], triangles [T, 3] and normals [P, 3]."""

    vertices: Floats
    triangles: Indices
    normals: Floats


def piece_of(
    mesh: Mesh,
    colours: Floats | RGB,
    *,
    roughness: float = 0.85,
    specular: float = 0.03,
    turns: Turns = "head",
    transparency: float = 0.0,
) -> Piece:
    """A piece of one material; colours [P, 3] or one colour [3]."""
    painted = np.clip(np.broadcast_to(np.asarray(colours, np.float64), mesh.vertices.shape), 0, 1)
    return Piece(*mesh, painted, roughness, specular, turns, transparency)


def sheet(points: Floats, *, rows_close: bool = False, columns_close: bool = False) -> Mesh:
    """A grid of points [R, C, 3] as triangles; rows_close: the last row is followed by the first."""
    rows, columns = points.shape[:2]
    up, right = _differences(points, 0, rows_close), _differences(points, 1, columns_close)
    normals = normalized(_cross(right, up))
    flat = np.abs(normals).sum(axis=2) == 0  # where a row is one point, as at a pole
    if flat.any():
        normals[flat] = _of_the_poles(points, normals, flat)
    triangles = _grid_triangles(rows, columns, rows_close, columns_close)
    return Mesh(points.reshape(-1, 3), triangles, normals.reshape(-1, 3))


def shell(points: Floats, thickness: float, *, columns_close: bool = False) -> Mesh:
    """A sheet [R, C, 3] with another one `thickness` below it, and rounded edges between their rows."""
    normals = sheet(points, columns_close=columns_close).normals.reshape(points.shape)
    below = (points - thickness * normals)[::-1]
    return sheet(np.concatenate([points, below]), rows_close=True, columns_close=columns_close)


def tube(
    path: Floats,
    outward: Floats,
    half_widths: Floats | float,
    half_depths: Floats | float,
    *,
    closes: bool = False,
    sides: int = 8,
    squareness: float = 0.0,
) -> Mesh:
    """A tube around a path [N, 3].

    outward [N, 3]: unit vectors across the path, along which the half depths are; the half widths are across
    both. squareness 0: the section is an ellipse; 1: nearly a rectangle.
    """
    along = normalized(_differences(path[None], 1, closes)[0])
    across = normalized(_cross(outward, along))
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False) + np.pi / sides
    power = 1 - 0.7 * squareness
    depth, width = (np.sign(wave) * np.abs(wave) ** power for wave in (np.cos(angles), np.sin(angles)))
    offset = (
        depth[:, None, None] * (outward * np.reshape(half_depths, (-1, 1)))
        + width[:, None, None] * (across * np.reshape(half_widths, (-1, 1)))
    )  # [sides, N, 3]  # fmt: skip
    return sheet(path + offset, rows_close=True, columns_close=closes)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


class Fit(NamedTuple):
    """The stretched and moved copy of the rest head that is nearest to a person's: scale and offset [3]."""

    scale: Floats
    offset: Floats

    def person(self, rest: Floats) -> Floats:
        """Where points [..., 3] of rest space are on the person."""
        return rest * self.scale + self.offset

    def rest(self, points: Floats) -> Floats:
        """Where points [..., 3] of the person are in rest space."""
        return (points - self.offset) / self.scale


def fitted(rest: Floats, points: Floats) -> Fit:
    """The fit of points [N, 3] of rest space to those [N, 3] of a person."""
    scale = points.std(axis=0) / rest.std(axis=0)
    return Fit(scale, points.mean(axis=0) - scale * rest.mean(axis=0))


def _differences(points: Floats, axis: int, closes: bool) -> Floats:
    """Central differences along an axis, one-sided at open ends."""
    if closes:
        return np.roll(points, -1, axis) - np.roll(points, 1, axis)
    padded = np.concatenate([points.take([0], axis), points, points.take([-1], axis)], axis)
    ahead, behind = np.arange(2, padded.shape[axis]), np.arange(padded.shape[axis] - 2)
    return np.asarray(padded.take(ahead, axis) - padded.take(behind, axis))


def _cross(a: Floats, b: Floats) -> Floats:
    """np.cross for [..., 3], several times faster."""
    ax, ay, az, bx, by, bz = (vectors[..., axis] for vectors in (a, b) for axis in range(3))
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _of_the_poles(points: Floats, normals: Floats, flat: Floats) -> Floats:
    """The normals [N, 3] of points without one: the mean of the nearest row's that has some."""
    means = normals.mean(axis=1)  # [R, 3]
    lengths = np.abs(means).sum(axis=1)
    rows = np.flatnonzero((lengths > 0) & ~flat.any(axis=1))
    nearest = rows[np.abs(np.arange(len(points))[:, None] - rows).argmin(axis=1)]
    return np.asarray(normalized(means[nearest])[np.nonzero(flat)[0]])


@lru_cache(maxsize=64)
def _grid_triangles(rows: int, columns: int, rows_close: bool, columns_close: bool) -> Indices:
    row, column = np.meshgrid(
        np.arange(rows if rows_close else rows - 1),
        np.arange(columns if columns_close else columns - 1),
        indexing="ij",
    )
    above, right = (row + 1) % rows, (column + 1) % columns
    corners = ((row, column), (row, right), (above, right), (above, column))
    a, b, c, d = ((r * columns + k).ravel() for r, k in corners)
    triangles: Indices = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.intp)
    triangles.setflags(write=False)
    return triangles
