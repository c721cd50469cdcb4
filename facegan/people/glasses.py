"""Spectacles on a person's own nose: rims of real thickness, a bridge, temples to the ears, lenses."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from facegan.people.head import Floats, Indices, Part, head
from facegan.people.landmarks import eye_centres, landmark_vertices
from facegan.people.person import Person
from facegan.people.shape import Shape
from facegan.people.solids import Mesh, Piece, Worn, chances, joined, piece_of, sheet, tube

RIM_POINTS = 40
NOSE_ROOM = 0.05  # dm by which rims may stand further apart for a broad nose
CLEARANCE = 0.012  # dm between the frame and the skin
WRAP = 0.16  # dm by which a frame has gone back at 1 dm from the middle, per dm more
SHAPES = {  # the lens: exponent of its superellipse, height / width
    "round": (2.0, 0.94), "oval": (2.3, 0.70), "square": (4.5, 0.74), "half-rim": (3.4, 0.64),
}  # fmt: skip


def glasses(person: Person, shape: Shape) -> list[Piece]:
    """The frame and the two lenses."""
    rng = chances(person, Worn.GLASSES)
    power, aspect = SHAPES[person.glasses]
    half_width = 0.215 + 0.085 * person.glasses_size + (0.0 if person.glasses == "round" else 0.02)
    half_height = half_width * (aspect + rng.uniform(-0.05, 0.05))
    is_wire = rng.random() < (0.6 if person.glasses in ("round", "oval") else 0.25)
    half_rim = rng.uniform(0.0065, 0.009) if is_wire else rng.uniform(0.012, 0.020)  # of its width
    eyes = eye_centres(shape.vertices)
    middle = eyes.mean(axis=0)
    middle[0] = _nose_middle(shape)
    apart = max(float(np.ptp(eyes[:, 0])) / 2 + 0.01, half_width + 0.045)  # from the middle to a lens
    centre = np.array([apart, -0.1 * half_height])
    size = np.array([half_width, half_height])
    angles = np.linspace(0, 2 * np.pi, RIM_POINTS, endpoint=False)
    outline = _outline(angles, power)  # [R, 2]
    face = shape.vertices[_face()] - middle
    front, rims = _seated(face, centre, size, power, outline, half_rim)

    def at(flat: Floats) -> Floats:
        """The points [N, 3] of the frame's curved plane at x and y [N, 2] from the middle."""
        x, y = flat.T
        return np.asarray(middle + np.stack([x, y, front - WRAP * x * x], axis=-1))

    meshes: list[Mesh] = []
    lenses: list[Mesh] = []
    for side, rim in zip((1, -1), rims, strict=True):
        ring = at(rim)[::side]  # counter-clockwise from before
        if person.glasses == "half-rim":
            bar = ring[ring[:, 1] > middle[1] + centre[1]]
            bar = bar[np.argsort(bar[:, 0])]
            meshes.append(tube(bar, _outward(bar, ring), half_rim, half_rim * 1.2))
        else:
            round_section = 0.0 if is_wire else 0.6
            outward = _outward(ring, ring)
            meshes.append(
                tube(ring, outward, half_rim * 0.9, half_rim, closes=True, squareness=round_section)
            )
        lenses.append(_lens(ring))
        hinge = at(np.array([[side * np.abs(rim[:, 0]).max(), centre[1] + 0.35 * half_height]]))[0]
        meshes.append(_temple(shape, hinge, side, half_rim))
    meshes.append(_bridge(face, middle, at, rims, half_rim * (0.9 if is_wire else 1.2)))
    roughness, specular = (0.25, 0.3) if is_wire else (0.2, 0.05)
    glass = (0.02, 0.02, 0.02)
    return [
        piece_of(joined(meshes), person.glasses_colour, roughness=roughness, specular=specular),
        *(piece_of(lens, glass, roughness=0.03, specular=0.04, transparency=0.94) for lens in lenses),
    ]


def _seated(
    face: Floats, centre: Floats, size: Floats, power: float, outline: Floats, half_rim: float
) -> tuple[float, list[Floats]]:
    """How far before the middle the frame's plane is, and its rims [R, 2] in it, the subject's left first.

    face [N, 3]: the skin, from the middle. The plane clears brows, lids and cheeks; where the nose reaches
    through it the rims stand further apart, and where that would be much the plane is put further forward.
    """
    x, y, z = face.T
    depth = z + WRAP * x * x
    place = (
        (np.abs(np.abs(x) - centre[0]) / size[0]) ** power + (np.abs(y - centre[1]) / size[1]) ** power
    ) ** (1 / power)  # 1 on the rim
    is_nose = (np.abs(x) < 0.22) & (y < 0.05)
    front = float(depth[(place < 1.12) & ~is_nose].max(initial=0.2)) + CLEARANCE + half_rim
    rim = centre + size * outline
    inner = rim[rim[:, 0] < centre[0]]
    while True:
        through = (np.abs(x) < 0.3) & (depth > front - half_rim - CLEARANCE)
        near = np.abs(y[through] - inner[:, 1:]) < 0.08  # [R / 2, N]
        widest = np.where(near, np.abs(x[through]), -1).max(axis=1, initial=-1)
        apart = max(float((widest + half_rim + CLEARANCE - inner[:, 0]).max()), 0.0)
        if apart < NOSE_ROOM:
            break
        front += 0.02
    rim[:, 0] += apart
    return front, [rim, rim * (-1, 1)]


def _bridge(
    face: Floats, middle: Floats, at: Callable[[Floats], Floats], rims: list[Floats], half_width: float
) -> Mesh:
    """The bar over the nose, arched up and forward as far as it needs."""
    heights = [float(rim[:, 1].max()) for rim in rims]
    y = 0.45 * min(heights)
    ends = [
        float(np.abs(rim[np.argmin(np.abs(rim[:, 1] - y) + 10 * (np.abs(rim[:, 0]) > 0.2)), 0]))
        for rim in rims
    ]
    across = np.linspace(-ends[1], ends[0], 13)
    arch = 1 - np.linspace(-1, 1, 13) ** 2
    path = at(np.stack([across, y + 0.035 * arch], axis=-1))
    skin = face + middle
    under = (np.abs(skin[:, 1] - path[6, 1]) < 0.05) & (skin[:, 0] > path[0, 0]) & (skin[:, 0] < path[-1, 0])
    nose = float(skin[under, 2].max(initial=0)) + CLEARANCE + half_width
    path[:, 2] += max(nose - float(path[6, 2]), 0) * np.sqrt(arch)
    up = np.zeros_like(path)
    up[:, 1] = 1
    return tube(path, up, half_width, half_width)


def _nose_middle(shape: Shape) -> float:
    """x of the nose's bridge: a crooked nose carries crooked glasses."""
    return float(shape.vertices[landmark_vertices()[27:29], 0].mean())


def _outline(angles: Floats, power: float) -> Floats:
    """x and y [N, 2] of the superellipse |x|^power + |y|^power = 1."""
    cosine, sine = np.cos(angles), np.sin(angles)
    radius = (np.abs(cosine) ** power + np.abs(sine) ** power) ** (-1 / power)
    return np.stack([radius * cosine, radius * sine], axis=-1)


def _outward(points: Floats, ring: Floats) -> Floats:
    """Unit vectors [N, 3], level with the picture, away from the middle of a ring."""
    offset = points - ring.mean(axis=0)
    offset[:, 2] = 0
    return np.asarray(offset / np.hypot(offset[:, 0], offset[:, 1])[:, None])


def _lens(ring: Floats) -> Mesh:
    """A slightly domed disc within a ring [N, 3]."""
    share = np.linspace(1, 0, 4)[:, None, None]
    centre = ring.mean(axis=0)
    points = centre + (ring - centre) * share
    points[..., 2] += 0.02 * (1 - share[..., 0] ** 2) - 0.004
    return sheet(points, columns_close=True)


@lru_cache(maxsize=1)
def ear_vertices() -> Indices:
    """The vertices of the ears."""
    wings = (head().targets[f"ears/{side}-ear-wing-incr"] for side in "lr")  # they move nothing else
    return np.unique(np.concatenate([wing.vertices for wing in wings]))


@lru_cache(maxsize=1)
def _face() -> Indices:
    """The skin about eyes and nose, and the lashes."""
    points = head().vertices
    lashes = (Part.LEFT_UPPER_LASHES, Part.RIGHT_UPPER_LASHES)
    skin = head().part_vertices(Part.SKIN, *lashes)
    x, y, z = points[skin].T
    return np.asarray(skin[(np.abs(x) < 0.75) & (y > 6.8) & (y < 7.7) & (z > 0.9)])


@lru_cache(maxsize=2)
def _temple_skin(side: int) -> Indices:
    """The skin that a temple passes, without the ear."""
    points = head().vertices
    skin = np.setdiff1d(head().part_vertices(Part.SKIN), ear_vertices())
    x, y, z = points[skin].T
    return np.asarray(skin[(x * side > 0.4) & (y > 7.1) & (y < 7.75) & (z > 0.3) & (z < 1.4)])


@lru_cache(maxsize=2)
def _ear_top(side: int) -> int:
    """The vertex where the ear's upper end meets the head."""
    ear = ear_vertices()[head().vertices[ear_vertices(), 0] * side > 0]
    offset = head().vertices[ear] - np.array([0.74 * side, 7.42, 0.56])
    return int(ear[(offset**2).sum(axis=1).argmin()])


def _temple(shape: Shape, hinge: Floats, side: int, half_rim: float) -> Mesh:
    """The bar from the frame over the ear, outside of the head all the way."""
    ear = shape.vertices[_ear_top(side)]
    share = np.linspace(0, 1, 12)
    end = np.array([ear[0] + side * 0.02, ear[1] + 0.03, ear[2]])
    path = hinge + (end - hinge) * share[:, None]  # [12, 3]
    skin = shape.vertices[_temple_skin(side)]
    order = np.argsort(path[:, 2])
    near = np.abs(skin[:, 1] - np.interp(skin[:, 2], path[order, 2], path[order, 1])) < 0.1
    beside = near & (skin[:, 2] < hinge[2]) & (skin[:, 2] > end[2] - 0.1)
    outside = np.interp(skin[beside, 2], path[order, 2], side * path[order, 0])
    push = max(float((side * skin[beside, 0] + CLEARANCE + half_rim - outside).max(initial=0)), 0.0)
    path[:, 0] += side * push * np.minimum(share * 12, 1)
    hook = path[-1] + np.array([[-0.02 * side, -0.03, -0.12], [-0.05 * side, -0.14, -0.2]])
    path = np.concatenate([path, hook])
    outward = np.zeros_like(path)
    outward[:, 0] = side
    return tube(path, outward, half_rim * 1.3, half_rim * 0.7, squareness=0.4)
