"""Scenes behind a person that have a roof or a wall: studio paper, walls, rooms, windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facegan.people.brush import (
    ACROSS,
    DOWN,
    END,
    HOUSES,
    LEAVES,
    PAINTS,
    PLACES,
    SPINES,
    START,
    WOODS,
    Random,
    Scene,
    box,
    flat,
    glow,
    noise,
    oval,
    pick,
    side_light,
)
from facegan.people.head import Floats
from facegan.people.person import RGB

PAPERS: tuple[RGB, ...] = (
    (0.72, 0.72, 0.71), (0.50, 0.50, 0.50), (0.28, 0.28, 0.285), (0.12, 0.12, 0.125), (0.035, 0.035, 0.038),
    (0.30, 0.35, 0.41), (0.10, 0.14, 0.19), (0.42, 0.36, 0.29), (0.17, 0.14, 0.11), (0.24, 0.28, 0.23),
    (0.33, 0.24, 0.22), (0.48, 0.45, 0.40), (0.16, 0.21, 0.22),
)  # fmt: skip
BRICKS: tuple[RGB, ...] = ((0.26, 0.11, 0.075), (0.30, 0.17, 0.11), (0.42, 0.38, 0.34), (0.55, 0.53, 0.50))


def studio(rng: Random) -> Scene:
    """Seamless paper with a lamp on it."""
    colour = pick(rng, PAPERS, 0.18)
    lamp = glow(rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.85), rng.uniform(0.6, 1.1))
    darkest = rng.uniform(0.35, 0.85)
    scene = colour * (darkest + (1.12 - darkest) * lamp) * side_light(rng, rng.uniform(0, 0.25))
    if rng.random() < 0.25:  # a painted canvas
        scene = scene * (1 + 0.10 * noise(rng, 4) + 0.05 * noise(rng, 10))[..., None]
    return scene, 0.1


def wall(rng: Random) -> Scene:
    """Plaster, brick, wood or concrete."""
    kind = rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))
    if kind == 0:  # plaster
        scene = flat(pick(rng, PAINTS)) * (1 + 0.05 * noise(rng, 5) + 0.03 * noise(rng, 24))[..., None]
        if rng.random() < 0.4:  # a corner of the room
            scene[:, rng.uniform(0.1, 0.9) < PLACES] *= rng.uniform(0.6, 0.85)
    elif kind == 1:
        scene = _bricks(rng)
    elif kind == 2:
        scene = _planks(rng)
    else:  # concrete slabs
        scene = flat(pick(rng, ((0.33, 0.33, 0.32), (0.44, 0.43, 0.41)))) * (
            1 + 0.08 * noise(rng, 6) + 0.05 * noise(rng, 20)
        )[..., None]  # fmt: skip
        for joint in rng.uniform(-0.1, 0.3) + 0.55 * np.arange(3):
            box(scene, joint, -1, joint + 0.012, 2, scene.mean(axis=(0, 1)) * 0.45)
    return scene * side_light(rng, rng.uniform(0.2, 0.6)), rng.uniform(0.012, 0.03)


def _bricks(rng: Random) -> Floats:
    height = rng.uniform(0.055, 0.08)
    length = 2.6 * height
    row = np.floor(DOWN / height)
    place = ACROSS / length + 0.5 * (row % 2)
    column = np.floor(place)
    shade = rng.standard_normal((64, 64))[(row.astype(int) + 16) % 64, (column.astype(int) + 16) % 64]
    mortar = np.maximum(
        np.abs(DOWN / height - row - 0.5) * 2, 1 - (1 - np.abs(place - column - 0.5) * 2) * 2.6
    )
    share = np.clip((mortar - 0.78) * 6, 0, 1)[..., None]
    brick = pick(rng, BRICKS) * np.exp(0.22 * shade)[..., None]
    return np.asarray(brick * (1 - share) + pick(rng, ((0.34, 0.32, 0.29),)) * share)


def _planks(rng: Random) -> Floats:
    scene, colour = flat((0.02, 0.015, 0.012)), pick(rng, WOODS)
    width, left = rng.uniform(0.10, 0.22), START - rng.uniform(0, 0.1)
    upright = rng.random() < 0.65
    grain = np.exp(0.16 * noise(rng, 3, 50) + 0.1 * noise(rng, 2, 20))[..., None]
    while left < END:
        plank = colour * np.exp(rng.normal(0, 0.2)) * grain
        box(scene, left, -1, left + width - 0.012, 2, plank)
        left += width
    return scene if upright else scene.transpose(1, 0, 2).copy()


def room(rng: Random) -> Scene:
    """A room: shelves, a lamp, pictures, a door."""
    wall = pick(rng, PAINTS, 0.25)
    scene = wall * 0.75 * side_light(rng, rng.uniform(0.3, 0.8))
    things: dict[str, Callable[[Floats, Random, float], None]] = {
        "shelf": _shelf, "door": _door, "pictures": _pictures, "lamp": _lamp, "plant": _plant,
        "cabinet": _cabinet,
    }  # fmt: skip
    corner = rng.uniform(-0.1, 1.1)
    shade = rng.uniform(0.55, 0.85)
    scene *= np.where(corner < ACROSS, shade, 1)[..., None]
    names = rng.permutation(list(things))[: rng.integers(2, 5)]
    for name, place in zip(names, rng.permutation([0.0, 0.22, 0.78, 1.0]), strict=False):
        things[str(name)](scene, rng, float(place + rng.uniform(-0.06, 0.06)))
    return scene, rng.uniform(0.025, 0.06)


def _shelf(scene: Floats, rng: Random, x: float) -> None:
    half, wood, step, first = (
        rng.uniform(0.2, 0.32),
        pick(rng, WOODS),
        rng.uniform(0.2, 0.28),
        rng.uniform(0, 1),
    )
    board = np.floor(DOWN / step + first).astype(int) + 2  # [SIDE, 1], each point's shelf, from above
    above = (DOWN / step + first) % 1  # 0 below a board .. 1 on the next one
    ends = x - half + np.cumsum(rng.uniform(0.018, 0.055, 40))
    book = np.searchsorted(ends, PLACES + rng.uniform(0, 0.3, 16)[board]) % 40  # [SIDE, SIDE]
    colours = np.array(SPINES)[rng.integers(0, len(SPINES), (16, 40))] * np.exp(
        rng.normal(0, 0.3, (16, 40, 1))
    )
    heights = rng.uniform(0.55, 0.88, (16, 40)) * (rng.random((16, 40)) < 0.9)
    filled = (above > 1 - heights[board, book])[..., None]
    inside = np.where(filled, colours[board, book], wood * 0.4)
    box(scene, x - half, -1, x + half, 2, np.where((above < 0.08)[..., None], wood, inside))
    for side in (-half, half - 0.02):
        box(scene, x + side, -1, x + side + 0.02, 2, wood)


def _door(scene: Floats, rng: Random, x: float) -> None:
    half, top = rng.uniform(0.13, 0.2), rng.uniform(-0.1, 0.15)
    frame = pick(rng, ((0.60, 0.58, 0.54), *WOODS))
    box(scene, x - half - 0.03, top - 0.03, x + half + 0.03, 1.2, frame)
    inside = pick(rng, PAINTS) * (rng.uniform(0.08, 0.3) if rng.random() < 0.6 else rng.uniform(1.0, 1.6))
    box(scene, x - half, top, x + half, 1.2, inside)
    box(scene, x - half, rng.uniform(0.7, 0.9), x + half, 1.2, inside * 0.6)


def _pictures(scene: Floats, rng: Random, x: float) -> None:
    for _ in range(rng.integers(1, 4)):
        half_width, half_height = rng.uniform(0.05, 0.13), rng.uniform(0.06, 0.14)
        left, top = x + rng.uniform(-0.16, 0.16) - half_width, rng.uniform(0.0, 0.35)
        right, bottom = left + 2 * half_width, top + 2 * half_height
        box(scene, left - 0.012, top - 0.012, right + 0.012, bottom + 0.012, pick(rng, WOODS, 0.5))
        box(scene, left, top, right, bottom, flat((0.6, 0.58, 0.54)))
        inset = 0.3 * half_width
        box(scene, left + inset, top + inset, right - inset, bottom - inset, pick(rng, HOUSES, 0.5))


def _lamp(scene: Floats, rng: Random, x: float) -> None:
    y, half, colour = rng.uniform(0.15, 0.45), rng.uniform(0.06, 0.1), np.array((1.0, 0.72, 0.42))
    scene += scene * colour * 1.3 * glow(x, y, rng.uniform(0.25, 0.4))
    box(scene, x - 0.012, y, x + 0.012, 1.2, np.array((0.05, 0.045, 0.04)))
    box(scene, x - half, y - 0.75 * half, x + half, y + 0.75 * half, colour * rng.uniform(1.2, 2.2))


def _plant(scene: Floats, rng: Random, x: float) -> None:
    y, colour = rng.uniform(0.45, 0.8), pick(rng, LEAVES[:2])
    box(scene, x - 0.07, y + 0.12, x + 0.07, 1.2, pick(rng, ((0.4, 0.36, 0.32), (0.22, 0.12, 0.08))))
    for _ in range(16):
        angle, reach = rng.uniform(-1.4, 1.4), rng.uniform(0.05, 0.24)
        place = x + reach * np.sin(angle), y + 0.1 - reach * np.cos(angle)
        oval(scene, *place, rng.uniform(0.02, 0.05), rng.uniform(0.03, 0.06), colour * rng.uniform(0.5, 1.6))


def _cabinet(scene: Floats, rng: Random, x: float) -> None:
    top, half, wood = rng.uniform(0.55, 0.8), rng.uniform(0.25, 0.45), pick(rng, WOODS)
    box(scene, x - half, top, x + half, 1.2, wood)
    box(scene, x - half, top, x + half, top + 0.02, wood * 1.5)
    for _ in range(3):
        left, height = x + rng.uniform(-half, half - 0.08), rng.uniform(0.05, 0.16)
        colour = pick(rng, (*SPINES, (0.6, 0.58, 0.55)), 0.3)
        box(scene, left, top - height, left + rng.uniform(0.04, 0.09), top, colour)


def window(rng: Random) -> Scene:
    """A bright window on one side, with its frame or a curtain."""
    wall = pick(rng, PAINTS, 0.25) * rng.uniform(0.25, 0.6)
    on_left = rng.random() < 0.5
    edge = rng.uniform(0.3, 0.62)  # from the picture's side to the window's inner edge
    scene = wall * (0.7 + 1.2 * glow(0.1, 0.4, rng.uniform(0.5, 0.8)))
    top, bottom = rng.uniform(-0.15, 0.1), rng.uniform(0.85, 1.2)
    frame = pick(rng, ((0.55, 0.54, 0.52), (0.6, 0.58, 0.55), WOODS[1]))
    outside = _outside(rng)
    box(scene, -0.2, top - 0.03, edge + 0.03, bottom + 0.03, frame * 0.7)
    box(scene, -0.2, top, edge, bottom, outside)
    bar, cross = edge - rng.uniform(0.24, 0.36), rng.uniform(0.3, 0.6)
    box(scene, bar - 0.014, top, bar + 0.014, bottom, frame * 0.45)
    if rng.random() < 0.6:
        box(scene, -0.2, cross - 0.01, edge, cross + 0.01, frame * 0.45)
    if rng.random() < 0.7:  # a curtain, the light in its folds
        cloth = pick(rng, ((0.62, 0.60, 0.56), (0.50, 0.44, 0.36), (0.35, 0.38, 0.42), (0.4, 0.24, 0.2)))
        folds = np.exp(0.3 * noise(rng, 2, 26))[..., None]
        sheer = rng.random() < 0.4
        width = rng.uniform(0.12, 0.3)
        box(scene, edge - width / 2, -1, edge + width / 2, 2, cloth * folds * (0.9 if sheer else 0.5))
    return (scene if on_left else scene[:, ::-1].copy()), rng.uniform(0.02, 0.05)


def _outside(rng: Random) -> Floats:
    """What one sees through a window from a darker room: overexposed, pale."""
    sky = flat((1.15, 1.2, 1.25)) * rng.uniform(0.75, 1.15)
    scene = sky * (1 + 0.08 * noise(rng, 5)[..., None])
    line = rng.uniform(0.35, 0.9) + 0.09 * noise(rng, 1, 9)
    below = np.clip((DOWN - line) * 12, 0, 1)[..., None]
    colour = pick(rng, LEAVES[:4]) * 2.5 + 0.12 if rng.random() < 0.6 else pick(rng, HOUSES) * 1.6
    return np.asarray(scene + (colour * np.exp(0.35 * noise(rng, 16))[..., None] - scene) * below)
