"""What is about the neck: where the tight shirt ends, its neckband, collars, the scarf.

A neckline is a height over the azimuth about the neck, in rest space; where the mesh's shirt helper has that
height is a ring on it, kept as a mix of its vertices: so it lies on every person's own shirt.
Azimuth: 0 in front, growing to the subject's left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from facegan.people.head import Floats, Indices, Part, head
from facegan.people.person import Person
from facegan.people.shape import Shape, smoothstep
from facegan.people.solids import Piece, Worn, chances, piece_of, sheet, tube

AXIS_Z = 0.2  # of the neck
AROUND = 72  # points of a ring
AZIMUTHS = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)


@dataclass(frozen=True)
class Neckline:
    """Heights in dm of rest space: before, beside and behind the neck; a V is straight, others are round."""

    front: float
    side: float
    back: float
    pointed: bool = False

    def heights(self, x: Floats, z: Floats) -> Floats:
        """The height [...] at x and z [...]."""
        azimuth = np.arctan2(x, z - AXIS_Z)
        ahead = np.cos(azimuth)
        behind = self.side + (self.back - self.side) * np.clip(-ahead, 0, 1)
        if self.pointed:
            down = np.clip(1 - np.abs(x) / 0.5, 0, 1) * (ahead > 0)
        else:
            down = np.clip(ahead, 0, 1) ** 1.4
        return np.asarray(behind + (self.front - self.side) * down)


def neckline(person: Person) -> Neckline:
    """Where this person's shirt ends."""
    deep = np.round(chances(person, Worn.NECKLINE).uniform(), 1)
    if person.clothes == "turtleneck":
        return Neckline(6.0, 6.05, 6.05)
    if person.clothes == "v-neck":
        return Neckline(5.58 - 0.3 * deep, 5.93, 5.97, pointed=True)
    if person.clothes in ("shirt", "jacket"):
        return Neckline(5.76 - 0.25 * deep, 5.97, 6.0, pointed=True)
    return Neckline(5.82 - 0.14 * deep, 5.93, 5.97)


def clothes_clip(person: Person, rest_vertices: Floats) -> Floats:
    """Negative where the shirt is cut away [V], at the vertices [V, 3] at rest; 1 for all but the shirt."""
    clip = np.ones(len(rest_vertices))
    shirt = _shirt_vertices()
    x, y, z = rest_vertices[shirt].T
    clip[shirt] = neckline(person).heights(x, z) - y
    return clip


def collars(person: Person, shape: Shape) -> list[Piece]:
    """The pieces about this person's neck."""
    rng = chances(person, Worn.COLLAR)
    if person.clothes == "turtleneck":
        return [_roll_neck(person, shape, rng)]
    if person.clothes == "shirt":
        return [_collar(shape, person.clothes_colour, rng.uniform(0.25, 0.5), 0.0, rng)]
    if person.clothes == "jacket":
        over = _collar(shape, person.clothes_colour, 0.75, 0.07, rng)
        return [_collar(shape, person.second_colour, rng.uniform(0.2, 0.45), 0.0, rng), over]
    if person.clothes == "scarf":
        return _scarf(person, shape, rng)
    return [_band(person, shape)]


# ---- rings on the shirt


@lru_cache(maxsize=1)
def _shirt_vertices() -> Indices:
    return head().part_vertices(Part.CLOTHES)


@lru_cache(maxsize=128)
def _ring_weights(line: Neckline) -> tuple[Indices, Floats]:
    """The vertices [AROUND, 4] and shares [AROUND, 4, 1] that mix to where the shirt has these heights."""
    points = head().vertices
    triangles = head().triangles[head().parts == Part.CLOTHES]
    a, b = np.concatenate([triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))]).T
    above = points[:, 1] - line.heights(points[:, 0], points[:, 2])
    crossed = above[a] * above[b] < 0
    a, b = a[crossed], b[crossed]
    share = above[a] / (above[a] - above[b])
    place = points[a] + (points[b] - points[a]) * share[:, None]
    azimuth = np.arctan2(place[:, 0], place[:, 2] - AXIS_Z) % (2 * np.pi)
    order = np.argsort(azimuth)
    a, b, share, azimuth = (np.concatenate([array[order]] * 3) for array in (a, b, share, azimuth))
    azimuth += np.repeat([-2 * np.pi, 0, 2 * np.pi], len(order))
    after = np.searchsorted(azimuth, AZIMUTHS, side="right")
    before = after - 1
    way = (AZIMUTHS - azimuth[before]) / (azimuth[after] - azimuth[before])
    corners = np.stack([a[before], b[before], a[after], b[after]], axis=1)
    shares = np.stack(
        [
            (1 - way) * (1 - share[before]),
            (1 - way) * share[before],
            way * (1 - share[after]),
            way * share[after],
        ],
        axis=1,
    )
    return corners, shares[..., None]


def ring(shape: Shape, line: Neckline) -> Floats:
    """The points [AROUND, 3] of a person's shirt at a neckline."""
    corners, shares = _ring_weights(line)
    return np.asarray((shape.vertices[corners] * shares).sum(axis=1))


def _outward(points: Floats) -> Floats:
    """Level unit vectors [N, 3] away from the ring's middle."""
    offset = points - points.mean(axis=0)
    offset[:, 1] = 0
    return np.asarray(offset / np.hypot(offset[:, 0], offset[:, 2])[:, None])


def _smooth(points: Floats, times: int) -> Floats:
    """A closed path [N, 3] with each point between its neighbours."""
    for _ in range(times):
        points = (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4
    return points


def _raised(points: Floats, up: float | Floats) -> Floats:
    raised = points.copy()
    raised[:, 1] += up
    return raised


# ---- collars


def _band(person: Person, shape: Shape) -> Piece:
    line = neckline(person)
    path = _smooth(ring(shape, line), 0 if line.pointed else 1)
    mesh = tube(path, _outward(path), 0.045, 0.018, closes=True, sides=8, squareness=0.3)
    ribs = 1 + 0.06 * np.cos(36 * AZIMUTHS)[:, None]
    colour = np.array(person.clothes_colour) * 0.85 * np.broadcast_to(ribs, (8, AROUND, 1))
    return piece_of(mesh, colour.reshape(-1, 3), roughness=0.9, specular=0.02, turns="blend")


def _roll_neck(person: Person, shape: Shape, rng: np.random.Generator) -> Piece:
    low, high = (_smooth(ring(shape, Neckline(y, y + 0.05, y + 0.08)), 6) for y in (5.84, 5.98))
    outward = _outward(low)
    rise = (high - low) / 0.14  # along the neck, for each dm up
    tall, loose = rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.05)
    steps = (  # how far along the neck and out of it
        (0.0, 0.02), (0.04, 0.05 + loose), (0.14, 0.055 + loose), (0.14 + 0.7 * tall, 0.05 + loose),
        (0.14 + tall, 0.03 + 0.5 * loose), (0.13 + tall, 0.005), (0.10, -0.03),
    )  # fmt: skip
    rows = [low + along * rise + out * outward for along, out in steps]
    mesh = sheet(np.stack(rows), columns_close=True)
    ribs = np.broadcast_to(1 + 0.12 * np.cos(36 * AZIMUTHS)[:, None], (len(rows), AROUND, 1)).reshape(-1, 1)
    return piece_of(
        mesh, np.array(person.clothes_colour) * ribs, roughness=0.95, specular=0.015, turns="blend"
    )


def _collar(
    shape: Shape, colour: tuple[float, float, float], gap: float, over: float, rng: np.random.Generator
) -> Piece:
    """Two leaves, folded down, open in front by `gap` radians to each side; `over` dm outside of another."""
    base = _smooth(ring(shape, Neckline(5.74 - over, 5.96 - over, 6.0)), 3)
    azimuth = np.linspace(gap, 2 * np.pi - gap, 49)
    closed = np.append(AZIMUTHS, 2 * np.pi), np.concatenate([base, base[:1]])
    base = np.stack([np.interp(azimuth, closed[0], closed[1][:, axis]) for axis in range(3)], axis=1)
    outward = _outward(base)
    outward[:, 2] += 0.3 * np.clip(outward[:, 2], 0, 1)
    points_ahead = np.exp(
        -(((np.minimum(azimuth, 2 * np.pi - azimuth) - gap) / 0.4) ** 2)
    )  # 1 at the leaves' ends
    stand = rng.uniform(0.15, 0.2) - 0.05 * points_ahead
    leaf = rng.uniform(0.20, 0.26) + rng.uniform(0.08, 0.2) * points_ahead + 1.2 * over
    outer = base + outward * over
    rows = [
        _raised(outer - 0.02 * outward, -0.03),
        _raised(outer + 0.01 * outward, 0.6 * stand),
        _raised(outer + 0.02 * outward, stand),
        _raised(outer + 0.045 * outward, stand + 0.015),
        _raised(outer + 0.075 * outward, stand - 0.01),
        _raised(outer + (0.11 + 0.02 * points_ahead[:, None]) * outward, stand - 0.5 * leaf),
        _raised(outer + (0.15 + 0.06 * points_ahead[:, None]) * outward, stand - leaf),
        _raised(outer + (0.135 + 0.06 * points_ahead[:, None]) * outward, stand - leaf - 0.005),
    ]
    mesh = sheet(np.stack(rows[::-1]))  # from the leaf's edge over the fold and down inside
    shades = np.array([0.75, 0.97, 1, 1, 1, 0.95, 0.8, 0.6])[:, None, None] * np.ones((8, 49, 1))
    return piece_of(mesh, np.array(colour) * shades.reshape(-1, 1), roughness=0.85, turns="blend")


def _scarf(person: Person, shape: Shape, rng: np.random.Generator) -> list[Piece]:
    """Two turns of thick cloth, the upper one looser, and their folds."""
    colour = np.array(person.second_colour)
    base = _smooth(ring(shape, Neckline(5.78, 5.90, 5.94)), 8)
    outward = _outward(base)
    ahead = np.clip(np.cos(AZIMUTHS), 0, 1)[:, None]
    section = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]  # of the roll
    pieces = []
    striped = rng.random() < 0.35
    for turn in range(2):
        slack = 0.09 + 0.03 * turn + rng.uniform(0.03, 0.14) * ahead
        lean = rng.uniform(-0.06, 0.06)
        middle = (
            base
            + slack * outward
            + np.stack([0 * AZIMUTHS, 0.13 * turn - 0.08 + lean * np.sin(AZIMUTHS), 0 * AZIMUTHS], 1)
        )
        phase = rng.uniform(0, 2 * np.pi, 4)
        folds = (
            1
            + 0.13 * np.sin(4 * section + 2 * AZIMUTHS + phase[0])
            + 0.08 * np.sin(7 * section - 3 * AZIMUTHS + phase[1])
            + 0.10 * np.sin(3 * AZIMUTHS + phase[2])
        )  # [24, AROUND]
        wide = rng.uniform(0.14, 0.18)
        offset = (0.9 * np.cos(section) * folds)[..., None] * outward + (1.05 * np.sin(section) * folds)[
            ..., None
        ] * np.array([0, 1, 0])
        mesh = sheet(middle + wide * offset, rows_close=True, columns_close=True)
        shades = 0.8 + 0.25 * np.clip((folds - 0.8) / 0.4, 0, 1)
        colours = colour * shades[..., None]
        if striped:
            stripe = smoothstep(0.5, 0.7, np.sin(5 * AZIMUTHS + phase[3]))[None, :, None]
            colours = colours * (1 - stripe) + np.array(person.clothes_colour) * shades[..., None] * stripe
        pieces.append(piece_of(mesh, colours.reshape(-1, 3), roughness=0.95, specular=0.01, turns="blend"))
    return pieces
