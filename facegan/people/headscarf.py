"""A scarf about the head: from the forehead over the cheeks to under the chin, and over the shoulders.

Drawn in rest space like a hat, but about the whole head and with the poles before the face and behind it; a
direction is an azimuth (0 up, growing to the subject's left) and an angle from straight ahead.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from facegan.people.dome import Dome, dome_of
from facegan.people.head import Floats, Indices, Part, head
from facegan.people.landmarks import landmark_vertices
from facegan.people.person import Person
from facegan.people.shape import Shape, smoothstep
from facegan.people.solids import Piece, fitted, piece_of, sheet

CENTRE = np.array([0.0, 7.2, 0.45])
SPREAD = 0.23  # radians: over how much it smooths the head
AROUND, BACKWARD = 72, 18  # points of the hood
HEM = ((-0.10, -0.03), (-0.05, 0.03), (-0.015, 0.035))  # dm out of and before the hood's edge
HAIRLINE = (
    (0.62, 7.66, 1.06), (0.40, 7.86, 1.28), (0.0, 7.93, 1.38), (-0.40, 7.86, 1.28), (-0.62, 7.66, 1.06),
)  # fmt: skip
DRAPE = (  # y, reach to the sides, front, back of the cloth over the shoulders at rest
    (5.80, 1.35, 1.22, -0.56), (5.60, 1.85, 1.20, -0.62), (5.30, 2.20, 1.26, -0.68),
    (4.90, 2.50, 1.36, -0.75), (4.50, 2.65, 1.45, -0.80),
)  # fmt: skip


def covered_by_headscarf(rest_points: Floats) -> Floats:
    """How much of the skin at points [N, 3] of rest space lies under it [N]: 0 .. 1."""
    azimuth, polar = _angles(rest_points - CENTRE)
    return smoothstep(-0.02, 0.05, polar - _edge(azimuth, head().vertices)[0])


def _angles(offset: Floats) -> tuple[Floats, Floats]:
    """Azimuth [...], 0 up and growing to the subject's left, and angle from straight ahead, of [..., 3]."""
    x, y, z = np.moveaxis(offset, -1, 0)
    return np.arctan2(x, y) % (2 * np.pi), np.arctan2(np.hypot(x, y), z)


@lru_cache(maxsize=1)
def _frame_vertices() -> Indices:
    """What the scarf frames [22]: the jaw line, and five points of the hairline."""
    skin = head().part_vertices(Part.SKIN)
    top = np.array(HAIRLINE)
    offset = top[:, None] - head().vertices[skin]
    return np.concatenate([landmark_vertices()[:17], skin[(offset**2).sum(axis=2).argmin(axis=1)]])


def _edge(azimuth: Floats, vertices: Floats) -> tuple[Floats, Floats]:
    """The angle from straight ahead at which the scarf begins, and the skin's radius, at azimuths [...]."""
    offset = vertices[_frame_vertices()] - CENTRE
    at, polar = _angles(offset)
    polar[:17] += 0.02  # the jaw line stays free
    order = np.argsort(at)
    known = np.concatenate([at[order] + turn for turn in (-2 * np.pi, 0, 2 * np.pi)])

    def smoothed(values: Floats) -> Floats:
        values = np.tile(values[order], 3)
        shifted = [np.interp(azimuth + shift, known, values) for shift in (-0.12, 0, 0.12)]
        return np.asarray(np.mean(shifted, axis=0))

    return smoothed(polar), smoothed(np.sqrt((offset**2).sum(axis=1)))


@lru_cache(maxsize=1)
def _hood() -> Dome:
    skin = head().part_vertices(Part.SKIN)
    points = head().vertices[skin]
    azimuth, polar = _angles(points - CENTRE)
    under = skin[(polar > _edge(azimuth, head().vertices)[0]) & (points[:, 1] > 6.05)]
    start, _ = _edge(np.linspace(0, 2 * np.pi, AROUND, endpoint=False), head().vertices)
    return dome_of(CENTRE, _directions(start), under, SPREAD)


def _directions(start: Floats) -> Floats:
    """Directions [R, C, 3] from the opening at angles [C] to straight back."""
    azimuth = np.linspace(0, 2 * np.pi, len(start), endpoint=False)
    polar = start + np.linspace(0, 1, BACKWARD)[:, None] * (np.pi - start)
    return np.stack([np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth), np.cos(polar)], -1)


def headscarf(person: Person, shape: Shape, rng: np.random.Generator) -> list[Piece]:
    """A hood that frames the face, and the cloth that falls from it."""
    dome = _hood()
    points = shape.vertices[dome.vertices]
    fit = fitted(head().vertices[dome.vertices], points)
    radii = dome.radii(fit.rest(points))
    back = np.linspace(0, 1, BACKWARD)[:, None]
    around = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    phase = rng.uniform(0, 2 * np.pi, 3)
    folds = 0.016 * np.sin(26 * back + 3 * np.cos(around) + phase[0])
    folds = folds + 0.014 * np.sin(14 * back - 5 * around + phase[1]) * np.sin(2 * around + phase[2])
    folds *= smoothstep(0.0, 0.25, back)
    _, edge = _edge(around, fit.rest(shape.vertices))
    # from the edge out to the whole head: at once over the ears, slowly along the jaw
    near = smoothstep(0.0, 0.13 + 0.6 * np.clip(-np.cos(around) - 0.42, 0, 1), back)
    radii = (edge + 0.05) * (1 - near) + (radii + 0.05) * near + folds
    hood = CENTRE + dome.directions * radii[..., None]
    # the hem: from the skin forward and out, so that the cloth has a thick edge
    hem = np.stack([hood[0] + step * dome.directions[0] + [0, 0, ahead] for step, ahead in HEM])
    crown = sheet(fit.person(np.concatenate([hem, hood])), columns_close=True)
    # "blend", since the chin is on the neck and does not turn with the head alone
    return [
        piece_of(crown, person.hat_colour, roughness=0.8, turns="blend"),
        _drape(person, shape, rng),
    ]


def _drape(person: Person, shape: Shape, rng: np.random.Generator) -> Piece:
    """The cloth that falls from under the chin over the shoulders."""
    body = _shoulders()
    fit = fitted(head().vertices[body], shape.vertices[body])
    chin = shape.vertices[landmark_vertices()[8]]
    jaw = float(np.ptp(shape.vertices[landmark_vertices()[[4, 12]], 0])) / 2
    under_chin = np.array(  # y, reach to the sides, front, back
        [
            [chin[1] + 0.30, 0.95 * jaw, chin[2] - 0.45, chin[2] - 1.6],
            [chin[1] + 0.12, jaw + 0.06, chin[2] - 0.20, chin[2] - 1.7],
            [chin[1] - 0.07, 1.1 * jaw + 0.12, chin[2] - 0.06, chin[2] - 1.75],
        ]
    )
    y, side, front, back = np.array(DRAPE).T
    over_shoulders = np.stack(
        [
            np.minimum(y * fit.scale[1] + fit.offset[1], chin[1] - 0.15 * np.arange(1, len(y) + 1)),
            side * fit.scale[0],
            front * fit.scale[2] + fit.offset[2],
            back * fit.scale[2] + fit.offset[2],
        ],
        axis=1,
    )
    y, side, front, back = np.concatenate([under_chin, over_shoulders])[::-1].T[..., None]  # [R, 1] each
    around = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    level = np.linspace(1, 0, len(y))[:, None]
    folds = 1 + 0.05 * np.sin(7 * around + 9 * level + rng.uniform(0, 6)) * (1 - 0.6 * (1 - level))
    folds += 0.03 * np.sin(15 * around - 6 * level)
    x = side * folds * np.sin(around)
    z = (front + back) / 2 + (front - back) / 2 * folds * np.cos(around)
    points = np.stack([x + fit.offset[0], np.broadcast_to(y, x.shape), z], axis=-1)
    mesh = sheet(points, columns_close=True)
    return piece_of(mesh, person.hat_colour, roughness=0.8, turns="blend")


@lru_cache(maxsize=1)
def _shoulders() -> Indices:
    skin = head().part_vertices(Part.SKIN)
    y = head().vertices[skin, 1]
    return np.asarray(skin[(y > 4.5) & (y < 6.0)])
