"""Landmarks of a picture: those of the mesh, but for the jaw line, which follows the outline evenly."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.camera import face_camera
from facegan.people.head import Floats
from facegan.people.landmarks import (
    MIRROR,
    eye_centres,
    landmark_vertices,
    landmarks,
    mouth_corners,
    seen_landmarks,
)
from facegan.people.person import Person
from facegan.people.render import render
from facegan.people.shape import posture_of, shape_of

pytestmark = pytest.mark.usefixtures("kernels")

SIZE = 256
FACE = slice(17, 68)  # all but the jaw
STRAIGHT = {
    "yaw_degrees": 0.0, "pitch_degrees": 0.0, "roll_degrees": 0.0, "distance_dm": 12.0, "expression": {},
}  # fmt: skip


def even(person: Person) -> Person:
    """The same person without what differs between left and right."""
    return person.replace(
        features={name: value for name, value in person.features.items() if not name.startswith("asym")},
        **STRAIGHT,
    )


def pixels(person: Person) -> Floats:
    """The pixels [V, 2] of a person's vertices."""
    shape = shape_of(person)
    vertices = posture_of(person, shape).points(shape.vertices)
    camera = face_camera(
        eye_centres(vertices), mouth_corners(vertices), distance=person.distance_dm, resolution=SIZE
    )
    return camera.project(vertices)[:, :2]


def steps(points: Floats) -> Floats:
    return np.hypot(*np.diff(points, axis=0).T)


@pytest.fixture(scope="module")
def people() -> list[Person]:
    """Twelve of the population, as they are held."""
    return [Person.sample(np.random.default_rng(seed)) for seed in range(12)]


@pytest.fixture(scope="module")
def seen(people: list[Person]) -> list[tuple[Person, Floats, Floats]]:
    """Of each person the 68 vertices' pixels, and the landmarks of the picture."""
    found = [(person, pixels(person)) for person in people]
    return [(person, points[landmark_vertices()], seen_landmarks(points)) for person, points in found]


def test_brows_eyes_nose_and_mouth_are_the_meshs_own(seen: list[tuple[Person, Floats, Floats]]) -> None:
    for _, own, found in seen:
        np.testing.assert_array_equal(found[FACE], own[FACE])
        assert found.shape == (68, 2)


def test_the_vertices_pixels_are_not_changed(people: list[Person]) -> None:
    points = pixels(people[0])
    before = points.copy()
    seen_landmarks(points)
    np.testing.assert_array_equal(points, before)


def test_each_half_of_the_jaw_line_is_walked_in_even_strides(
    seen: list[tuple[Person, Floats, Floats]],
) -> None:
    """Points equally far apart along the outline: chords are that long or, round the bend, a little less."""
    for _, _, found in seen:
        for half in (steps(found[:9]), steps(found[8:17])):
            assert half.min() > 0.75 * half.max()


def test_the_jaw_line_starts_and_ends_at_the_height_of_the_eyes(
    seen: list[tuple[Person, Floats, Floats]],
) -> None:
    for _, own, found in seen:
        assert found[[0, 16], 1] == pytest.approx(own[36:48, 1].mean())
        assert found[8, 1] > found[:17, 1].max() - 4  # pixels of 256: a tilted chin is not the lowest


def test_the_jaw_line_runs_from_the_pictures_left_to_its_right_around_the_face(
    seen: list[tuple[Person, Floats, Floats]],
) -> None:
    for _, _, found in seen:
        assert (np.diff(found[:17, 0]) > -4).all()  # pixels of 256: a jaw may stand out below the cheek
        eyes_and_mouth = found[36:68, 0]
        assert found[0, 0] < eyes_and_mouth.min()
        assert found[16, 0] > eyes_and_mouth.max()


def test_the_jaw_line_of_a_straight_face_is_near_the_vertices_of_the_jaw(people: list[Person]) -> None:
    """Within 0.2 dm of where an annotator would click on the rest head (landmarks.HALF_LANDMARKS)."""
    for person in people[:6]:
        points = pixels(even(person))
        own, found = points[landmark_vertices()], seen_landmarks(points)
        eye_to_eye = own[42:48, 0].mean() - own[36:42, 0].mean()  # about 0.6 dm
        for point in range(17):
            nearest = min(np.hypot(*(own[point] - place).T) for place in along(found[:17]))
            assert nearest < eye_to_eye / 3


def along(path: Floats) -> Floats:
    """A path [N, 2] with nine points between each two."""
    share = np.linspace(0, 1, 10, endpoint=False)[:, None, None]
    return np.asarray((path[:-1] * (1 - share) + path[1:] * share).reshape(-1, 2))


def around_the_face(points: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Angles [N] from straight down, growing to the picture's right, and distances [N] from the centre."""
    x, y = (points - centre).T
    return np.arctan2(x, y), np.hypot(x, y)


def beyond_the_jaw(person: Person) -> tuple[Floats, Floats]:
    """The angles [N] of the jaw's vertices below the eyes, and how far outside of them the line is [N]."""
    points = pixels(person)
    own, line = points[landmark_vertices()], along(seen_landmarks(points)[:17])
    centre = own[[30, 36, 45, 48, 54]].mean(axis=0)
    (angles, radii), (line_angles, line_radii) = (around_the_face(path, centre) for path in (own[:17], line))
    below_eyes = np.abs(angles) < np.abs(line_angles[[0, -1]]).min()
    order = np.argsort(line_angles)
    room = np.interp(angles, line_angles[order], line_radii[order]) - radii
    return angles[below_eyes], room[below_eyes]


@pytest.mark.parametrize("yaw", [-30.0, 0.0, 30.0])
def test_no_vertex_of_the_jaw_is_outside_the_line(people: list[Person], yaw: float) -> None:
    """The line is the outline: seen from the middle of the face it is at least as far as each vertex."""
    for person in people[:6]:
        _, room = beyond_the_jaw(even(person).replace(yaw_degrees=yaw))
        assert room.min() > -5  # pixels of 256: even steps cut corners


@pytest.mark.parametrize("yaw", [-30.0, 30.0])
def test_on_the_far_side_of_a_turned_face_the_line_leaves_the_hidden_jaw_for_the_cheek(
    people: list[Person], yaw: float
) -> None:
    """Turned to the picture's right, the cheek on the right is outside of the jaw behind it."""
    for person in people[:6]:
        angles, room = beyond_the_jaw(even(person).replace(yaw_degrees=yaw))
        far = np.sign(angles) == np.sign(yaw)
        assert room[far].max() > 6  # pixels of 256
        assert room[~far].max() < room[far].max()


def test_a_mirrored_pose_has_mirrored_landmarks(people: list[Person]) -> None:
    """Turning a face without asymmetries the other way mirrors its picture."""
    for person in people[:4]:
        turned = even(person).replace(yaw_degrees=22.0, body_yaw_degrees=5.0)
        other = turned.replace(yaw_degrees=-22.0, body_yaw_degrees=-5.0)
        here, there = seen_landmarks(pixels(turned)), seen_landmarks(pixels(other))
        mirrored = there[list(MIRROR)] * (-1, 1) + (SIZE, 0)
        np.testing.assert_allclose(
            here[FACE], mirrored[FACE], atol=1.5
        )  # pixels of 256: targets are not even
        np.testing.assert_allclose(here[:17], mirrored[:17], atol=4)  # the outline jumps between vertices


def test_a_yaw_turns_the_nose_to_the_subjects_left(people: list[Person]) -> None:
    for person in people[:4]:
        noses = [
            seen_landmarks(pixels(even(person).replace(yaw_degrees=yaw)))[30, 0] for yaw in (-25.0, 0.0, 25.0)
        ]
        assert noses[0] < noses[1] - 5 < noses[2] - 10


def test_eye_centres_and_mouth_corners_are_the_pictures_left_first(people: list[Person]) -> None:
    vertices = shape_of(even(people[0])).vertices
    assert eye_centres(vertices)[0, 0] < 0 < eye_centres(vertices)[1, 0]
    np.testing.assert_array_equal(mouth_corners(vertices), landmarks(vertices)[[48, 54]])


def test_no_jaw_point_flies_off_in_an_extreme_pose() -> None:
    person = Person.sample(np.random.default_rng(3)).replace(
        yaw_degrees=-45.0, pitch_degrees=-20.0, roll_degrees=35.0, distance_dm=5.0
    )
    points = render(person, 64).landmarks
    assert points.min() > -20
    assert points.max() < 84
