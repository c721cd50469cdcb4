"""Hats: a smooth surface about a person's own skull, and rims, visors, brims and cloth about it.

A hat is drawn in rest space about ORIGIN, with axes to the left, up and forward, where up is normal to
the plane that it sits on; a Fit carries it to the person. In a direction given by an azimuth (0 forward,
growing to the subject's left) and a height angle (0 in that plane, pi / 2 at the crown) its radius is a mean
of the skull's, weighted by the angle between, and so much more that no vertex of the scalp is outside.
The headscarf has its own file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from facegan.people.dome import Dome, dome_of
from facegan.people.glasses import ear_vertices
from facegan.people.head import Floats, Part, head
from facegan.people.headscarf import covered_by_headscarf, headscarf
from facegan.people.person import Person
from facegan.people.shape import Shape, smoothstep
from facegan.people.solids import Fit, Piece, Worn, chances, fitted, piece_of, sheet, shell, tube

ORIGIN = np.array([0.0, 7.50, 0.5])
TILT = 0.21  # how much the hat's plane rises per dm towards the forehead
UP = np.array([0.0, 1.0, -TILT]) / np.hypot(1, TILT)
FORWARD = np.array([0.0, TILT, 1.0]) / np.hypot(1, TILT)
AXES = np.stack([[1.0, 0.0, 0.0], UP, FORWARD])  # left, up, forward
AROUND, UPWARD = 96, 15  # points of a crown
SPREAD = 0.20  # radians: over how much a hat smooths the skull


def hat(person: Person, shape: Shape) -> list[Piece]:
    """What this person has on the head."""
    rng = chances(person, Worn.HAT)
    return {"beanie": _beanie, "cap": _cap, "brimmed-hat": _brimmed_hat, "headscarf": headscarf}[person.hat](
        person, shape, rng
    )


def covered_by_hat(person: Person, rest_points: Floats) -> Floats:
    """How much of the scalp at points [N, 3] of rest space lies under the hat [N]: 0 .. 1."""
    if person.hat == "none":
        return np.zeros(len(rest_points))
    if person.hat == "headscarf":
        return covered_by_headscarf(rest_points)
    return smoothstep(-0.02, 0.04, (rest_points - ORIGIN) @ UP)


# ---- the skull


@lru_cache(maxsize=1)
def _skull() -> Dome:
    skin = np.setdiff1d(head().part_vertices(Part.SKIN), ear_vertices())
    scalp = skin[(head().vertices[skin] - ORIGIN) @ UP > -0.06]
    azimuth = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)[None, :, None]
    height = np.linspace(0, np.pi / 2, UPWARD)[:, None, None]
    directions = (
        np.cos(height) * (np.sin(azimuth) * AXES[0] + np.cos(azimuth) * FORWARD) + np.sin(height) * UP
    )
    return dome_of(ORIGIN, directions, scalp, SPREAD)


@dataclass(frozen=True, eq=False)
class Skull:
    """A person's skull in rest space: radii [R, C] in directions [R, C, 3], their angles, the way back."""

    radii: Floats
    directions: Floats
    fit: Fit
    azimuth: Floats  # [1, C]
    height: Floats  # [R, 1]

    def points(self, radii: Floats) -> Floats:
        """Points [..., C, 3] in rest space at other radii [R, C]."""
        return ORIGIN + self.directions * radii[..., None]

    def ring(self, more: float | Floats, height: float | Floats) -> Floats:
        """Points [C, 3] of rest space about the rim, `more` outside of it and `height` above its plane."""
        level = self.directions[0] * (self.radii[0] + more)[:, None]
        return np.asarray(ORIGIN + level + np.reshape(height, (-1, 1)) * UP)


def _skull_of(shape: Shape) -> Skull:
    dome = _skull()
    points = shape.vertices[dome.vertices]
    fit = fitted(head().vertices[dome.vertices], points)
    return Skull(
        dome.radii(fit.rest(points)),
        dome.directions,
        fit,
        np.linspace(0, 2 * np.pi, AROUND, endpoint=False)[None],
        np.linspace(0, np.pi / 2, UPWARD)[:, None],
    )


def _lined(points: Floats, skull: Skull) -> Floats:
    """The crown's points [R, C, 3] with a first row that reaches in to the skin."""
    return np.concatenate([skull.ring(-0.05, -0.03)[None], points])


# ---- hats


def _beanie(person: Person, shape: Shape, rng: np.random.Generator) -> list[Piece]:
    skull = _skull_of(shape)
    rise, back = rng.uniform(0.02, 0.25), rng.uniform(0, 0.2)
    sine = np.sin(skull.height)
    ribs = 0.012 * np.cos(24 * skull.azimuth) * np.cos(skull.height)
    points = skull.points(skull.radii + 0.07 + 0.03 * np.sin(2 * skull.height) + ribs)
    points += (rise * sine**4)[..., None] * UP - (back * sine**3)[..., None] * FORWARD
    stitches = (
        1
        + 0.22 * np.cos(24 * skull.azimuth) * np.cos(skull.height)
        + 0.05 * rng.standard_normal((UPWARD, AROUND))
    )
    colour = np.array(person.hat_colour)
    crown = sheet(skull.fit.person(_lined(points, skull)), columns_close=True)
    shades = np.concatenate([stitches[:1] * 0.6, stitches]).reshape(-1, 1)
    high = rng.uniform(0.11, 0.2)
    middle = skull.ring(0.05 + ribs[0], high * 0.5)
    outward = np.broadcast_to(skull.directions[0], middle.shape)
    rolled = tube(middle, outward, high, 0.065, closes=True, sides=12, squareness=0.35)
    rolled = rolled._replace(vertices=skull.fit.person(rolled.vertices))
    second = np.array(person.second_colour if rng.random() < 0.2 else person.hat_colour)
    rim_shades = np.broadcast_to(1 + 0.25 * np.cos(24 * skull.azimuth), (12, AROUND)).reshape(-1, 1)
    pieces = [
        piece_of(crown, colour * shades, roughness=0.95, specular=0.015),
        piece_of(rolled, second * rim_shades, roughness=0.95, specular=0.015),
    ]
    if rng.random() < 0.2:
        pieces.append(_bobble(skull, points[-1, 0], second, rng))
    return pieces


def _bobble(skull: Skull, top: Floats, colour: Floats, rng: np.random.Generator) -> Piece:
    radius = 0.2 * (1 + 0.12 * rng.standard_normal((9, 20, 1)))
    radius[[0, -1]] = 0.2
    height, around = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, 9), np.linspace(0, 2 * np.pi, 20, False), indexing="ij"
    )
    ball = np.stack([np.cos(height) * np.sin(around), np.sin(height), np.cos(height) * np.cos(around)], -1)
    mesh = sheet(skull.fit.person(top + 0.12 * UP + radius * ball), columns_close=True)
    return piece_of(
        mesh, colour * (0.8 + 0.4 * rng.random((len(mesh.vertices), 1))), roughness=1, specular=0.01
    )


def _cap(person: Person, shape: Shape, rng: np.random.Generator) -> list[Piece]:
    skull = _skull_of(shape)
    front = np.clip(np.cos(skull.azimuth), 0, 1) ** 2
    swell = 0.05 + 0.07 * front * np.sin(2 * skull.height) + 0.03 * np.sin(2 * skull.height)
    seam = np.abs((skull.azimuth * 3 / np.pi + 0.5) % 1 - 0.5)  # six panels
    points = skull.points(skull.radii + swell - 0.008 * (seam < 0.05))
    shades = np.where((seam < 0.04) & (skull.height < 1.5), 0.6, 1.0)[..., None] * np.ones(
        (UPWARD, AROUND, 1)
    )
    colours = np.array(person.hat_colour) * shades
    if rng.random() < 0.35:  # a paler front
        is_front = (np.cos(skull.azimuth) > 0.5) & (skull.height < 1.4)
        colours[is_front] = np.array(person.second_colour)
    crown = sheet(skull.fit.person(_lined(points, skull)), columns_close=True)
    pieces = [piece_of(crown, np.concatenate([colours[:1] * 0.5, colours]).reshape(-1, 3), roughness=0.8)]
    # the visor: across -1 .. 1 along the rim, out 0 .. 1 from it
    across, out = np.linspace(-1, 1, 33), np.linspace(0, 1, 7)[:, None]
    azimuth = across * 1.02
    radius = np.interp(
        azimuth % (2 * np.pi),
        np.append(skull.azimuth[0], 2 * np.pi),
        np.append(skull.radii[0], skull.radii[0, 0]),
    )
    flat = radius[:, None] * (np.sin(azimuth)[:, None] * AXES[0] + np.cos(azimuth)[:, None] * FORWARD)
    length, droop = rng.uniform(0.58, 0.72), rng.uniform(0.12, 0.26)
    reach = out * np.clip(1 - across**4, 0.002, 1) ** 0.5  # [7, 33]
    arch = rng.uniform(0.1, 0.35)
    height = 0.04 - droop * reach - arch * across**2 * reach
    visor = ORIGIN + 1.02 * flat + (length * reach)[..., None] * FORWARD + height[..., None] * UP
    mesh = shell(skull.fit.person(visor[::-1]), 0.03)
    visor_colour = person.second_colour if rng.random() < 0.2 else person.hat_colour
    pieces.append(piece_of(mesh, visor_colour, roughness=0.7))
    button = skull.points(skull.radii + swell + 0.012)[-3:]
    pieces.append(piece_of(sheet(skull.fit.person(button), columns_close=True), person.hat_colour))
    return pieces


def _brimmed_hat(person: Person, shape: Shape, rng: np.random.Generator) -> list[Piece]:
    skull = _skull_of(shape)
    crown_height = float(skull.radii[-1].mean()) + rng.uniform(0.06, 0.22)
    rim = skull.radii[:1] + 0.05
    cosine, sine = np.cos(skull.height), np.sin(skull.height)
    rim = rim * (1 - rng.uniform(0.05, 0.2) * sine**2)  # narrower above
    tall = ((cosine / rim) ** 4 + (sine / crown_height) ** 4) ** (-1 / 4)
    points = skull.points(np.maximum(skull.radii + 0.04, tall))
    offset = (points - ORIGIN) @ AXES.T  # left, up, forward
    dent = rng.uniform(0, 0.16) * np.exp(-((offset[..., 0] / 0.22) ** 2)) * sine**6
    skull_top = (skull.points(skull.radii + 0.03) - ORIGIN) @ UP
    lowered = np.maximum(offset[..., 1] - dent, np.minimum(skull_top, offset[..., 1]))
    points += (lowered - offset[..., 1])[..., None] * UP
    crown = sheet(skull.fit.person(_lined(points, skull)), columns_close=True)
    out = np.linspace(0, 1, 7)[:, None]  # from the crown to the brim's edge
    width, droop = rng.uniform(0.42, 0.72), rng.uniform(-0.12, 0.3)
    curl = rng.uniform(0, 0.3)
    wave = 0.03 * np.cos(3 * skull.azimuth + rng.uniform(0, 2 * np.pi))
    height = 0.02 + (wave - droop) * out + (curl * np.sin(skull.azimuth) ** 2 + 0.04) * out**2
    brim = np.stack(
        [skull.ring(-0.03 + (width + 0.03) * o, h) for o, h in zip(out[:, 0], height, strict=True)]
    )
    mesh = shell(skull.fit.person(brim[::-1]), 0.025, columns_close=True)
    bands = []
    if rng.random() < 0.75:
        edges = ((0.055, 0.0), (0.066, 0.01), (0.066, 0.15), (0.04, 0.16))  # out of the rim, up
        band = sheet(skull.fit.person(np.stack([skull.ring(*edge) for edge in edges])), columns_close=True)
        bands = [piece_of(band, np.array(person.second_colour) * 0.7, roughness=0.6)]
    return [
        piece_of(crown, person.hat_colour, roughness=0.85),
        piece_of(mesh, person.hat_colour, roughness=0.85),
        *bands,
    ]
