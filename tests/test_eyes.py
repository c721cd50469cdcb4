"""Eyes: a dark pupil where they look, an iris of its colour, a white around it, lamps mirrored in them."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.camera import Camera, face_camera
from facegan.people.eyes import IRIS, gaze_degrees, paint_eyes
from facegan.people.head import Floats, Part, head
from facegan.people.landmarks import eye_centres, mouth_corners
from facegan.people.light import Lamps, lamps_of, sphere
from facegan.people.person import Person
from facegan.people.raster import normalized
from facegan.people.shape import posture_of, shape_of
from facegan.people.skin import COLUMNS
from facegan.people.surface import Material, Surface

pytestmark = pytest.mark.usefixtures("kernels")

LOOKING = Person.sample(np.random.default_rng(2)).replace(
    yaw_degrees=0.0, pitch_degrees=0.0, roll_degrees=0.0, body_yaw_degrees=0.0, gaze_yaw_degrees=0.0,
    gaze_pitch_degrees=0.0, distance_dm=15.0, eye_colour=(0.15, 0.24, 0.36), age_years=25.0,
    light_azimuth_degrees=0.0, rim_light=0.0, expression={},
)  # fmt: skip
OUT = sphere(12_000)
OUT = OUT[OUT[:, 2] > 0.2]  # directions [N, 3] from an eye's centre
PUPIL_ALBEDO = 0.02  # an iris is lighter


def painted(
    person: Person, part: Part = Part.LEFT_EYE, lamps: Lamps | None = None
) -> tuple[Material, Camera, Floats]:
    """The material of one eyeball at OUT, the camera, and the eye's centre in the picture's space."""
    shape = shape_of(person)
    posture = posture_of(person, shape)
    vertices = posture.points(shape.vertices)
    camera = face_camera(
        eye_centres(vertices), mouth_corners(vertices), distance=person.distance_dm, resolution=64
    )
    which = 0 if part == Part.RIGHT_EYE else 1
    centre = posture.points(eye_centres(shape.vertices)[which])
    ball = head().vertices[head().part_vertices(part)]
    radius, count = float(np.ptp(ball[:, 0])) / 2, len(OUT)
    surface = Surface(
        rows=np.arange(count), columns=np.arange(count), turned=centre + radius * OUT, normals=OUT.copy(),
        rest=ball.mean(axis=0) + radius * OUT, transfer=np.zeros((count, 9)),
        paint=np.zeros((count, COLUMNS)), part=np.full(count, part, np.intp), uv=np.zeros((count, 2)),
    )  # fmt: skip
    material = Material.of(surface)
    paint_eyes(person, shape, posture, surface, material, lamps or lamps_of(person), camera.position)
    return material, camera, centre


def pupil(person: Person, part: Part = Part.LEFT_EYE) -> Floats:
    """The direction [3] of the pupil's middle."""
    material, _, _ = painted(person, part)
    return np.asarray(normalized(OUT[material.albedo.max(axis=1) < PUPIL_ALBEDO].mean(axis=0)))


@pytest.fixture(scope="module")
def ball() -> tuple[Material, Floats]:
    """The material of a blue eye that looks into the camera, and the sine [N] of the angle from there."""
    material, camera, centre = painted(LOOKING)
    cosine = OUT @ normalized(camera.position - centre)
    return material, np.sqrt(1 - cosine**2)


@pytest.mark.parametrize("part", [Part.LEFT_EYE, Part.RIGHT_EYE])
def test_a_straight_gaze_is_towards_the_camera(part: Part) -> None:
    """Nearly: part of the gaze is straight ahead, and the camera is 2 degrees off that at 15 dm."""
    _, camera, centre = painted(LOOKING, part)
    towards = normalized(camera.position - centre)
    assert np.degrees(np.arccos(pupil(LOOKING, part) @ towards)) < 2


def test_pupil_iris_and_white_follow_from_the_middle_outwards(ball: tuple[Material, Floats]) -> None:
    material, sine = ball
    level = material.albedo.mean(axis=1)
    pupil_level = level[sine < 0.05].mean()
    iris = level[(sine > 0.25) & (sine < 0.35)].mean()
    white = level[(sine > 0.56) & (sine < 0.65)].mean()
    assert pupil_level < 0.01
    assert 10 * pupil_level < iris < 0.7 * white


@pytest.mark.parametrize("colour", [(0.095, 0.04, 0.016), (0.14, 0.18, 0.08), (0.15, 0.24, 0.36)])
def test_the_iris_has_the_hue_of_the_eyes_colour(colour: tuple[float, float, float]) -> None:
    material, camera, centre = painted(LOOKING.replace(eye_colour=colour))
    sine = np.sqrt(1 - (OUT @ normalized(camera.position - centre)) ** 2)
    iris = material.albedo[(sine > 0.26) & (sine < 0.36)].mean(axis=0)
    assert list(np.argsort(iris)) == list(np.argsort(colour))


def test_the_iris_ends_where_its_sine_says(ball: tuple[Material, Floats]) -> None:
    """Within the soft edge of 0.05 about IRIS, blue is less than red in the white, more in the iris."""
    material, sine = ball
    is_blue = material.albedo[:, 2] > material.albedo[:, 0]
    assert is_blue[(sine > 0.3) & (sine < IRIS - 0.05)].all()
    assert not is_blue[sine > IRIS + 0.05].any()


def test_a_gaze_to_the_subjects_left_moves_both_pupils_there() -> None:
    for part in (Part.LEFT_EYE, Part.RIGHT_EYE):
        left, ahead, right = (
            pupil(LOOKING.replace(gaze_yaw_degrees=yaw), part) for yaw in (20.0, 0.0, -20.0)
        )
        assert left[0] > ahead[0] + 0.1 > right[0] + 0.2
        assert left[1] == pytest.approx(right[1], abs=0.03)


def test_a_gaze_down_moves_the_pupil_down() -> None:
    down, up = (pupil(LOOKING.replace(gaze_pitch_degrees=pitch)) for pitch in (15.0, -15.0))
    assert down[1] < up[1] - 0.2


def test_a_turned_head_looks_between_ahead_and_the_camera() -> None:
    turned = LOOKING.replace(yaw_degrees=30.0)
    angle = np.degrees(np.arctan2(*pupil(turned)[[0, 2]]))
    assert 5 < angle < 20


def test_old_whites_are_yellower(ball: tuple[Material, Floats]) -> None:
    young, sine = ball
    old, _, _ = painted(LOOKING.replace(age_years=90.0))
    white = (sine > 0.56) & (sine < 0.65)
    (young_red, _, young_blue), (old_red, _, old_blue) = (
        eye.albedo[white].mean(axis=0) for eye in (young, old)
    )
    assert old_blue / old_red < 0.97 * young_blue / young_red


def test_the_iris_leans_outwards_as_a_smaller_sphere_does(ball: tuple[Material, Floats]) -> None:
    material, sine = ball
    tilt = 1 - (material.normals * OUT).sum(axis=1)
    assert tilt[(sine > 0.3) & (sine < 0.38)].min() > 1e-3
    np.testing.assert_allclose(material.normals[sine > 0.6], OUT[sine > 0.6], atol=1e-6)


def test_the_lids_shade_the_ball_from_above() -> None:
    material, _, _ = painted(LOOKING)
    level = material.albedo.mean(axis=1)
    above, below = ((abs(OUT[:, 0]) < 0.2) & (abs(sign * OUT[:, 1] - 0.65) < 0.05) for sign in (1, -1))
    assert level[above].mean() < 0.75 * level[below].mean()


def test_a_lamp_is_mirrored_where_the_angles_are_equal() -> None:
    """On the white, whose normal is the ball's: where normal and half vector agree, to the lamp's size."""
    direction = normalized([0.75, -0.3, 0.6])
    lamps = Lamps(np.stack([direction] * 3), np.array([[5.0, 5.0, 5.0], [0, 0, 0], [0, 0, 0]]))
    without = Lamps(lamps.directions, np.zeros((3, 3)))
    (lit, camera, centre), (dark, _, _) = painted(LOOKING, lamps=lamps), painted(LOOKING, lamps=without)
    extra = (lit.glow - dark.glow).max(axis=1)
    brightest = OUT[extra > 0.5 * extra.max()].mean(axis=0)
    half = normalized(direction + normalized(camera.position - centre))
    bulging = 0.2  # the cornea, a smaller sphere, mirrors nearer to the pupil
    assert extra.max() > 1
    assert np.linalg.norm(brightest - half) < bulging


def test_every_eye_has_a_light_in_it_even_without_lamps() -> None:
    lamps = Lamps(np.tile([0.0, 0.0, -1.0], (3, 1)), np.zeros((3, 3)))
    material, _, _ = painted(LOOKING, lamps=lamps)
    assert material.glow.max() > 0.3
    assert 0 < (material.glow.max(axis=1) > 0.1).mean() < 0.05


def test_other_parts_are_left_alone() -> None:
    material, _, _ = painted(LOOKING)
    assert (material.roughness == 0.25).all()
    assert (material.scatter == 0).all()
    assert np.isfinite(material.albedo).all()
    assert material.albedo.min() >= 0


def test_the_labelled_gaze_is_the_drawn_one() -> None:
    person = Person.sample(np.random.default_rng(0)).replace(
        yaw_degrees=30.0, gaze_yaw_degrees=0.0, gaze_pitch_degrees=0.0
    )
    yaw, pitch = gaze_degrees(person)
    assert 0 < yaw < 30  # between the camera and where the head points
    assert abs(gaze_degrees(person.replace(yaw_degrees=0.0, pitch_degrees=0.0))[0]) < 1e-9
    assert gaze_degrees(person.replace(gaze_yaw_degrees=15.0))[0] > yaw
    assert gaze_degrees(person.replace(gaze_pitch_degrees=15.0))[1] > pitch
