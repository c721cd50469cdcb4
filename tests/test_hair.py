"""Hair stays out of the head and the face, is the same in every picture, and looks as the person says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from facegan.people.facial_hair import beard, beard_density, brow_density, brows, lashes
from facegan.people.growth import CLEARANCE, Growth, Obstacles, grow, obstacles_of
from facegan.people.hair import HAT_LINE, scalp_density, scalp_hair
from facegan.people.hair_styles import STYLES
from facegan.people.head import Floats, Part, head
from facegan.people.landmarks import landmarks
from facegan.people.person import HAIR_STYLES, Person
from facegan.people.raster import vertex_normals
from facegan.people.roots import outer_triangles, skin_mask
from facegan.people.shape import Shape, shape_of, skin_triangles
from facegan.people.strands import Strands

COUNT = 600


@pytest.fixture(scope="module")
def person() -> Person:
    """A bare-headed woman of 30 with straight hair, in the rest pose."""
    return Person.sample(np.random.default_rng(0)).replace(
        hat="none", beard="none", hair_curl=0.0, age_years=30.0, gender=0.1, hair_style="long", expression={},
        greying_years=60.0, hair_length=0.5, hair_volume=0.5, hair_parting=0.2, makeup=0.0, features={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def rest() -> Shape:
    """The rest head: there, places of roots are rest points."""
    return Shape(head().vertices, vertex_normals(head().vertices, skin_triangles()))


@pytest.fixture(scope="module", autouse=True)
def _compiled_kernels(person: Person, rest: Shape) -> None:
    hair = scalp_hair(person, rest, 10)
    assert hair is not None
    scalp_hair(person, shape_of(person), 10)
    for kind in ("brows", "lashes", "beard"):
        {"brows": brows, "lashes": lashes, "beard": beard}[kind](person.replace(beard="beard"), rest, 10)


def distance_outside(points: Floats, obstacles: Obstacles) -> Floats:
    """How far points [..., 3] are outside of the map of radii, in dm; negative inside."""
    away = points - obstacles.centre
    side, up, front = np.moveaxis(away / abs(away).sum(axis=-1, keepdims=True), -1, 0)
    lower = up < 0  # the octahedron's lower half is folded out
    u = np.where(lower, (1 - abs(front)) * np.where(side < 0, -1, 1), side)
    v = np.where(lower, (1 - abs(side)) * np.where(front < 0, -1, 1), front)
    places = (np.stack([u, v]) + 1) / 2 * (len(obstacles.radii) - 1)  # the map is a square
    radii = map_coordinates(obstacles.radii, places, order=1, mode="nearest")
    return np.asarray(np.linalg.norm(away, axis=-1) - radii)


def grown(person: Person, shape: Shape, count: int = COUNT) -> Strands:
    hair = scalp_hair(person, shape, count)
    assert hair is not None
    return hair


# ---- the scalp


def test_every_style_but_bald_is_in_the_table() -> None:
    assert set(STYLES) == set(HAIR_STYLES) - {"bald"}


@pytest.mark.parametrize("style", sorted(STYLES))
def test_roots_lie_where_hair_grows(person: Person, rest: Shape, style: str) -> None:
    styled = person.replace(hair_style=style)
    assert scalp_density(styled, grown(styled, rest).points[:, 0]).min() > 0


def test_no_hair_grows_on_the_face_or_the_ears(person: Person) -> None:
    points = landmarks(head().vertices)[17:]  # all but the jaw line: 0 and 16 are at the sideburns
    ears = head().vertices[skin_mask("ears") > 0.9]
    assert scalp_density(person, points).max() == 0
    assert scalp_density(person, ears).mean() < 0.05


def test_the_crown_is_full_of_hair_and_thins_with_age(person: Person) -> None:
    man = person.replace(gender=0.95, hair_style="short", recession=1.0)
    crown = np.array([[0.0, 8.47, 0.3]])
    assert scalp_density(man.replace(age_years=20.0), crown)[0] == pytest.approx(1)
    assert scalp_density(man.replace(age_years=80.0), crown)[0] < 0.5


def test_a_receding_hairline_leaves_fewer_strands(person: Person, rest: Shape) -> None:
    man = person.replace(gender=0.95, hair_style="short", recession=1.0)
    young, old = (len(grown(man.replace(age_years=age), rest).points) for age in (20.0, 80.0))
    assert old < 0.9 * young


# ---- strands


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize(("curl", "size"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_strands_are_finite_and_near_the_head(person: Person, style: str, curl: float, size: float) -> None:
    styled = person.replace(hair_style=style, hair_curl=curl, hair_length=size, hair_volume=size)
    shape = shape_of(styled)
    hair = grown(styled, shape, 100)
    assert np.isfinite(hair.points).all()
    assert np.isfinite(hair.colours).all()
    assert (hair.half_widths > 0).all()
    assert (hair.colours >= 0).all()
    # the longest hair hangs from the crown to the chest: below 4.5 dm
    assert abs(hair.points - obstacles_of(shape, 0.0).centre).max() < 4.5


@pytest.mark.parametrize("style", sorted(STYLES))
def test_no_hair_enters_the_head(person: Person, rest: Shape, style: str) -> None:
    hair = grown(person.replace(hair_style=style, hair_curl=0.8), rest)
    obstacles = obstacles_of(rest, STYLES[style].ears)
    assert distance_outside(hair.points[:, 1:], obstacles).min() > CLEARANCE - 1e-9


def test_the_map_of_radii_is_that_of_the_scalp(rest: Shape) -> None:
    scalp = np.unique(skin_triangles()[outer_triangles()])
    scalp = scalp[head().vertices[scalp, 1] > 7.6]
    distances = distance_outside(head().vertices[scalp], obstacles_of(rest, 0.0))
    assert abs(distances).max() < 0.06  # a cell of the map is about 0.05 dm wide


@pytest.mark.parametrize("style", ["bob", "long", "long-side-part", "bun", "ponytail", "slicked-back"])
def test_combed_hair_leaves_the_face_free(person: Person, rest: Shape, style: str) -> None:
    for curl, parting in ((0.0, 0.2), (0.6, -1.0)):
        combed = person.replace(hair_style=style, hair_curl=curl, hair_parting=parting)
        points = grown(combed, rest, 3000).points.reshape(-1, 3)
        face = (abs(points[:, 0]) < 0.4) & (points[:, 2] > 1.1) & (points[:, 1] < 7.7)
        assert face.sum() == 0


def test_bangs_hang_over_the_forehead_but_not_over_the_eyes(person: Person, rest: Shape) -> None:
    points = grown(person.replace(hair_style="bangs"), rest).points.reshape(-1, 3)
    before = points[(abs(points[:, 0]) < 0.3) & (points[:, 2] > 1.2)]
    assert (before[:, 1] < 7.75).mean() > 0.05
    assert (before[:, 1] < 7.3).mean() < 0.01


def test_a_parting_is_a_line_without_roots(person: Person, rest: Shape) -> None:
    roots = grown(person.replace(hair_style="long-side-part", hair_parting=0.5), rest, 8000).points[:, 0]
    top = roots[(roots[:, 2] > 0.4) & (roots[:, 1] > 8.1)]
    counts, _ = np.histogram(top[:, 0], np.arange(0.0, 0.6, 0.03))
    assert counts.min() < 0.75 * np.median(counts)


def test_hair_under_a_hat_lies_flat(person: Person, rest: Shape) -> None:
    y, rise, room = HAT_LINE
    points = grown(person.replace(hat="beanie", hair_style="quiff", hair_volume=1.0), rest).points
    above = points[points[..., 1] > y + rise * points[..., 2] + 0.05]
    assert (
        distance_outside(above, obstacles_of(rest, 0.0)).max() < room + 0.06
    )  # the error of the map at roots


def test_the_bald_and_the_veiled_have_no_strands(person: Person, rest: Shape) -> None:
    assert scalp_hair(person.replace(hair_style="bald"), rest, COUNT) is None
    assert scalp_hair(person.replace(hat="headscarf"), rest, COUNT) is None


def test_the_same_person_has_the_same_hair_in_another_picture(person: Person) -> None:
    other = person.replace(
        yaw_degrees=30.0, pitch_degrees=-5.0, light_hardness=0.1, backdrop="night", distance_dm=8.0
    )
    for one, two in zip(_all_hair(person), _all_hair(other), strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.colours, two.colours)


def test_other_people_have_other_hair(person: Person, rest: Shape) -> None:
    one, two = (grown(person.replace(seed=seed), rest).points[:100, 0] for seed in (1, 2))
    assert not np.allclose(one, two)


def test_more_strands_keep_the_first_ones(person: Person) -> None:
    for few, many in zip(_all_hair(person, 200), _all_hair(person, 500), strict=True):
        assert len(few.points) < len(many.points)
        np.testing.assert_array_equal(few.points, many.points[: len(few.points)])
        np.testing.assert_array_equal(few.colours, many.colours[: len(few.points)])
        assert few.half_widths[0] > many.half_widths[0]


def test_greying_makes_that_share_of_the_hair_light(person: Person, rest: Shape) -> None:
    dark = person.replace(hair_colour=(0.02, 0.015, 0.01))
    for years, low, high in ((20.0, 0.0, 0.02), (60.0, 0.35, 0.65), (90.0, 0.98, 1.0)):
        hair = grown(dark.replace(age_years=years), rest)
        assert low <= (hair.colours[:, 1] > 0.15).mean() <= high  # half of GREY's share, in the shade


def test_age_moves_no_strand_of_a_full_head(person: Person, rest: Shape) -> None:
    full = person.replace(recession=0.0)
    one, two = (grown(full.replace(age_years=age), rest) for age in (30.0, 80.0))
    np.testing.assert_array_equal(one.points, two.points)


def _all_hair(person: Person, count: int = 200) -> list[Strands]:
    bearded = person.replace(beard="beard")
    shape = shape_of(bearded)
    kinds = [kind(bearded, shape, count) for kind in (scalp_hair, brows, beard, lashes)]
    return [kind for kind in kinds if kind is not None]


# ---- the kernel


def one_strand(**changes: object) -> Growth:
    """A strand of 1 dm that starts along x, far from anything, without forces."""
    one, zero = np.ones(1), np.zeros(1)
    growth = Growth(
        roots=np.array([[0.0, 50.0, 0.0]]), normals=np.array([[0.0, 0.0, 1.0]]),
        directions=np.array([[1.0, 0.0, 0.0]]), lengths=one, heights=zero, lifts=zero, gravities=zero,
        stickiness=zero, curtains=zero, curls=zero, waves=one, phases=zero, guides=np.array([-1]),
        clumps=zero, targets=np.zeros((1, 3)), gathered=False, knot=np.zeros(4),
    )  # fmt: skip
    return growth._replace(**changes)


@pytest.fixture(scope="module")
def nothing() -> Obstacles:
    """A head of radius 0 at the origin, no shoulders."""
    return Obstacles(
        np.zeros(3), np.zeros((4, 4)), np.zeros(2), np.full((4, 4), -100.0), np.array([1e3, 0.0, 1.0])
    )


def test_a_strand_without_forces_is_straight(nothing: Obstacles) -> None:
    points = grow(one_strand(), nothing, 5)[0]
    np.testing.assert_allclose(points - points[0], np.linspace(0, 1, 5)[:, None] * [1, 0, 0], atol=1e-9)


def test_gravity_bends_as_a_slow_integration_does(nothing: Obstacles) -> None:
    points = grow(one_strand(gravities=np.array([2.0])), nothing, 9)[0]
    point, direction, expected = points[0].copy(), np.array([1.0, 0.0, 0.0]), [points[0]]
    for _ in range(8):
        direction = direction - [0, 2.0 / 8, 0]
        direction /= np.linalg.norm(direction)
        point = point + direction / 8
        expected.append(point)
    np.testing.assert_allclose(points, expected, atol=1e-9)


def test_curls_shorten_a_strand_and_keep_to_their_radius(nothing: Obstacles) -> None:
    points = grow(one_strand(curls=np.array([0.05]), waves=np.array([20.0])), nothing, 40)[0]
    path = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    assert np.linalg.norm(points[-1] - points[0]) < 0.9 * path
    assert np.hypot(*(points - points[0])[:, 1:].T).max() == pytest.approx(0.05, abs=0.002)


def test_a_strand_that_clumps_wholly_ends_where_its_guide_does(nothing: Obstacles) -> None:
    growth = one_strand()
    pair = Growth(
        *(
            value if np.ndim(value) == 0 or len(value) == 4 else np.repeat(value, 2, axis=0)
            for value in growth
        )
    )
    pair.roots[1, 2] += 0.2
    pair.guides[1], pair.clumps[1] = 0, 1.0
    points = grow(pair, nothing, 6)
    np.testing.assert_allclose(points[1, -1], points[0, -1], atol=1e-9)
    np.testing.assert_allclose(points[1, 0] - points[0, 0], [0, 0, 0.2])


def test_a_curtain_draws_hair_off_the_face(nothing: Obstacles) -> None:
    falling = one_strand(roots=np.array([[0.1, 0.2, 1.0]]), directions=np.array([[0.0, -1.0, 0.0]]))
    before = grow(falling, nothing, 10)[0]
    aside = grow(falling._replace(curtains=np.ones(1)), nothing, 10)[0]
    np.testing.assert_allclose(before[-1], [0.1, -0.8, 1.0], atol=1e-9)
    assert aside[-1, 0] > 0.9 * aside[-1, 2]  # 45 degrees from straight ahead


def test_gathered_hair_reaches_its_target(nothing: Obstacles) -> None:
    target = np.array([[0.3, 50.4, -0.2]])
    growth = one_strand(targets=target, gathered=True, lengths=np.array([1.2]))
    distances = np.linalg.norm(grow(growth, nothing, 30)[0] - target, axis=1)
    assert distances.min() < 0.1


# ---- brows, beard, lashes


def test_brows_are_above_the_eyes_and_the_same_on_both_sides(person: Person, rest: Shape) -> None:
    points = brows(person, rest, COUNT).points
    eye_top = landmarks(head().vertices)[[37, 38, 43, 44], 1].max()
    assert points[..., 1].min() > eye_top
    mirrored = points[:, 0] * [-1, 1, 1]
    np.testing.assert_allclose(brow_density(person, mirrored), brow_density(person, points[:, 0]))


def test_thick_brows_cover_more(person: Person) -> None:
    x, y = np.meshgrid(np.linspace(0, 0.7, 60), np.linspace(7.3, 7.7, 60))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.4)], axis=1)
    thin, thick = (brow_density(person.replace(brow_thickness=value), points).mean() for value in (0.0, 1.0))
    assert thick > 1.5 * thin


@pytest.mark.parametrize("kind", ["none", "stubble"])
def test_only_beards_that_stand_out_have_strands(person: Person, rest: Shape, kind: str) -> None:
    assert beard(person.replace(beard=kind), rest, COUNT) is None


@pytest.mark.parametrize("kind", ["stubble", "moustache", "goatee", "beard"])
def test_no_beard_grows_on_lips_nose_eyes_or_forehead(person: Person, kind: str) -> None:
    bare = np.concatenate(
        [landmarks(head().vertices)[17:], head().vertices[skin_mask("lips") > 0.95], [[0.0, 7.8, 1.4]]]
    )
    assert beard_density(person.replace(beard=kind), bare).mean() < 0.05


def test_a_moustache_stays_above_the_mouth(person: Person, rest: Shape) -> None:
    for beard_length in (0.0, 1.0):
        strands = beard(person.replace(beard="moustache", beard_length=beard_length), rest, 3000)
        assert strands is not None
        before_mouth = strands.points[abs(strands.points[..., 0]) < 0.2]
        assert before_mouth[:, 1].min() > landmarks(head().vertices)[62, 1]  # the edge of the upper lip


def test_a_beard_is_as_long_as_the_person_says(person: Person, rest: Shape) -> None:
    short, long = (
        _lengths(beard(person.replace(beard="beard", beard_length=value), rest, COUNT)).max()
        for value in (0.0, 1.0)
    )
    assert short < 0.15 < 0.3 < long < 0.6


def test_lashes_start_at_the_lids_and_grow_with_makeup(person: Person, rest: Shape) -> None:
    plain, made_up = (lashes(person.replace(makeup=value), rest, 200) for value in (0.0, 1.0))
    cards = head().vertices[head().part_vertices(*(part for part in Part if "LASHES" in part.name))]
    distance = np.linalg.norm(plain.points[:, None, 0] - cards, axis=-1).min(axis=1)
    assert distance.max() < 0.03
    assert (_lengths(made_up) > _lengths(plain)).all()
    assert made_up.half_widths.mean() > plain.half_widths.mean()


def _lengths(strands: Strands | None) -> Floats:
    assert strands is not None
    lengths: Floats = np.linalg.norm(np.diff(strands.points, axis=1), axis=2).sum(axis=1)
    return lengths
