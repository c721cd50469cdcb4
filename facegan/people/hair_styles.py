"""How scalp hair is cut and combed: a row of STYLES for each of person.HAIR_STYLES but the bald.

A style says how long hair is, how it leaves the scalp, what may hang over the face, and which way it is
combed: a Flow, a function of the place on the rest head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facegan.people.head import Floats
from facegan.people.raster import normalized
from facegan.people.shape import smoothstep

CROWN = np.array([0.04, 8.33, -0.12])  # the whorl
PARTING_END = np.array([0.0, 8.42, 0.3])
WHORL_TURN = 0.6  # how much of a spiral it is
SIDE_Z = (0.25, -0.15)  # dm: from a parting before the first, from the whorl behind the second


@dataclass(frozen=True, eq=False)
class Place:
    """What a combing direction may depend on, for N roots.

    rest [N, 3] on the rest head; side [N] of the parting, -1 or 1; top, front [N] 0 .. 1;
    random [N, 3] about 0.
    """

    rest: Floats
    side: Floats
    top: Floats
    front: Floats
    random: Floats


Flow = Callable[[Place], Floats]  # -> directions [N, 3], of any length and out of the tangent plane


def from_crown(place: Place) -> Floats:
    """Away from the whorl on every side, in a spiral near it."""
    x, y, z = (place.rest - CROWN).T
    turn = WHORL_TURN * np.exp(-(x**2 + z**2) / 0.3)
    return normalized(np.stack([x + turn * z, y, z - turn * x], axis=1))


def behind_parting(place: Place) -> Floats:
    """Away from where a parting ends; nowhere forward, where hair would come over the face."""
    return normalized(place.rest - PARTING_END)


def from_parting(place: Place) -> Floats:
    """Down to both sides of a parting, and behind it down and back."""
    ahead = np.stack([place.side, -0.3 + 0.75 * place.front, -0.2 - 0.3 * place.front], axis=1)
    behind = smoothstep(*SIDE_Z, place.rest[:, 2])[:, None]
    return normalized(ahead) * (1 - behind) + (behind_parting(place) + 0.2 * ahead) * behind


def over_the_side(place: Place) -> Floats:
    """A man's side parting: across the top, a little back at the front; the sides down and back."""
    top = np.stack([place.side, np.full(len(place.side), 0.1), -0.35 + 0.2 * place.front], axis=1)
    sides = np.array([0.0, -1.0, -0.4])
    behind = smoothstep(*SIDE_Z, place.rest[:, 2])[:, None]
    mixed = top * place.top[:, None] + sides * (1 - place.top[:, None])
    return mixed * (1 - behind) + behind_parting(place) * behind


def backward(place: Place) -> Floats:
    """From the forehead back, at the sides back and down."""
    # up the forehead, where straight back leads into it
    rise = 0.9 * place.front - 0.6 * (1 - place.top) * (1 - place.front)
    return np.stack([0.15 * place.rest[:, 0], rise, np.full(len(rise), -1.0)], axis=1)


def forward(place: Place) -> Floats:
    """From the whorl over the forehead; the sides down and forward."""
    return from_crown(place) + np.stack([0.2 * place.random[:, 0], 0 * place.top, 0.5 * place.top], axis=1)


def tousled(place: Place) -> Floats:
    """Away from the whorl, but each lock its own way on top."""
    return from_crown(place) + 1.2 * place.top[:, None] * place.random


def outward(place: Place) -> Floats:
    """Away from the middle of the head."""
    return normalized(place.rest - (0, 7.7, 0.4)) + 0.3 * place.random


@dataclass(frozen=True)
class Style:
    """How hair is cut and combed. Pairs are the values at hair_length (or hair_volume for height) 0 and 1.

    top, sides      dm of hair; at the nape and round the ears sides taper to `taper` of it
    ends            where the hair ends, y in dm, instead of lengths
    fringe          the same for the hair over the forehead
    parting         x in dm of the parting at hair_parting 0 and +-1; None: there is no line
    height          dm of the thickness of the hair at its fullest
    lift            at the sides and on top: 0 along the skin .. 1 straight out
    curtain         degrees from straight ahead that hair leaves free; 0: it may cover the face
    curl            the least and the most curl the style can have
    clump           how near strands come to their lock
    ears            0 the ear is before the hair .. 1 under it
    gathered        "bun", or "tail", as long as `top` says
    """

    flow: Flow
    joints: int
    height: tuple[float, float]
    top: tuple[float, float] = (0.3, 0.3)
    sides: tuple[float, float] = (0.15, 0.15)
    taper: float = 0.5
    ends: tuple[float, float] | None = None
    fringe: tuple[float, float] | None = None
    parting: tuple[float, float] | None = None
    lift: tuple[float, float] = (0.1, 0.15)
    gravity: float = 0.3
    stickiness: float = 0.3
    curtain: float = 0.0
    curl: tuple[float, float] = (0.0, 1.0)
    clump: float = 0.5
    ears: float = 0.0
    gathered: str = ""
    width: float = 1.0


STYLES = {
    "buzz": Style(
        from_crown, 4, (0.005, 0.01), top=(0.03, 0.09), sides=(0.02, 0.06), lift=(0.6, 0.6), gravity=0,
        stickiness=0, curl=(0, 0.3), clump=0, width=0.8,
    ),
    "short": Style(
        tousled, 9, (0.04, 0.12), top=(0.2, 0.45), sides=(0.1, 0.25), lift=(0.15, 0.35), gravity=0.5,
        clump=0.6,
    ),
    "side-part": Style(
        over_the_side, 13, (0.05, 0.16), top=(0.4, 0.8), sides=(0.12, 0.28), parting=(0.25, 0.42),
        lift=(0.1, 0.25), gravity=0.8, stickiness=0.7, curl=(0, 0.5),
    ),
    "slicked-back": Style(
        backward, 14, (0.03, 0.12), top=(0.5, 1.1), sides=(0.25, 0.5), lift=(0.05, 0.12), gravity=0.4,
        stickiness=0.9, curl=(0, 0.4), clump=0.6,
    ),
    "quiff": Style(
        backward, 13, (0.08, 0.22), top=(0.4, 0.75), sides=(0.08, 0.2), lift=(0.05, 0.6), gravity=0.1,
        stickiness=0.5, curl=(0, 0.6), clump=0.6,
    ),
    "fringe": Style(
        forward, 13, (0.03, 0.12), top=(0.35, 0.6), sides=(0.15, 0.35), fringe=(7.8, 7.55), lift=(0.1, 0.15),
        gravity=0.8, stickiness=0.8, curl=(0, 0.6), clump=0.75,
    ),
    "curly-top": Style(
        tousled, 18, (0.06, 0.2), top=(0.3, 0.6), sides=(0.06, 0.18), lift=(0.2, 0.65), gravity=0,
        stickiness=0.5, curl=(0.75, 1), clump=0.75,
    ),
    "afro": Style(
        outward, 14, (0.0, 0.0), top=(0.3, 0.9), sides=(0.25, 0.75), taper=0.35, lift=(0.85, 0.85), gravity=0,
        stickiness=0, curl=(0.85, 1), clump=0.35,
    ),
    "pixie": Style(
        over_the_side, 14, (0.05, 0.14), top=(0.4, 0.75), sides=(0.25, 0.45), taper=0.6, fringe=(7.95, 7.65),
        parting=(0.2, 0.4), lift=(0.05, 0.2), gravity=1.0, stickiness=0.8, curl=(0, 0.6), ears=0.4,
        clump=0.65,
    ),
    "bob": Style(
        from_parting, 17, (0.1, 0.26), ends=(6.75, 6.2), parting=(0.0, 0.35), lift=(0.1, 0.2), gravity=2.2,
        stickiness=0.8, curtain=40, ears=0.8,
    ),
    "long": Style(
        from_parting, 19, (0.08, 0.24), ends=(5.9, 4.6), parting=(0.0, 0.12), lift=(0.1, 0.15), gravity=2.2,
        stickiness=0.85, curtain=39, ears=0.8,
    ),
    "long-side-part": Style(
        from_parting, 19, (0.1, 0.28), ends=(5.9, 4.6), parting=(0.2, 0.42), lift=(0.1, 0.22), gravity=2.0,
        stickiness=0.85, curtain=38, ears=0.8,
    ),
    "bangs": Style(
        from_parting, 19, (0.06, 0.2), ends=(6.4, 4.8), fringe=(7.62, 7.46), lift=(0.1, 0.15), gravity=2.2,
        stickiness=0.85, curtain=39, ears=0.8, clump=0.6,
    ),
    "bun": Style(
        backward, 18, (0.02, 0.08), lift=(0.04, 0.08), gravity=0, stickiness=0.9, curl=(0, 0.7), clump=0.45,
        gathered="bun",
    ),
    "ponytail": Style(
        backward, 18, (0.02, 0.09), top=(0.7, 1.7), lift=(0.04, 0.08), gravity=1.6, stickiness=0.9,
        clump=0.45, gathered="tail",
    ),
}  # fmt: skip
