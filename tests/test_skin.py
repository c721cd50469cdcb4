"""Skin: tones in order, lips and make-up where they belong, and each change changes what it should."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.atlas import looked_up
from facegan.people.head import Floats, Indices, Part, head
from facegan.people.person import Person
from facegan.people.skin import COLUMNS, TONES, Paint, paint_skin, tone_colour, vertex_paint
from facegan.people.surface import Material, Surface

pytestmark = pytest.mark.usefixtures("kernels")

PIXEL = 0.1  # dm: too coarse for pores
PLAIN = Person.sample(np.random.default_rng(0)).replace(
    age_years=25.0, gender=0.0, beard="none", beard_length=0.5, hair_style="bald", hat="none", makeup=0.0,
    freckles=0.0, blemishes=0.0, redness=0.3, yellowness=0.0, skin_tone=2.0, greying_years=150.0,
    lipstick=(0.4, 0.08, 0.1),
)  # fmt: skip
MAN = PLAIN.replace(gender=1.0)


def skin_vertices() -> Indices:
    return head().part_vertices(Part.SKIN)


@pytest.fixture(scope="module")
def texture_points() -> Floats:
    """One texture point [N, 2] of each skin vertex."""
    skin = head().parts == Part.SKIN
    corners, uv = head().triangles[skin].ravel(), head().uv[skin].reshape(-1, 2)
    first = np.unique(corners, return_index=True)[1]
    return np.asarray(uv[first])


@pytest.fixture(scope="module")
def regions(texture_points: Floats) -> dict[str, np.ndarray]:
    """Which skin vertices [N] are in a region of the face."""
    x, y, z = head().vertices[skin_vertices()].T
    x, lips = abs(x), looked_up(texture_points)["lips"]
    return {
        "lips": lips > 0.99,
        "forehead": (x < 0.3) & (abs(y - 7.8) < 0.15) & (z > 1.2),
        "cheeks": (abs(x - 0.42) < 0.12) & (abs(y - 6.98) < 0.1) & (z > 1.0),
        "chin": (x < 0.15) & (abs(y - 6.3) < 0.1) & (z > 1.2),
        "eyelids": (abs(x - 0.31) < 0.1) & (abs(y - 7.37) < 0.04) & (z > 1.2),
        "below the eyes": (abs(x - 0.31) < 0.1) & (abs(y - 7.14) < 0.05) & (z > 1.0),
        "nose": (x < 0.12) & (abs(y - 6.95) < 0.1) & (z > 1.4),
        "back": z < -0.3,
    }


@pytest.fixture(scope="module")
def bare_surface(texture_points: Floats) -> Surface:
    """A pixel on each skin vertex, without paint."""
    skin = skin_vertices()
    rest, count = head().vertices[skin], len(skin)
    return Surface(
        rows=np.arange(count), columns=np.arange(count), turned=rest, normals=rest, rest=rest,
        transfer=np.zeros((count, 9)), paint=np.zeros((count, COLUMNS)), part=np.zeros(count, np.intp),
        uv=texture_points,
    )  # fmt: skip


class Skin:
    """Paints the skin of a person at all skin vertices."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface

    def __call__(self, person: Person, pixel: float = PIXEL) -> tuple[Material, Floats]:
        """The material, and the slope [N, 3]."""
        paint = vertex_paint(person)[skin_vertices()]
        surface = Surface(**{**vars(self.surface), "paint": paint})
        material = Material.of(surface)
        return material, paint_skin(person, surface, material, np.ones(len(paint), bool), pixel)

    def albedo(self, person: Person) -> Floats:
        return self(person)[0].albedo


@pytest.fixture(scope="module")
def skin(bare_surface: Surface) -> Skin:
    return Skin(bare_surface)


@pytest.fixture(scope="module")
def plain(skin: Skin) -> Floats:
    """The albedo [N, 3] of PLAIN."""
    return skin.albedo(PLAIN)


Regions = dict[str, np.ndarray]

# ---- tone


@pytest.mark.parametrize("tone", range(7))
def test_a_whole_tone_is_the_tables(tone: int) -> None:
    np.testing.assert_allclose(tone_colour(PLAIN.replace(skin_tone=float(tone))), TONES[tone])


def test_a_tone_between_two_is_their_mean() -> None:
    np.testing.assert_allclose(tone_colour(PLAIN.replace(skin_tone=2.5)), (TONES[2] + TONES[3]) / 2)


def test_yellow_skin_has_less_blue_and_hardly_less_green() -> None:
    """2 % of green, 13 % of blue."""
    ratio = tone_colour(PLAIN.replace(yellowness=1.0)) / tone_colour(PLAIN)
    np.testing.assert_allclose(ratio, [1, 0.98, 0.87])


def test_skin_gets_darker_with_every_half_tone(skin: Skin, regions: Regions) -> None:
    means = [
        skin.albedo(PLAIN.replace(skin_tone=tone))[regions["forehead"]].mean(axis=0)
        for tone in np.arange(0, 6.1, 0.5)
    ]
    assert (np.diff(means, axis=0) < 0).all()


@pytest.mark.parametrize("tone", [0.0, 3.0, 6.0])
def test_lips_are_redder_than_cheeks(skin: Skin, regions: Regions, tone: float) -> None:
    albedo = skin.albedo(PLAIN.replace(skin_tone=tone))
    lips, cheeks = (albedo[regions[name]].mean(axis=0) for name in ("lips", "cheeks"))
    assert lips[0] / lips[1] > 1.1 * cheeks[0] / cheeks[1]


def test_the_mean_of_the_face_is_near_the_tone(plain: Floats, regions: Regions) -> None:
    """Freckles, blood and noise lie about the tone: within a fifth of it on the forehead."""
    ratio = plain[regions["forehead"]].mean(axis=0) / tone_colour(PLAIN)
    assert ((ratio > 0.8) & (ratio < 1.2)).all()


@pytest.mark.parametrize("tone", [0.0, 6.0])
def test_albedo_is_within_what_surfaces_have(skin: Skin, tone: float) -> None:
    person = MAN.replace(
        skin_tone=tone, redness=1.0, freckles=1.0, blemishes=1.0, makeup=1.0, age_years=90.0, beard="beard"
    )
    material, slope = skin(person, 0.005)
    assert 0 < material.albedo.min() <= material.albedo.max() < 1
    assert 0.2 < material.roughness.min() <= material.roughness.max() < 0.8
    assert np.isfinite(slope).all()
    assert (material.scatter == 1).all()


# ---- one change at a time


def test_make_up_colours_lips_lids_and_cheeks_but_not_the_forehead(
    skin: Skin, plain: Floats, regions: Regions
) -> None:
    change = np.abs(skin.albedo(PLAIN.replace(makeup=1.0)) / plain - 1)
    for name in ("lips", "eyelids", "cheeks"):
        assert change[regions[name]].max() > 0.05, name
    for name in ("forehead", "chin", "back"):
        assert change[regions[name]].max() < 1e-3, name


def test_lipstick_shows_only_with_make_up(skin: Skin, plain: Floats, regions: Regions) -> None:
    blue = {"lipstick": (0.05, 0.05, 0.5)}
    np.testing.assert_array_equal(skin.albedo(PLAIN.replace(**blue)), plain)
    painted = skin.albedo(PLAIN.replace(makeup=1.0, **blue))[regions["lips"]].mean(axis=0)
    assert painted[2] > painted[0]


def test_redness_reddens_cheeks_and_nose_but_not_the_back_of_the_head(
    skin: Skin, plain: Floats, regions: Regions
) -> None:
    ratio = skin.albedo(PLAIN.replace(redness=1.0)) / plain
    for name in ("cheeks", "nose"):
        red, green, _ = ratio[regions[name]].mean(axis=0)
        assert green < 0.95 * red, name
    np.testing.assert_allclose(ratio[regions["back"]], 1, atol=0.02)


def test_freckles_only_darken_and_most_about_the_nose(skin: Skin, plain: Floats, regions: Regions) -> None:
    ratio = (skin.albedo(PLAIN.replace(freckles=1.0)) / plain).mean(axis=1)
    assert ratio.max() <= 1 + 1e-12
    assert 1 - ratio[regions["cheeks"] | regions["nose"]].mean() > 2 * (1 - ratio[regions["back"]].mean())


def test_blemishes_are_few_red_spots(skin: Skin, plain: Floats) -> None:
    """Grains beyond 2.3 deviations: of a normal distribution 1.1 %, fewer between the samples."""
    ratio = skin.albedo(PLAIN.replace(blemishes=1.0)) / plain
    spots = np.abs(ratio - 1).max(axis=1) > 1e-9
    assert 0 < spots.mean() < 0.015
    assert (ratio[spots, 1] <= ratio[spots, 0]).all()
    assert ratio.max() <= 1 + 1e-12


def test_nothing_ages_before_thirty(skin: Skin, regions: Regions) -> None:
    (young, young_slope), (adult, adult_slope) = (skin(PLAIN.replace(age_years=age)) for age in (18.0, 30.0))
    np.testing.assert_array_equal(young_slope, adult_slope)
    assert np.abs(young_slope).max() == 0
    np.testing.assert_allclose(young.albedo, adult.albedo, atol=1e-9)  # the share of grey hairs grows


def test_age_brings_folds_spots_and_dark_rings_and_changes_nothing_else(
    skin: Skin, plain: Floats, regions: Regions
) -> None:
    material, slope = skin(PLAIN.replace(age_years=90.0))
    ratio = (material.albedo / plain).mean(axis=1)
    assert ratio[regions["below the eyes"]].mean() < 0.95
    assert np.median(ratio[regions["forehead"]]) == pytest.approx(1, abs=0.01)
    assert np.abs(slope[regions["forehead"]]).max() > 0.1
    assert np.abs(slope[regions["nose"]]).max() < 0.02
    assert (slope[:, 2] == 0).all()


@pytest.mark.parametrize("hair", [(0.016, 0.013, 0.012), (0.46, 0.33, 0.17)], ids=["black", "blond"])
@pytest.mark.parametrize("tone", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("grey", [18.0, 150.0])
def test_stubble_never_glows(skin: Skin, hair: tuple[float, float, float], tone: float, grey: float) -> None:
    """It may be lighter than the skin below it, but by no more than a tenth (skin.py)."""
    person = MAN.replace(hair_colour=hair, skin_tone=tone, greying_years=grey, age_years=60.0)
    shaven, stubble = (skin.albedo(person.replace(beard=kind)).mean(axis=1) for kind in ("none", "stubble"))
    assert (stubble <= 1.1 * shaven).all()


def test_stubble_is_on_the_chin_and_not_on_forehead_and_lips(skin: Skin, regions: Regions) -> None:
    person = MAN.replace(hair_colour=(0.016, 0.013, 0.012))
    ratio = (skin.albedo(person.replace(beard="stubble")) / skin.albedo(person)).mean(axis=1)
    assert ratio[regions["chin"]].mean() < 0.9
    assert ratio[regions["forehead"]].min() == 1
    assert ratio[regions["lips"]].min() > 0.99


def test_stubble_shows_whoever_has_it(skin: Skin, plain: Floats) -> None:
    """`beard` is a field of its own; only the population keeps it from women."""
    assert np.abs(skin.albedo(PLAIN.replace(beard="stubble")) - plain).max() > 0.01


def test_the_scalp_below_hair_is_darker_than_a_bald_one(skin: Skin, plain: Floats) -> None:
    x, y, z = head().vertices[skin_vertices()].T
    crown = (y > 8.1) & (abs(x) < 0.4) & (z < 0.6)
    haired = skin.albedo(PLAIN.replace(hair_style="short", hair_colour=(0.016, 0.013, 0.012)))
    assert haired[crown].mean() < 0.7 * plain[crown].mean()


def test_pores_show_only_where_a_pixel_is_finer_than_they_are(skin: Skin) -> None:
    """A pore of 0.022 dm begins to show at 1.6 pixels a pore; three pores' waves at 0.04 dm."""
    assert np.abs(skin(PLAIN, 0.05)[1]).max() == 0
    assert np.abs(skin(PLAIN, 0.005)[1]).max() > 0.05


def test_the_skin_of_another_seed_differs_in_detail_and_not_in_tone(
    skin: Skin, plain: Floats, regions: Regions
) -> None:
    other = skin.albedo(PLAIN.replace(seed=PLAIN.seed + 1))
    assert (other != plain).any(axis=1).mean() > 0.9
    assert other[regions["forehead"]].mean() == pytest.approx(plain[regions["forehead"]].mean(), rel=0.15)


# ---- what is worked out at vertices


def test_only_skin_is_painted() -> None:
    paint = vertex_paint(PLAIN.replace(makeup=1.0, freckles=1.0))
    assert paint.shape == (len(head().vertices), COLUMNS)
    skin = np.zeros(len(paint), bool)
    skin[skin_vertices()] = True
    used_by_others = np.unique(head().triangles[head().parts != Part.SKIN])
    assert (paint[np.setdiff1d(used_by_others, skin_vertices())] == 0).all()
    assert (paint[skin][:, Paint.BLUSH] > 0.5).any()
    assert (paint[:, : Paint.BLOOD] == 0).all()  # the columns of what is worn
