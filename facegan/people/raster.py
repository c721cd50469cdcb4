"""Triangles onto pixels, by z-buffer, and the lookups that shading needs.

    canvas = Canvas.empty(512, 512)
    draw_triangles(canvas, points, triangles)        points [V, 3]: pixel x, pixel y, depth
    (corners[triangles[canvas.triangle]] * canvas.barycentric[..., None]).sum(-2)    what a pixel sees

    pixel (row 0, column 0) is the square 0 <= x < 1, 0 <= y < 1; its centre (0.5, 0.5) is what is tested

A pixel belongs to one triangle or to nobody. The nearer one takes it; at equal depth the first drawn stays.
Nothing is clipped at the camera: a triangle that reaches depth 0 or below, or is not finite, is left out.

An orthographic view has no perspective to correct: add a constant to its depths that is large
against them (1e6), and the correction vanishes in float64.

The loops are compiled by numba, once for a machine, and without fastmath: a compiler that may reorder
sums gives other pixels on other processors.

Inside: Canvas, draw_triangles, vertex_normals, normalized, trilinear, voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from facegan.config import UsageError, how_to_install

try:
    import numba
except ImportError:
    raise UsageError(f"drawing people needs the extra people: {how_to_install('people')}") from None

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
F = TypeVar("F", bound=Callable[..., Any])

COVERAGE_EPS = 1e-6  # of a barycentric: neighbours overlap by this much, so that no pixel falls between
MIN_AREA = 1e-9  # pixels^2, doubled: below it a triangle is a line


def compiled(function: F) -> F:
    """The function, compiled at its first call and kept on disk where there is a place to."""
    try:
        return cast("F", numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # numba found no folder that it may write to
        return cast("F", numba.njit(error_model="numpy")(function))


@dataclass(frozen=True)
class Canvas:
    """What each pixel sees, and how far away.

    depth        [H, W]     inf where there is nothing
    triangle     [H, W]     index of the triangle, -1 where there is none
    barycentric  [H, W, 3]  weights of its corners in space (perspective-correct), 0 where there is none
    """

    depth: Floats
    triangle: Integers
    barycentric: Floats

    @staticmethod
    def empty(height: int, width: int) -> Canvas:
        """A canvas that sees nothing."""
        return Canvas(
            depth=np.full((height, width), np.inf),
            triangle=np.full((height, width), -1, np.int32),
            barycentric=np.zeros((height, width, 3)),
        )


# ---- drawing


def draw_triangles(
    canvas: Canvas, points: npt.ArrayLike, triangles: npt.ArrayLike, clip: npt.ArrayLike | None = None
) -> None:
    """Draws triangles, of both windings, where they are nearer than what the canvas holds.

    points [V, 3] pixel x, pixel y, depth > 0; triangles [T, 3] of indices into them; clip [V]: where
    its interpolation is negative, the triangle has a hole.

    Raises:
        ValueError: another shape, or an index out of range.
    """
    points, triangles = _floats(points), np.asarray(triangles)
    _check_mesh(points, triangles)
    clip = np.ones(len(points)) if clip is None else _floats(clip)
    if clip.shape != points.shape[:1]:
        raise ValueError(f"clip {clip.shape}: need one number for each of {len(points)} points")
    _triangles_kernel(
        points,
        np.ascontiguousarray(triangles, np.int32),
        clip,
        canvas.depth,
        canvas.triangle,
        canvas.barycentric,
    )


def _floats(array: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(array, np.float64)


def _check_mesh(points: Floats, triangles: npt.NDArray[Any]) -> None:
    """Raises ValueError for anything that would lead the compiled loops out of the arrays."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points {points.shape}: need [V, 3]")
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles {triangles.shape}: need [T, 3]")
    if len(triangles):
        for index in (triangles.min(), triangles.max()):
            if not 0 <= index < len(points):
                raise ValueError(f"triangles hold the index {index}: each 0 to {len(points) - 1}")


@compiled
def _pixels_between(low: float, high: float, count: int) -> tuple[int, int]:
    """First and last of `count` pixels whose centres lie in [low, high); last < first where none does.

    Stays in floating point until the numbers are small.
    """
    first = min(max(np.ceil(low - 0.5), 0.0), float(count))
    last = min(max(np.ceil(high - 0.5) - 1.0, -1.0), float(count - 1))
    return int(first), int(last)


@compiled
def _triangles_kernel(
    points: Floats,
    triangles: Integers,
    clip: Floats,
    depth: Floats,
    triangle: Integers,
    barycentric: Floats,
) -> None:
    """Screen-space weights u0, u1, u2 are affine in x and y; so is 1/depth, and weight/depth in space."""
    height, width = depth.shape
    for number in range(len(triangles)):
        a, b, c = triangles[number]
        ax, ay, bx, by, cx, cy = (
            points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1],
        )  # fmt: skip
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        nearest = min(points[a, 2], points[b, 2], points[c, 2])
        if not (MIN_AREA <= abs(area) < np.inf and nearest > 0):
            continue
        near_a, near_b, near_c = 1 / points[a, 2], 1 / points[b, 2], 1 / points[c, 2]
        # one pixel more at each side: a centre just outside may be within COVERAGE_EPS
        left, right = _pixels_between(min(ax, bx, cx) - 1, max(ax, bx, cx) + 1, width)
        top, bottom = _pixels_between(min(ay, by, cy) - 1, max(ay, by, cy) + 1, height)
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                u0 = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
                u1 = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
                u2 = 1 - u0 - u1
                if u0 < -COVERAGE_EPS or u1 < -COVERAGE_EPS or u2 < -COVERAGE_EPS:
                    continue
                w0, w1, w2 = u0 * near_a, u1 * near_b, u2 * near_c
                z = 1 / (w0 + w1 + w2)
                if not z < depth[row, column] or w0 * clip[a] + w1 * clip[b] + w2 * clip[c] < 0:
                    continue
                depth[row, column] = z
                triangle[row, column] = number
                barycentric[row, column, 0] = w0 * z
                barycentric[row, column, 1] = w1 * z
                barycentric[row, column, 2] = w2 * z


# ---- geometry and lookups


def vertex_normals(vertices: npt.ArrayLike, triangles: npt.ArrayLike) -> Floats:
    """Unit normals [V, 3], means of the triangles' around each vertex, weighted by area; 0 without any.

    vertices [V, 3], triangles [T, 3], counter-clockwise seen from outside.
    """
    vertices, triangles = _floats(vertices), np.asarray(triangles)
    _check_mesh(vertices, triangles)
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    weighted = np.cross(b - a, c - a)  # [T, 3], twice the area long
    sums = [
        np.bincount(triangles.ravel(), np.repeat(weighted[:, axis], 3), len(vertices)) for axis in range(3)
    ]
    return normalized(np.stack(sums, axis=1))


def normalized(vectors: npt.ArrayLike) -> Floats:
    """Vectors [..., 3] of the same directions and length 1; a vector of zeros stays."""
    x, y, z = np.moveaxis(_vectors(vectors), -1, 0)
    length = np.sqrt(x * x + y * y + z * z)  # in this order on every processor
    length = np.where(length == 0, 1, length)
    return np.stack([x / length, y / length, z / length], axis=-1)


def trilinear(volume: npt.ArrayLike, points: npt.ArrayLike) -> Floats:
    """Values [...] of a volume [A, B, C] that repeats for ever, at points [..., 3] in its samples.

    Sample (i, j, k) lies at the point (i, j, k).
    """
    points = _vectors(points)
    return _trilinear_kernel(_volume(volume), points.reshape(-1, 3)).reshape(points.shape[:-1])


def voxels(grid: npt.ArrayLike, coordinates: npt.ArrayLike) -> Floats:
    """Values [...] of a grid [A, B, C] that its edges continue, at coordinates [..., 3] in its samples."""
    coordinates = _vectors(coordinates)
    return _voxels_kernel(_volume(grid), coordinates.reshape(-1, 3)).reshape(coordinates.shape[:-1])


def _vectors(array: npt.ArrayLike) -> Floats:
    vectors = _floats(array)
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"points {vectors.shape}: need [..., 3]")
    return vectors


def _volume(array: npt.ArrayLike) -> Floats:
    volume = _floats(array)
    if volume.ndim != 3 or not volume.size:
        raise ValueError(f"volume {volume.shape}: need [A, B, C], each 1 or more")
    return volume


@compiled
def _mixed(
    volume: Floats, i: int, j: int, k: int, i1: int, j1: int, k1: int, u: float, v: float, w: float
) -> float:
    """The mean of eight samples, weighted by the fractions u, v, w of the way from i, j, k to i1, j1, k1."""
    near = (volume[i, j, k] * (1 - w) + volume[i, j, k1] * w) * (1 - v) + (
        volume[i, j1, k] * (1 - w) + volume[i, j1, k1] * w
    ) * v
    far = (volume[i1, j, k] * (1 - w) + volume[i1, j, k1] * w) * (1 - v) + (
        volume[i1, j1, k] * (1 - w) + volume[i1, j1, k1] * w
    ) * v
    mixed: float = near * (1 - u) + far * u
    return mixed


@compiled
def _wrapped(coordinate: float, size: int) -> tuple[int, int, float]:
    """The samples on both sides of a coordinate, modulo size, and the fraction between."""
    start = np.floor(coordinate)
    low = int(start) % size
    return low, low + 1 if low + 1 < size else 0, coordinate - start


@compiled
def _trilinear_kernel(volume: Floats, points: Floats) -> Floats:
    values = np.empty(len(points))
    for n in range(len(points)):
        i, i1, u = _wrapped(points[n, 0], volume.shape[0])
        j, j1, v = _wrapped(points[n, 1], volume.shape[1])
        k, k1, w = _wrapped(points[n, 2], volume.shape[2])
        values[n] = _mixed(volume, i, j, k, i1, j1, k1, u, v, w)
    return values


@compiled
def _clamped(coordinate: float, size: int) -> tuple[int, int, float]:
    """The samples on both sides of a coordinate, and the fraction between; NaN reads the first."""
    if not coordinate > 0:
        return 0, 0, 0.0
    if coordinate >= size - 1:
        return size - 1, size - 1, 0.0
    low = int(coordinate)
    return low, low + 1, coordinate - low


@compiled
def voxel(grid: Floats, x: float, y: float, z: float) -> float:
    """What `voxels` gives at one point; for other kernels."""
    i, i1, u = _clamped(x, grid.shape[0])
    j, j1, v = _clamped(y, grid.shape[1])
    k, k1, w = _clamped(z, grid.shape[2])
    value: float = _mixed(grid, i, j, k, i1, j1, k1, u, v, w)
    return value


@compiled
def _voxels_kernel(grid: Floats, coordinates: Floats) -> Floats:
    values = np.empty(len(coordinates))
    for n in range(len(coordinates)):
        values[n] = voxel(grid, coordinates[n, 0], coordinates[n, 1], coordinates[n, 2])
    return values
