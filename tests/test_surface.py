"""What pixels see: values between the corners of a triangle; the scene of a body and what it wears."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.head import Floats, Part, head
from facegan.people.person import Person
from facegan.people.raster import Canvas, draw_triangles
from facegan.people.scene import EXTRA, scene, worn_mesh
from facegan.people.shape import Posture, Shape, posture_of, shape_of
from facegan.people.skin import COLUMNS, WORN
from facegan.people.solids import Piece
from facegan.people.surface import Material, Mesh, Surface
from facegan.people.wear import pieces

pytestmark = pytest.mark.usefixtures("kernels")

PERSON = Person.sample(np.random.default_rng(1)).replace(
    hat="cap", glasses="round", clothes="v-neck", yaw_degrees=20, pitch_degrees=-5, body_yaw_degrees=-10
)


# ---- one triangle


def triangle_mesh() -> Mesh:
    """One triangle with random values at its corners."""
    random = np.random.default_rng(0)
    return Mesh(
        turned=random.normal(size=(3, 3)),
        normals=random.normal((0, 0, 3), 1.0, (3, 3)),
        rest=random.normal(size=(3, 3)),
        transfer=random.normal(size=(3, 9)),
        paint=random.normal(size=(3, COLUMNS)),
        triangles=np.array([[0, 1, 2]]),
        part=np.array([7]),
        uv=random.random((1, 3, 2)),
    )


def barycentric(corners: Floats, x: float, y: float) -> Floats:
    """Solved from sum(w) = 1, sum(w p) = (x, y), corrected for the perspective: w / depth, normalised."""
    flat = np.linalg.solve(np.vstack([corners[:, :2].T, np.ones(3)]), [x, y, 1])
    weights = flat / corners[:, 2]
    return np.asarray(weights / weights.sum())


@pytest.fixture(scope="module")
def seen_triangle() -> tuple[Mesh, Floats, Surface]:
    mesh, corners = triangle_mesh(), np.array([[1.2, 1.1, 4.0], [14.3, 3.2, 9.0], [5.1, 14.6, 6.0]])
    canvas = Canvas.empty(16, 16)
    draw_triangles(canvas, corners, mesh.triangles)
    return mesh, corners, Surface.seen(canvas, mesh)


def test_values_at_a_pixel_are_barycentric(seen_triangle: tuple[Mesh, Floats, Surface]) -> None:
    mesh, corners, surface = seen_triangle
    assert len(surface.rows) > 60
    for pixel in (0, 20, 47, len(surface.rows) - 1):
        weights = barycentric(corners, surface.columns[pixel] + 0.5, surface.rows[pixel] + 0.5)
        for name in ("turned", "rest", "transfer", "paint"):
            np.testing.assert_allclose(getattr(surface, name)[pixel], weights @ getattr(mesh, name))
        np.testing.assert_allclose(surface.uv[pixel], weights @ mesh.uv[0])
        mixed = weights @ mesh.normals
        np.testing.assert_allclose(surface.normals[pixel], mixed / np.linalg.norm(mixed))


def test_only_pixels_that_see_something_are_listed(seen_triangle: tuple[Mesh, Floats, Surface]) -> None:
    mesh, _, surface = seen_triangle
    assert (surface.part == 7).all()
    nothing = Surface.seen(Canvas.empty(8, 8), mesh)
    assert len(nothing.rows) == len(nothing.turned) == len(nothing.part) == 0


def test_material_of_a_surface_is_its_own_copy(seen_triangle: tuple[Mesh, Floats, Surface]) -> None:
    _, _, surface = seen_triangle
    material = Material.of(surface)
    np.testing.assert_array_equal(material.normals, surface.normals)
    material.normals[:] = 0
    assert (surface.normals != 0).any()


# ---- a person and what is worn

Dressed = tuple[Shape, Posture, list[Piece], Mesh, Floats]


@pytest.fixture(scope="module")
def dressed() -> Dressed:
    shape = shape_of(PERSON)
    posture, worn = posture_of(PERSON, shape), pieces(PERSON, shape)
    return shape, posture, worn, *scene(PERSON, shape, posture, worn)


def test_the_body_comes_first_and_pieces_follow_with_their_own_vertices(dressed: Dressed) -> None:
    shape, posture, worn, mesh, _ = dressed
    count = len(shape.vertices)
    np.testing.assert_array_equal(mesh.turned[:count], posture.points(shape.vertices))
    np.testing.assert_array_equal(mesh.rest[:count], head().vertices)
    np.testing.assert_array_equal(mesh.rest[count:], np.concatenate([piece.vertices for piece in worn]))
    assert len(mesh.turned) == count + sum(len(piece.vertices) for piece in worn)


def test_parts_of_pieces_are_numbered_behind_those_of_the_body(dressed: Dressed) -> None:
    _, _, worn, mesh, _ = dressed
    assert len(worn) >= 3
    numbers, counts = np.unique(mesh.part[mesh.part >= EXTRA], return_counts=True)
    assert list(numbers) == [EXTRA + n for n in range(len(worn))]
    assert list(counts) == [len(piece.triangles) for piece in worn]
    assert not np.isin(mesh.part, [Part.HAIR_HULL, Part.LEFT_UPPER_LASHES, Part.RIGHT_LOWER_LASHES]).any()
    assert max(Part) < EXTRA


def test_triangles_of_a_piece_join_its_own_vertices(dressed: Dressed) -> None:
    _, _, worn, mesh, _ = dressed
    for number, piece in enumerate(worn):
        corners = mesh.rest[mesh.triangles[mesh.part == EXTRA + number]]
        np.testing.assert_array_equal(corners, piece.vertices[piece.triangles])
        colours = mesh.paint[mesh.triangles[mesh.part == EXTRA + number]][..., :WORN]
        np.testing.assert_array_equal(colours, piece.colours[piece.triangles])


def test_only_clothes_have_holes(dressed: Dressed) -> None:
    shape, _, _, mesh, holes = dressed
    assert holes.shape == (len(mesh.turned),)
    cut = np.flatnonzero(holes < 0)
    assert len(cut) > 10
    assert np.isin(cut, head().part_vertices(Part.CLOTHES)).all()
    assert (holes[len(shape.vertices) :] > 0).all()


def test_without_anything_worn_there_is_the_body_alone() -> None:
    shape = shape_of(PERSON)
    mesh, holes = scene(PERSON, shape, posture_of(PERSON, shape), [])
    assert len(mesh.turned) == len(holes) == len(shape.vertices)
    assert mesh.part.max() < EXTRA


def test_what_is_on_the_head_turns_with_it_and_a_collar_with_the_body(dressed: Dressed) -> None:
    _, posture, worn, _, _ = dressed
    turns = {"head": posture.head, "body": posture.body}
    assert {piece.turns for piece in worn} >= {"head"}
    for piece in worn:
        if piece.turns in turns:
            rigid = (piece.vertices - posture.pivot) @ turns[piece.turns].T + posture.pivot
            np.testing.assert_allclose(worn_mesh(piece, posture, EXTRA).turned, rigid, atol=1e-12)
