"""Eyeballs: white, iris and pupil from the angle to the gaze, and the mirror images of the lamps."""

from __future__ import annotations

import math

import numpy as np

from facegan.people.camera import rotation
from facegan.people.head import Floats, Part, head
from facegan.people.landmarks import eye_centres
from facegan.people.light import Lamps
from facegan.people.person import Detail, Person
from facegan.people.raster import normalized
from facegan.people.shape import Posture, Shape, smoothstep
from facegan.people.surface import Material, Surface

IRIS = 0.47  # sine of the angle from the gaze to the iris' edge
CORNEA_BULGE = 0.55  # how far normals over the iris lean outward, since the cornea is a smaller sphere
TO_CAMERA, AHEAD = 0.8, 0.5  # weights of both directions in a gaze: who turns away looks back at the camera
WINDOW = (0.10, 0.16)  # half the angle of a lamp's mirror image, inner and outer edge, in radians


def paint_eyes(
    person: Person,
    shape: Shape,
    posture: Posture,
    surface: Surface,
    material: Material,
    lamps: Lamps,
    camera: Floats,
) -> None:
    """Fills in the material of the eyes' pixels; camera: its position [3]."""
    random = person.detail(Detail.EYES)
    pupil = IRIS * float(random.uniform(0.30, 0.46))
    for part, centre in zip((Part.RIGHT_EYE, Part.LEFT_EYE), eye_centres(shape.vertices), strict=True):
        chosen = surface.part == part
        if not chosen.any():
            continue
        turned = posture.points(centre)
        out = normalized(surface.turned[chosen] - turned)
        gaze = _gaze(person, posture.head, normalized(camera - turned))
        cosine = out @ gaze
        sine = np.where(cosine > 0, np.sqrt(np.clip(1 - cosine**2, 0, 1)), 1.0)
        material.albedo[chosen] = _colours(person, out, gaze, sine, pupil)
        bulge = normalized(
            out + CORNEA_BULGE * (out - gaze) * smoothstep(IRIS * 1.15, IRIS * 0.85, sine)[:, None]
        )
        material.normals[chosen] = bulge
        material.roughness[chosen] = 0.25
        material.specular[chosen] = 0.02
        material.scatter[chosen] = 0.0
        shade = _under_lids(surface.rest[chosen], part)
        material.albedo[chosen] *= shade[:, None]
        view = normalized(camera - surface.turned[chosen])
        mirrored = 2 * np.einsum("nk,nk->n", bulge, view)[:, None] * bulge - view
        material.glow[chosen] = _windows(person, mirrored, lamps) * shade[:, None] ** 0.5


def gaze_degrees(person: Person) -> tuple[float, float]:
    """Yaw and pitch of the gaze from the camera's direction; above 0 to the subject's left, and down.

    Of an eye between both, of a head whose turn the neck does not follow.
    """
    yaw, pitch, roll = (
        math.radians(angle) for angle in (person.yaw_degrees, person.pitch_degrees, person.roll_degrees)
    )
    x, y, z = _gaze(person, rotation(yaw, pitch, roll), np.array([0.0, 0.0, 1.0]))
    return math.degrees(math.atan2(x, z)), -math.degrees(math.asin(y))


def _gaze(person: Person, head_turn: Floats, to_camera: Floats) -> Floats:
    """Where an eye looks [3]: its head is turned by [3, 3], the camera is in this direction [3] from it."""
    yaw, pitch = math.radians(person.gaze_yaw_degrees), math.radians(person.gaze_pitch_degrees)
    away = np.array([math.sin(yaw), -math.sin(pitch), 0.0])
    return normalized(TO_CAMERA * to_camera + AHEAD * (head_turn @ np.array([0.0, 0.0, 1.0])) + away)


def _colours(person: Person, out: Floats, gaze: Floats, sine: Floats, pupil: float) -> Floats:
    """Albedo [N, 3] at directions `out` [N, 3] from the eye's centre."""
    right = normalized(np.cross((0.0, 1.0, 0.1), gaze))
    angle = np.arctan2(out @ np.cross(gaze, right), out @ right)
    fibres = 0.5 + 0.22 * np.sin(
        angle * 23 + person.iris_pattern + 3 * np.sin(angle * 5 + person.iris_pattern)
    )
    fibres += 0.18 * np.sin(angle * 41 + 2 * person.iris_pattern)
    share = np.clip((sine - pupil) / (IRIS - pupil), 0, 1)  # 0 at the pupil's edge, 1 at the white
    bright = (0.75 + 0.5 * fibres) * (1.25 - 0.35 * share) * (1 - 0.72 * smoothstep(0.72, 1.0, share))
    iris = np.array(person.eye_colour) ** 0.9 * 1.05 * bright[:, None]
    old = 0.5 * person.ageing
    white = np.array([0.74, 0.70, 0.675]) - old * np.array([0.04, 0.06, 0.10])
    white = white * np.exp(-np.outer(smoothstep(0.6, 1.0, sine), [0.10, 0.32, 0.30]))
    edge = smoothstep(IRIS - 0.05, IRIS + 0.035, sine)[:, None]
    colour = iris * (1 - edge) + white * edge
    hole = smoothstep(pupil + 0.03, pupil - 0.03, sine)[:, None]
    return np.asarray(colour * (1 - hole) + 0.004 * hole)


def _under_lids(rest: Floats, part: Part) -> Floats:
    """How much light [N] the lids let onto the ball, by the place on the rest eye."""
    eye = head().vertices[head().part_vertices(part)]
    centre, radius = eye.mean(axis=0), float(np.ptp(eye[:, 0])) / 2
    x, y, _ = ((rest - centre) / radius).T
    above = smoothstep(0.02, 0.42, y)
    below = smoothstep(-0.28, -0.55, y)
    sides = smoothstep(0.55, 0.95, np.abs(x))
    return np.clip(1 - 0.42 * above - 0.12 * below - 0.25 * sides, 0.2, 1)


def _windows(person: Person, mirrored: Floats, lamps: Lamps) -> Floats:
    """The lamps' and the sky's mirror images [N, 3] in directions [N, 3]."""
    glow = np.zeros_like(mirrored)
    inner, outer = (math.cos(angle) for angle in WINDOW)
    for direction, colour, size in zip(lamps.directions, lamps.colours, (1.0, 0.8, 0.6), strict=True):
        cosine = mirrored @ direction
        edge = 1 - (1 - outer) * size
        glow += np.outer(smoothstep(edge, edge + (outer - inner) * -0.5 + 0.004, cosine), colour) * 0.55
    side = math.copysign(0.35, person.light_azimuth_degrees)
    window = normalized(
        (side, 0.55, 0.8)
    )  # a photographer's reflector: every portrait has a light in the eye
    across = np.abs(mirrored @ normalized(np.cross(window, (0.0, 1.0, 0.0))))
    along = np.abs(mirrored @ normalized(np.cross(window, np.cross(window, (0.0, 1.0, 0.0)))))
    inside = smoothstep(0.15, 0.10, across) * smoothstep(0.19, 0.13, along) * (mirrored @ window > 0)
    return glow + 0.55 * inside[:, None]
