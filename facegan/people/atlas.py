"""What is the same on every face, kept in texture space: masks, lid rims, and the folds that age brings.

Baked once a process from functions of the rest head, since a lookup is many times cheaper than a fold.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats, Part, head
from facegan.people.noise import clouds
from facegan.people.raster import Canvas, compiled, draw_triangles
from facegan.people.shape import smoothstep

SIZE = 1024
CHANNELS = ("lips", "ears", "eyelids", "inside_mouth", "rim", "fold_x", "fold_y")
RIM_FAR = 0.3  # dm: distances from the lid rims stop here
STEP = 0.006  # dm, of the folds' differences


def looked_up(uv: Floats) -> dict[str, Floats]:
    """Every channel [K] of the atlas at texture points [K, 2].

    lips, ears, eyelids, inside_mouth: 0 .. 1; rim: dm from the lids' rims, at most RIM_FAR; fold_x, fold_y:
    the slope along the rest head's x and y of all wrinkles of old age.
    """
    values = _lookup_kernel(_atlas(), uv)
    return dict(zip(CHANNELS, values.T, strict=True))


@lru_cache(maxsize=1)
def _atlas() -> NDArray[np.float32]:
    """[SIZE, SIZE, channels]; row 0 at v = 1."""
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    skin = head().parts == Part.SKIN
    corners, rest = head().triangles[skin], head().vertices
    uv = head().uv[skin].reshape(-1, 2)
    points = np.column_stack([uv[:, 0] * SIZE, (1 - uv[:, 1]) * SIZE, np.ones(len(uv))])
    canvas = Canvas.empty(SIZE, SIZE)
    draw_triangles(canvas, points, np.arange(len(points)).reshape(-1, 3))
    known = canvas.triangle >= 0
    place = (rest[corners[canvas.triangle[known]]] * canvas.barycentric[known][..., None]).sum(
        axis=1
    )  # [K, 3]
    atlas = np.zeros((SIZE, SIZE, len(CHANNELS)), np.float32)
    for channel, name in enumerate(CHANNELS[:4]):
        atlas[..., channel] = head().masks[name].astype(np.float32) / 255
    atlas[..., 4] = RIM_FAR
    near = (np.abs(place[:, 0]) < 0.75) & (np.abs(place[:, 1] - 7.28) < 0.4) & (place[:, 2] > 0.8)
    rim = np.full(len(place), RIM_FAR)
    rim[near] = cKDTree(_rims()).query(place[near], distance_upper_bound=RIM_FAR)[0].clip(max=RIM_FAR)
    here = folds(place)
    slopes = [(folds(place + offset) - here) / STEP for offset in np.eye(3)[:2] * STEP]
    atlas[known, 4:] = np.stack([rim, *slopes], axis=1)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    atlas[..., 4:] = atlas[nearest[0], nearest[1], 4:]  # so that edges of the layout do not bleed
    atlas.setflags(write=False)
    return atlas


def _rims() -> Floats:
    """Those vertices of the lash cards [N, 3] that lie on the lids."""
    from scipy.spatial import cKDTree

    parts = (Part.LEFT_UPPER_LASHES, Part.RIGHT_UPPER_LASHES, Part.LEFT_LOWER_LASHES, Part.RIGHT_LOWER_LASHES)
    lashes = head().vertices[head().part_vertices(*parts)]
    skin = head().vertices[head().part_vertices(Part.SKIN)]
    return np.asarray(lashes[cKDTree(skin).query(lashes)[0] < 0.02])


@compiled
def _lookup_kernel(atlas: NDArray[np.float32], uv: Floats) -> Floats:
    size, width = atlas.shape[0], atlas.shape[2]
    values = np.empty((len(uv), width))
    for n in range(len(uv)):
        x = min(max(uv[n, 0] * size - 0.5, 0.0), size - 1.001)
        y = min(max((1 - uv[n, 1]) * size - 0.5, 0.0), size - 1.001)
        column, row = int(x), int(y)
        right, down = x - column, y - row
        for channel in range(width):
            above = atlas[row, column, channel] * (1 - right) + atlas[row, column + 1, channel] * right
            below = (
                atlas[row + 1, column, channel] * (1 - right) + atlas[row + 1, column + 1, channel] * right
            )
            values[n, channel] = above * (1 - down) + below * down
    return values


def folds(rest: Floats) -> Floats:
    """Height [N] in dm of the wrinkles of old age at points [N, 3] of the rest head.

    Lines on the forehead, between the brows, beside eyes and mouth, under the eyes, and rings round the neck.
    """
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    wave = clouds(rest, 0.5, 8.0)
    front = smoothstep(0.7, 0.95, z)
    lines = np.cos((y + 0.02 * wave) * 2 * np.pi / 0.125) * np.exp(-(((y - 7.80) / 0.17) ** 2))
    height = 0.0035 * lines * smoothstep(0.75, 0.35, x) * front
    dx, dy = x - 0.42, y - 7.27
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    feet = np.cos(angle * 13 + wave) * np.exp(-(((radius - 0.16) / 0.07) ** 2)) * smoothstep(0.0, 0.06, dx)
    height += 0.0028 * feet * front
    between = np.exp(-(((x - 0.065) / 0.018) ** 2) - ((y - 7.45) / 0.09) ** 2)
    height -= 0.006 * between * front
    for start, end, width, depth in (
        ((0.19, 6.90), (0.36, 6.60), 0.022, 0.010),  # from the nose to beside the mouth
        ((0.33, 6.52), (0.34, 6.33), 0.020, 0.008),  # from there to the chin
        ((0.20, 7.16), (0.42, 7.13), 0.018, 0.006),  # below the eye
    ):
        height -= depth * _groove(x, y, start, end, width) * front
    rings = np.cos((y + 0.03 * wave) * 2 * np.pi / 0.16) * smoothstep(6.1, 6.0, y) * smoothstep(0.2, 0.5, z)
    return np.asarray(height + 0.004 * rings)


def _groove(
    x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float], width: float
) -> Floats:
    """1 on the segment from start to end, falling off over `width` dm."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.hypot(x - start[0] - share * dx, y - start[1] - share * dy)
    return np.asarray(np.exp(-((distance / width) ** 2)) * np.sin(np.pi * np.clip(share, 0.08, 0.92)))
