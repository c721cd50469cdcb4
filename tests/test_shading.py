"""Shading: the kernel against the formulas written out with arrays, and what skin does to light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facegan.people.camera import Camera, Crop
from facegan.people.head import Floats
from facegan.people.light import CONVOLUTION, Lamps, ShadowMap, harmonics, unshadowed
from facegan.people.raster import normalized
from facegan.people.shading import SCATTER_SHARE, WRAP, lit, scattered
from facegan.people.surface import Material, Surface

pytestmark = pytest.mark.usefixtures("kernels")

CAMERA = np.array([0.3, 0.2, 12.0])
LAMPS = Lamps(normalized([[0.3, 0.5, 0.8], [-0.8, 0.1, 0.6]]), np.array([[1.5, 1.3, 1.0], [0.2, 0.3, 0.4]]))
SKY = np.random.default_rng(1).normal(0, 0.1, (9, 3))
SKY[0] = (1.4, 1.5, 1.7)


def patch(count: int = 200, scatter: float = 1.0) -> tuple[Surface, Material]:
    """Points on a plane before the camera with random normals towards it."""
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(-1, 1, (count, 2)), np.zeros((count, 1))], axis=1)
    normals = normalized(random.normal((0, 0, 1), 0.6, (count, 3)))
    rows = np.arange(count)
    surface = Surface(
        rows=rows, columns=rows, turned=points, normals=normals, rest=points,
        transfer=unshadowed(normals), paint=np.zeros((count, 3)), part=np.zeros(count, np.intp),
        uv=np.zeros((count, 2)),
    )  # fmt: skip
    material = Material.of(surface)
    material.scatter[:], material.roughness[:], material.specular[:] = scatter, 0.45, 0.03
    return surface, material


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    """The kernel for these arrays: its time is no single test's."""
    light_on(*patch(4))


def nothing_in_the_way() -> ShadowMap:
    return ShadowMap.of(np.zeros((3, 3)), np.zeros((0, 3), np.intp), LAMPS.directions[0], np.zeros(3))


def light_on(
    surface: Surface, material: Material, lamps: Lamps = LAMPS, sky: Floats = SKY
) -> tuple[Floats, Floats]:
    return lit(surface, material, surface.transfer, lamps, sky, nothing_in_the_way(), None, CAMERA, 0.5)


def reference(surface: Surface, material: Material) -> tuple[Floats, Floats]:
    """The same in arrays: a wrapped cosine per lamp, two GGX lobes with Smith's term, the mirrored sky."""
    normals, view = material.normals, normalized(CAMERA - surface.turned)
    facing = np.clip((normals * view).sum(axis=1), 0.02, 1)
    openness = np.clip(surface.transfer[:, 0] / 0.282, 0, 1)
    diffuse = np.maximum(surface.transfer @ SKY, 0)
    gloss = np.zeros_like(diffuse)
    for number, (direction, colour) in enumerate(zip(LAMPS.directions, LAMPS.colours, strict=True)):
        light = np.minimum(1, 0.5 + openness) if number == 0 else 0.25 + 0.75 * openness
        cosine = normals @ direction
        wrap = material.scatter[:, None] * WRAP
        spread = np.clip((cosine[:, None] + wrap) / (1 + wrap), 0, None)
        through = np.stack([light ** (1 - 0.2 * material.scatter), light, light], axis=1)
        diffuse += colour * spread * (1 - wrap + wrap * spread) * through
        half = normalized(view + direction)
        across = ((normals * half).sum(axis=1)) ** 2
        lobes = np.zeros(len(normals))
        for share, sharpness in ((0.88, 1.0), (0.12, 0.7)):
            alpha = (material.roughness * sharpness) ** 2
            lobes += share * alpha**2 / (across * (alpha**2 - 1) + 1) ** 2
        k = material.roughness**2 / 2
        smith = 1 / (4 * (cosine * (1 - k) + k) * (facing * (1 - k) + k))
        base = material.specular
        fresnel = base + (1 - base) * (1 - facing) ** 5 * np.sqrt(1 - np.minimum(across, 1))
        gloss += colour * np.where(cosine > 0, lobes * fresnel * smith * cosine * light, 0)[:, None]
    mirrored = 2 * facing[:, None] * normals - view
    seen = np.maximum(harmonics(mirrored) * np.array([1, *[0.85] * 3, *[0.55] * 5]) @ SKY, 0)
    fresnel = material.specular + (1 - material.specular) * 0.35 * (1 - facing) ** 4
    return diffuse, gloss + seen * (fresnel * (1 - 0.55 * material.roughness) * openness)[:, None]


@pytest.mark.parametrize("scatter", [0.0, 1.0])
def test_the_kernel_equals_the_formulas(scatter: float) -> None:
    surface, material = patch(scatter=scatter)
    for fast, slow in zip(light_on(surface, material), reference(surface, material), strict=True):
        assert np.abs(fast - slow).max() < 2e-4  # the kernel's harmonics have four digits
        assert slow.max() > 0.05


def test_white_cloth_that_faces_a_lamp_of_one_sends_back_one() -> None:
    surface, material = patch(scatter=0.0)
    lamp = Lamps(np.array([[0.0, 0, 1]]), np.ones((1, 3)))
    facing = replace(surface, normals=np.tile([0.0, 0, 1], (len(surface.rows), 1)))
    material.normals[:] = (0, 0, 1)
    diffuse, _ = light_on(facing, material, lamp, np.zeros((9, 3)))
    assert np.allclose(diffuse, 1)


def test_light_creeps_further_round_skin_in_red_than_in_blue() -> None:
    surface, material = patch()
    material.normals[:] = (-1, 0, 0.0)
    lamp = Lamps(normalized([[0.1, 0, 1.0]]), np.ones((1, 3)))
    diffuse, _ = light_on(surface, material, lamp, np.zeros((9, 3)))
    assert (diffuse[:, 0] > 1.5 * diffuse[:, 2]).all()
    material.scatter[:] = 0
    assert light_on(surface, material, lamp, np.zeros((9, 3)))[0].max() == 0


def test_a_uniform_sky_lights_every_open_surface_alike() -> None:
    surface, material = patch(scatter=0.0)
    sky = np.zeros((9, 3))
    sky[0] = 1 / 0.282095  # radiance 1 everywhere
    dark = Lamps(LAMPS.directions, np.zeros((2, 3)))
    assert np.allclose(light_on(surface, material, dark, sky)[0], 1, atol=1e-5)
    assert CONVOLUTION[0] == 1


def square(side: int = 40) -> tuple[Surface, Material, Camera]:
    rows, columns = (axis.ravel() for axis in np.mgrid[5 : 5 + side, 3 : 3 + side])
    surface, _ = patch(len(rows))
    surface = replace(surface, rows=rows, columns=columns)
    material = Material.of(surface)
    material.scatter[:] = 1
    camera = Camera(np.zeros(3), 10.0, Crop(np.zeros(2), np.array([0.05, 0.0]), 100))
    return surface, material, camera


def test_scattering_keeps_even_light_and_spreads_an_edge_most_in_red() -> None:
    surface, material, camera = square()
    even = np.full((len(surface.rows), 3), 0.7)
    assert np.allclose(scattered(even, surface, material, camera, 10.0), 0.7, atol=1e-5)
    edge = np.repeat((surface.columns < 23)[:, None], 3, axis=1).astype(float)
    result = scattered(edge, surface, material, camera, 10.0)
    dark = surface.columns == 23
    assert (result[dark, 0] > 1.1 * result[dark, 2]).all()
    assert (result[dark, 2] > 0.05).all()
    assert result.max() <= 1 + 1e-6
    assert np.abs(result - edge).max() <= SCATTER_SHARE


def test_cloth_does_not_scatter() -> None:
    surface, material, camera = square()
    material.scatter[:] = 0
    edge = np.repeat((surface.columns < 23)[:, None], 3, axis=1).astype(float)
    assert (scattered(edge, surface, material, camera, 10.0) == edge).all()
