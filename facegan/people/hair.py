"""The hair of the head: where it grows, and its strands.

    scalp_density(person, rest_points) -> [N]           0 skin .. 1 hair, at points of the rest head
    scalp_hair(person, shape, count)   -> Strands       None for the bald

The scalp is what lies above a hairline, a height that depends on the angle around the head. hair_styles.py
says how the hair is cut and combed there, growth.py lets the strands grow.

Strand i of a person is the same hair whatever the count: its root is candidate i of a fixed list that starts
at a place of the person's own, its numbers are row i of one table of random numbers. count is how many hairs
a full head of hair has; those who lose hair have fewer.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facegan.people.growth import NO_CEILING, Growth, grow, head_scale, obstacles_of
from facegan.people.hair_styles import STYLES, Place, Style
from facegan.people.head import Floats, Indices, Part, head
from facegan.people.noise import clouds
from facegan.people.person import RGB, Detail, Person
from facegan.people.raster import normalized
from facegan.people.roots import Candidates, outer_triangles, skin_mask, triangle_centres
from facegan.people.shape import Shape, skin_triangles, smoothstep
from facegan.people.strands import Strands

# The hairline: its height in dm on the rest head by the angle from straight ahead, in radians. It runs over
# the forehead, down the temple to the sideburn (1.18), over the ear (1.42) and behind it down to the nape.
AXIS_Z = 0.4
HAIRLINE_ANGLES = (0, 0.25, 0.5, 0.72, 0.92, 1.02, 1.18, 1.30, 1.42, 1.9, 2.2, 2.6, 3.15)
HAIRLINE_Y = (7.98, 7.98, 7.92, 7.79, 7.57, 7.30, 7.12, 7.30, 7.48, 7.30, 6.92, 6.72, 6.66)
RECESSION_Y = ((0, 0.3, 0.6, 0.9, 1.1), (0.10, 0.16, 0.38, 0.32, 0.0))  # by which it climbs, dm by angle
FEMALE_Y = ((0.5, 0.7, 0.95, 1.2, 1.32), (-0.04, -0.03, -0.06, 0.14, 0.0))  # fuller temples, no sideburns
EDGE_LOW, EDGE_HIGH = -0.06, 0.14  # dm above the hairline: no hair, full density
BALD_EDGE = 0.12  # dm below the hairline of everybody, where candidates still lie
MAX_STRANDS = 40_000
COARSE_LOCKS, FINE_LOCKS = 90, 600
HAT_LINE = (7.55, 0.15, 0.03)  # growth.Obstacles.ceiling of a hat on the rest head
FLYAWAY = 0.996  # of the hairs keep to their lock
CURL_WAVES = ((0, 0.3, 0.8, 1), (2.0, 0.9, 0.26, 0.12))  # dm from turn to turn, by curl
CURL_RADII = ((0, 0.1, 0.3, 0.8, 1), (0.0, 0.012, 0.045, 0.06, 0.035))  # dm
GREY: RGB = (0.52, 0.51, 0.49)


# ---- where hair grows


class Draw(IntEnum):
    """What the random numbers of a strand, or of a lock, are for."""

    KEPT = 0
    LAYER = 1
    LENGTH = 2
    WAY = 3  # and 4, 5
    PHASE = 6
    LIGHTNESS = 7
    GREYNESS = 8
    FLYING = 9
    CLUMP = 10
    CURL = 11
    WIDTH = 12
    WARMTH = 13


COLUMNS = Draw.WARMTH + 1


def above_hairline(person: Person, rest_points: Floats) -> Floats:
    """How far points [N, 3] of the rest head lie above the person's hairline [N], in dm."""
    x, y, z = np.asarray(rest_points, np.float64).T
    angle = np.arctan2(abs(x), z - AXIS_Z)
    line = np.interp(angle, HAIRLINE_ANGLES, HAIRLINE_Y)
    line += _recession(person) * np.interp(angle, *RECESSION_Y)
    line += (1 - person.gender) * np.interp(angle, *FEMALE_Y)
    peak = _whims(person)[0] * 1.5 - 0.5
    line -= 0.08 * peak * np.exp(-((x / 0.13) ** 2)) * (z > AXIS_Z)
    height = y - line
    near = abs(height) < 0.3
    height[near] += 0.03 * clouds(rest_points[near], 0.35, person.seed % 61)
    return np.asarray(height)


def scalp_density(person: Person, rest_points: Floats) -> Floats:
    """How densely hair grows at points [N, 3] of the rest head [N]: 0 skin .. 1; 0.25 at most if shaved."""
    points = np.asarray(rest_points, np.float64)
    return _density(person, points, above_hairline(person, points))


def _density(person: Person, points: Floats, height: Floats) -> Floats:
    density = smoothstep(EDGE_LOW, EDGE_HIGH, height)
    x, y, z = points.T
    density *= 1 - smoothstep(0.76, 0.80, abs(x)) * smoothstep(7.42, 7.38, y) * smoothstep(
        0.1, 0.3, z
    )  # ears
    thinning = max(_recession(person) * person.gender * 1.4 - 0.5, 0)
    if thinning:
        from_whorl = np.sqrt(x**2 + (z - 0.25) ** 2 + 0.5 * (y - 8.5) ** 2)
        density *= 1 - smoothstep(thinning * 1.1, thinning * 0.6, from_whorl) * min(2 * thinning, 0.97)
    if person.hair_style == "bald":
        return density * 0.25
    parting = _parting(person)
    if parting is not None:
        gap = smoothstep(0.016, 0.003, abs(x - parting - _parting_sway(points))) * smoothstep(-0.1, 0.3, z)
        density *= 1 - 0.65 * gap * (y > 7.6)
    return density


def _recession(person: Person) -> float:
    """How far the hairline has gone back by now, 0 .. 1."""
    return 1.0 if person.hair_style == "bald" else person.recession * min(person.ageing / 0.75, 1)


def _whims(person: Person) -> Floats:
    """A few numbers 0 .. 1 of the person's hair as a whole [6]."""
    return person.detail(Detail.SCALP_HAIR).random(6)


def _parting(person: Person) -> float | None:
    style = STYLES.get(person.hair_style)
    if style is None or style.parting is None or person.hair_curl > 0.7:
        return None
    middle, far = style.parting
    return math.copysign(middle + (far - middle) * abs(person.hair_parting), person.hair_parting)


def _parting_sway(points: Floats) -> Floats:
    """How far a parting is from straight [N], in dm; a comb is never quite straight."""
    return np.asarray(0.012 * np.sin(5 * points[:, 2]) + 0.002 * np.sin(19 * points[:, 2] + 1))


@lru_cache(maxsize=1)
def candidates() -> Candidates:
    """Guides' places, then MAX_STRANDS places on everything that is anybody's scalp."""
    x, y, z = triangle_centres().T
    angle = np.arctan2(abs(x), z - AXIS_Z)
    lowest = np.interp(angle, HAIRLINE_ANGLES, HAIRLINE_Y) - np.abs(np.interp(angle, *FEMALE_Y)) - BALD_EDGE
    scalp = outer_triangles() & (y > lowest) & (skin_mask("ears")[skin_triangles()].max(axis=1) < 0.35)
    return Candidates.over(scalp, COARSE_LOCKS + FINE_LOCKS + MAX_STRANDS, seed=1)


@lru_cache(maxsize=1)
def _nearest_guides() -> tuple[Indices, Indices]:
    """Of each fine guide its coarse one, of each candidate strand its fine one: indices into candidates()."""
    from scipy.spatial import cKDTree

    rest, fine = candidates().rest, COARSE_LOCKS + FINE_LOCKS
    coarse_of = cKDTree(rest[:COARSE_LOCKS]).query(rest[COARSE_LOCKS:fine])[1]
    fine_of = cKDTree(rest[COARSE_LOCKS:fine]).query(rest[fine:])[1] + COARSE_LOCKS
    return np.asarray(coarse_of, np.intp), np.asarray(fine_of, np.intp)


# ---- strands


def scalp_hair(person: Person, shape: Shape, count: int) -> Strands | None:
    """The hair of the head; `count` strands on a full head of hair, up to MAX_STRANDS. None for the bald."""
    if person.hair_style == "bald" or person.hat == "headscarf":
        return None
    style = STYLES[person.hair_style]
    random = person.detail(Detail.SCALP_HAIR)
    whims = random.random(6)
    guides = COARSE_LOCKS + FINE_LOCKS
    start = int(random.integers(MAX_STRANDS))
    guide_numbers = random.random((guides, COLUMNS))
    numbers = random.random((min(int(count * 1.14), MAX_STRANDS), COLUMNS))
    places = (start + np.arange(len(numbers))) % MAX_STRANDS + guides
    heights = above_hairline(person, candidates().rest[places])
    kept = numbers[:, Draw.KEPT] < _density(person, candidates().rest[places], heights)
    if not kept.any():
        return None
    places, numbers, edge = places[kept], numbers[kept], smoothstep(-0.08, 0.35, heights[kept])
    coarse_of, fine_of = _nearest_guides()
    leaders = np.concatenate([np.full(COARSE_LOCKS, -1), coarse_of, fine_of[places - guides]])
    numbers = np.concatenate([guide_numbers, numbers])
    roots = candidates().take(np.concatenate([np.arange(guides), places]))
    edge = np.concatenate([np.ones(guides), edge])
    growth = _growth(person, style, shape, roots, numbers, leaders, edge, whims)
    ceiling = _ceiling(shape) if person.hat != "none" else NO_CEILING
    points = grow(growth, obstacles_of(shape, style.ears, ceiling), style.joints)[guides:]
    numbers, edge = numbers[guides:], edge[guides:]
    half_width = 0.0125 * (5500 / count) ** 0.65 * style.width
    return Strands(
        points,
        half_width
        * (0.45 + 0.55 * edge)
        * (0.8 + 0.4 * numbers[:, Draw.WIDTH])
        * np.where(numbers[:, Draw.FLYING] > FLYAWAY, 0.6, 1),
        _colours(person, roots.rest[guides:], numbers, guide_numbers[leaders[guides:], Draw.LIGHTNESS]),
        opacity=0.95,
        gloss=1.0 - 0.5 * min(person.hair_curl, 1),
        dense=True,
    )


def _growth(
    person: Person, style: Style, shape: Shape, roots: Candidates, numbers: Floats, leaders: Indices,
    edge: Floats, whims: Floats,
) -> Growth:  # fmt: skip
    """What strands start with: roots [N], random numbers [N, COLUMNS], guides [N], edge [N] 0 .. 1 inside."""
    rest = roots.rest
    x, y, z = rest.T
    follows = np.maximum(leaders, 0)
    parting = _parting(person)
    middle = parting if parting is not None else 0.15 * math.copysign(1, person.hair_parting)
    side = np.where(x > middle + _parting_sway(rest), 1.0, -1.0)
    own, lock = numbers[:, Draw.WAY : Draw.WAY + 3] - 0.5, numbers[follows, Draw.WAY : Draw.WAY + 3] - 0.5
    place = Place(
        rest,
        side,
        smoothstep(7.7, 8.25, y),
        smoothstep(0.5, 1.1, z),
        np.where(leaders[:, None] < 0, own, lock),
    )
    curl = float(np.clip(person.hair_curl, *style.curl))
    normals = normalized(roots.on(shape.normals))
    directions = style.flow(place)
    lengths = _lengths(person, style, place)
    lifts = style.lift[0] + (style.lift[1] - style.lift[0]) * place.top
    gravities = style.gravity * (0.1 + 0.9 * edge**2)  # what is short is too stiff to hang
    curtains = np.full(len(x), math.tan(math.radians(style.curtain))) * (0.9 + 0.25 * numbers[:, Draw.LAYER])
    over_brow = np.zeros(len(x), bool)
    if style.fringe is not None:
        over_brow, ahead, reach = _fringe(person, style.fringe, rest, numbers[follows])
        ahead += 0.25 * place.random - [0.25 * middle, 0, 0]
        directions, lengths = (
            np.where(over_brow[:, None], ahead, directions),
            np.where(over_brow, reach, lengths),
        )
        curtains[over_brow], gravities[over_brow] = 0, 1
    flyaway, scale = numbers[:, Draw.FLYING] > FLYAWAY, head_scale(shape)
    lengths = lengths * scale * (0.86 + 0.14 * numbers[:, Draw.LENGTH]) * np.where(flyaway, 0.6, 1)
    lengths = np.minimum(lengths * (0.25 + 0.75 * edge), 0.12 + 8 * edge**2)  # short ones at the hairline
    targets, knot = _gathering(person, style, shape, whims, numbers)
    if style.gathered:
        behind = smoothstep(0.6, 0.2, z)[:, None]
        directions = directions * (1 - behind) + normalized(targets - roots.on(shape.vertices)) * behind
    directions = directions - (directions * normals).sum(axis=1, keepdims=True) * normals
    # near a parting the hair lies flat and in order, and rises behind it
    from_line = smoothstep(0, 0.35, abs(x - middle)) if parting is not None else np.ones(len(x))
    disorder = (0.10 * own + 0.25 * lock) * (0.25 + 0.75 * from_line)[:, None]
    directions = normalized(directions) + disorder
    low, high = style.height
    heights = (
        scale
        * (low + (high - low) * person.hair_volume)
        * numbers[:, Draw.LAYER] ** 0.7
        * (0.3 + 0.7 * from_line)
        * edge**3
        * np.where(over_brow, 0.6, 1)
    )
    lifts = lifts * (0.5 + 0.5 * edge) * (0.35 + 0.65 * from_line)
    similar = (abs(lengths - lengths[follows]) < 0.4 * lengths) & (side == side[follows]) & ~flyaway
    clumps = style.clump * (0.4 + 0.6 * numbers[follows, Draw.CLUMP]) * (0.7 + 0.5 * curl)
    if style.gathered:
        reach = np.sqrt(((targets - roots.on(shape.vertices)) ** 2).sum(axis=1)) * 1.2
        rest_of_it = (
            5.0 * knot[3] if knot[3] else scale * float(np.interp(person.hair_length, [0, 1], style.top))
        )
        lengths = (reach + rest_of_it) * (0.85 + 0.15 * numbers[:, Draw.LENGTH])
        similar[:] = ~flyaway
    # no shorter than what the joints can show
    wave = np.maximum(float(np.interp(curl, *CURL_WAVES)), 4.0 * lengths / (style.joints - 1))
    return Growth(
        roots.on(shape.vertices), normals, directions, lengths, heights,
        lifts + 0.04 * flyaway, gravities, style.stickiness * np.where(flyaway, 0.7, 1), curtains,
        np.interp(curl, *CURL_RADII) * (0.7 + 0.6 * numbers[:, Draw.CURL]), 2 * np.pi / wave,
        2 * np.pi * (0.15 * numbers[:, Draw.PHASE] + numbers[follows, Draw.PHASE]),
        np.where(similar, leaders, -1), clumps, targets, bool(style.gathered), knot,
    )  # fmt: skip


def _lengths(person: Person, style: Style, place: Place) -> Floats:
    """Lengths [N] in dm before hairs differ."""
    x, y, _ = place.rest.T
    if style.ends is not None:
        end = float(np.interp(person.hair_length, [0, 1], style.ends))
        # over the head as over a ball of 1 dm, then straight down
        above = np.clip((y - 7.4) / 1.05, -1, 1)
        return np.asarray(
            np.where(y > 7.4, np.arcsin(np.maximum(above, 0)) * 1.15 + 7.4 - end, y - end)
        ).clip(0.15)
    top, sides = (np.interp(person.hair_length, [0, 1], pair) for pair in (style.top, style.sides))
    low = style.taper + (1 - style.taper) * smoothstep(6.6, 7.7, y)
    lengths = sides * low * (1 - place.top) + top * place.top
    if style.parting is not None:  # what is combed across ends where the side begins
        lengths = np.minimum(lengths, 0.2 + 0.9 * np.maximum(0.68 - place.side * x, 0))
    return np.asarray(lengths)


def _fringe(
    person: Person, ends: tuple[float, float], rest: Floats, lock: Floats
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Which hairs hang over the forehead [N], their directions [N, 3] and lengths [N]."""
    x, y, z = rest.T
    over_brow = (
        (z > 0.75 + 0.2 * lock[:, Draw.LAYER]) & (abs(x) < 0.45 + 0.15 * lock[:, Draw.LENGTH]) & (y > 7.75)
    )
    end = float(np.interp(person.hair_length, [0, 1], ends)) - 0.35 * x**2  # lower at the temples
    ahead = np.stack([0.9 * x, end, 1.52 - 0.7 * x**2], axis=1) - rest
    reach = np.sqrt((ahead**2).sum(axis=1))
    return over_brow, ahead / reach[:, None], reach * 1.08 * (0.92 + 0.16 * lock[:, Draw.LENGTH])


def _gathering(
    person: Person, style: Style, shape: Shape, whims: Floats, numbers: Floats
) -> tuple[Floats, Floats]:
    """Where each strand is gathered [N, 3], and the bun [4], its centre and radius."""
    if not style.gathered:
        return np.zeros((len(numbers), 3)), np.zeros(4)
    high = whims[1] if person.hat == "none" else 0.0
    angle = -0.1 + 1.35 * high**0.7 if style.gathered == "bun" else 0.1 + 0.6 * high  # up from the back
    direction = np.array([0.0, math.sin(angle), -math.cos(angle)])
    centre = np.array([0.0, 7.5, 0.3]) + _shift(shape)
    skin = shape.vertices[head().part_vertices(Part.SKIN)] - centre
    distance = float((skin[skin[:, 1] > -0.5] @ direction).max())
    radius = 0.16 + 0.12 * person.hair_length + 0.05 * person.hair_volume if style.gathered == "bun" else 0.0
    target = centre + direction * (distance + 0.04)
    targets = target + (numbers[:, Draw.WAY : Draw.WAY + 3] - 0.5) * (0.12 + 0.5 * radius)
    knot = np.append(centre + direction * (distance + 0.8 * radius), radius)
    return targets, knot


def _shift(shape: Shape) -> Floats:
    """How far the scalp of this head is from that of the rest head [3]."""
    guides = candidates().take(np.arange(COARSE_LOCKS))
    return np.asarray((guides.on(shape.vertices) - guides.rest).mean(axis=0))


def _ceiling(shape: Shape) -> tuple[float, float, float]:
    y, rise, room = HAT_LINE
    shift = _shift(shape)
    return float(y + shift[1] - rise * shift[2]), rise, room


def _colours(person: Person, rest: Floats, numbers: Floats, lock: Floats) -> Floats:
    """Colours [N, 3]: every hair and every lock a little different, lighter on top; grey ones at random."""
    lightness = np.exp(0.35 * (numbers[:, Draw.LIGHTNESS] - 0.5) + 0.3 * (lock - 0.5)) * (
        0.82 + 0.25 * smoothstep(6.8, 8.3, rest[:, 1])
    )
    warmth = np.exp(0.12 * (numbers[:, [Draw.WARMTH]] - 0.5) * np.array([1.0, 0.0, -1.0]))
    pigment = np.array(person.hair_colour) * warmth
    grey = np.array(GREY) * (0.7 + 0.5 * numbers[:, [Draw.WIDTH]])
    share = grey_share(person.greyness, numbers[:, [Draw.GREYNESS]])
    return np.asarray((pigment * (1 - share) + grey * share) * lightness[:, None])


def grey_share(greyness: float, numbers: Floats) -> Floats:
    """How grey strands are, 0 .. 1, by uniform random numbers; their mean is near `greyness`.

    A strand stands for several hairs, so most of those that are partly grey are neither.
    """
    reach = -0.3 + 1.6 * greyness
    return smoothstep(-0.3, 0.3, reach - numbers)
