"""Brows, lashes, moustache and beard: where they grow and their strands.

    brow_density, beard_density (person, rest_points) -> [N]     0 .. 1, for painting the skin below
    brows, beard, lashes (person, shape, count) -> Strands       beard: None without one, or for stubble

Regions are borders drawn on the rest face, as heights over |x| in dm. Short hairs need no collisions: they
leave the skin at a small angle and bend towards a direction that does not lead back into it.
`count` is how many hairs both brows, a full beard or all lashes have; hair i is the same for every count.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np

from facegan.people.hair import grey_share
from facegan.people.head import Floats, Indices, Part, head
from facegan.people.landmarks import eye_centres
from facegan.people.noise import clouds
from facegan.people.person import Detail, Person
from facegan.people.raster import normalized
from facegan.people.roots import Candidates, outer_triangles, skin_mask, triangle_centres
from facegan.people.shape import Shape, skin_triangles, smoothstep
from facegan.people.strands import Strands

GREY = np.array([0.40, 0.39, 0.37])

BROW_INNER_X, BROW_LENGTH = 0.095, 0.44  # dm
BROW_Y = 7.455
BROW_CANDIDATES, BROW_SHARE = 16_000, 14.0  # places around brows; how many of them there are to one in a brow
BROW_HALF_WIDTH, BROW_COUNT = 0.0045, 600  # dm, at that count

CHEEK_LINE = ((0, 0.28, 0.45, 0.60, 0.72, 0.80), (6.50, 6.60, 6.74, 6.95, 7.20, 7.30))
NECK_LINE = ((0, 0.3, 0.6), (6.08, 6.10, 6.45))  # lower end: half density
UPPER_LIP = ((0, 0.08, 0.18, 0.27), (6.705, 6.725, 6.695, 6.615))
LOWER_LIP = ((0, 0.06, 0.19, 0.27), (6.480, 6.485, 6.535, 6.605))
MOUTH_X = 0.275
MOUTH_LINE = 6.64  # no hair of a moustache over the mouth ends lower
MOUSTACHE_TOP = ((0, 0.10, 0.20, 0.34), (6.80, 6.81, 6.81, 6.70))
MOUSTACHE_X = 0.34
BEARD_CANDIDATES, BEARD_SHARE = 20_000, 1.6
BEARD_LOCKS = 260
BEARD_HALF_WIDTH, BEARD_COUNT = 0.0065, 3000
BEARD_LENGTHS = (0.03, 0.40)  # dm at the chin, at beard_length 0 and 1

LASH_LENGTHS = (0.06, 0.03)  # dm: upper, lower
LASH_CARDS = (
    Part.LEFT_UPPER_LASHES, Part.RIGHT_UPPER_LASHES, Part.LEFT_LOWER_LASHES, Part.RIGHT_LOWER_LASHES,
)  # fmt: skip
LASH_ORDER = (0, 1, 0, 1, 2, 3, 0, 1, 2, 3)  # whose card hair i is on: three upper ones to two lower
LASH_ROWS = 5  # of vertices, from the inner to the outer edge of a card
LASH_ROOT = 0.4  # of the way from a card's inner to its outer edge: the rim of the lid
GOLDEN = 0.6180339887  # successive multiples, modulo 1, leave no gaps


class Draw(IntEnum):
    """What the random numbers of a hair, or of a lock, are for."""

    KEPT = 0
    WAY = 1  # and 2, 3
    LENGTH = 4
    LIGHTNESS = 5
    WIDTH = 6
    GREYNESS = 7


COLUMNS = Draw.GREYNESS + 1

# ---- brows


def brow_density(person: Person, rest_points: Floats) -> Floats:
    """How densely brow hairs grow at points [N, 3] of the rest head [N], 0 .. 1."""
    points = np.asarray(rest_points, np.float64)
    density = np.zeros(len(points))
    x, y, z = points.T
    near = (abs(y - BROW_Y) < 0.2) & (abs(x) < 0.7) & (abs(x) > 0.03) & (z > 0.7)
    along, across = _brow_place(person, points[near])
    ends = smoothstep(-0.04, 0.10, along) * smoothstep(1.03, 0.85, along)
    density[near] = smoothstep(1.15, 0.5, abs(across)) * ends
    return density


def _brow_place(person: Person, points: Floats) -> tuple[Floats, Floats]:
    """Where points [N, 3] are: along the brow [N], 0 .. 1 outwards, and across it [N], -1 .. 1 inside."""
    x, y, _ = points.T
    along = (abs(x) - BROW_INNER_X) / BROW_LENGTH
    t = np.clip(along, 0, 1)
    arch = (0.01 + 0.055 * person.brow_arch) * np.sin(np.pi * t**1.3)
    middle = BROW_Y + arch - 0.035 * t**2.5 + 0.05 * person.brow_slant * (t - 0.4)
    half = (0.016 + 0.032 * person.brow_thickness) * (0.7 + 0.3 * smoothstep(0, 0.3, t)) * (1 - 0.7 * t**2)
    return along, (y - middle) / half


def brows(person: Person, shape: Shape, count: int) -> Strands:
    """Both brows: hairs stand up at the inner end, lie along at the outer, and meet in a ridge between."""
    random = person.detail(Detail.BROWS)
    numbers, roots = _rooted(random, _brow_candidates(), int(count * BROW_SHARE))
    kept = numbers[:, Draw.KEPT] < brow_density(person, roots.rest)
    numbers, roots = numbers[kept], roots.take(np.flatnonzero(kept))
    along, across = _brow_place(person, roots.rest)
    outward = np.sign(roots.rest[:, 0])
    upright = smoothstep(0.45, 0.0, along)
    rise = 0.25 + 1.3 * upright - 0.45 * across * (1 - upright) - 0.45 * smoothstep(0.6, 1, along)
    start = np.stack([outward * (1 - 0.55 * upright), rise, 0 * rise], axis=1)
    end = np.stack([outward, rise * 0.35 - 0.1, 0 * rise], axis=1)
    start += 0.35 * (numbers[:, Draw.WAY : Draw.WAY + 3] - 0.5)
    lengths = (0.045 + 0.02 * person.brow_thickness + 0.01 * person.gender) * (
        0.7 + 0.6 * numbers[:, Draw.LENGTH]
    )
    lengths *= 1 - 0.35 * smoothstep(0.6, 1, along)
    points = _bent(shape, roots, start, end, lengths, joints=5, lift=0.16)
    dark = np.minimum(np.array(person.hair_colour) * 0.5, [0.030, 0.020, 0.014])
    colour = np.array(person.hair_colour) + (dark - person.hair_colour) * (0.25 + 0.75 * person.brow_darkness)
    half_width = BROW_HALF_WIDTH * np.sqrt(BROW_COUNT / count)
    return Strands(
        points,
        half_width * (0.8 + 0.4 * numbers[:, Draw.WIDTH]),
        _colours(colour, 0.5 * person.greyness, numbers),
        opacity=0.85,
        gloss=0.35,
    )


@lru_cache(maxsize=1)
def _brow_candidates() -> Candidates:
    x, y, z = triangle_centres().T
    chosen = (abs(y - BROW_Y - 0.02) < 0.15) & (abs(x) < 0.62) & (abs(x) > 0.04) & (z > 0.8)
    return Candidates.over(outer_triangles() & chosen, BROW_CANDIDATES, seed=2)


# ---- beard


def beard_density(person: Person, rest_points: Floats) -> Floats:
    """How densely the person's kind of beard grows at points [N, 3] of the rest head [N]: 0 .. 1."""
    points = np.asarray(rest_points, np.float64)
    density = np.zeros(len(points))
    if person.beard == "none":
        return density
    x, y, z = abs(points[:, 0]), points[:, 1], points[:, 2]
    near = (y < 7.35) & (y > 5.9) & (z > 0.35)
    points, x, y, z = points[near], x[near], y[near], z[near]
    ragged = 0.03 * clouds(points, 0.3, person.seed % 53)
    lip = (x < MOUTH_X) & (y < np.interp(x, *UPPER_LIP)) & (y > np.interp(x, *LOWER_LIP))
    moustache = _moustache(x, y + 0.3 * ragged, z)
    softness = 0.06 + 0.12 * person.detail(Detail.BEARD).random()
    chin = smoothstep(0.0, softness, np.interp(x, *CHEEK_LINE) + ragged - y)
    chin *= smoothstep(-0.12, 0.10, y - np.interp(x, *NECK_LINE) + ragged) * smoothstep(0.42, 0.62, z)
    corners = smoothstep(0.36, 0.30, x) * smoothstep(0.20, 0.26, x) * smoothstep(6.76, 6.68, y) * (z > 1.0)
    if person.beard == "moustache":
        grown = moustache
    elif person.beard == "goatee":
        narrow = smoothstep(0.36, 0.27, x + ragged) * smoothstep(6.05, 6.2, y)
        grown = np.maximum(np.maximum(moustache, chin * narrow), corners * (y > 6.3))
    else:
        bare = smoothstep(0.055, 0.10, np.hypot(x - 0.13, 0.6 * (y - 6.42)))  # beside the tuft under the lip
        grown = np.maximum(np.maximum(moustache, chin * (0.35 + 0.65 * bare)), corners)
    density[near] = np.where(lip, 0, np.clip(grown, 0, 1))
    return density


def _moustache(x: Floats, y: Floats, z: Floats) -> Floats:
    top, bottom = np.interp(x, *MOUSTACHE_TOP), np.interp(x, *UPPER_LIP)
    inside = smoothstep(0.0, 0.035, top - y) * smoothstep(-0.01, 0.015, y - bottom)
    furrow = 1 - 0.45 * np.exp(-((x / 0.03) ** 2))
    return np.asarray(inside * furrow * smoothstep(MOUSTACHE_X, 0.26, x) * (z > 1.1) * (y > 6.55))


def beard(person: Person, shape: Shape, count: int) -> Strands | None:
    """Moustache, goatee or beard; None for those who have none, or stubble only."""
    if person.beard in ("none", "stubble"):
        return None
    random = person.detail(Detail.BEARD)
    random.random()  # beard_density takes the first
    places, guide_of = _beard_candidates()
    numbers, roots = _rooted(random, places, BEARD_LOCKS + int(count * BEARD_SHARE))
    kept = numbers[:, Draw.KEPT] < beard_density(person, roots.rest)
    if not kept.any():
        return None
    numbers_of_lock = numbers[guide_of[: len(numbers)]][kept]
    guides = (np.cumsum(kept) - 1)[guide_of[: len(numbers)]]
    guides = np.where(kept[guide_of[: len(numbers)]], guides, -1)[kept]
    numbers, roots = numbers[kept], roots.take(np.flatnonzero(kept))
    x, y, z = roots.rest.T
    outward = np.sign(x)
    over_lip = (y > 6.6) & (abs(x) < MOUSTACHE_X) & (z > 1.2)
    chin = smoothstep(6.95, 6.35, y)
    longest = BEARD_LENGTHS[0] + (BEARD_LENGTHS[1] - BEARD_LENGTHS[0]) * person.beard_length
    lengths = (0.02 + (longest - 0.02) * (0.15 + 0.85 * chin)) * (0.65 + 0.5 * numbers[:, Draw.LENGTH])
    room = np.where(abs(x) < 0.24, 1.15 * (y - MOUTH_LINE), 0.25).clip(0.03)
    lengths = np.where(
        over_lip, np.minimum((0.07 + 0.3 * longest) * (0.7 + 0.5 * numbers[:, Draw.LENGTH]), room), lengths
    )
    start = np.stack([0.45 * x, np.full(len(x), -1.0), 0.15 * chin], axis=1)
    sideways = np.stack([outward * (0.35 + 1.6 * abs(x)), np.full(len(x), -0.8), 0 * x], axis=1)
    start = np.where(over_lip[:, None], sideways, start)
    start += 0.45 * (numbers[:, Draw.WAY : Draw.WAY + 3] - 0.5) + 0.5 * (
        numbers_of_lock[:, Draw.WAY : Draw.WAY + 3] - 0.5
    )
    end = np.where(over_lip[:, None], sideways, start * [0.6, 1.0, 0.6] + np.array([0, -0.3, 0.08]))
    points = _bent(shape, roots, start, end, lengths, joints=7, lift=0.3)
    curl = (0.15 + person.hair_curl) * np.minimum(0.06 * lengths, 0.012)
    turns = (numbers[:, Draw.WIDTH] * 0.3 + numbers_of_lock[:, Draw.WIDTH])[:, None] + np.linspace(0, 1.6, 7)
    points[..., 0] += curl[:, None] * np.sin(2 * np.pi * turns) * np.linspace(0, 1, 7)
    points[..., 2] += curl[:, None] * np.cos(2 * np.pi * turns) * np.linspace(0, 1, 7)
    joined = (guides >= 0) & ~over_lip
    share = (joined * (0.2 + 0.4 * numbers_of_lock[:, Draw.LIGHTNESS]))[:, None] * np.linspace(0, 1, 7)
    points += share[:, :, None] * (points[np.maximum(guides, 0)] - points)
    colour = np.array(person.hair_colour) * [0.85, 0.8, 0.75]
    half_width = BEARD_HALF_WIDTH * (BEARD_COUNT / count) ** 0.7
    return Strands(
        points,
        half_width * (0.7 + 0.6 * numbers[:, Draw.WIDTH]),
        _colours(colour, min(1.15 * person.greyness, 1), numbers),
        opacity=0.9,
        gloss=0.5,
        dense=True,
    )


@lru_cache(maxsize=1)
def _beard_candidates() -> tuple[Candidates, Indices]:
    """Places on the lower face, the locks' first, and of each place the lock it is nearest to."""
    from scipy.spatial import cKDTree

    _, y, z = triangle_centres().T
    chosen = (y < 7.35) & (y > 5.95) & (z > 0.35) & (skin_mask("lips")[skin_triangles()].max(axis=1) < 0.9)
    chosen &= skin_mask("ears")[skin_triangles()].max(axis=1) < 0.2
    places = Candidates.over(outer_triangles() & chosen, BEARD_CANDIDATES, seed=3)
    return places, np.asarray(cKDTree(places.rest[:BEARD_LOCKS]).query(places.rest)[1], np.intp)


# ---- lashes


def lashes(person: Person, shape: Shape, count: int) -> Strands:
    """Upper and lower lashes of both eyes, from the rims of the lids; make-up lengthens and darkens them."""
    numbers = person.detail(Detail.LASHES).random((count, COLUMNS))
    card = np.resize(np.array(LASH_ORDER), count)
    number = np.sum([np.cumsum(card == which) * (card == which) for which in range(len(LASH_CARDS))], axis=0)
    along = number * GOLDEN % 1
    roots, directions = np.empty((count, 3)), np.empty((count, 3))
    for which, part in enumerate(LASH_CARDS):
        inner, outer = (shape.vertices[edge] for edge in _card_edges(part))
        mine = card == which
        place = along[mine] * (len(inner) - 1)
        low = np.minimum(place.astype(int), len(inner) - 2)
        share = (place - low)[:, None]
        base, tip = (edge[low] * (1 - share) + edge[low + 1] * share for edge in (inner, outer))
        roots[mine] = base + LASH_ROOT * (tip - base)
        directions[mine] = tip - base
    upper = card < 2
    outer_part = smoothstep(0.15, 0.45, abs(roots[:, 0]))
    lengths = np.where(upper, *LASH_LENGTHS) * (0.7 + 0.3 * (1 - person.gender) + 0.35 * person.makeup)
    lengths = lengths * (0.75 + 0.35 * outer_part) * (0.75 + 0.4 * numbers[:, Draw.LENGTH])
    fan = np.sign(roots[:, 0]) * (outer_part - 0.35) * 0.6
    start = normalized(directions) + np.stack([fan, 0 * fan, 0.2 + 0 * fan], axis=1)
    start = normalized(start + 0.25 * (numbers[:, Draw.WAY : Draw.WAY + 3] - 0.5))
    bend = np.where(upper, 0.5, -0.4)[:, None] * np.array([0.0, 1.0, 0.0])
    t = np.linspace(0, 1, 5)[None, :, None]
    points = roots[:, None] + lengths[:, None, None] * (start[:, None] * t + bend[:, None] * t**2)
    colour = np.array(person.hair_colour) * 0.3 * (1 - person.makeup) * person.gender + [0.010, 0.008, 0.007]
    half_width = (0.0018 + 0.0012 * person.makeup) * np.sqrt(260 / count)
    return Strands(
        points,
        np.where(upper, half_width, 0.7 * half_width),
        _colours(colour, 0.0, numbers),
        opacity=0.9,
        gloss=0.1,
    )


@lru_cache(maxsize=4)
def _card_edges(part: Part) -> tuple[Indices, Indices]:
    """The inner and the outer edge [K] of a grid of lash triangles, both running from the nose outwards."""
    triangles = head().triangles[head().parts == part]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    pairs, uses = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    border = pairs[uses == 1]
    loop = [int(border[0, 0]), int(border[0, 1])]
    while len(loop) < len(border):
        touching = border[(border == loop[-1]).any(axis=1)].ravel()
        loop.append(int(next(vertex for vertex in touching if vertex not in loop[-2:])))
    columns = len(np.unique(triangles)) // LASH_ROWS
    ring, vertices = np.array(loop), head().vertices
    eye = eye_centres(vertices)[1 if vertices[loop[0], 0] > 0 else 0]
    distances = np.sqrt(((vertices[ring] - eye) ** 2).sum(axis=1))
    # the inner edge is the run of so many vertices that is nearest to the eye, against the run opposite
    opposite = columns + LASH_ROWS - 2
    runs = [np.roll(distances, -start) for start in range(len(ring))]
    best = min(range(len(ring)), key=lambda n: runs[n][:columns].sum() - runs[n][opposite:][:columns].sum())
    ring = np.roll(ring, -best)
    inner, outer = ring[:columns], ring[opposite:][:columns][::-1]
    if abs(vertices[inner[0], 0]) > abs(vertices[inner[-1], 0]):
        inner, outer = inner[::-1], outer[::-1]
    return inner, outer


# ---- what they share


def _rooted(random: np.random.Generator, places: Candidates, count: int) -> tuple[Floats, Candidates]:
    """The first `count` places, and random numbers [count, COLUMNS] for each."""
    count = min(count, len(places.rest))
    return random.random((count, COLUMNS)), places.take(np.arange(count))


def _bent(
    shape: Shape, roots: Candidates, start: Floats, end: Floats, lengths: Floats, joints: int, lift: float
) -> Floats:
    """Hairs [N, joints, 3] that turn from `start` to `end` [N, 3], both first laid onto the skin.

    lift: how much of the normal is in the direction at the root; half of it at the tip.
    """
    normals = normalized(roots.on(shape.normals))
    start, end = (
        normalized(way - (way * normals).sum(axis=1, keepdims=True) * normals) for way in (start, end)
    )
    start, end = normalized(start + lift * normals), normalized(end + 0.5 * lift * normals)
    steps = np.linspace(0, 1, joints)[None, :, None]
    # the integral of a direction that goes evenly from start to end
    way = start[:, None] * (steps - steps**2 / 2) + end[:, None] * (steps**2 / 2)
    return np.asarray(roots.on(shape.vertices)[:, None] + lengths[:, None, None] * way)


def _colours(colour: Floats, greyness: float, numbers: Floats) -> Floats:
    """Colours [N, 3] around one, of which a share is grey."""
    lightness = np.exp(0.5 * (numbers[:, [Draw.LIGHTNESS]] - 0.5))
    share = grey_share(greyness, numbers[:, [Draw.GREYNESS]])
    return np.asarray((colour * (1 - share) + GREY * share) * lightness)
