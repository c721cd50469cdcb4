"""Portraits: repeatable, aligned as FFHQ's are, one change at a time, sound at the ends of all ranges."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from facegan.config import UsageError
from facegan.people import render as rendering
from facegan.people.camera import ffhq_crop
from facegan.people.head import Floats
from facegan.people.person import CHOICES, RANGES, Person
from facegan.people.render import Portrait, render

pytestmark = pytest.mark.usefixtures("kernels")

SOMEBODY = Person.sample(np.random.default_rng(4))
STRAIGHT = SOMEBODY.replace(
    yaw_degrees=0.0, pitch_degrees=0.0, roll_degrees=0.0, body_yaw_degrees=0.0, gaze_yaw_degrees=0.0,
    gaze_pitch_degrees=0.0, expression={}, hat="none", glasses="none", hair_style="short", beard="none",
    distance_dm=12.0, features={}, light_azimuth_degrees=0.0, light_elevation_degrees=20.0,
    light_hardness=0.5, rim_light=0.0, exposure=1.0, backdrop="studio",
)  # fmt: skip
FRACTIONS = [
    name for name, value in vars(SOMEBODY).items() if isinstance(value, float) and name not in RANGES
]


@lru_cache(maxsize=64)
def drawn(resolution: int, **changes: object) -> Portrait:
    """STRAIGHT with changes, drawn once."""
    return render(STRAIGHT.replace(**changes), resolution)


def grey(image: np.ndarray) -> Floats:
    return np.asarray(image.mean(axis=2), np.float64)


def eyes_and_mouth(marks: Floats) -> tuple[Floats, Floats]:
    """Eye centres and mouth corners from the 68 landmarks, as FFHQ takes them."""
    return np.stack([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)]), marks[[48, 54]]


# ---- the same again


def test_the_same_person_is_drawn_alike_twice() -> None:
    first, second = render(SOMEBODY, 32), render(SOMEBODY, 32)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


def test_a_picture_does_not_depend_on_who_was_drawn_before() -> None:
    before = render(STRAIGHT, 16).image
    render(SOMEBODY.replace(hair_style="afro", hat="headscarf"), 24)
    np.testing.assert_array_equal(render(STRAIGHT, 16).image, before)


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_pictures_have_their_shape_and_type(supersample: int) -> None:
    portrait = render(STRAIGHT, 20, supersample=supersample)
    assert portrait.image.shape == (20, 20, 3)
    assert portrait.image.dtype == np.uint8
    assert portrait.landmarks.shape == (68, 2)


def test_a_small_picture_is_nearly_a_large_one_made_smaller() -> None:
    """But for the noise of the sensor and for hairs, of which large pictures have more and finer ones."""
    small, large = drawn(48).image.astype(float), drawn(96).image.astype(float)
    reduced = large.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small).mean() < 5
    assert np.corrcoef(reduced.ravel(), small.ravel())[0, 1] > 0.98


def test_landmarks_grow_with_the_resolution_and_not_with_the_samples() -> None:
    np.testing.assert_allclose(drawn(96).landmarks, 2 * drawn(48).landmarks, rtol=1e-9)
    single = render(STRAIGHT, 48, supersample=1).landmarks
    np.testing.assert_allclose(single, drawn(48).landmarks, rtol=1e-9)


@pytest.mark.parametrize(
    ("resolution", "supersample", "words"),
    [
        (15, 2, "resolution 15: need 16 to 1024"), (1025, 2, "resolution 1025"),
        (64, 0, "supersample 0: need 1 to 4"), (64, 5, "supersample 5"),
    ],
)  # fmt: skip
def test_sizes_out_of_range_are_usage_errors(resolution: int, supersample: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        render(STRAIGHT, resolution, supersample=supersample)


# ---- alignment


@pytest.mark.parametrize("changes", [{}, {"roll_degrees": 12.0}, {"yaw_degrees": 25.0}, {"distance_dm": 7.0}])
def test_the_picture_is_the_square_that_ffhq_would_cut_out_of_it(changes: dict[str, float]) -> None:
    """FFHQ's crop around the landmarks of the picture is the picture: its middle, half its side, upright.

    Eye landmarks are on the lids, so their mean is not quite the ball's centre that the camera takes.
    """
    crop = ffhq_crop(*eyes_and_mouth(drawn(48, **changes).landmarks), 48)
    np.testing.assert_allclose(crop.centre, [24, 24], atol=1.5)
    np.testing.assert_allclose(crop.half_side, [24, 0], atol=1.5)


def test_irises_are_drawn_where_the_eye_landmarks_are() -> None:
    """What another eye colour changes are the irises."""
    brown, blue = (
        drawn(96, eye_colour=colour).image.astype(float) for colour in ((0.05, 0.02, 0.01), (0.2, 0.4, 0.7))
    )
    changed = np.abs(blue - brown).max(axis=2)
    changed[changed < 12] = 0
    rows, columns = np.nonzero(changed)
    eyes, _ = eyes_and_mouth(drawn(96).landmarks)
    for side, eye in zip((columns < 48, columns >= 48), eyes, strict=True):
        middle = np.array([columns[side].mean() + 0.5, rows[side].mean() + 0.5])
        assert np.hypot(*(middle - eye)) < 2
    distances = np.hypot(*(np.stack([columns, rows])[:, :, None] + 0.5 - eyes.T[:, None])).min(axis=1)
    assert distances.max() < 5


def test_a_dark_eye_has_a_light_in_it() -> None:
    """A few pixels of the iris and pupil are far brighter than the rest of it."""
    portrait = drawn(128, eye_colour=(0.042, 0.020, 0.010))
    for ring in (slice(36, 42), slice(42, 48)):
        x, y = portrait.landmarks[ring].mean(axis=0).astype(int)
        iris = grey(portrait.image)[y - 3 : y + 4, x - 3 : x + 4]
        assert iris.max() > np.median(iris) + 40


@pytest.mark.parametrize("yaw", [-25.0, 25.0])
def test_a_yaw_moves_the_nose_to_the_side_it_turns_to(yaw: float) -> None:
    """yaw > 0 turns to the subject's left, the picture's right."""
    marks, straight = drawn(48, yaw_degrees=yaw).landmarks, drawn(48).landmarks
    moved = (marks[30, 0] - marks[36:48, 0].mean()) - (straight[30, 0] - straight[36:48, 0].mean())
    assert moved * np.sign(yaw) > 1.5  # pixels of 48: the picture stays centred on eyes and mouth


# ---- one change at a time


def test_an_expression_leaves_the_backdrop_alone() -> None:
    """Up to the exposure, which is metered on the face: a level or two."""
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.1}
    smiling = render(STRAIGHT.replace(expression=smile), 48)
    change = np.abs(smiling.image.astype(int) - drawn(48).image)
    assert change[:10, :6].max() <= 3
    assert change[:10, -6:].max() <= 3
    x, y = drawn(48).landmarks[48:60].mean(axis=0).astype(int)
    assert change[y - 5 : y + 5, x - 7 : x + 7].max() > 20


def test_hair_turns_grey_with_age() -> None:
    """The chroma of red hair, (max - min) / max, where a bald head shows other pixels."""
    chroma = []
    for age in (25.0, 85.0):
        changes = {
            "age_years": age, "greying_years": 50.0, "hair_colour": (0.26, 0.078, 0.028), "recession": 0.0,
            "hair_style": "long", "hair_length": 0.5,
        }  # fmt: skip
        haired, bald = (drawn(48, **{**changes, "hair_style": style}).image for style in ("long", "bald"))
        hair = (np.abs(haired.astype(int) - bald).max(axis=2) > 40) & (np.indices((48, 48))[0] < 20)
        assert hair.sum() > 30
        pixels = haired[hair].astype(float)
        chroma.append(((pixels.max(axis=1) - pixels.min(axis=1)) / np.maximum(pixels.max(axis=1), 1)).mean())
    assert chroma[1] < 0.6 * chroma[0]


def test_the_side_that_the_light_comes_from_is_brighter() -> None:
    """azimuth > 0: the subject's left, the picture's right."""
    differences = []
    for azimuth in (-80.0, 80.0):
        portrait = drawn(48, light_azimuth_degrees=azimuth, light_hardness=0.9)
        x, y = portrait.landmarks[30].astype(int)
        left, right = (
            grey(portrait.image)[y - 6 : y + 6, columns].mean()
            for columns in (slice(x - 9, x - 2), slice(x + 3, x + 10))
        )
        differences.append(right - left)
    assert differences[0] < -20
    assert differences[1] > 20


def test_glasses_change_the_picture_about_the_eyes() -> None:
    """And a shadow on the temples and cheeks; elsewhere the exposure moves by a few levels at most."""
    glasses = {"glasses": "square", "glasses_colour": (0.01, 0.01, 0.01), "glasses_size": 0.5}
    change = np.abs(drawn(48, **glasses).image.astype(int) - drawn(48).image).max(axis=2)
    marks = drawn(48).landmarks
    rows, columns = np.nonzero(change > 12)
    assert len(rows) > 60
    assert rows.min() >= marks[17:27, 1].min() - 3
    assert rows.max() <= marks[30:36, 1].max()
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = marks[eye].mean(axis=0)
        assert (np.hypot(columns - x, rows - y) < 8).sum() > 20


def test_darker_skin_is_darker_in_the_picture_too() -> None:
    """Though photographers open up for it."""
    levels = []
    for tone in (0.0, 3.0, 6.0):
        portrait = drawn(48, skin_tone=tone)
        x, y = portrait.landmarks[31:36].mean(axis=0).astype(int)
        levels.append(grey(portrait.image)[y - 3 : y + 2, x - 8 : x + 8].mean())
    assert levels[0] > levels[1] + 15 > levels[2] + 30


def test_another_backdrop_changes_the_corners_and_not_the_face() -> None:
    change = np.abs(drawn(48, backdrop="sky").image.astype(int) - drawn(48).image).max(axis=2)
    x, y = drawn(48).landmarks[30].astype(int)
    assert np.median(change[:6, :6]) > 2 * np.median(change[y - 4 : y + 4, x - 4 : x + 4])


def test_twice_the_exposure_is_brighter_everywhere() -> None:
    bright, dark = drawn(48, exposure=1.6).image.astype(int), drawn(48, exposure=0.8).image
    assert ((bright - dark) >= -8).all()  # the sensor's noise is the same, contrast is not lost
    assert (bright - dark).mean() > 20


# ---- the ends of all ranges


@pytest.fixture
def linear_pictures(monkeypatch: pytest.MonkeyPatch) -> list[Floats]:
    """What comes to the film of every picture drawn."""
    seen: list[Floats] = []
    develop = rendering.developed

    def spy(picture: Floats, *rest: object) -> np.ndarray:
        seen.append(picture)
        return develop(picture, *rest)

    monkeypatch.setattr(rendering, "developed", spy)
    return seen


@pytest.mark.parametrize("name", [*RANGES, *FRACTIONS])
def test_light_is_finite_at_both_ends_of_every_range(name: str, linear_pictures: list[Floats]) -> None:
    for value in RANGES.get(name, (0.0, 1.0)):
        portrait = render(SOMEBODY.replace(**{name: value}), 16, supersample=1)
        assert np.isfinite(linear_pictures[-1]).all()
        assert linear_pictures[-1].min() >= 0
        assert np.isfinite(portrait.landmarks).all()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in CHOICES for value in CHOICES[name]])
def test_light_is_finite_whatever_is_chosen(name: str, value: str, linear_pictures: list[Floats]) -> None:
    render(SOMEBODY.replace(**{name: value}), 16, supersample=1)
    assert np.isfinite(linear_pictures[-1]).all()
    assert linear_pictures[-1].min() >= 0


@pytest.mark.parametrize("yaw", RANGES["yaw_degrees"])
@pytest.mark.parametrize("pitch", RANGES["pitch_degrees"])
def test_the_farthest_poses_seen_from_the_nearest_camera_are_drawn(
    yaw: float, pitch: float, linear_pictures: list[Floats]
) -> None:
    near = SOMEBODY.replace(yaw_degrees=yaw, pitch_degrees=pitch, distance_dm=RANGES["distance_dm"][0])
    assert render(near, 16, supersample=1).image.std() > 5
    assert np.isfinite(linear_pictures[-1]).all()


@pytest.fixture(scope="module")
def crowd() -> list[Portrait]:
    """Twelve of the population."""
    return [render(Person.sample(np.random.default_rng([8, number])), 32) for number in range(12)]


def test_nobodys_picture_is_black_blank_or_burnt_out(crowd: list[Portrait]) -> None:
    for portrait in crowd:
        image = portrait.image.astype(float)
        assert 40 < image.mean() < 215
        assert image.std() > 20
        assert (image == 0).mean() < 0.15
        assert (image == 255).mean() < 0.15
        x, y = portrait.landmarks[27:36].mean(axis=0).astype(int)
        face = image[y - 4 : y + 5, x - 4 : x + 5]
        assert 30 < face.mean() < 235


def test_no_two_people_look_the_same(crowd: list[Portrait]) -> None:
    images = np.stack([portrait.image for portrait in crowd]).astype(float)
    for number, image in enumerate(images[:-1]):
        assert np.abs(images[number + 1 :] - image).mean(axis=(1, 2, 3)).min() > 10


def test_everybodys_eyes_and_mouth_are_at_ffhqs_places(crowd: list[Portrait]) -> None:
    """Within 1.5 of 32 pixels: eyes at 0.44 to 0.5 of the height, the mouth's corners below the middle."""
    for portrait in crowd:
        eyes, mouth = eyes_and_mouth(portrait.landmarks)
        crop = ffhq_crop(eyes, mouth, 32)
        np.testing.assert_allclose(crop.centre, [16, 16], atol=1.5)
        np.testing.assert_allclose(crop.half_side, [16, 0], atol=1.5)
        assert eyes[:, 1].max() < 17 < mouth[:, 1].min()
