"""Scenes behind a person in the open: leaves, sky, a street by day, lights at night."""

from __future__ import annotations

import numpy as np

from facegan.people.brush import (
    DOWN,
    END,
    HOUSES,
    LEAVES,
    PICTURE,
    PLACES,
    SIDE,
    SPINES,
    START,
    WOODS,
    Random,
    Scene,
    box,
    flat,
    glow,
    lights,
    noise,
    oval,
    pick,
    side_light,
    span,
)
from facegan.people.head import Floats
from facegan.people.person import RGB

LAMPS: tuple[RGB, ...] = (
    (1.0, 0.60, 0.25), (1.0, 0.74, 0.44), (1.0, 0.92, 0.78), (0.75, 0.86, 1.0), (1.0, 0.20, 0.10),
    (0.30, 0.85, 0.50),
)  # fmt: skip
LAMP_SHARES = (0.36, 0.27, 0.16, 0.09, 0.08, 0.04)


def foliage(rng: Random) -> Scene:
    """Leaves in sun and shade, with gaps of sky and spots of light."""
    one, two = pick(rng, LEAVES, 0.25), pick(rng, LEAVES, 0.25)
    mix = np.clip(0.5 + 0.45 * noise(rng, 4), 0, 1)[..., None]
    light = np.exp(0.5 * noise(rng, 5) + 0.4 * noise(rng, 14) + 0.35 * noise(rng, 34))[..., None]
    sunny = np.clip((light - 1.2) * 0.18, 0, 0.5)  # leaves that shine are paler
    scene = (one * (1 - mix) + two * mix) * 0.8 * light * (1 - sunny) + sunny * np.array((0.62, 0.62, 0.36))
    if rng.random() < 0.5:  # sky between the leaves
        gap = np.clip(1.2 * noise(rng, 6) + 0.8 * noise(rng, 20) - 2.2 * DOWN - rng.uniform(-0.6, 0.6), 0, 1)
        scene += (np.array((0.95, 1.0, 1.05)) - scene) * gap[..., None]
    if rng.random() < 0.4:  # a lawn or a path below
        line = rng.uniform(0.6, 0.85) + 0.03 * noise(rng, 1, 6)
        lawn = pick(rng, ((0.17, 0.21, 0.08), (0.28, 0.27, 0.16), (0.35, 0.32, 0.27)))
        scene += (lawn - scene) * np.clip((DOWN - line) * 9, 0, 1)[..., None]
    for _ in range(rng.integers(0, 4)):  # trunks
        x, width = rng.uniform(-0.1, 1.1), rng.uniform(0.02, 0.07)
        box(scene, x, -1, x + width, rng.uniform(0.6, 1.2), pick(rng, WOODS[:2]) * 0.5, 0.8)
    blur = rng.uniform(0.025, 0.055)
    count = int(rng.integers(10, 60))
    strength = rng.exponential(0.22, count) * np.pi * (blur * PICTURE) ** 2
    colours = np.array((0.95, 1.0, 0.62)) + rng.normal(0, 0.08, (count, 3))
    lights(scene, *_places(rng, count, 0.45), np.maximum(colours, 0.2) * strength[:, None])
    return scene, blur


def sky(rng: Random) -> Scene:
    """Sky with clouds over hills, the sea or nothing."""
    high, low = (
        pick(rng, ((0.16, 0.30, 0.55), (0.30, 0.42, 0.60), (0.48, 0.53, 0.60)), 0.12),
        np.array((0.72, 0.78, 0.84)),
    )
    if rng.random() < 0.25:  # an evening
        high, low = np.array((0.28, 0.33, 0.45)), pick(rng, ((0.95, 0.62, 0.38), (0.85, 0.66, 0.58)), 0.1)
    horizon = rng.uniform(0.5, 1.1)
    share = np.clip((DOWN + 0.2) / (horizon + 0.2), 0, 1)[..., None] ** rng.uniform(0.8, 1.8)
    scene = high + (low - high) * share * np.ones((SIDE, SIDE, 1))
    cloud = noise(rng, 5, 3) + 0.55 * noise(rng, 11, 7) + 0.25 * noise(rng, 24, 16) - rng.uniform(-0.4, 1.6)
    cover = np.clip(cloud * 0.7, 0, 1)[..., None]
    white = (
        low * 0.35 + 0.65 * np.array((0.95, 0.95, 0.96)) * np.clip(1.05 - 0.18 * cloud, 0.6, 1.1)[..., None]
    )
    scene += (white - scene) * cover * rng.uniform(0.4, 0.95)
    ground = rng.integers(3)
    if ground == 0:  # the sea
        sea = high * 0.5 * (1 + 0.12 * noise(rng, 40, 6))[..., None]
        box(scene, -1, horizon, 2, 2, sea)
        box(scene, -1, horizon + rng.uniform(0.15, 0.4), 2, 2, pick(rng, ((0.42, 0.36, 0.28),)))
    else:  # hills, one behind the other
        for distance in (0.75, 0.4, 0.0):
            line = horizon + 0.1 * (0.75 - distance) + 0.035 * noise(rng, 1, 4 if ground == 1 else 9)[:1]
            colour = pick(rng, LEAVES[:4]) * 1.1 * (1 - distance) + low * 0.62 * distance
            hill = colour * (1 + 0.12 * noise(rng, 14))[..., None]
            scene += (hill - scene) * np.clip((DOWN - line) * PICTURE, 0, 1)[..., None]
    return scene, rng.uniform(0.012, 0.03)


def street(rng: Random) -> Scene:
    """Houses with windows, a road, trees and cars, by day."""
    sky = pick(rng, ((0.85, 0.88, 0.92), (0.62, 0.72, 0.85)), 0.1)
    scene = flat(sky)
    ground = rng.uniform(0.72, 0.95)
    left = START - rng.uniform(0, 0.2)
    middle = rng.uniform(0.25, 0.75)  # where the street vanishes
    while left < END:
        width = rng.uniform(0.24, 0.55)
        near = abs(left + width / 2 - middle)
        top = rng.uniform(0.15, 0.45) - 0.75 * near
        _house(scene, rng, (left, top, left + width, ground))
        left += width
    box(scene, -1, ground, 2, 2, pick(rng, ((0.27, 0.27, 0.27), (0.35, 0.33, 0.31))))
    box(scene, -1, ground - 0.05, 2, ground, scene[0, 0] * 0.18, 0.6)
    for _ in range(rng.integers(0, 3)):  # trees
        x, y, colour = rng.uniform(-0.1, 1.1), rng.uniform(0.0, 0.3), pick(rng, LEAVES[:4], 0.3)
        box(scene, x - 0.02, y, x + 0.02, ground, np.array((0.06, 0.05, 0.04)))
        for leaf_x, leaf_y in rng.normal((x, y), (0.12, 0.10), (12, 2)):
            half_width, half_height = rng.uniform((0.05, 0.04), (0.12, 0.09))
            oval(scene, leaf_x, leaf_y, half_width, half_height, colour * rng.uniform(0.4, 1.2))
    for _ in range(rng.integers(0, 3)):
        _car(scene, rng, rng.uniform(-0.1, 1.1), ground + 0.03)
    for _ in range(rng.integers(0, 4)):  # passers-by
        x, height = rng.uniform(0, 1), rng.uniform(0.2, 0.45)
        coat = pick(rng, SPINES, 0.4)
        oval(scene, x, ground + 0.02 - height * 0.5, height * 0.16, height * 0.5, coat)
        oval(
            scene,
            x,
            ground + 0.02 - height * 1.02,
            height * 0.08,
            height * 0.09,
            np.array((0.30, 0.19, 0.13)),
        )
    scene *= side_light(rng, 0.25)
    return scene, rng.uniform(0.03, 0.06)


def _house(scene: Floats, rng: Random, place: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = place
    num_columns, num_rows = int(rng.integers(2, 5)), int(rng.integers(3, 6))
    (rows, _), (columns, _) = span(top, bottom), span(left, right)
    across = (PLACES[columns] - left) / (right - left) * num_columns
    down = (PLACES[rows] - top) / (bottom - 0.16 - top) * num_rows
    pane = ((np.abs(down % 1 - 0.55) < 0.27) & (down < num_rows))[:, None] & (np.abs(across % 1 - 0.5) < 0.25)
    glass = pick(rng, ((0.07, 0.08, 0.10), (0.16, 0.20, 0.24), (0.36, 0.40, 0.45)), 0.3)
    shades = rng.uniform(0.6, 1.5, (4, 4))[(down % 4).astype(int)[:, None], (across % 4).astype(int)]
    scene[rows, columns] = np.where(pane[..., None], glass * shades[..., None], pick(rng, HOUSES, 0.3))
    box(scene, left + 0.02, bottom - 0.13, right - 0.02, bottom, pick(rng, SPINES, 0.4) * 0.8)


def _car(scene: Floats, rng: Random, x: float, y: float) -> None:
    half, height = rng.uniform(0.14, 0.24), rng.uniform(0.09, 0.13)
    paint = pick(
        rng, ((0.5, 0.5, 0.5), (0.04, 0.04, 0.045), (0.26, 0.03, 0.03), (0.05, 0.09, 0.17), (0.6, 0.6, 0.6))
    )
    oval(scene, x, y - height * 0.8, half * 0.62, height * 0.8, paint * 0.9)
    oval(scene, x, y - height * 0.85, half * 0.52, height * 0.55, np.array((0.08, 0.09, 0.1)))
    box(scene, x - half, y - height * 0.85, x + half, y, paint)
    box(scene, x - half, y - height * 0.85, x + half, y - height * 0.7, paint + 0.2)
    box(scene, x - half, y - 0.015, x + half, y + 0.02, np.array((0.02, 0.02, 0.02)))
    lamp = np.array((1.0, 0.9, 0.7) if rng.random() < 0.6 else (0.9, 0.08, 0.05))
    lamps = np.array((x - half * 0.85, x + half * 0.85)), np.full(2, y - height * 0.45)
    lights(scene, *lamps, np.stack([lamp, lamp]) * rng.uniform(0, 30))


def night(rng: Random) -> Scene:
    """The lights of a town in the dark."""
    scene = flat(pick(rng, ((0.012, 0.014, 0.022), (0.022, 0.015, 0.012), (0.010, 0.010, 0.012)), 0.3))
    scene *= np.exp(0.5 * noise(rng, 4))[..., None]
    ground = rng.uniform(0.7, 1.1)
    for _ in range(rng.integers(2, 6)):  # lit windows, shop fronts, fronts in lamplight
        x, y = rng.uniform(-0.1, 1.0), rng.uniform(0.1, ground)
        colour = np.array(LAMPS[rng.choice(3)]) * rng.uniform(0.02, 0.25)
        box(scene, x, y, x + rng.uniform(0.05, 0.3), y + rng.uniform(0.04, 0.2), colour)
    scene += np.array((1.0, 0.62, 0.32)) * rng.uniform(0.02, 0.10) * glow(rng.uniform(0, 1), ground, 0.45)
    blur = rng.uniform(0.025, 0.06)
    count = int(rng.integers(14, 60))
    strength = np.minimum(rng.exponential(0.32, count), 1.3) * np.pi * (blur * PICTURE) ** 2
    palette = rng.choice(len(LAMPS), count, p=LAMP_SHARES)
    lights(scene, *_places(rng, count, ground - 0.35), np.array(LAMPS)[palette] * strength[:, None])
    return scene, blur


def _places(rng: Random, count: int, height: float) -> tuple[Floats, Floats]:
    """Where lights hang: in clusters, about a height."""
    cluster = rng.integers(0, 5, count)
    x = rng.uniform(-0.1, 1.1, 5)[cluster] + rng.normal(0, 0.2, count)
    return x, rng.normal(height, 0.14, 5)[cluster] + rng.normal(0, 0.16, count)
