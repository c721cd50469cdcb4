"""Light: lamps, the soft light of the surroundings, and who stands in whose shadow.

    lamps_of(person)                    key, fill and rim: directions and colours
    surroundings(person, backdrop)      everything else, from all directions
    ambient(radiance, turned)           the same as nine numbers a channel: spherical harmonics
    ShadowMap.of(vertices, ...)         the lamp's own view, for shadows with soft edges

Ambient light follows Sloan et al. 2002 (precomputed radiance transfer, order 2): assets.npz holds, for each
vertex of the rest head, how much of each harmonic reaches it past the head itself. So the soft light
knows that nostrils, lids and the throat under a chin are dark, for the price of nine products.

Directions point from the subject to the light, in the space of the picture: x right, y up, z to the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from facegan.people.head import Floats
from facegan.people.person import Person
from facegan.people.raster import Canvas, compiled, draw_triangles, normalized

SHADOW_PIXELS = 192
SHADOW_SIDE = 4.6  # dm: what the lamp sees
FAR = 1e6  # added to depths of parallel views: see raster.py
TAPS = np.array(  # of the shadow's edge, in units of its softness: a spiral
    [
        (math.sqrt((k + 0.5) / 16) * math.cos(2.4 * k), math.sqrt((k + 0.5) / 16) * math.sin(2.4 * k))
        for k in range(16)
    ]
)
ENVIRONMENT_DIRECTIONS = 256


@dataclass(frozen=True, eq=False)
class Lamps:
    """K distant lamps: directions [K, 3], colours [K, 3] as the irradiance of a surface that faces them."""

    directions: Floats
    colours: Floats


def lamps_of(person: Person) -> Lamps:
    """Key, fill and rim lamp. The part of the key that is soft is in `surroundings`."""
    azimuth, elevation = (
        math.radians(angle) for angle in (person.light_azimuth_degrees, person.light_elevation_degrees)
    )
    key = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    side = math.copysign(1.0, azimuth)
    directions = [tuple(key), (-0.8 * side, 0.1, 0.75), (-0.9 * side, 0.45, -0.6)]
    colours = [
        2.1 * (0.35 + 0.65 * person.light_hardness) * warmth(person.light_warmth),
        (0.26 - 0.16 * person.light_hardness) * warmth(-0.4 * person.light_warmth),
        1.6 * person.rim_light * warmth(0.2),
    ]
    return Lamps(normalized(directions), np.array(colours))


def warmth(value: float) -> Floats:
    """The colour [3] of light from -1, blue sky, through 0, white, to 1, a candle."""
    tint = np.array([1.0, 0.86, 0.66]) if value > 0 else np.array([0.84, 0.94, 1.08])
    return np.asarray(1 + abs(value) * (tint - 1))


# ---- the surroundings


def harmonics(directions: npt.ArrayLike) -> Floats:
    """The nine real spherical harmonics up to order 2 [..., 9] at unit directions [..., 3], orthonormal."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )  # fmt: skip


@lru_cache(maxsize=4)
def sphere(count: int) -> Floats:
    """Directions [count, 3] spread evenly over the sphere (Fibonacci's spiral); read-only."""
    number = np.arange(count) + 0.5
    y = 1 - 2 * number / count
    turn = number * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - y * y)
    directions = np.stack([np.cos(turn) * radius, y, np.sin(turn) * radius], axis=1)
    directions.setflags(write=False)
    return directions


def surroundings(person: Person, backdrop: Floats) -> Floats:
    """The radiance [K, 3] that comes from the directions sphere(K) in the space of the picture.

    backdrop [S, S, 3]: its mean colour tints what comes from above and from below.
    """
    directions = sphere(ENVIRONMENT_DIRECTIONS)
    key = lamps_of(person).directions[0]
    tint = np.einsum("ijc->c", backdrop) / (len(backdrop) * backdrop.shape[1])
    tint = 0.35 + 0.65 * tint / max(float(tint.max()), 1e-3)
    level = 0.20 + 0.36 * (1 - person.light_hardness)
    sky = level * warmth(-0.12 - 0.3 * person.light_warmth) * (0.5 + 0.5 * tint)
    ground = 0.45 * level * warmth(0.35) * tint
    share = np.clip(0.5 + 0.75 * directions[:, 1], 0, 1)[:, None]
    cosine = np.clip(directions @ key, 0, 1)
    lobe = cosine**4
    lobe /= (lobe * cosine).mean() * 4  # as much light on a surface as a lamp of 1
    soft = 1.35 * (1 - person.light_hardness) * warmth(person.light_warmth)
    return np.asarray(ground + (sky - ground) * share + lobe[:, None] * soft)


def ambient(radiance: Floats, turned: Floats) -> Floats:
    """Harmonics [9, 3] of a radiance [K, 3] from sphere(K), in the frame that `turned` [3, 3] turns."""
    values = harmonics(sphere(len(radiance)) @ turned)
    return np.asarray(4 * np.pi / len(radiance) * values.T @ radiance)


CONVOLUTION = np.array([1, *[2 / 3] * 3, *[1 / 4] * 5])  # of a cosine, over pi: Ramamoorthi and Hanrahan 2001


def unshadowed(normals: Floats) -> Floats:
    """The transfer [..., 9] of a surface with these normals [..., 3] that nothing shadows."""
    return np.asarray(harmonics(normals) * CONVOLUTION)


# ---- shadows


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """What a distant lamp sees: depth [P, P] along its rays, and the frame it looks in."""

    depth: Floats
    axes: Floats  # rows: right, down, along the ray
    centre: Floats

    @staticmethod
    def of(vertices: Floats, triangles: npt.NDArray[np.intp], direction: Floats, centre: Floats) -> ShadowMap:
        """The view from `direction` on triangles [T, 3] of vertices [V, 3], around `centre` [3]."""
        right = normalized(np.cross((0.05, 1.0, 0.02), direction))
        axes = np.stack([right, np.cross(right, direction), -direction])
        canvas = Canvas.empty(SHADOW_PIXELS, SHADOW_PIXELS)
        shadows = ShadowMap(canvas.depth, axes, centre)
        draw_triangles(canvas, shadows.project(vertices), triangles)
        return shadows

    def project(self, points: Floats) -> Floats:
        """Pixel x, y and depth [..., 3] of points [..., 3]."""
        seen = (points - self.centre) @ self.axes.T
        scale = SHADOW_PIXELS / SHADOW_SIDE
        return seen * [scale, scale, 1] + [SHADOW_PIXELS / 2, SHADOW_PIXELS / 2, FAR]

    def frame(self) -> Floats:
        """Axes and centre as one array [4, 3], for kernels."""
        return np.concatenate([self.axes, self.centre[None]])

    def light(self, points: Floats, softness: float, bias: float = 0.04) -> Floats:
        """How much of the lamp points [N, 3] see [N], 0 .. 1; softness: dm of the edge, bias: dm."""
        return _seen_kernel(self.depth, self.frame(), points, softness, bias)


@compiled
def seen_from_lamp(
    depth: Floats, frame: Floats, x: float, y: float, z: float, softness: float, bias: float, stride: int
) -> float:
    """What ShadowMap.light gives at one point, by every stride-th tap; for other kernels."""
    scale = SHADOW_PIXELS / SHADOW_SIDE
    x, y, z = x - frame[3, 0], y - frame[3, 1], z - frame[3, 2]
    across = (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z) * scale + SHADOW_PIXELS / 2
    down = (frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z) * scale + SHADOW_PIXELS / 2
    distance = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + FAR
    spread = softness * scale
    total = 0.0
    for tap in range(0, len(TAPS), stride):
        column = min(max(int(across + TAPS[tap, 0] * spread), 0), SHADOW_PIXELS - 1)
        row = min(max(int(down + TAPS[tap, 1] * spread), 0), SHADOW_PIXELS - 1)
        behind = (distance - depth[row, column]) / bias  # 1: as far behind as the bias allows
        total += min(max(2 - behind, 0.0), 1.0)
    return total * stride / len(TAPS)


@compiled
def _seen_kernel(depth: Floats, frame: Floats, points: Floats, softness: float, bias: float) -> Floats:
    seen = np.empty(len(points))
    for n in range(len(points)):
        seen[n] = seen_from_lamp(depth, frame, points[n, 0], points[n, 1], points[n, 2], softness, bias, 1)
    return seen
