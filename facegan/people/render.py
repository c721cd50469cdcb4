"""Draws a person: `render(person, 256).image` is a picture, aligned as FFHQ's are.

    shape -> posture -> camera -> z-buffer -> what each pixel sees -> materials -> light -> hair -> film

The order follows the light: surfaces first, light that wanders below skin is blurred per colour, then every
hair is blended over it, then glass, then a film makes a photograph of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegan.config import UsageError
from facegan.people.backdrop import backdrop
from facegan.people.camera import Camera, face_camera
from facegan.people.eyes import paint_eyes
from facegan.people.facial_hair import beard, brows, lashes
from facegan.people.hair import scalp_hair
from facegan.people.head import Floats, Part
from facegan.people.landmarks import eye_centres, mouth_corners, seen_landmarks
from facegan.people.light import Lamps, ShadowMap, ambient, lamps_of, surroundings, unshadowed
from facegan.people.person import RESOLUTIONS, Detail, Person
from facegan.people.photograph import developed, exposure
from facegan.people.raster import Canvas, draw_triangles, normalized
from facegan.people.scene import EXTRA, scene, worn_mesh
from facegan.people.shading import lit, scattered
from facegan.people.shape import Posture, Shape, posture_of, shape_of
from facegan.people.skin import WORN, paint_skin, tone_colour
from facegan.people.solids import Piece
from facegan.people.strands import StrandLight, Strands, Thicket, blend_strands
from facegan.people.surface import Material, Mesh, Surface
from facegan.people.wear import clothes_colours, pieces

SUPERSAMPLES = (1, 4)
FACE_Z = 0.9  # dm: skin before this is the face
MOUTH_PARTS = (Part.UPPER_TEETH, Part.LOWER_TEETH, Part.TONGUE)
MOUTH_LIGHT = 0.45  # of the surroundings that comes through lips that are open
TEETH, TONGUE = np.array([0.55, 0.51, 0.43]), np.array([0.28, 0.08, 0.07])
LENS_SHINE = 0.4  # of a lens' reflections that its coating leaves
HAIR_BACK = np.array([0.0, 0.3, -1.1])  # dm from the middle of the face to what scalp hair stands out from
REFERENCE_RESOLUTION = 128  # at which the numbers of hairs are those below
HAIRS = {"scalp": 5000, "brows": 450, "beard": 2000, "lashes": 220}


@dataclass(frozen=True, eq=False)
class Portrait:
    """image uint8 [R, R, 3]; landmarks [68, 2]: pixel x and y, as landmarks.seen_landmarks gives."""

    image: NDArray[np.uint8]
    landmarks: Floats


def render(person: Person, resolution: int, *, supersample: int = 2) -> Portrait:
    """The portrait of a person, resolution x resolution pixels, of supersample^2 samples each.

    The same person and resolution give the same picture, to one grey level, on every machine.

    Raises:
        UsageError: a resolution or supersample out of range.
    """
    for name, value, (low, high) in (
        ("resolution", resolution, RESOLUTIONS),
        ("supersample", supersample, SUPERSAMPLES),
    ):
        if not low <= value <= high:
            raise UsageError(f"{name} {value}: need {low} to {high}")
    size = resolution * supersample
    shape, lamps = shape_of(person), lamps_of(person)
    posture = posture_of(person, shape)
    worn = pieces(person, shape)
    solid, glass = ([p for p in worn if bool(p.transparency) is clear] for clear in (False, True))
    mesh, holes = scene(person, shape, posture, solid)
    own = mesh.turned[: len(shape.vertices)]
    camera = face_camera(eye_centres(own), mouth_corners(own), distance=person.distance_dm, resolution=size)
    behind = backdrop(person, size)
    canvas = Canvas.empty(size, size)
    draw_triangles(canvas, camera.project(mesh.turned), mesh.triangles, holes)
    surface = Surface.seen(canvas, mesh)
    casters = (mesh.part == Part.SKIN) | (mesh.part >= EXTRA)
    shadows = ShadowMap.of(mesh.turned, mesh.triangles[casters], lamps.directions[0], camera.centre)
    hair = _hair(person, shape, resolution)
    held = [posture.points(kind.points) for kind in hair]
    dense = [number for number, kind in enumerate(hair) if kind.dense]
    thicket = Thicket.of([held[n] for n in dense], [hair[n].half_widths for n in dense], shadows)
    material, transfer = _materials(person, shape, posture, surface, solid, lamps, camera, supersample)
    radiance = surroundings(person, behind)
    sky = ambient(radiance, posture.head)
    diffuse, gloss = lit(
        surface, material, transfer, lamps, sky, shadows, thicket, camera.position, person.light_hardness
    )
    diffuse = scattered(diffuse, surface, material, camera, person.distance_dm)
    picture = behind.copy()
    picture[surface.rows, surface.columns] = diffuse * material.albedo + gloss + material.glow
    open_sky, head_centre = ambient(radiance, np.eye(3)), camera.centre + HAIR_BACK
    light = StrandLight(lamps, open_sky, shadows, thicket, camera.position, head_centre)
    seen = [camera.project(points) for points in held]
    scale = float(camera.pixels_per_dm(person.distance_dm))
    blend_strands(picture, canvas.depth, hair, held, seen, scale, light)
    for piece in glass:
        _cover_with_glass(picture, canvas, worn_mesh(piece, posture, EXTRA), piece, lamps, sky, camera)
    face = (surface.part == Part.SKIN) & (surface.rest[:, 2] > FACE_Z)
    image = developed(picture, exposure(person, diffuse[face], tone_colour(person)), person, supersample)
    return Portrait(image, seen_landmarks(camera.project(own)[:, :2]) / supersample)


def _hair(person: Person, shape: Shape, resolution: int) -> list[Strands]:
    """Every hair, more of them in larger pictures."""
    scale = float(np.clip(resolution / REFERENCE_RESOLUTION, 0.5, 2))
    kinds = [
        scalp_hair(person, shape, int(HAIRS["scalp"] * scale)),
        brows(person, shape, int(HAIRS["brows"] * scale**0.5)),
        beard(person, shape, int(HAIRS["beard"] * scale)),
        lashes(person, shape, int(HAIRS["lashes"] * scale**0.5)),
    ]
    return [kind for kind in kinds if kind is not None and len(kind.points)]


def _materials(
    person: Person,
    shape: Shape,
    posture: Posture,
    surface: Surface,
    solid: list[Piece],
    lamps: Lamps,
    camera: Camera,
    supersample: int,
) -> tuple[Material, Floats]:
    """What every pixel is made of, and its transfer [K, 9] of ambient light."""
    material, transfer = Material.of(surface), surface.transfer
    skin = surface.part == Part.SKIN
    pixel = supersample / float(camera.pixels_per_dm(person.distance_dm))  # of the picture
    slope = paint_skin(person, surface, material, skin, pixel) @ posture.head.T
    facing = surface.normals[skin]
    slope -= np.einsum("nk,nk->n", slope, facing)[:, None] * facing  # along the surface
    material.normals[skin] = normalized(facing - slope)
    paint_eyes(person, shape, posture, surface, material, lamps, camera.position)
    mouth = np.isin(surface.part, MOUTH_PARTS)
    if mouth.any():
        shade = 0.85 + 0.15 * float(person.detail(Detail.SKIN).random()) - 0.15 * person.ageing
        is_tongue = (surface.part[mouth] == Part.TONGUE)[:, None]
        material.albedo[mouth] = np.where(is_tongue, TONGUE, TEETH * shade)
        material.roughness[mouth], material.specular[mouth] = 0.25, 0.03
        transfer = transfer.copy()
        transfer[mouth] = unshadowed(surface.normals[mouth]) * MOUTH_LIGHT  # at rest the lips are closed
    cloth = surface.part == Part.CLOTHES
    material.albedo[cloth] = clothes_colours(person, surface.rest[cloth])
    for number, piece in enumerate(solid):
        chosen = surface.part == EXTRA + number
        material.albedo[chosen] = surface.paint[chosen, :WORN]
        material.roughness[chosen], material.specular[chosen] = piece.roughness, piece.specular
    return material, transfer


def _cover_with_glass(
    picture: Floats, canvas: Canvas, mesh: Mesh, piece: Piece, lamps: Lamps, sky: Floats, camera: Camera
) -> None:
    """Adds what a transparent piece takes away and mirrors, where nothing is nearer."""
    before = Canvas.empty(*canvas.depth.shape)
    np.copyto(before.depth, canvas.depth)
    draw_triangles(before, camera.project(mesh.turned), mesh.triangles)
    surface = Surface.seen(before, mesh)
    material = Material.of(surface)
    material.roughness[:], material.specular[:] = piece.roughness, piece.specular
    open_light = ShadowMap.of(mesh.turned, mesh.triangles[:0], lamps.directions[0], camera.centre)
    _, gloss = lit(surface, material, surface.transfer, lamps, sky, open_light, None, camera.position, 1.0)
    through = piece.transparency * picture[surface.rows, surface.columns]
    picture[surface.rows, surface.columns] = through + LENS_SHINE * gloss
