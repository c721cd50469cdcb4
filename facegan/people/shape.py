"""The body of one person: its own head, and how head and shoulders are held in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facegan.people.camera import rotation
from facegan.people.head import (
    Floats,
    Part,
    expression_weights,
    head,
    local_weights,
    macro_weights,
    morphed,
)
from facegan.people.person import Person
from facegan.people.raster import compiled, vertex_normals

BODY = (
    Part.SKIN, Part.LEFT_EYE, Part.RIGHT_EYE, Part.UPPER_TEETH, Part.LOWER_TEETH, Part.TONGUE, Part.CLOTHES,
)  # fmt: skip
NECK = (
    5.4,
    6.1,
)  # heights on the rest head: below the first all turns with the body, above the second with the head
PIVOT = np.array([0.0, 6.1, 0.25])  # on the rest head, about which it turns
LINING_DEPTH = 0.04  # dm by which the inside of the mouth steps back: thin lips would let it through
LINING_LIGHT = 0.02  # the openness to the sky below which skin at the mouth is inside it
RING = 0.12  # dm: how near to a height a vertex must be to tell where that height went


@dataclass(frozen=True, eq=False)
class Shape:
    """A person's own head before it is turned: vertices [V, 3] and outward normals [V, 3] of BODY."""

    vertices: Floats
    normals: Floats


def shape_of(person: Person) -> Shape:
    """The head of this person with its expression."""
    vertices = morphed(
        macro_weights(person.gender, person.age_years, person.ancestry, person.muscle, person.weight)
        | local_weights(person.features)
        | expression_weights(person.expression)
    )
    vertices[_mouth_lining()] -= (0, 0, LINING_DEPTH)
    return Shape(vertices, vertex_normals(vertices, head().triangles[body_rows()]))


@lru_cache(maxsize=1)
def _mouth_lining() -> NDArray[np.intp]:
    """Skin vertices [N] inside the mouth that nobody sees while it is closed."""
    skin = head().part_vertices(Part.SKIN)
    x, y, z = head().vertices[skin].T
    mouth = (np.abs(x) < 0.32) & (y > 6.35) & (y < 6.75) & (z > 0.8)
    return np.asarray(skin[mouth & (head().ambient_transfer[skin, 0] < LINING_LIGHT)])


@lru_cache(maxsize=1)
def body_rows() -> NDArray[np.intp]:
    """Which of the head's triangles [T] are drawn of everybody."""
    rows = np.flatnonzero(np.isin(head().parts, BODY))
    rows.setflags(write=False)
    return rows


@lru_cache(maxsize=1)
def skin_triangles() -> NDArray[np.intp]:
    """The triangles [T, 3] of the skin."""
    triangles: NDArray[np.intp] = head().triangles[head().parts == Part.SKIN]
    triangles.setflags(write=False)
    return triangles


@dataclass(frozen=True, eq=False)
class Posture:
    """How head and body are turned: two rotations [3, 3] about a pivot [3], blended along the neck.

    neck: the heights in dm on this person between which that happens.
    """

    head: Floats
    body: Floats
    pivot: Floats
    neck: tuple[float, float]

    def share(self, points: Floats) -> Floats:
        """How much points [..., 3] of the unturned person turn with the head [...]: 0 shoulders .. 1 head."""
        return smoothstep(*self.neck, points[..., 1])

    def points(self, points: Floats, share: Floats | None = None) -> Floats:
        """Where points [..., 3] of the unturned person are; share as for vectors."""
        return np.asarray(self.vectors(points - self.pivot, points, share) + self.pivot)

    def vectors(self, vectors: Floats, at: Floats, share: Floats | None = None) -> Floats:
        """Vectors [..., 3] turned as the points [..., 3] they stand at are.

        share [...]: how much they turn with the head, where that does not follow from the place.
        """
        share = np.asarray(self.share(at) if share is None else share)
        flat = np.ascontiguousarray(np.broadcast_to(vectors, np.shape(at))).reshape(-1, 3)
        return _turned_kernel(flat, share.ravel(), self.head, self.body).reshape(np.shape(at))


@compiled
def _turned_kernel(vectors: Floats, share: Floats, head_turn: Floats, body_turn: Floats) -> Floats:
    result = np.empty_like(vectors)
    for n in range(len(vectors)):
        x, y, z = vectors[n]
        for axis in range(3):
            with_head = head_turn[axis, 0] * x + head_turn[axis, 1] * y + head_turn[axis, 2] * z
            with_body = body_turn[axis, 0] * x + body_turn[axis, 1] * y + body_turn[axis, 2] * z
            result[n, axis] = with_head * share[n] + with_body * (1 - share[n])
    return result


def posture_of(person: Person, shape: Shape) -> Posture:
    """How this person is held."""
    yaw, pitch, roll = (
        math.radians(angle) for angle in (person.yaw_degrees, person.pitch_degrees, person.roll_degrees)
    )
    low, high = (
        moved.mean(axis=0) for moved in ((shape.vertices - head().vertices)[ring] for ring in _rings())
    )
    return Posture(
        head=rotation(yaw, pitch, roll),
        body=rotation(math.radians(person.body_yaw_degrees), 0, 0),
        pivot=PIVOT + high,
        neck=(NECK[0] + float(low[1]), NECK[1] + float(high[1])),
    )


@lru_cache(maxsize=1)
def _rings() -> tuple[NDArray[np.intp], ...]:
    """Skin vertices [N] round the neck at both heights of NECK."""
    skin = head().part_vertices(Part.SKIN)
    x, y, z = head().vertices[skin].T
    neck = (np.abs(x) < 0.8) & (z < 0.9)
    return tuple(skin[neck & (np.abs(y - height) < RING)] for height in NECK)


def smoothstep(low: float | Floats, high: float | Floats, values: Floats) -> Floats:
    """0 at `low`, 1 at `high` (either may be the larger), smooth between: t^2 (3 - 2t)."""
    t = np.clip((values - low) / (np.asarray(high) - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
