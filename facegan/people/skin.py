"""Skin: colour from melanin and blood, pores, wrinkles, lips, make-up, and hair seen through it.

Everything is a function of the point on the rest head, so it moves with the face. What varies slowly is
worked out at the mesh's vertices (`vertex_paint`), what is fine at each pixel (`paint_skin`). Places are
given in the rest head's decimetres: |x| from the middle, y up (eyes 7.28, nostrils 6.83, mouth 6.61, chin
6.17), z to the front.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from facegan.people.atlas import looked_up
from facegan.people.facial_hair import beard_density, brow_density
from facegan.people.hair import scalp_density
from facegan.people.head import Floats, Part, head
from facegan.people.noise import clouds, grains
from facegan.people.person import Detail, Person
from facegan.people.shape import smoothstep
from facegan.people.surface import Material, Surface
from facegan.people.wear import covered_by_hat

TONES = (  # albedo as sRGB, 0 lightest .. 6 darkest
    np.array(
        [
            (0.90, 0.76, 0.69), (0.86, 0.69, 0.60), (0.78, 0.60, 0.50), (0.67, 0.49, 0.39),
            (0.53, 0.375, 0.29), (0.40, 0.275, 0.21), (0.285, 0.195, 0.15),
        ]
    )
    ** 2.2
)  # fmt: skip
BLOOD = np.array([0.10, 0.90, 0.80])  # what more blood takes from red, green and blue
PIGMENT = np.array([0.45, 0.75, 0.95])  # the same of melanin
GREY_HAIR = np.array([0.42, 0.41, 0.39])
PORE_SIZE = 0.022  # dm
MIN_PIXELS = 1.6  # a detail smaller than this many pixels is left out
BROW_BOX = (0.72, 7.25, 7.75, 0.8)  # |x| below, y from, y to, z above: where brows may be
WORN = 3  # the first columns of paint are the colour of what is worn


class Paint(IntEnum):
    """Columns of vertex_paint."""

    BLOOD = WORN
    MELANIN = WORN + 1
    OIL = WORN + 2
    ROOTS = WORN + 3  # how much hair on the scalp and in the beard covers
    EYE_SHADOW = WORN + 4
    BLUSH = WORN + 5
    FRECKLED = WORN + 6


COLUMNS = WORN + len(Paint)


def tone_colour(person: Person) -> Floats:
    """The mean albedo [3] of this person's skin."""
    index = np.arange(len(TONES))
    red, green, blue = (np.interp(person.skin_tone, index, TONES[:, channel]) for channel in range(3))
    return np.array([red, green * (1 - 0.02 * person.yellowness), blue * (1 - 0.13 * person.yellowness)])


def vertex_paint(person: Person) -> Floats:
    """What varies slowly over the skin, at each of the head's vertices [V, COLUMNS]."""
    paint = np.zeros((len(head().vertices), COLUMNS))
    skin = head().part_vertices(Part.SKIN)
    rest = head().vertices[skin]
    side, front = np.abs(rest[:, 0]), smoothstep(0.55, 0.8, rest[:, 2])
    phase = _phase(person)

    def place(x: float, y: float, width: float, height: float) -> Floats:
        return np.asarray(np.exp(-(((side - x) / width) ** 2) - ((rest[:, 1] - y) / height) ** 2) * front)

    broad, fine = clouds(rest, 0.9, phase), clouds(rest, 0.3, phase + 1)
    red = 0.75 * place(0.42, 6.98, 0.20, 0.17) + 0.65 * place(0, 6.93, 0.15, 0.13)
    red += 0.35 * place(0, 6.28, 0.2, 0.12) + 0.25 * place(0, 7.45, 0.15, 0.12)
    columns = {
        Paint.BLOOD: person.redness * red + 0.10 * broad + 0.06 * fine + 0.25 * place(0.17, 7.25, 0.06, 0.07),
        Paint.MELANIN: 0.05 * broad
        + 0.05 * fine
        + 0.10 * place(0.19, 7.31, 0.07, 0.08)
        + (0.08 + 0.22 * person.ageing) * place(0.31, 7.14, 0.17, 0.06),
        Paint.OIL: place(0, 7.0, 0.13, 0.25) + place(0, 7.75, 0.4, 0.2) + 0.5 * place(0.4, 7.0, 0.15, 0.12),
        Paint.ROOTS: _roots(person, rest),
        Paint.EYE_SHADOW: person.makeup * place(0.33, 7.37, 0.17, 0.055),
        Paint.BLUSH: person.makeup * place(0.50, 6.97, 0.15, 0.11),
        Paint.FRECKLED: person.freckles * np.clip(place(0.25, 7.02, 0.42, 0.28) + 0.2, 0, 1),
    }
    for column, values in columns.items():
        paint[skin, column] = values
    return paint


def paint_skin(
    person: Person, surface: Surface, material: Material, chosen: NDArray[np.bool_], pixel: float
) -> Floats:
    """Fills in the material of the chosen [K] of the pixels; returns the relief's slope [N, 3] at each.

    pixel: the side of a pixel in dm. The slope is along the axes of the rest head.
    """
    rows = np.flatnonzero(chosen)
    rest, paint, atlas = surface.rest[rows], surface.paint[rows], looked_up(surface.uv[rows])
    phase = _phase(person)
    lips, inside = smoothstep(0.15, 0.85, atlas["lips"]), atlas["inside_mouth"]
    blood = paint[:, Paint.BLOOD] + 0.25 * atlas["eyelids"] + 0.6 * person.redness * atlas["ears"]
    blood += person.blemishes * 0.7 * smoothstep(2.3, 3.3, grains(rest, 0.07, phase + 5))
    melanin = paint[:, Paint.MELANIN] + _spots(person, rest, paint[:, Paint.FRECKLED], phase)
    absorbed = np.outer(np.clip(blood, -0.4, 2) * 0.45 * (1 - 0.1 * person.skin_tone), BLOOD)
    absorbed += np.outer(melanin, PIGMENT)
    absorbed += np.outer(0.35 * smoothstep(0.018, 0.002, atlas["rim"]), [1.0, 1.1, 1.1])
    if person.makeup > 0:
        liner = float(smoothstep(0.3, 0.9, np.array(person.makeup))) * smoothstep(0.035, 0.005, atlas["rim"])
        absorbed += np.outer(0.55 * paint[:, Paint.EYE_SHADOW], [0.5, 0.85, 0.75])
        absorbed += np.outer(0.8 * liner, [1.6, 1.6, 1.5])
        absorbed += np.outer(0.22 * paint[:, Paint.BLUSH], [0.02, 0.5, 0.35])
    albedo = tone_colour(person) * np.exp(-absorbed)
    albedo = _with_lips(person, albedo, lips, rest)
    albedo = _with_roots(
        person, albedo, rest, paint[:, Paint.ROOTS] * (1 - np.clip(3 * atlas["ears"], 0, 1)) * (1 - lips)
    )
    albedo = albedo * (1 - inside[:, None]) + np.outer(inside, [0.10, 0.028, 0.025])
    material.albedo[chosen] = np.clip(albedo, 0.002, 0.95)
    rough = 0.60 - 0.07 * paint[:, Paint.OIL] - (0.18 + 0.05 * person.makeup) * lips
    material.roughness[chosen] = np.clip(rough, 0.26, 0.7)
    material.specular[chosen] = 0.024 + 0.010 * lips
    material.scatter[chosen] = 1.0
    return _relief(person, rest, atlas, phase, pixel)


def _phase(person: Person) -> float:
    """Where in the noise this person's skin lies."""
    return float(person.detail(Detail.SKIN).uniform(0, 50))


def _spots(person: Person, rest: Floats, freckled: Floats, phase: float) -> Floats:
    """Melanin [N] of freckles, moles, and of old age."""
    spots = 1.5 * smoothstep(3.4, 3.8, grains(rest, 0.05, phase + 3))  # moles: rare
    if person.freckles > 0:
        spots += 0.6 * freckled * smoothstep(0.8, 1.8, grains(rest, 0.035, phase + 2))
    if person.ageing > 0:
        spots += 0.45 * person.ageing**2 * smoothstep(2.0, 3.2, grains(rest, 0.08, phase + 4))
    return spots


def _with_lips(person: Person, albedo: Floats, lips: Floats, rest: Floats) -> Floats:
    dark = person.skin_tone / 6
    natural = albedo * (np.array([0.84, 0.56, 0.56]) * (1 - dark) + np.array([0.80, 0.66, 0.68]) * dark)
    painted = np.array(person.lipstick) * (0.55 + 0.45 * (1 - dark))
    strength = 0.8 * float(smoothstep(0.2, 0.9, np.array(person.makeup)))
    furrows = 0.95 + 0.05 * np.cos(rest[:, 0] * (2 * np.pi / 0.045))
    colour = (natural * (1 - strength) + painted * strength) * furrows[:, None]
    return albedo * (1 - lips[:, None]) + colour * lips[:, None]


def _roots(person: Person, rest: Floats) -> Floats:
    """How much [N] roots of scalp hair and of a beard or stubble cover the skin."""
    style = 0.72 if person.hair_style != "bald" else 0.14
    cover = style * scalp_density(person, rest) * (1 - 0.9 * covered_by_hat(person, rest))
    if person.beard != "none":
        strength = 0.25 + 0.3 * person.beard_length if person.beard == "stubble" else 0.55
        cover = np.maximum(cover, strength * beard_density(person, rest))
    return cover


def _with_roots(person: Person, albedo: Floats, rest: Floats, roots: Floats) -> Floats:
    """Skin with what is seen of roots and of shaven hair: scalp, beard and brows."""
    side, low, high, front = BROW_BOX
    near = (np.abs(rest[:, 0]) < side) & (rest[:, 1] > low) & (rest[:, 1] < high) & (rest[:, 2] > front)
    cover = roots.copy()
    cover[near] = np.maximum(cover[near], 0.40 * brow_density(person, rest[near]))
    hair = np.array(person.hair_colour) * (1 - person.greyness) + GREY_HAIR * person.greyness
    haired = cover > 0.004
    share = np.clip(cover[haired] * np.clip(0.85 + 0.2 * grains(rest[haired], 0.03, 6.0), 0, 1), 0, 0.95)[
        :, None
    ]
    result = albedo.copy()
    under = np.minimum(hair * 0.75 + 0.10 * tone_colour(person), 1.1 * albedo[haired])  # stubble never glows
    result[haired] = albedo[haired] * (1 - share) + under * share
    return result


def _relief(person: Person, rest: Floats, atlas: dict[str, Floats], phase: float, pixel: float) -> Floats:
    """The slope [N, 3] of the small heights of the skin: wrinkles, and pores where a pixel shows them."""
    slope = np.zeros_like(rest)
    age = float(smoothstep(0.05, 0.75, np.array(person.ageing)))
    slope[:, 0], slope[:, 1] = age * atlas["fold_x"], age * atlas["fold_y"]
    for size, strength in ((PORE_SIZE, 0.06), (3 * PORE_SIZE, 0.018)):
        visible = float(np.clip((size / pixel - MIN_PIXELS) / MIN_PIXELS, 0, 1))
        if visible > 0:
            for axis in range(2):
                rough = grains(rest, size, phase + 7 + axis)
                slope[:, axis] += rough * (strength * visible * (0.7 + 0.8 * person.ageing))
    return slope
