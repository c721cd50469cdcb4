"""What a person wears: pieces of extra geometry, and colour and cut of the mesh's own tight shirt.

    pieces(person, shape)                  glasses, hat, collar ... as triangles on the unturned person
    clothes_clip(person, rest_vertices)    where the shirt is cut away
    clothes_colours(person, rest_points)   its cloth
    covered_by_hat(person, rest_points)    what of the scalp a hat hides

A function of the person's clothes and seed, not of the pose or the light.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from facegan.people.collars import clothes_clip, collars
from facegan.people.glasses import glasses
from facegan.people.hats import covered_by_hat, hat
from facegan.people.head import Floats
from facegan.people.person import Person
from facegan.people.raster import trilinear
from facegan.people.shape import Shape, smoothstep
from facegan.people.solids import Piece, Worn, chances

__all__ = ["Piece", "clothes_clip", "clothes_colours", "covered_by_hat", "pieces"]

AHEAD = 0.25  # z of what belongs to the front of a shirt


def pieces(person: Person, shape: Shape) -> list[Piece]:
    """All that is put on a person, in the space of the person's own head."""
    worn = [] if person.hat == "headscarf" else collars(person, shape)  # its drape covers them
    if person.glasses != "none":
        worn += glasses(person, shape)
    if person.hat != "none":
        worn += hat(person, shape)
    return worn


def clothes_colours(person: Person, rest_points: Floats) -> Floats:
    """The colour [N, 3] of the shirt at points [N, 3] of rest space."""
    rng = chances(person, Worn.CLOTH)
    main, second = np.array(person.clothes_colour), np.array(person.second_colour)
    x, y, z = rest_points.T
    pattern = rng.random()
    if person.clothes == "jacket":
        colours = _jacket(rng, main, second, rest_points)
    elif pattern < 0.16 and person.clothes != "turtleneck":
        colours = _stripes(rng, main, second, y + 0.3 * np.abs(x))
    elif pattern < 0.28 and person.clothes == "shirt":
        colours = _checks(rng, main, second, x, y + 0.3 * np.abs(x))
    else:
        colours = np.broadcast_to(main, rest_points.shape)
    if person.clothes == "turtleneck" or pattern > 0.85:
        weave = 1 + 0.14 * np.cos(x * (2 * np.pi / 0.05))  # ribs of knitwear
    else:
        weave = 1 + 0.05 * _cloth_noise(rest_points * 22)
    if person.clothes in ("shirt", "jacket"):  # the placket and its buttons
        front = z > AHEAD
        line = front & (np.abs(np.abs(x) - 0.10) < 0.008)
        button = front & (np.hypot(x, (y + 0.1) % 0.42 - 0.21) < 0.03)
        if person.clothes == "shirt":
            weave = np.where(line, weave * 0.8, weave)
            colours = np.where(button[:, None], np.array((0.45, 0.43, 0.40)), colours)
    else:  # the seams of shoulders and sleeves
        seam = np.minimum(np.abs(z + 0.05), np.abs(np.hypot(np.abs(x) - 2.6, y - 4.9) - 0.95))
        weave = weave * (1 - 0.3 * (seam < 0.012) * (np.abs(x) > 0.75))
    creases = 1 + 0.10 * _cloth_noise(rest_points * np.array([2.2, 1.3, 2.2]))
    return np.asarray(np.clip(colours * (weave * creases)[:, None], 0, 1))


def _stripes(rng: np.random.Generator, main: Floats, second: Floats, along: Floats) -> Floats:
    width, share = rng.uniform(0.07, 0.22), rng.uniform(0.25, 0.6)
    stripe = smoothstep(-0.08, 0.08, share / 2 - np.abs((along / width) % 1 - 0.5))[:, None]
    return np.asarray(main * (1 - stripe) + second * stripe)


def _checks(rng: np.random.Generator, main: Floats, second: Floats, x: Floats, along: Floats) -> Floats:
    width = rng.uniform(0.12, 0.28)
    share = sum(
        smoothstep(-0.05, 0.05, 0.22 - np.abs((place / width) % 1 - 0.5)) for place in (x, along)
    ) / 2  # fmt: skip
    share = np.asarray(share)[:, None]
    return np.asarray(main * (1 - share) + second * share)


def _jacket(rng: np.random.Generator, main: Floats, second: Floats, points: Floats) -> Floats:
    """Lapels about a V in which the shirt shows."""
    x, y, z = points.T
    width = np.abs(x) - np.clip(rng.uniform(0.30, 0.42) * (y - 4.55) / 1.3, 0, 0.6)  # outside the V's edge
    inside = (width < 0) & (z > AHEAD)
    lapel = rng.uniform(0.3, 0.42) * np.clip((y - 4.55) / 0.8, 0, 1)
    edge = (np.abs(width) < 0.02) | (np.abs(width - lapel) < 0.016)
    shade = np.where(edge & (z > AHEAD), 0.4, np.where((width < lapel) & (z > AHEAD), 1.08, 1.0))
    shirt = second * (1 - 0.45 * smoothstep(-0.1, 0, width))[:, None]  # the lapel's shadow
    return np.where(inside[:, None], shirt, main * shade[:, None])


@lru_cache(maxsize=1)
def _cloth_volume() -> Floats:
    return np.random.default_rng(5).standard_normal((24, 24, 24))


def _cloth_noise(points: Floats) -> Floats:
    """Noise [N], one bump to a unit, about 0 with a deviation of about 0.6, at points [N, 3]."""
    return np.asarray(trilinear(_cloth_volume(), points))
