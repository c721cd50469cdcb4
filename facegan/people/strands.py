"""Hair of every kind as polylines, how dense it is, and the kernel that blends it into a picture.

    Thicket.of(points, half_widths, ...)  how much hair lies between a point and the main light
    blend_strands(picture, depth, ...)    every hair over the picture, nearest first, each by its area

A hair is far thinner than a pixel, so a pixel shows many: segments are sorted by depth, and each covers
the share of a pixel that its area covers (exact along the longer axis), as far as those before it left
open. Only segments that are seen are shaded; one whose ends and middle are all hidden is taken for hidden.

Shading follows Kajiya and Kay 1989 with Marschner et al. 2003's two highlights: a white one shifted
towards the root, and one in the hair's colour shifted towards the tip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats
from facegan.people.light import Lamps, ShadowMap, seen_from_lamp
from facegan.people.raster import compiled, voxel, voxels

TIP_TAPER = 0.75  # a strand's width is 1 - 0.75 along^2 of that at its root
GRID = 36  # voxels along each side of a thicket
GRID_SIDE = 5.2  # dm
CLOSED = 0.01  # a pixel of which less than this is open is done
MESH_BIAS = 0.01  # dm: a hair this far under a surface is still seen
HAIR_SHADOW, HAIR_SKY = 1.15, 0.55  # how much of the lamp's and of the sky's light a dm^2 of hair takes
LIGHT_SOFTNESS, LIGHT_BIAS = 0.06, 0.12  # dm, of the shadows that things cast on hair
MEAN_WIDTH = 1.3  # half widths: a hair is 2 wide at the root, a quarter of it at the tip
SHEEN_POWER = 0.75  # the tinted highlight is paler than the hair
DEPTH_STEPS = 65535  # of the sort: 16 bits, which numpy sorts in linear time


@dataclass(frozen=True, eq=False)
class Strands:
    """N hairs of one kind, each a polyline of M points, root first, on the unturned person.

    points       [N, M, 3] dm
    half_widths  [N] dm at the root; towards the tip a quarter of it
    colours      [N, 3] linear RGB
    opacity      how much of what is behind a hair it hides where it covers a pixel wholly
    gloss        strength of the highlight along the hair: 1 healthy scalp hair, 0 none
    dense        whether the hairs shade one another and the skin below (scalp hair, beards)
    """

    points: Floats
    half_widths: Floats
    colours: Floats
    opacity: float = 1.0
    gloss: float = 1.0
    dense: bool = False


@dataclass(frozen=True, eq=False)
class Thicket:
    """Dense hair as voxels in the frame of a lamp: rows of `axes` are right, down and along its rays.

    towards_lamp, around [G, G, G]: dm^2 of hair per dm^2, between a voxel and the lamp, and near it.
    """

    towards_lamp: Floats
    around: Floats
    axes: Floats
    centre: Floats

    @staticmethod
    def of(points: list[Floats], half_widths: list[Floats], shadows: ShadowMap) -> Thicket | None:
        """The voxels of turned strands, one entry a kind: points [N, M, 3], half widths [N], in dm."""
        from scipy.ndimage import gaussian_filter

        if not points:
            return None
        area = np.zeros((GRID,) * 3)
        for hairs, widths in zip(points, half_widths, strict=True):
            _deposit_kernel(area, hairs, widths, shadows.frame())
        grid = gaussian_filter(area, 0.8) / (GRID_SIDE / GRID) ** 2
        # along the ray the lamp comes first
        return Thicket(np.cumsum(grid, axis=2), gaussian_filter(grid, 1.5) * 6, shadows.axes, shadows.centre)

    def cells(self, points: Floats) -> Floats:
        """Voxel coordinates [..., 3] of points [..., 3]."""
        return (points - self.centre) @ self.axes.T * (GRID / GRID_SIDE) + (GRID - 1) / 2

    def lamp_light(self, points: Floats, density: float) -> Floats:
        """How much of the lamp's light comes through to points [N, 3] outside of the hair [N]."""
        behind = self.cells(points) - [0, 0, 1.0]
        return np.exp(-density * voxels(self.towards_lamp, behind))

    def open_sky(self, points: Floats, density: float) -> Floats:
        """How much of the surroundings points [N, 3] see past the hair [N]."""
        return np.exp(-density * voxels(self.around, self.cells(points)))


@compiled
def _deposit_kernel(area: Floats, points: Floats, half_widths: Floats, frame: Floats) -> None:
    """Adds the area in dm^2 of every segment to the voxel that its middle lies in."""
    scale, size = GRID / GRID_SIDE, GRID
    for hair in range(points.shape[0]):
        for joint in range(points.shape[1] - 1):
            length = 0.0
            i, j, k = size / 2, size / 2, size / 2
            for axis in range(3):
                start, end = points[hair, joint, axis], points[hair, joint + 1, axis]
                offset = ((start + end) / 2 - frame[3, axis]) * scale
                length += (end - start) ** 2
                i, j, k = (
                    i + offset * frame[0, axis],
                    j + offset * frame[1, axis],
                    k + offset * frame[2, axis],
                )
            if 0 <= i < size and 0 <= j < size and 0 <= k < size:
                area[int(i), int(j), int(k)] += np.sqrt(length) * half_widths[hair] * MEAN_WIDTH


@dataclass(frozen=True, eq=False)
class StrandLight:
    """What shines on hair: lamps, harmonics [9, 3] of the surroundings, and what is in the way."""

    lamps: Lamps
    ambient: Floats
    shadows: ShadowMap
    thicket: Thicket | None
    camera: Floats  # its position [3]
    head_centre: Floats  # [3]: hair faces away from it


def blend_strands(
    picture: Floats, depth: Floats, strands: list[Strands], turned: list[Floats], seen: list[Floats],
    pixels_per_dm: float, light: StrandLight,
) -> None:  # fmt: skip
    """Blends hairs into a picture [H, W, 3] whose surfaces have these depths [H, W].

    turned: the strands' points [N, M, 3] in the space of the picture; seen: the same points as pixel x, y and
    depth; pixels_per_dm at the depth of the head.
    """
    if not strands:
        return
    first, strand, place, points, screen, count, offset = [], [], [], [], [], 0, 0
    for kind, world, on_screen in zip(strands, turned, seen, strict=True):
        hairs, joints = kind.points.shape[:2]
        number, joint = np.divmod(np.arange(hairs * (joints - 1)), joints - 1)
        first.append(offset + number * joints + joint)
        strand.append(count + number)
        place.append((joint + 0.5) / (joints - 1))
        points.append(world.reshape(-1, 3))
        screen.append(on_screen.reshape(-1, 3))
        count, offset = count + hairs, offset + hairs * joints
    flat = np.concatenate(screen)
    starts = np.concatenate(first)
    order = _near_to_far(flat[starts, 2])
    looks = [
        np.repeat([[kind.opacity, kind.gloss, kind.dense]], len(kind.points), axis=0) for kind in strands
    ]
    colours, nothing = np.concatenate([kind.colours for kind in strands]), np.zeros((1, 1, 1))
    _blend_kernel(
        picture, np.ones(depth.shape), depth,
        starts[order], np.concatenate(points), flat,
        np.concatenate(strand)[order], np.concatenate(place)[order],
        np.concatenate([kind.half_widths for kind in strands]) * pixels_per_dm,
        colours, colours**SHEEN_POWER,
        np.concatenate(looks).astype(np.float64),
        light.lamps.directions, light.lamps.colours, light.ambient,
        light.shadows.depth, light.shadows.frame(),
        nothing if light.thicket is None else light.thicket.towards_lamp,
        nothing if light.thicket is None else light.thicket.around,
        light.camera, light.head_centre,
    )  # fmt: skip


def _near_to_far(depths: Floats) -> NDArray[np.intp]:
    low, high = float(depths.min()), float(depths.max())
    steps = ((depths - low) * (DEPTH_STEPS / max(high - low, 1e-9))).astype(np.uint16)
    return np.argsort(steps, kind="stable")


@compiled
def _blend_kernel(
    picture: Floats, still_open: Floats, depth: Floats,
    starts: NDArray[np.intp], points: Floats, screen: Floats,
    strand: NDArray[np.intp], place: Floats, half_widths: Floats,
    colours: Floats, sheens: Floats, looks: Floats,
    lamp_directions: Floats, lamp_colours: Floats, ambient: Floats,
    shadow_depth: Floats, shadow_frame: Floats,
    towards_lamp: Floats, around: Floats, camera: Floats, head_centre: Floats,
) -> None:  # fmt: skip
    height, width = depth.shape
    blended = np.zeros(picture.shape)
    colour = np.zeros(3)
    for n in range(len(starts)):
        a, hair = starts[n], strand[n]
        x0, y0, z0 = screen[a]
        x1, y1, z1 = screen[a + 1]
        if not (z0 > 0 and z1 > 0 and abs(x0) + abs(x1) + abs(y0) + abs(y1) < 1e6):
            continue
        first_z, last_z = z0, z1
        half = half_widths[hair] * (1 - TIP_TAPER * place[n] * place[n])
        steep = abs(y1 - y0) > abs(x1 - x0)
        if steep:  # u runs along the longer axis, v across
            u0, v0, u1, v1, long_side, short_side = y0, x0, y1, x1, height, width
        else:
            u0, v0, u1, v1, long_side, short_side = x0, y0, x1, y1, width, height
        if u1 < u0:
            u0, v0, u1, v1, z0, z1 = u1, v1, u0, v0, z1, z0
        reach = max(u1 - u0, 1e-6)
        slope, depth_slope = (v1 - v0) / reach, (z1 - z0) / reach
        half = half * np.sqrt(1 + slope * slope)  # measured along v
        if u1 <= 0 or u0 >= long_side:
            continue
        if not (
            _is_open(still_open, depth, x0, y0, first_z)
            or _is_open(still_open, depth, x1, y1, last_z)
            or _is_open(still_open, depth, (x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
        ):
            continue
        opacity = looks[hair, 0]
        shaded = False
        for u in range(max(int(np.floor(u0)), 0), min(int(np.floor(u1)), long_side - 1) + 1):
            covered_u = min(u1, u + 1.0) - max(u0, float(u))
            middle = min(max(u + 0.5, u0), u1)
            v, z = v0 + slope * (middle - u0), z0 + depth_slope * (middle - u0)
            if v + half <= 0 or v - half >= short_side:
                continue
            for w in range(max(int(np.floor(v - half)), 0), min(int(np.floor(v + half)), short_side - 1) + 1):
                row, column = (u, w) if steep else (w, u)
                share = still_open[row, column]
                if share < CLOSED or z > depth[row, column] + MESH_BIAS:
                    continue
                alpha = covered_u * (min(v + half, w + 1.0) - max(v - half, float(w))) * opacity
                if not alpha > 0:
                    continue
                if not shaded:
                    shaded = True
                    _shade(
                        colour, points, a, colours[hair], sheens[hair], looks[hair, 1], looks[hair, 2] > 0,
                        lamp_directions, lamp_colours, ambient, shadow_depth, shadow_frame,
                        towards_lamp, around, camera, head_centre,
                    )  # fmt: skip
                weight = share * min(alpha, 1.0)
                for channel in range(3):
                    blended[row, column, channel] += weight * colour[channel]
                still_open[row, column] = share - weight
    for row in range(height):
        for column in range(width):
            for channel in range(3):
                picture[row, column, channel] = (
                    blended[row, column, channel] + still_open[row, column] * picture[row, column, channel]
                )


@compiled
def _is_open(still_open: Floats, depth: Floats, x: float, y: float, z: float) -> bool:
    """Whether something at this pixel and depth could still be seen; outside the picture: yes."""
    height, width = depth.shape
    if x < 0 or y < 0 or x >= width or y >= height:
        return True
    row, column = int(y), int(x)
    return bool(still_open[row, column] >= CLOSED and z <= depth[row, column] + MESH_BIAS)


@compiled
def _shade(
    colour: Floats, points: Floats, start: int, pigment: Floats, sheen: Floats, gloss: float, is_dense: bool,
    lamp_directions: Floats, lamp_colours: Floats, ambient: Floats,
    shadow_depth: Floats, shadow_frame: Floats,
    towards_lamp: Floats, around: Floats, camera: Floats, head_centre: Floats,
) -> None:  # fmt: skip
    """Writes the light [3] that the segment behind point `start` sends to the camera into `colour`."""
    sx, sy, sz = points[start]
    ex, ey, ez = points[start + 1]
    mx, my, mz = (sx + ex) / 2, (sy + ey) / 2, (sz + ez) / 2
    tx, ty, tz = _unit(ex - sx, ey - sy, ez - sz)
    vx, vy, vz = _unit(camera[0] - mx, camera[1] - my, camera[2] - mz)
    ox, oy, oz = _unit(mx - head_centre[0], my - head_centre[1], mz - head_centre[2])
    seen = seen_from_lamp(shadow_depth, shadow_frame, mx, my, mz, LIGHT_SOFTNESS, LIGHT_BIAS, 4)
    open_sky = 1.0
    if is_dense and len(towards_lamp) > 1:
        scale, half = GRID / GRID_SIDE, (GRID - 1) / 2
        x, y, z = mx - shadow_frame[3, 0], my - shadow_frame[3, 1], mz - shadow_frame[3, 2]
        i = (shadow_frame[0, 0] * x + shadow_frame[0, 1] * y + shadow_frame[0, 2] * z) * scale + half
        j = (shadow_frame[1, 0] * x + shadow_frame[1, 1] * y + shadow_frame[1, 2] * z) * scale + half
        k = (shadow_frame[2, 0] * x + shadow_frame[2, 1] * y + shadow_frame[2, 2] * z) * scale + half
        seen *= np.exp(-HAIR_SHADOW * voxel(towards_lamp, i, j, k - 1.0))
        open_sky = np.exp(-HAIR_SKY * voxel(around, i, j, k))
    cos_view = tx * vx + ty * vy + tz * vz
    sin_view = np.sqrt(max(1 - cos_view * cos_view, 0.0))
    colour[:] = 0
    for lamp in range(len(lamp_directions)):
        lx, ly, lz = lamp_directions[lamp]
        facing = min(max((ox * lx + oy * ly + oz * lz + 0.45) / 1.45, 0.0), 1.0)
        light = facing * (seen if lamp == 0 else 0.35 + 0.65 * open_sky)
        if light < 1e-4:
            continue
        cos_lamp = tx * lx + ty * ly + tz * lz
        sin_lamp = np.sqrt(max(1 - cos_lamp * cos_lamp, 0.0))
        white = max(sin_lamp * sin_view - (cos_lamp + 0.10) * cos_view, 0.0) ** 64
        tinted = max(sin_lamp * sin_view - (cos_lamp - 0.16) * cos_view, 0.0) ** 12
        for channel in range(3):
            body = pigment[channel] * sin_lamp * 0.85
            shine = gloss * (0.010 * white + 0.34 * tinted * sheen[channel])
            colour[channel] += lamp_colours[lamp, channel] * light * (body + shine)
    for channel in range(3):
        sky = 0.282095 * ambient[0, channel]  # light.unshadowed, written out
        sky += 0.325735 * (oy * ambient[1, channel] + oz * ambient[2, channel] + ox * ambient[3, channel])
        sky += 0.273137 * (ox * oy * ambient[4, channel] + oy * oz * ambient[5, channel])
        sky += 0.078848 * (3 * oz * oz - 1) * ambient[6, channel]
        sky += 0.273137 * ox * oz * ambient[7, channel] + 0.136568 * (ox * ox - oy * oy) * ambient[8, channel]
        colour[channel] += 1.15 * max(sky, 0.0) * open_sky * (pigment[channel] + gloss * 0.012)


@compiled
def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = np.sqrt(x * x + y * y + z * z) + 1e-12
    return x / length, y / length, z / length
