"""How light leaves a surface: soft light that wanders below skin, and gloss on top of it."""

from __future__ import annotations

import numpy as np

from facegan.people.camera import Camera
from facegan.people.head import Floats
from facegan.people.light import Lamps, ShadowMap
from facegan.people.raster import compiled
from facegan.people.strands import Thicket
from facegan.people.surface import Material, Surface

WRAP = np.array([0.28, 0.17, 0.12])  # how far light creeps round skin past the shadow's edge, per colour
SCATTER_DM = (
    0.026,
    0.013,
    0.009,
)  # how far it wanders: after Jensen et al. 2001, table 1: red several times blue
SCATTER_SHARE = 0.6  # of the light goes below the skin, the rest leaves where it came
MAX_SCATTER_PIXELS = 40
EDGE_SOFTNESS = (0.10, 0.035)  # dm: of the key's shadows, under a bright sky and under one lamp
SHADOW_BIAS, SHADOW_OFFSET = 0.03, 0.03  # dm
HOLLOW = 0.5  # of the key's light reaches what sees no sky, such as a nostril: it is a lamp of some size
HAIR_DENSITY, HAIR_SKY = 1.5, 0.55  # how much hair shades the skin below it


def lit(
    surface: Surface,
    material: Material,
    transfer: Floats,
    lamps: Lamps,
    ambient: Floats,
    shadows: ShadowMap,
    thicket: Thicket | None,
    camera: Floats,
    hardness: float,
) -> tuple[Floats, Floats]:
    """Diffuse light before albedo, and gloss [K, 3] each, of the pixels of a surface.

    transfer [K, 9]: Mesh.transfer or light.unshadowed; ambient [9, 3]: light.ambient; thicket: None without
    dense hair; camera: its position [3]; hardness: of the light.
    """
    outside = surface.turned + SHADOW_OFFSET * surface.normals
    softness = EDGE_SOFTNESS[0] + (EDGE_SOFTNESS[1] - EDGE_SOFTNESS[0]) * hardness
    seen, sky = shadows.light(outside, softness, SHADOW_BIAS), np.ones(len(outside))
    if thicket is not None:
        seen, sky = seen * thicket.lamp_light(outside, HAIR_DENSITY), thicket.open_sky(outside, HAIR_SKY)
    return _lit_kernel(
        surface.turned, material.normals, material.roughness, material.specular, material.scatter,
        np.ascontiguousarray(transfer),  # columns of a table, or a table: one compilation serves both
        lamps.directions, lamps.colours, ambient, seen, sky, camera, WRAP, np.empty(9),
    )  # fmt: skip


@compiled
def _lit_kernel(
    points: Floats, normals: Floats, roughness: Floats, specular: Floats, scatter: Floats, transfer: Floats,
    directions: Floats, colours: Floats, ambient: Floats, seen: Floats, sky: Floats, camera: Floats,
    wraps: Floats, mirror: Floats,
) -> tuple[Floats, Floats]:  # fmt: skip
    count = len(points)
    diffuse, gloss = np.zeros((count, 3)), np.zeros((count, 3))
    for n in range(count):
        nx, ny, nz = normals[n]
        vx, vy, vz = camera[0] - points[n, 0], camera[1] - points[n, 1], camera[2] - points[n, 2]
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        facing = min(max(nx * vx + ny * vy + nz * vz, 0.02), 1.0)
        openness = min(max(transfer[n, 0] / 0.282, 0.0), 1.0) * sky[n]  # of the sky that the point sees
        for channel in range(3):
            light = 0.0
            for k in range(9):
                light += transfer[n, k] * ambient[k, channel]
            diffuse[n, channel] = max(light, 0.0) * sky[n]
        for lamp in range(len(directions)):
            if colours[lamp, 0] + colours[lamp, 1] + colours[lamp, 2] <= 0:
                continue
            lx, ly, lz = directions[lamp]
            light = seen[n] * min(1.0, HOLLOW + openness) if lamp == 0 else 0.25 + 0.75 * openness
            cosine = nx * lx + ny * ly + nz * lz
            red_light = light ** (1 - 0.2 * scatter[n])  # red reaches a little into a shadow's edge
            for channel in range(3):
                wrap = scatter[n] * wraps[channel]
                spread = (cosine + wrap) / (1 + wrap)
                if spread > 0:
                    spread = spread * (1 - wrap + wrap * spread)
                    diffuse[n, channel] += (
                        colours[lamp, channel] * spread * (red_light if channel == 0 else light)
                    )
            if cosine > 0:
                hx, hy, hz = vx + lx, vy + ly, vz + lz
                length = np.sqrt(hx * hx + hy * hy + hz * hz)
                across = ((nx * hx + ny * hy + nz * hz) / length) ** 2
                lobe = _ggx(across, facing, cosine, roughness[n], specular[n]) * light
                for channel in range(3):
                    gloss[n, channel] += colours[lamp, channel] * lobe
        x, y, z = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
        mirror[0], mirror[1], mirror[2], mirror[3] = 0.282095, 0.4153 * y, 0.4153 * z, 0.4153 * x
        mirror[4], mirror[5], mirror[7] = 0.6009 * x * y, 0.6009 * y * z, 0.6009 * x * z
        mirror[6], mirror[8] = 0.17347 * (3 * z * z - 1), 0.30045 * (x * x - y * y)
        fresnel = specular[n] + (1 - specular[n]) * 0.35 * (1 - facing) ** 4
        for channel in range(3):
            light = 0.0
            for k in range(9):
                light += mirror[k] * ambient[k, channel]
            gloss[n, channel] += max(light, 0.0) * fresnel * (1 - 0.55 * roughness[n]) * openness
    return diffuse, gloss


@compiled
def _ggx(across: float, facing: float, cosine: float, roughness: float, specular: float) -> float:
    """The glossy reflection towards the camera, times the cosine and pi (Walter et al. 2007).

    across: squared cosine between normal and half vector. Two lobes: a broad one, and a weaker, sharper one.
    """
    fresnel = specular + (1 - specular) * (1 - facing) ** 5 * np.sqrt(max(1 - across, 0.0))
    total = 0.0
    for lobe in range(2):
        alpha = (roughness * (1.0 if lobe == 0 else 0.7)) ** 2
        total += (0.88 if lobe == 0 else 0.12) * alpha**2 / ((across * (alpha**2 - 1) + 1) ** 2 + 1e-9)
    alpha = roughness**2 / 2
    visible = 1 / ((cosine * (1 - alpha) + alpha) * (facing * (1 - alpha) + alpha) * 4 + 1e-9)
    reflected: float = total * fresnel * visible * cosine
    return reflected


def scattered(
    diffuse: Floats, surface: Surface, material: Material, camera: Camera, distance: float
) -> Floats:
    """Diffuse light [K, 3] after its way below the skin: blurred in the picture per colour, within skin."""
    from scipy.ndimage import gaussian_filter

    chosen = material.scatter > 0.5
    if not chosen.any():
        return diffuse
    rows, columns = surface.rows[chosen], surface.columns[chosen]
    top, left = rows.min(), columns.min()
    shape = (rows.max() - top + 1, columns.max() - left + 1)
    place = (rows - top, columns - left)
    pixels = float(camera.pixels_per_dm(distance))
    result = diffuse.copy()
    inside = np.zeros(shape, np.float32)
    inside[place] = 1
    for channel, reach in enumerate(SCATTER_DM):
        sigma = min(reach * pixels, MAX_SCATTER_PIXELS)
        if sigma < 0.35:
            continue
        plane = np.zeros(shape, np.float32)
        plane[place] = diffuse[chosen, channel]
        blurred = gaussian_filter(plane, sigma, truncate=2.5) / np.maximum(
            gaussian_filter(inside, sigma, truncate=2.5), 1e-3
        )
        result[chosen, channel] += SCATTER_SHARE * (blurred[place] - diffuse[chosen, channel])
    return result
