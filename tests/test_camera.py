"""Heads turn the right way, and portraits are cut out as FFHQ's are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from facegan.people.camera import aligned, face_camera, ffhq_crop, rotation

Floats = npt.NDArray[np.float64]
FORWARD, UP = np.array([0.0, 0, 1]), np.array([0.0, 1, 0])
EYES = np.array([[-0.31, 7.28, 1.25], [0.31, 7.28, 1.25]])  # dm, the picture's left one first
MOUTH = np.array([[-0.26, 6.61, 1.42], [0.26, 6.61, 1.42]])


def ffhq_reference(points: Floats, eyes: Floats, mouth: Floats, resolution: int) -> Floats:
    """The published script's quad, and the affine map that takes its corners to the square's."""
    eye_avg, eye_to_eye = eyes.mean(0), eyes[1] - eyes[0]
    eye_to_mouth = mouth.mean(0) - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    quad = np.stack([c - x - y, c - x + y, c + x + y, c + x - y])
    square = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * resolution
    affine, *_ = np.linalg.lstsq(np.column_stack([quad, np.ones(4)]), square, rcond=None)
    return np.asarray(np.column_stack([points, np.ones(len(points))]) @ affine)


def random_face(seed: int) -> tuple[Floats, Floats, Floats]:
    """Points [20, 2], eyes [2, 2] and mouth corners [2, 2] of a picture, y down."""
    random = np.random.default_rng(seed)
    eyes = np.array([[300.0, 200], [380, 210]]) + random.normal(0, 15, (2, 2))
    mouth = np.array([[310.0, 300], [370, 305]]) + random.normal(0, 15, (2, 2))
    return random.uniform(100, 500, (20, 2)), eyes, mouth


# ---- rotation


@pytest.mark.parametrize("seed", range(4))
def test_rotations_are_orthonormal_and_keep_handedness(seed: int) -> None:
    matrix = rotation(*np.random.default_rng(seed).uniform(-3, 3, 3))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_no_angles_are_no_rotation() -> None:
    np.testing.assert_array_equal(rotation(0, 0, 0), np.eye(3))


def test_each_angle_turns_its_way() -> None:
    """By 30 degrees: cos 0.866, sin 0.5. x is the subject's left, y is up, z is forward."""
    angle, cos = np.pi / 6, np.sqrt(0.75)
    np.testing.assert_allclose(rotation(angle, 0, 0) @ FORWARD, [0.5, 0, cos], atol=1e-12)
    np.testing.assert_allclose(rotation(angle, 0, 0) @ UP, UP, atol=1e-12)
    np.testing.assert_allclose(rotation(0, angle, 0) @ FORWARD, [0, -0.5, cos], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, angle) @ UP, [-0.5, cos, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, angle) @ FORWARD, FORWARD, atol=1e-12)


def test_roll_comes_first_and_yaw_last() -> None:
    expected = rotation(0.3, 0, 0) @ rotation(0, -0.2, 0) @ rotation(0, 0, 0.5)
    np.testing.assert_allclose(rotation(0.3, -0.2, 0.5), expected, atol=1e-12)


# ---- the crop


@pytest.mark.parametrize("seed", range(5))
def test_crop_is_that_of_the_published_script(seed: int) -> None:
    points, eyes, mouth = random_face(seed)
    expected = ffhq_reference(points, eyes, mouth, 256)
    np.testing.assert_allclose(aligned(points, eyes, mouth, 256), expected, atol=1e-9)


def test_eyes_and_mouth_of_a_symmetric_face_land_where_the_formula_says() -> None:
    """Eyes 2 apart: half a side is 2.0 * 2 = 4 (> 1.8 * 2.2), so 16 pixels a unit; centre 0.22 below."""
    eyes, mouth = np.array([[-1.0, 0], [1, 0]]), np.array([[-0.8, 2.2], [0.8, 2.2]])
    pixels = aligned(np.concatenate([eyes, mouth]), eyes, mouth, 128)
    expected = [[48, 60.48], [80, 60.48], [51.2, 95.68], [76.8, 95.68]]
    np.testing.assert_allclose(pixels, expected, atol=1e-9)


def test_a_long_face_is_measured_by_its_height() -> None:
    """Mouth 4 below: half a side is 1.8 * 4 = 7.2 (> 2.0 * 2), so 10 pixels a unit; centre 0.4 below."""
    eyes, mouth = np.array([[-1.0, 0], [1, 0]]), np.array([[-0.8, 4], [0.8, 4]])
    pixels = aligned(np.array([[-1.0, 0], [0, 4]]), eyes, mouth, 144)
    np.testing.assert_allclose(pixels, [[62, 68], [72, 108]], atol=1e-9)


@pytest.mark.parametrize("degrees", [20, -20, 90, 180])
def test_a_rolled_face_comes_out_upright(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points, eyes, mouth = random_face(0)
    rolled = aligned(points @ turn.T, eyes @ turn.T, mouth @ turn.T, 128)
    np.testing.assert_allclose(rolled, aligned(points, eyes, mouth, 128), atol=1e-9)


def test_size_and_place_of_the_face_do_not_matter() -> None:
    points, eyes, mouth = random_face(1)
    moved = aligned(*(3.7 * a + [40, -900] for a in (points, eyes, mouth)), 128)
    np.testing.assert_allclose(moved, aligned(points, eyes, mouth, 128), atol=1e-9)


def test_pixels_grow_with_the_resolution() -> None:
    points, eyes, mouth = random_face(2)
    np.testing.assert_allclose(aligned(points, eyes, mouth, 512), 4 * aligned(points, eyes, mouth, 128))


def test_scale_is_pixels_to_a_unit_of_the_picture() -> None:
    points, eyes, mouth = random_face(3)
    crop = ffhq_crop(eyes, mouth, 128)
    between = np.linalg.norm(np.diff(crop.pixels(points), axis=0), axis=1)
    np.testing.assert_allclose(between, crop.scale * np.linalg.norm(np.diff(points, axis=0), axis=1))


def test_a_face_in_one_point_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="no direction"):
        ffhq_crop(np.ones((2, 2)), np.ones((2, 2)), 64)
    with pytest.raises(ValueError, match=r"eyes \(2, 3\).*\[2, 2\]"):
        ffhq_crop(EYES, MOUTH, 64)
    with pytest.raises(ValueError, match=r"eyes \(2, 2\).*\[2, 3\]"):
        face_camera(np.ones((2, 2)), np.ones((2, 2)), distance=10, resolution=64)


# ---- the camera


def test_projection_gives_recorded_pixels() -> None:
    """Recorded from a second implementation, which inverts the 2x2 matrix of the crop's sides."""
    turn = rotation(0.3, -0.1, 0.2)
    camera = face_camera(EYES @ turn.T, MOUTH @ turn.T, distance=9, resolution=128)
    points = np.array([[0, 7, 1.7], [0, 6.3, 1.5], [0.8, 7.1, 0.3], [-0.8, 7.1, 0.3]]) @ turn.T
    expected = [
        [71.18852854, 74.5109074, 8.65495616],
        [66.48224552, 112.90299393, 8.82073512],
        [85.68471517, 73.43263105, 10.23608369],
        [11.78162702, 69.96179415, 9.74235974],
    ]
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-8)  # as many digits as recorded


def test_the_subjects_left_is_the_pictures_right_and_up_is_up() -> None:
    camera = face_camera(EYES, MOUTH, distance=10, resolution=128)
    left, right = camera.project(EYES)
    assert right[0] - 64 == pytest.approx(64 - left[0])
    assert right[0] > left[0]
    assert camera.project(MOUTH)[0, 1] > right[1]  # pixel y runs down


def test_a_head_rolled_by_20_degrees_comes_out_upright() -> None:
    turn = rotation(0, 0, np.radians(20))
    straight = face_camera(EYES, MOUTH, distance=10, resolution=128)
    rolled = face_camera(EYES @ turn.T, MOUTH @ turn.T, distance=10, resolution=128)
    np.testing.assert_allclose(rolled.project(EYES @ turn.T), straight.project(EYES), atol=1e-9)
    np.testing.assert_allclose(rolled.project(MOUTH @ turn.T), straight.project(MOUTH), atol=1e-9)


def test_depth_is_the_distance_along_the_view() -> None:
    camera = face_camera(EYES, MOUTH, distance=10, resolution=128)
    assert camera.project(camera.centre)[2] == pytest.approx(10)
    assert camera.project(camera.centre + np.array([3, -2, 1.5]))[2] == pytest.approx(8.5)
    assert camera.project(camera.position + np.array([0, 0, 1]))[2] == pytest.approx(-1)


def test_nearer_things_are_larger() -> None:
    """A stick of 1 dm is scale / depth pixels long: twice as long at half the depth."""
    camera = face_camera(EYES, MOUTH, distance=12, resolution=256)
    near, far = ([0, 0, camera.position[2] - depth] for depth in (4.0, 8.0))
    lengths = [np.diff(camera.project([end, np.add(end, [1, 0, 0])]), axis=0)[0, 0] for end in (near, far)]
    assert lengths[0] == pytest.approx(2 * lengths[1])
    np.testing.assert_allclose(lengths, camera.pixels_per_dm([4.0, 8.0]))


def test_the_nose_grows_when_the_camera_comes_near() -> None:
    """The crop holds the size of the face; what stands out of it is larger from near than from afar."""
    nose = np.array([[-0.15, 6.9, 1.7], [0.15, 6.9, 1.7]])
    widths = [
        np.diff(face_camera(EYES, MOUTH, distance=d, resolution=256).project(nose)[:, 0])[0] for d in (7, 16)
    ]
    assert widths[0] > 1.02 * widths[1]


def test_a_camera_inside_the_face_is_refused() -> None:
    with pytest.raises(ValueError, match=r"distance 0\.05 dm"):
        face_camera(EYES, MOUTH, distance=0.05, resolution=64)
    with pytest.raises(ValueError, match="distance -7 dm"):
        face_camera(EYES, MOUTH, distance=-7, resolution=64)


def test_points_beside_the_camera_give_no_warning() -> None:
    camera = face_camera(EYES, MOUTH, distance=10, resolution=64)
    assert camera.project(camera.position + np.array([1, 1, 0]))[2] == 0
