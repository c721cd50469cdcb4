"""Triangles land on the pixels, at the depth and place that slow references give."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import map_coordinates

from facegan.config import UsageError
from facegan.people.raster import (
    Canvas,
    compiled,
    draw_triangles,
    normalized,
    trilinear,
    vertex_normals,
    voxels,
)

Floats = npt.NDArray[np.float64]
ONE_TRIANGLE = np.array([[0, 1, 2]])
WHOLE_SCREEN = np.array([[-100.0, -100, 5], [300, -100, 5], [-100, 300, 5]])  # at depth 5


@pytest.fixture(scope="module", autouse=True)
def _kernels_ready() -> None:
    canvas = Canvas.empty(2, 2)
    draw_triangles(canvas, WHOLE_SCREEN, ONE_TRIANGLE)
    trilinear(np.zeros((2, 2, 2)), np.zeros((1, 3)))
    voxels(np.zeros((2, 2, 2)), np.zeros((1, 3)))


def random_scene(seed: int, count: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """[3 * count, 3] points in space at depth 2 to 6, and [count, 3] triangles of them."""
    random = np.random.default_rng(seed)
    depth = random.uniform(2, 6, (3 * count, 1))
    return np.hstack([random.uniform(-1.2, 1.2, (3 * count, 2)) * depth, depth]), np.arange(
        3 * count
    ).reshape(-1, 3)


def to_screen(points: Floats, size: int) -> Floats:
    """The pinhole x / z, y / z with [-1, 1] on `size` pixels."""
    return np.column_stack([(points[:, :2] / points[:, 2:] + 1) / 2 * size, points[:, 2]])


def ray_through(x: int, y: int, size: int) -> Floats:
    """The direction, with depth 1, through the centre of a pixel."""
    return np.array([(x + 0.5) / size * 2 - 1, (y + 0.5) / size * 2 - 1, 1])


def ray_traced(points: Floats, triangles: npt.NDArray[np.int64], size: int) -> Canvas:
    """The same picture by one 3x3 equation a pixel and triangle: corners @ weights = ray."""
    canvas = Canvas.empty(size, size)
    for number, triangle in enumerate(triangles):
        corners = points[triangle]
        for y, x in np.ndindex(size, size):
            weights = np.linalg.solve(corners.T, ray_through(x, y, size))
            depth = 1 / weights.sum()
            if 0 < depth < canvas.depth[y, x] and (weights * corners[:, 2] >= -1e-6).all():
                canvas.depth[y, x], canvas.triangle[y, x] = depth, number
                canvas.barycentric[y, x] = weights * depth
    return canvas


# ---- triangles


@pytest.mark.parametrize(("seed", "count"), [(0, 1), (1, 1), (2, 2), (3, 7)])
def test_triangles_agree_with_ray_tracing(seed: int, count: int) -> None:
    points, triangles = random_scene(seed, count)
    expected = ray_traced(points, triangles, 20)
    canvas = Canvas.empty(20, 20)
    draw_triangles(canvas, to_screen(points, 20), triangles)
    assert (expected.triangle >= 0).sum() > 20
    np.testing.assert_array_equal(canvas.triangle, expected.triangle)
    np.testing.assert_allclose(canvas.depth, expected.depth, rtol=1e-9)  # float64 and a 3x3 solve
    np.testing.assert_allclose(canvas.barycentric, expected.barycentric, atol=1e-9)


def test_interpolated_points_lie_on_the_rays_of_their_pixels() -> None:
    points, triangles = random_scene(4, 1)
    canvas = Canvas.empty(24, 24)
    draw_triangles(canvas, to_screen(points, 24), triangles)
    rows, columns = np.nonzero(canvas.triangle == 0)
    assert len(rows) > 20
    for y, x in zip(rows, columns, strict=True):
        place = canvas.barycentric[y, x] @ points
        np.testing.assert_allclose(place, ray_through(x, y, 24) * canvas.depth[y, x], atol=1e-9)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_triangle_wins_in_either_order(order: list[int]) -> None:
    points = np.vstack([WHOLE_SCREEN, WHOLE_SCREEN - [0, 0, 1]])
    canvas = Canvas.empty(3, 4)
    draw_triangles(canvas, points, np.array([[0, 1, 2], [3, 4, 5]])[order])
    assert (canvas.triangle == order.index(1)).all()
    np.testing.assert_allclose(canvas.depth, 4)


def test_both_windings_are_drawn() -> None:
    canvas = Canvas.empty(3, 4)
    draw_triangles(canvas, WHOLE_SCREEN, ONE_TRIANGLE[:, ::-1])
    assert (canvas.triangle == 0).all()


@pytest.mark.parametrize(("edge", "columns"), [(2.5, 3), (2.4999, 2), (2.51, 3), (3.4999, 3)])
def test_a_pixel_is_covered_when_its_centre_is(edge: float, columns: int) -> None:
    canvas = Canvas.empty(1, 8)
    draw_triangles(canvas, np.array([[edge, -50.0, 1], [edge, 50, 1], [-50, 0, 1]]), ONE_TRIANGLE)
    np.testing.assert_array_equal(np.flatnonzero(canvas.triangle[0] == 0), np.arange(columns))


def test_neighbouring_triangles_leave_no_gap() -> None:
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[0:9, 0:9]
    grid = np.stack([columns, rows, np.full((9, 9), 2)], -1) * [4.0, 4, 1]
    grid[1:-1, 1:-1, :2] += random.uniform(-1, 1, (7, 7, 2))
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.vstack(
        [np.stack([corner, corner + 1, corner + 10], 1), np.stack([corner, corner + 10, corner + 9], 1)]
    )
    canvas = Canvas.empty(32, 32)
    draw_triangles(canvas, grid.reshape(-1, 3), triangles)
    assert (canvas.triangle >= 0).all()


def test_fragments_of_negative_clip_are_left_out() -> None:
    """A slanted triangle, cut where its depth in space (not what is half-way on the screen) is 3."""
    points = np.array([[-2.0, -1, 2], [-2, 1, 2], [3, 0, 5]])
    plain, clipped = Canvas.empty(48, 48), Canvas.empty(48, 48)
    draw_triangles(plain, to_screen(points, 48), ONE_TRIANGLE)
    draw_triangles(clipped, to_screen(points, 48), ONE_TRIANGLE, clip=points[:, 2] - 3)
    expected = (plain.triangle == 0) & (plain.depth >= 3)
    assert 10 < expected.sum() < (plain.triangle == 0).sum() - 10
    np.testing.assert_array_equal(clipped.triangle == 0, expected)


def test_a_clipped_fragment_does_not_hide_what_is_behind() -> None:
    points = np.vstack([WHOLE_SCREEN, WHOLE_SCREEN - [0, 0, 1]])
    canvas = Canvas.empty(3, 4)
    clip = np.array([1.0, 1, 1, -1, -1, -1])
    draw_triangles(canvas, points, np.array([[3, 4, 5], [0, 1, 2]]), clip=clip)
    assert (canvas.triangle == 1).all()


@pytest.mark.parametrize(
    "corners",
    [
        [[1, 1, 2], [3, 3, 2], [5, 5, 2]],  # no area
        [[2, 2, 2], [2, 2, 2], [2, 2, 2]],
        [[100, 0, 2], [200, 0, 2], [100, 90, 2]],  # right of the screen
        [[-9, -9, 2], [-2, -9, 2], [-9, -2, 2]],
        [[0, 0, 2], [8, 0, -1], [0, 8, 2]],  # reaches behind the camera
        [[0, 0, 0], [8, 0, 0], [0, 8, 0]],
        [[np.nan, 0, 2], [8, 0, 2], [0, 8, 2]],
        [[np.inf, 0, 2], [8, 0, 2], [0, 8, 2]],
        [[0, 0, np.nan], [8, 0, 2], [0, 8, 2]],
    ],
)
def test_triangles_that_cannot_be_seen_draw_nothing(corners: list[list[float]]) -> None:
    canvas = Canvas.empty(8, 8)
    draw_triangles(canvas, np.array(corners, float), ONE_TRIANGLE)
    assert (canvas.triangle == -1).all()
    assert np.isinf(canvas.depth).all()


def test_a_triangle_far_larger_than_the_screen_is_drawn() -> None:
    canvas = Canvas.empty(4, 4)
    draw_triangles(canvas, WHOLE_SCREEN * [1e12, 1e12, 1], ONE_TRIANGLE)
    assert (canvas.triangle == 0).all()


def test_wrong_shapes_and_indices_are_refused() -> None:
    canvas = Canvas.empty(4, 4)
    with pytest.raises(ValueError, match=r"points \(3, 2\): need \[V, 3\]"):
        draw_triangles(canvas, np.zeros((3, 2)), ONE_TRIANGLE)
    with pytest.raises(ValueError, match=r"index 3: each 0 to 2"):
        draw_triangles(canvas, WHOLE_SCREEN, np.array([[0, 1, 3]]))
    with pytest.raises(ValueError, match=r"index -1: each 0 to 2"):
        draw_triangles(canvas, WHOLE_SCREEN, np.array([[0, 1, -1]]))
    with pytest.raises(ValueError, match=r"clip \(2,\)"):
        draw_triangles(canvas, WHOLE_SCREEN, ONE_TRIANGLE, clip=np.ones(2))
    with pytest.raises(ValueError, match=r"points \(3, 2\): need \[..., 3\]"):
        normalized(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"volume \(0, 2, 2\)"):
        trilinear(np.zeros((0, 2, 2)), np.zeros((1, 3)))


def test_no_triangles_draw_nothing() -> None:
    canvas = Canvas.empty(4, 4)
    draw_triangles(canvas, np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert np.isinf(canvas.depth).all()


# ---- normals and lookups


def test_normals_of_a_sphere_are_its_points() -> None:
    """A latitude and longitude mesh; 48 x 96 facets bend by 4 degrees, their mean by much less."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 49), np.arange(96) / 96 * 2 * np.pi, indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    row, column = (a.ravel() for a in np.mgrid[0:48, 0:96])
    a, b = row * 96 + column, row * 96 + (column + 1) % 96
    triangles = np.vstack([np.stack([a, a + 96, b], 1), np.stack([b, a + 96, b + 96], 1)])
    normals = vertex_normals(points.reshape(-1, 3), triangles).reshape(49, 96, 3)
    np.testing.assert_allclose(normals[1:-1], points[1:-1], atol=0.03)


def test_normals_are_weighted_by_area() -> None:
    """At the corner of a triangle of area 1/2 (normal z) and one of 3/2 (normal x)."""
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]])
    normals = vertex_normals(points, np.array([[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(normals[0], np.array([3, 0, 1]) / np.sqrt(10))


def test_corners_of_a_cube_point_along_its_diagonals() -> None:
    points = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1, 1) for z in (-1, 1)])
    triangles = [
        face
        for axis in range(3)
        for side in (-1, 1)
        for four in [np.flatnonzero(points[:, axis] == side)]
        for face in ([four[0], four[1], four[3]], [four[0], four[3], four[2]], [four[0], four[1], four[2]],
                     [four[1], four[3], four[2]])
    ]  # each face by both of its diagonals, so that every corner has as much of it  # fmt: skip
    outward = [
        f if np.cross(*(points[f[1:]] - points[f[0]])) @ points[f].mean(0) > 0 else f[::-1] for f in triangles
    ]
    np.testing.assert_allclose(vertex_normals(points, np.array(outward)), points / np.sqrt(3), atol=1e-12)


def test_a_vertex_of_no_triangle_has_the_normal_0() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    np.testing.assert_array_equal(vertex_normals(points, ONE_TRIANGLE)[3], 0)


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 6, 7)])
def test_trilinear_agrees_with_scipy_on_a_wrapped_grid(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    volume, points = random.standard_normal(shape), random.uniform(-20, 20, (200, 3))
    expected = map_coordinates(volume, points.T, order=1, mode="grid-wrap")
    np.testing.assert_allclose(trilinear(volume, points), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6, 5), (1, 2, 3)])
def test_voxels_agrees_with_scipy_on_a_clamped_grid(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(1)
    grid, points = random.standard_normal(shape), random.uniform(-3, 8, (200, 3))
    expected = map_coordinates(grid, points.T, order=1, mode="nearest")
    np.testing.assert_allclose(voxels(grid, points), expected, atol=1e-12)


@pytest.mark.parametrize("lookup", [trilinear, voxels])
def test_lookups_hit_the_samples_and_keep_the_shape_of_points(lookup: Callable[..., Floats]) -> None:
    volume = np.random.default_rng(2).standard_normal((3, 4, 5))
    points = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    np.testing.assert_array_equal(lookup(volume, points), volume)


@pytest.mark.parametrize("lookup", [trilinear, voxels])
def test_lookups_at_nan_and_infinity_stay_inside(lookup: Callable[..., Floats]) -> None:
    volume = np.ones((3, 4, 5))
    values = lookup(volume, np.array([[np.nan, 0, 0], [1e300, 0, 0], [-1e300, 1, 1], [0, np.inf, 0]]))
    assert values.shape == (4,)  # the values are nobody's business; that memory was not left is


def test_normalized_has_length_one_and_keeps_zero() -> None:
    vectors = np.random.default_rng(3).standard_normal((4, 5, 3))
    vectors[2, 3] = 0
    unit = normalized(vectors)
    lengths = np.linalg.norm(unit, axis=-1)
    assert unit[2, 3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(np.delete(lengths.ravel(), 13), 1, rtol=1e-12)
    np.testing.assert_allclose(np.cross(unit, vectors), 0, atol=1e-12)


def test_missing_numba_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "facegan.people.raster")
    with pytest.raises(UsageError, match=r"extra people: pip install 'facegan\[people\]'"):
        importlib.import_module("facegan.people.raster")


def test_kernels_are_compiled_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: Any) -> Callable[[Any], Any]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr("facegan.people.raster.numba.njit", njit)
    assert compiled(abs)(-2) == 2
