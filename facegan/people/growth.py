"""How hair grows: what stands in its way, and the kernel that lets it grow.

    obstacles = obstacles_of(shape, ...)        one person's head, neck and shoulders
    points = grow(growth, obstacles, joints)    [N, joints, 3]

Every strand grows by equal steps. A step bends by gravity, towards a place where hair is gathered, and down
to the scalp; then it is pushed out of the head (a map of radii about its centre), off the face, out of the
neck and the shoulders. Curls are wound around the path that comes of it, and the result is drawn towards the
strand's guide: locks are strands that share a guide, and guides have guides.

Letters: N strands, M joints, D side of the map of radii.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from facegan.people.head import Floats, Indices, Part, head
from facegan.people.raster import compiled, normalized, vertex_normals
from facegan.people.roots import CENTRE, outer_triangles, skin_mask
from facegan.people.shape import Shape, skin_triangles

CENTRE_HEIGHTS = (7.0, 8.5)  # the vertices whose mean moves the centre of another head
MAP_SIDE = 64  # D
LOWEST_IN_MAP = 5.95  # dm: below it are shoulders
SHOULDER_SIDE = 24  # cells of the map of shoulder heights, along x and along z
SHOULDER_X, SHOULDER_Z = 2.4, (-1.1, 1.6)  # dm: what that map spans, |x| and z
NECK_HEIGHTS = (5.85, 6.3)  # dm: where the neck's radius is measured
NECK_Z = 0.12  # dm: its axis on the rest head
NECK_TOP, BODY_TOP = 1.0, 0.7  # dm below the centre of the head: where neck and shoulders are in the way
CLEARANCE = 0.004  # dm: how near to the skin a strand may come
NO_CEILING = (100.0, 0.0, 1.0)


# ---- what is in the way


class Obstacles(NamedTuple):
    """One person's head, neck and shoulders, for hair to stay out of.

    centre [3]; radii [D, D]: distance of the skin from the centre by direction (see _map_place);
    neck [2]: z and radius of an upright cylinder below the jaw;
    shoulders [X, Z]: height of the skin or the shirt; ceiling [3]: y at z = 0, rise of y with z, and how far
    hair above that plane may be from the skin, which is what a hat allows.
    """

    centre: Floats
    radii: Floats
    neck: Floats
    shoulders: Floats
    ceiling: Floats


def obstacles_of(shape: Shape, ears: float, ceiling: tuple[float, float, float] = NO_CEILING) -> Obstacles:
    """The obstacles of a person's own head; ears: 0 as if there were none .. 1 hair lies over them."""
    vertices, middle, neck = shape.vertices, _middle_vertices(), _neck_vertices()
    centre = CENTRE + (vertices[middle] - head().vertices[middle]).mean(axis=0)
    distances = np.sqrt(((vertices - centre) ** 2).sum(axis=1))
    bare, eared = (_map_lookup(with_ears) for with_ears in (False, True))
    radii = (distances[bare[0]] * bare[1]).sum(axis=1)
    if ears:
        radii += ears * np.maximum((distances[eared[0]] * eared[1]).sum(axis=1) - radii, 0)
    neck_z = vertices[neck, 2].mean()
    neck_radius = np.hypot(vertices[neck, 0], vertices[neck, 2] - neck_z).mean()
    nearest, shares = _shoulder_lookup()
    return Obstacles(
        centre,
        radii.reshape(MAP_SIDE, MAP_SIDE),
        np.array([neck_z, neck_radius]),
        (vertices[nearest, 1] * shares).sum(axis=1).reshape(SHOULDER_SIDE, SHOULDER_SIDE),
        np.array(ceiling),
    )


def head_scale(shape: Shape) -> float:
    """How much larger than the rest head this one is, as a factor."""
    middle = _middle_vertices()
    spreads = [
        np.sqrt(((v[middle] - v[middle].mean(axis=0)) ** 2).sum()) for v in (shape.vertices, head().vertices)
    ]
    return float(spreads[0] / spreads[1])


@lru_cache(maxsize=1)
def _middle_vertices() -> Indices:
    skin = head().part_vertices(Part.SKIN)
    y = head().vertices[skin, 1]
    return np.asarray(skin[(y > CENTRE_HEIGHTS[0]) & (y < CENTRE_HEIGHTS[1])])


@lru_cache(maxsize=1)
def _neck_vertices() -> Indices:
    skin = head().part_vertices(Part.SKIN)
    x, y, z = head().vertices[skin].T
    low, high = NECK_HEIGHTS
    return np.asarray(skin[(y > low) & (y < high) & (np.hypot(x, z - NECK_Z) < 0.75)])


@lru_cache(maxsize=2)
def _map_lookup(with_ears: bool) -> tuple[Indices, Floats]:
    """The vertices [D * D, 4] that make up the radius in each direction of the map, and their shares."""
    vertices = head().vertices
    offset = vertices - CENTRE
    normals = vertex_normals(vertices, skin_triangles()[outer_triangles()])
    usable = ((normals * offset).sum(axis=1) > 0.1) & (vertices[:, 1] > LOWEST_IN_MAP)
    usable &= skin_mask("inside_mouth") < 0.2
    if not with_ears:
        usable &= skin_mask("ears") < 0.3
    grid = np.linspace(-1, 1, MAP_SIDE)
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    y = 1 - abs(u) - abs(v)
    x = np.where(y < 0, np.copysign(1 - abs(v), u), u)
    z = np.where(y < 0, np.copysign(1 - abs(u), v), v)
    return _nearest(np.flatnonzero(usable), normalized(offset), normalized(np.stack([x, y, z], axis=1)))


@lru_cache(maxsize=1)
def _shoulder_lookup() -> tuple[Indices, Floats]:
    """The vertices [X * Z, 4] that make up the height of the shoulders in each cell, and their shares."""
    vertices = head().vertices
    usable = np.zeros(len(vertices), bool)
    usable[head().part_vertices(Part.SKIN, Part.CLOTHES)] = True
    usable &= vertices[:, 1] < 6.2
    grid = np.meshgrid(
        np.linspace(-SHOULDER_X, SHOULDER_X, SHOULDER_SIDE),
        np.linspace(*SHOULDER_Z, SHOULDER_SIDE),
        indexing="ij",
    )
    places = np.stack([axis.ravel() for axis in grid], axis=1)
    return _nearest(np.flatnonzero(usable), vertices[:, [0, 2]], places)


def _nearest(usable: Indices, positions: Floats, places: Floats) -> tuple[Indices, Floats]:
    """The four usable [K] positions nearest to each place: indices [P, 4] and shares [P, 4], sum 1."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(positions[usable]).query(places, k=4)
    shares = 1 / (distance + 0.01)
    return usable[nearest], shares / shares.sum(axis=1, keepdims=True)


# ---- growing


class Growth(NamedTuple):
    """What N strands start with. A guide must come before those who follow it.

    roots, normals, directions [N, 3]: where, the skin's normal, and the way hair is combed along the skin;
    lengths, heights [N] dm: of the whole strand, and of its layer above the skin;
    lifts [N]: 0 leaves the skin along `directions` .. 1 along `normals`; gravities [N] per dm;
    stickiness [N]: how fast a strand that leads away from the head is bent back to it, 0 .. 1;
    curtains [N]: tangent of the angle from straight ahead that is left free, 0: it may hang over the face;
    curls [N] dm radius, waves [N] radians per dm, phases [N] radians;
    guides [N]: another strand's index, or -1; clumps [N]: how near the tip comes to the guide's, 0 .. 1;
    targets [N, 3]: where it is gathered; gathered: whether it is; knot [4]: centre and radius of a bun, or 0.
    """

    roots: Floats
    normals: Floats
    directions: Floats
    lengths: Floats
    heights: Floats
    lifts: Floats
    gravities: Floats
    stickiness: Floats
    curtains: Floats
    curls: Floats
    waves: Floats
    phases: Floats
    guides: Indices
    clumps: Floats
    targets: Floats
    gathered: bool
    knot: Floats


def grow(growth: Growth, obstacles: Obstacles, joints: int) -> Floats:
    """The strands [N, joints, 3], roots first."""
    points = np.empty((len(growth.roots), joints, 3))
    _grow_kernel(growth, obstacles, points)
    return points


@compiled
def _map_place(x: float, y: float, z: float) -> tuple[float, float]:
    """Where a direction lies on the map: an octahedron unfolded onto a square, its top in the middle."""
    size = abs(x) + abs(y) + abs(z) + 1e-12
    u, v = x / size, z / size
    if y < 0:
        u, v = (1 - abs(v)) * (1.0 if u >= 0 else -1.0), (1 - abs(u)) * (1.0 if v >= 0 else -1.0)
    return (u + 1) * 0.5, (v + 1) * 0.5


@compiled
def _sampled(grid: Floats, u: float, v: float) -> float:
    """The bilinear value of a grid at fractions u, v of its sides; outside of them its edge's."""
    a = min(max(u, 0.0), 1.0) * (grid.shape[0] - 1)
    b = min(max(v, 0.0), 1.0) * (grid.shape[1] - 1)
    i, j = min(int(a), grid.shape[0] - 2), min(int(b), grid.shape[1] - 2)
    a, b = a - i, b - j
    value: float = (grid[i, j] * (1 - b) + grid[i, j + 1] * b) * (1 - a) + (
        grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b
    ) * a
    return value


@compiled
def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    scale = 1 / (np.sqrt(x * x + y * y + z * z) + 1e-12)
    return x * scale, y * scale, z * scale


@compiled
def _off_the_face(
    x: float, z: float, qx: float, qy: float, qz: float, curtain: float, side: float
) -> tuple[float, float]:
    """x and z of a point q from the centre, pushed aside where it hangs between hairline and chin."""
    share = min(max((0.45 - qy) * 4, 0.0), 1.0) * min(max((qy + 1.5) * 2, 0.0), 1.0)
    lacking = (curtain * qz - abs(qx)) * share
    if qz <= 0 or lacking <= 0:
        return x, z
    if abs(qx) > 0.05:  # in the middle the side of the root decides
        side = 1.0 if qx > 0 else -1.0
    return x + side * 0.4 * lacking, z - 0.2 * lacking


@compiled
def _off_the_body(
    x: float, y: float, z: float, height: float, spread: float, obstacles: Obstacles
) -> tuple[float, float, float]:
    """A point below the jaw, pushed out of the neck, and down the shoulders to the front or to the back."""
    neck_z, radius = obstacles.neck[0], obstacles.neck[1] + height
    across = np.sqrt(x * x + (z - neck_z) ** 2) + 1e-12
    if across < radius and y < obstacles.centre[1] - NECK_TOP:
        x, z = x * radius / across, neck_z + (z - neck_z) * radius / across
    u, v = (x / SHOULDER_X + 1) / 2, (z - SHOULDER_Z[0]) / (SHOULDER_Z[1] - SHOULDER_Z[0])
    below = _sampled(obstacles.shoulders, u, v) + 0.02 + 0.5 * height - y
    if below <= 0:
        return x, y, z
    rise = _sampled(obstacles.shoulders, u, v + 0.04) - _sampled(obstacles.shoulders, u, v - 0.04)
    slope = rise / (0.08 * (SHOULDER_Z[1] - SHOULDER_Z[0]))
    sag = below / (1 + slope * slope)
    return x + spread * sag * (1.0 if x > 0 else -1.0), y + sag, z - sag * slope


@compiled
def _grow_kernel(growth: Growth, obstacles: Obstacles, points: Floats) -> None:
    """Writes the strands into `points`. Scalars, since a small array costs more than its sums.

    p is a point, q the same from the head's centre, d the direction of growth, u and w the axes of a curl.
    """
    count, joints = points.shape[:2]
    ox, oy, oz = obstacles.centre
    ceiling_y, ceiling_rise, ceiling_room = obstacles.ceiling
    knot_x, knot_y, knot_z, knot_radius = growth.knot
    joined = (np.arange(joints) / (joints - 1)) ** 0.75  # how much of its clumping a joint has
    for n in range(count):
        x, y, z = growth.roots[n]
        nx, ny, nz = growth.normals[n]
        lift, step, height = growth.lifts[n], growth.lengths[n] / (joints - 1), growth.heights[n]
        dx, dy, dz = _unit(
            growth.directions[n, 0] * (1 - lift) + nx * lift,
            growth.directions[n, 1] * (1 - lift) + ny * lift,
            growth.directions[n, 2] * (1 - lift) + nz * lift,
        )
        ux, uy, uz = _unit(dy * nz - dz * ny + 1e-9, dz * nx - dx * nz, dx * ny - dy * nx)
        sin, cos = np.sin(growth.phases[n]), np.cos(growth.phases[n])
        turn_sin, turn_cos = np.sin(growth.waves[n] * step), np.cos(growth.waves[n] * step)
        gravity, stickiness, curtain = growth.gravities[n], growth.stickiness[n], growth.curtains[n]
        guide, clump, curl = growth.guides[n], growth.clumps[n], growth.curls[n]
        held, tx, ty, tz = growth.gathered, growth.targets[n, 0], growth.targets[n, 1], growth.targets[n, 2]
        in_bun = False
        shell = knot_radius * (0.55 + 0.45 * (growth.phases[n] * 7.3 - np.floor(growth.phases[n] * 7.3)))
        side = 1.0 if x >= 0 else -1.0
        points[n, 0, 0], points[n, 0, 1], points[n, 0, 2] = x, y, z
        qx, qy, qz = x - ox, y - oy, z - oz
        u, v = _map_place(qx, qy, qz)
        # what the map is wrong by at the root, so that no strand starts with a jump
        error = np.sqrt(qx * qx + qy * qy + qz * qz) - _sampled(obstacles.radii, u, v)
        for k in range(1, joints):
            along = k * step
            if held:
                gx, gy, gz = tx - x, ty - y, tz - z
                distance = np.sqrt(gx * gx + gy * gy + gz * gz)
                if distance < 1.5 * step or distance < 0.06:
                    held, in_bun = False, knot_radius > 0
                    if not in_bun:  # a tail leaves the head
                        dx, dy, dz = 0.08 * dx, 0.1, -0.5
                else:
                    if z > oz:  # not through the face: first back over the head
                        gx, gy, gz = 0.3 * gx, max(gy, 0.0), gz - 1.0
                    gx, gy, gz = _unit(gx, gy, gz)
                    dx, dy, dz = dx + 0.7 * gx, dy + 0.7 * gy, dz + 0.7 * gz
            elif in_bun:  # each strand on its own great circle and shell
                gx, gy, gz = _unit(x - knot_x, y - knot_y, z - knot_z)
                outward = dx * gx + dy * gy + dz * gz
                dx, dy, dz = dx - outward * gx, dy - outward * gy, dz - outward * gz
            else:
                dy -= gravity * step
                if growth.gathered:  # a tail keeps together
                    dx -= 2 * (x - tx) * step
            dx, dy, dz = _unit(dx, dy, dz)
            px, py, pz = x + dx * step, y + dy * step, z + dz * step
            if in_bun:
                gx, gy, gz = _unit(px - knot_x, py - knot_y, pz - knot_z)
                px, py, pz = knot_x + gx * shell, knot_y + gy * shell, knot_z + gz * shell
            qx, qy, qz = px - ox, py - oy, pz - oz
            radius = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-12
            u, v = _map_place(qx, qy, qz)
            ramp = min(along * 5, 1.0)
            skin = _sampled(obstacles.radii, u, v)
            # hair rises on top and lies at the sides
            floor = skin + height * min(max(0.4 + 0.9 * qy, 0.4), 1.0) * ramp + error * (1 - ramp)
            touches = radius < floor
            if touches:
                scale = floor / radius
                qx, qy, qz, radius = qx * scale, qy * scale, qz * scale, floor
                px, py, pz = ox + qx, oy + qy, oz + qz
            if curtain > 0:
                px, pz = _off_the_face(px, pz, qx, qy, qz, curtain, side)
            if qy < -BODY_TOP:
                px, py, pz = _off_the_body(px, py, pz, height, 0.0 if growth.gathered else 0.3, obstacles)
            mx, my, mz = _unit(px - x, py - y, pz - z)
            dx, dy, dz = 0.5 * (dx + mx), 0.5 * (dy + my), 0.5 * (dz + mz)
            outward = (dx * qx + dy * qy + dz * qz) / radius
            pull = 0.0
            if outward < 0 and touches:
                pull = outward
            elif qy > -0.3 * radius or held or along < 0.4:
                pull = stickiness * (max(outward, 0.0) * min(step * 8, 1.0) + 4 * step * (radius - floor))
            pull /= radius
            dx, dy, dz = _unit(dx - pull * qx, dy - pull * qy, dz - pull * qz)
            x, y, z = px, py, pz
            # the curl around the path, then the guide
            wx, wy, wz = dy * uz - dz * uy, dz * ux - dx * uz, dx * uy - dy * ux
            cos, sin = cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin
            wide = curl * min(along * 3, 1.0) * (0.3 if held else 1.0)
            a, b = wide * cos, 0.8 * wide * sin
            px, py, pz = x + a * ux + b * wx, y + a * uy + b * wy, z + a * uz + b * wz
            if guide >= 0:
                share = clump * joined[k]
                px += share * (points[guide, k, 0] - px)
                py += share * (points[guide, k, 1] - py)
                pz += share * (points[guide, k, 2] - pz)
            # never into the head, nor through a hat
            qx, qy, qz = px - ox, py - oy, pz - oz
            radius = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-12
            u, v = _map_place(qx, qy, qz)
            skin = _sampled(obstacles.radii, u, v)
            scale = 1.0
            if radius < skin + CLEARANCE:
                scale = (skin + CLEARANCE) / radius
            elif py > ceiling_y + ceiling_rise * pz and radius > skin + ceiling_room:
                scale = (skin + ceiling_room) / radius
            points[n, k, 0] = ox + qx * scale
            points[n, k, 1] = oy + qy * scale
            points[n, k, 2] = oz + qz * scale
