"""Light: harmonics against their definition, ambient light against brute force, shadows where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.head import Part, head
from facegan.people.light import (
    ShadowMap,
    ambient,
    harmonics,
    lamps_of,
    sphere,
    surroundings,
    unshadowed,
    warmth,
)
from facegan.people.person import Person
from facegan.people.raster import vertex_normals

pytestmark = pytest.mark.usefixtures("kernels")

PERSON = Person.sample(np.random.default_rng(0))
GREY = np.full((8, 8, 3), 0.3)


def test_harmonics_are_orthonormal_on_the_sphere() -> None:
    values = harmonics(sphere(20_000))
    products = values.T @ values * 4 * np.pi / 20_000
    assert np.abs(products - np.eye(9)).max() < 1e-3  # the sum is a quadrature of 20,000 points


def test_sphere_gives_unit_directions_without_a_preference() -> None:
    directions = sphere(500)
    assert np.allclose((directions**2).sum(axis=1), 1)
    assert np.abs(directions.mean(axis=0)).max() < 5e-3


def test_transfer_of_an_open_surface_is_the_integral_of_the_cosine() -> None:
    directions, normal = sphere(20_000), np.array([0.6, 0.0, 0.8])
    cosine = np.clip(directions @ normal, 0, 1)
    expected = 4 * np.pi / 20_000 * (cosine / np.pi) @ harmonics(directions)
    assert np.abs(unshadowed(normal) - expected).max() < 2e-3


def test_stored_transfer_of_the_top_of_the_head_is_that_of_an_open_surface() -> None:
    skin = head().part_vertices(Part.SKIN)
    top = skin[head().vertices[skin, 1].argmax()]
    normals = vertex_normals(head().vertices, head().triangles)
    assert (
        np.abs(head().ambient_transfer[top] - unshadowed(normals[top])).max() < 0.04
    )  # hair helper's normals too


def test_nostrils_and_throat_see_less_of_the_sky_than_the_forehead() -> None:
    rest, openness = head().vertices, head().ambient_transfer[:, 0]
    skin = head().part_vertices(Part.SKIN)

    def near(place: tuple[float, float, float]) -> float:
        return float(openness[skin[((rest[skin] - place) ** 2).sum(axis=1).argmin()]])

    forehead, throat, nostril = near((0, 7.8, 1.3)), near((0, 6.1, 0.9)), near((-0.082, 6.828, 1.533))
    assert throat < 0.8 * forehead
    assert nostril < 0.8 * forehead


def test_the_key_lamp_stands_where_the_person_says() -> None:
    person = PERSON.replace(light_azimuth_degrees=90, light_elevation_degrees=0)
    assert np.allclose(lamps_of(person).directions[0], (1, 0, 0), atol=1e-9)
    person = PERSON.replace(light_azimuth_degrees=0, light_elevation_degrees=90)
    assert np.allclose(lamps_of(person).directions[0], (0, 1, 0), atol=1e-9)


def test_soft_light_comes_from_the_surroundings_and_hard_light_from_the_lamp() -> None:
    soft, hard = PERSON.replace(light_hardness=0), PERSON.replace(light_hardness=1)
    assert lamps_of(soft).colours[0].sum() < 0.5 * lamps_of(hard).colours[0].sum()
    assert surroundings(soft, GREY).mean() > 2 * surroundings(hard, GREY).mean()


def test_surroundings_turn_against_the_head() -> None:
    turned = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    normal = np.array([0.0, 0.6, 0.8])
    radiance = surroundings(PERSON, GREY)
    own = unshadowed(normal) @ ambient(radiance, turned)
    upright = unshadowed(turned @ normal) @ ambient(radiance, np.eye(3))
    assert np.allclose(own, upright, rtol=1e-3)


def test_warm_light_is_redder_than_cold_light() -> None:
    warm, cold = warmth(1.0), warmth(-1.0)
    assert warm[0] / warm[2] > 1 > cold[0] / cold[2]


@pytest.fixture(scope="module")
def plate() -> ShadowMap:
    """A plate of 2 x 2 dm at height 1, seen by a lamp overhead."""
    vertices = np.array([[-1.0, 1, -1], [1, 1, -1], [1, 1, 1], [-1, 1, 1]])
    return ShadowMap.of(vertices, np.array([[0, 1, 2], [0, 2, 3]]), np.array([0.0, 1, 0]), np.zeros(3))


def test_what_is_below_a_plate_is_dark_and_what_is_beside_or_above_it_is_lit(plate: ShadowMap) -> None:
    points = np.array([[0.0, 0, 0], [0.5, 0.5, -0.5], [1.6, 0, 0], [0, 1.5, 0], [0, 1.0, 0]])
    assert np.allclose(plate.light(points, 0.0), [0, 0, 1, 1, 1])


def test_the_edge_of_a_soft_shadow_is_half_lit(plate: ShadowMap) -> None:
    edge = np.array([[1.0, 0, 0]])
    assert 0.2 < plate.light(edge, 0.2)[0] < 0.8
