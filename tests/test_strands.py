"""Hairs: coverage by area, nearest first, hidden behind surfaces, shaded by their own density."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.head import Floats
from facegan.people.light import Lamps, ShadowMap
from facegan.people.strands import StrandLight, Strands, Thicket, blend_strands

pytestmark = pytest.mark.usefixtures("kernels")

SIZE = 32
WHITE = Lamps(np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 1.0, 1.0]]))
FAR_AWAY = np.full((SIZE, SIZE), np.inf)


@pytest.fixture(scope="module")
def light() -> StrandLight:
    """One lamp at the camera, nothing in the way, and a sky of nothing."""
    open_map = ShadowMap.of(
        np.zeros((3, 3)), np.zeros((0, 3), np.intp), np.array([0.0, 0.0, 1.0]), np.zeros(3)
    )
    return StrandLight(
        WHITE, np.zeros((9, 3)), open_map, None, np.array([0.0, 0, 100]), np.array([0.0, 0, -5])
    )


def hair(
    start: tuple[float, float], end: tuple[float, float], *, depth: float = 5.0, steps: int = 2
) -> Floats:
    """One straight hair [1, M, 3] between two pixels at one depth."""
    share = np.linspace(0, 1, steps)[:, None]
    flat = np.array(start) * (1 - share) + np.array(end) * share
    return np.concatenate([flat, np.full((steps, 1), depth)], axis=1)[None]


def covered(light: StrandLight, *hairs: Floats, half_width: float = 0.5, opacity: float = 1.0) -> Floats:
    """How much of a white picture [SIZE, SIZE] black hairs hide."""
    picture = np.ones((SIZE, SIZE, 3))
    strands = [Strands(seen, np.array([half_width]), np.zeros((1, 3)), opacity, gloss=0.0) for seen in hairs]
    blend_strands(picture, FAR_AWAY, strands, list(hairs), list(hairs), 1.0, light)
    return 1 - picture[..., 0]


def test_a_hair_of_one_pixel_on_a_row_covers_that_row(light: StrandLight) -> None:
    cover = covered(
        light, hair((4.0, 10.5), (20.0, 10.5)), half_width=0.5 / 0.8125
    )  # the middle's taper undone
    assert np.allclose(cover[10, 4:20], 1)
    assert cover.sum() == pytest.approx(16)


@pytest.mark.parametrize("angle", [0, 17, 45, 68, 90, 135])
def test_the_covered_area_is_length_times_width_at_any_angle(light: StrandLight, angle: float) -> None:
    turn = np.radians(angle)
    end = (16 + 10 * np.cos(turn), 16 + 10 * np.sin(turn))
    cover = covered(light, hair((16.0, 16.0), end), half_width=0.15)
    width = 2 * 0.15 * (1 - 0.75 * 0.25)  # raster's taper, in the middle of the only segment
    assert cover.sum() == pytest.approx(10 * width, rel=1e-9)


def test_many_segments_cover_as_much_as_one(light: StrandLight) -> None:
    long, short = hair((3.0, 7.2), (29.0, 21.9)), hair((3.0, 7.2), (29.0, 21.9), steps=14)
    one = covered(light, long, half_width=0.2).sum()
    widths = np.mean([1 - 0.75 * ((k + 0.5) / 13) ** 2 for k in range(13)]) / (1 - 0.75 * 0.25)
    assert covered(light, short, half_width=0.2).sum() == pytest.approx(one * widths, rel=1e-6)


def test_a_half_opaque_hair_hides_half(light: StrandLight) -> None:
    line = hair((4.0, 10.5), (20.0, 10.5))
    assert covered(light, line, opacity=0.5).sum() == pytest.approx(0.5 * covered(light, line).sum())


def test_the_nearer_hair_is_seen_whichever_comes_first(light: StrandLight) -> None:
    for order in (0, 1):
        picture = np.zeros((SIZE, SIZE, 3))
        near, far = hair((4, 10.5), (20, 10.5), depth=4), hair((4, 10.5), (20, 10.5), depth=6)
        red, green = np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]])
        pair = [(near, red), (far, green)][:: 1 if order == 0 else -1]
        strands = [Strands(points, np.array([1.0]), colour, gloss=0.0) for points, colour in pair]
        points = [points for points, _ in pair]
        blend_strands(picture, FAR_AWAY, strands, points, points, 1.0, light)
        assert picture[10, 10, 0] > 0.3
        assert picture[10, 10, 1] == 0


def test_a_hair_behind_a_surface_is_not_seen(light: StrandLight) -> None:
    picture, line = np.ones((SIZE, SIZE, 3)), hair((4.0, 10.5), (20.0, 10.5), depth=5)
    depth = np.full((SIZE, SIZE), np.inf)
    depth[:, 10:] = 4.0
    blend_strands(
        picture, depth, [Strands(line, np.array([1.0]), np.zeros((1, 3)))], [line], [line], 1.0, light
    )
    assert (picture[:, 10:] == 1).all()
    assert (picture[10, 5:9] < 1).all()


def test_hairs_outside_the_picture_and_behind_the_camera_do_no_harm(light: StrandLight) -> None:
    for line in (hair((-50, 5), (-5, 5)), hair((5, -90), (9, 900)), hair((5, 5), (9, 9), depth=-1)):
        assert np.isfinite(covered(light, line)).all()
    assert covered(light, hair((5, 5), (9, 9), depth=-1)).sum() == 0


def test_no_hair_changes_nothing(light: StrandLight) -> None:
    picture = np.ones((SIZE, SIZE, 3))
    blend_strands(picture, FAR_AWAY, [], [], [], 1.0, light)
    assert (picture == 1).all()


@pytest.fixture(scope="module")
def bush() -> Thicket:
    """A dense cube of hair of side 1 dm around the origin, the lamp in front of it (+z)."""
    roots = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 1, 3))
    points = np.concatenate([roots, roots + np.array([0, 0.05, 0])], axis=1)
    frame = ShadowMap.of(np.zeros((3, 3)), np.zeros((0, 3), np.intp), np.array([0.0, 0.0, 1.0]), np.zeros(3))
    thicket = Thicket.of([points], [np.full(4000, 0.008)], frame)
    assert thicket is not None
    return thicket


def test_light_dims_exponentially_on_its_way_through_hair(bush: Thicket) -> None:
    points = np.array([[0, 0, 1.5], [0, 0, 0.0], [0, 0, -1.5], [2.0, 0, 0]])
    before, within, behind, beside = bush.lamp_light(points, 1.0)
    assert before == pytest.approx(1, abs=1e-6)
    assert beside == pytest.approx(1, abs=1e-6)
    # 4,000 hairs of 0.05 dm, 0.0208 dm wide as counted, on 1 dm^2
    assert -np.log(behind) == pytest.approx(4000 * 0.05 * 0.008 * 1.3, rel=0.15)
    assert behind < within < before


def test_the_sky_is_dimmer_inside_hair_than_outside(bush: Thicket) -> None:
    inside, outside = bush.open_sky(np.array([[0.0, 0, 0], [2.2, 0, 0]]), 1.0)
    assert inside < 0.9 * outside


def test_nobody_has_a_thicket_without_hair() -> None:
    frame = ShadowMap.of(np.zeros((3, 3)), np.zeros((0, 3), np.intp), np.array([0.0, 0.0, 1.0]), np.zeros(3))
    assert Thicket.of([], [], frame) is None
