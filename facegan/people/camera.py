"""From space to the pixels of an aligned portrait.

    y up          x: the subject's left (the picture's right), y: up, z: towards the viewer; in dm
    |
    +--- x        camera = face_camera(eyes, mouth, distance=10, resolution=256)
   /              camera.project(vertices) -> pixel x, pixel y (down), depth
  z

The crop is that of FFHQ (Karras et al. 2019, arXiv 1812.04948, app. A; ffhq-dataset, download_ffhq.py),
but from eyes and mouth corners that are known, not found: the alignment is exact. It undoes roll,
size and place.

Eyes and mouth corners come as two rows: the picture's left one (the subject's right), then the other.

Inside: rotation, Crop, ffhq_crop, aligned, Camera, face_camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """The matrix [3, 3] that turns a head, roll first, then pitch, then yaw; in radians.

    yaw > 0 turns the face to the subject's left, pitch > 0 nods it down, roll > 0 tilts the crown to
    the subject's right. Rows of points turn by `points @ rotation(...).T`.
    """
    (cy, sy), (cp, sp), (cr, sr) = ((math.cos(angle), math.sin(angle)) for angle in (yaw, pitch, roll))
    # about y @ about x @ about z, multiplied out: the rounding of `@` differs between processors
    return np.array(
        [
            [cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp],
            [cp * sr, cp * cr, -sp],
            [cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, cy * cp],
        ]
    )


# ---- the crop


@dataclass(frozen=True)
class Crop:
    """A square of a picture, shown on resolution x resolution pixels.

    centre [2], and half_side [2]: the vector from the centre to the middle of the right side.
    """

    centre: Floats
    half_side: Floats
    resolution: int

    @property
    def scale(self) -> float:
        """Pixels to one unit of the picture."""
        return self.resolution / (2 * math.hypot(*self.half_side))

    def pixels(self, points: npt.ArrayLike) -> Floats:
        """Pixel x and y [..., 2] of points [..., 2]; (0, 0) is the square's upper left corner."""
        offset = np.asarray(points, np.float64) - self.centre
        (right, down), (x, y) = self.half_side, np.moveaxis(offset, -1, 0)
        # not by matrix product: its rounding differs between processors
        along = np.stack([x * right + y * down, y * right - x * down], axis=-1) / (
            right * right + down * down
        )
        return np.asarray((along + 1) / 2 * self.resolution, np.float64)


def ffhq_crop(eyes: npt.ArrayLike, mouth: npt.ArrayLike, resolution: int) -> Crop:
    """The square that FFHQ cuts out around eyes [2, 2] and mouth corners [2, 2], y down.

    Raises:
        ValueError: another shape, or eyes and mouth that fall into one point.
    """
    eyes, mouth = np.asarray(eyes, np.float64), np.asarray(mouth, np.float64)
    if eyes.shape != (2, 2) or mouth.shape != (2, 2):
        raise ValueError(f"eyes {eyes.shape}, mouth {mouth.shape}: need [2, 2] each")
    eye_centre = eyes.mean(axis=0)
    eye_to_eye, eye_to_mouth = eyes[1] - eyes[0], mouth.mean(axis=0) - eye_centre
    right = eye_to_eye - _quarter_turn(eye_to_mouth)
    length = math.hypot(*right)
    if not length > 0:
        raise ValueError("eyes and mouth show no direction: need two eyes above a mouth")
    half_side = right / length * max(2.0 * math.hypot(*eye_to_eye), 1.8 * math.hypot(*eye_to_mouth))
    return Crop(eye_centre + 0.1 * eye_to_mouth, half_side, resolution)


def aligned(points: npt.ArrayLike, eyes: npt.ArrayLike, mouth: npt.ArrayLike, resolution: int) -> Floats:
    """Pixels [N, 2] of points [N, 2] in the FFHQ crop around eyes [2, 2] and mouth corners [2, 2]."""
    return ffhq_crop(eyes, mouth, resolution).pixels(points)


def _quarter_turn(vector: Floats) -> Floats:
    """From right to down, y down: (x, y) -> (-y, x)."""
    return np.array([-vector[1], vector[0]])


# ---- the camera


@dataclass(frozen=True)
class Camera:
    """A pinhole `distance` dm before `centre` [3], which looks along -z, and the crop of its picture."""

    centre: Floats
    distance: float
    crop: Crop

    @property
    def position(self) -> Floats:
        """Where the pinhole is [3], in dm."""
        return _before(self.centre, self.distance)

    def project(self, points: npt.ArrayLike) -> Floats:
        """Pixel x, pixel y and depth [..., 3] of points [..., 3]: what draw_triangles takes.

        depth: dm along the view, negative behind the camera, where the pixels mean nothing.
        """
        with np.errstate(divide="ignore", invalid="ignore"):  # beside the camera there is no picture
            flat, depth = _perspective(np.asarray(points, np.float64), self.position)
            return np.concatenate([self.crop.pixels(flat), depth], axis=-1)

    def pixels_per_dm(self, depth: npt.ArrayLike) -> Floats:
        """How many pixels one dm across the view has at a depth in dm; of the shape of depth."""
        return np.asarray(self.crop.scale / np.asarray(depth, np.float64))


def face_camera(eyes: npt.ArrayLike, mouth: npt.ArrayLike, *, distance: float, resolution: int) -> Camera:
    """The camera `distance` dm before the middle of eyes [2, 3] and mouth corners [2, 3], FFHQ's crop in it.

    Raises:
        ValueError: another shape, a distance at which the camera is not before the face.
    """
    eyes, mouth = np.asarray(eyes, np.float64), np.asarray(mouth, np.float64)
    if eyes.shape != (2, 3) or mouth.shape != (2, 3):
        raise ValueError(f"eyes {eyes.shape}, mouth {mouth.shape}: need [2, 3] each")
    landmarks = np.concatenate([eyes, mouth])  # [4, 3]
    centre = landmarks.mean(axis=0)
    flat, depth = _perspective(landmarks, _before(centre, distance))
    if not depth.min() > 0:
        raise ValueError(f"distance {distance} dm: need the camera before the eyes and the mouth; try 10")
    return Camera(centre, distance, ffhq_crop(flat[:2], flat[2:], resolution))


def _before(centre: Floats, distance: float) -> Floats:
    return np.array([centre[0], centre[1], centre[2] + distance])


def _perspective(points: Floats, position: Floats) -> tuple[Floats, Floats]:
    """The picture [..., 2] at distance 1 behind the pinhole, y down, and depths [..., 1]."""
    offset = points - position
    depth = -offset[..., 2:]
    return offset[..., :2] * np.array([1.0, -1.0]) / depth, depth
