"""What each pixel of a picture sees: the point, where it lies on the rest head, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats
from facegan.people.raster import Canvas, compiled, normalized

AT_VERTICES = ("turned", "normals", "rest", "transfer", "paint")  # values of a Mesh that are mixed between


@dataclass(frozen=True, eq=False)
class Mesh:
    """Everything solid in a picture: triangles [T, 3] and values at their vertices.

    turned [V, 3] and normals [V, 3] in the space of the picture; rest [V, 3]
    on the rest head; transfer [V, 9] of ambient light; paint [V, P] of skin.vertex_paint, of which the
    first three are the colour of what is worn; part [T] of head.Part, or scene.EXTRA + n for the n-th piece
    that is worn; uv [T, 3, 2].
    """

    turned: Floats
    normals: Floats
    rest: Floats
    transfer: Floats
    paint: Floats
    triangles: NDArray[np.intp]
    part: NDArray[np.intp]
    uv: Floats


@dataclass(frozen=True, eq=False)
class Surface:
    """The K pixels that see something solid; see Mesh for the values, all [K, ...]."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    turned: Floats
    normals: Floats
    rest: Floats
    transfer: Floats
    paint: Floats
    part: NDArray[np.intp]
    uv: Floats

    @staticmethod
    def seen(canvas: Canvas, mesh: Mesh) -> Surface:
        """What a canvas on which the mesh was drawn sees."""
        rows, columns = np.nonzero(canvas.triangle >= 0)
        number = canvas.triangle[rows, columns]
        weights = canvas.barycentric[rows, columns]  # [K, 3]
        columns_of = {name: getattr(mesh, name) for name in AT_VERTICES}
        values = _between_kernel(
            np.concatenate(list(columns_of.values()), axis=1), mesh.triangles[number], weights
        )
        splits = np.cumsum([column.shape[1] for column in columns_of.values()])[:-1]
        found = dict(zip(columns_of, np.split(values, splits, axis=1), strict=True))
        found["normals"] = normalized(found["normals"])
        uv = np.einsum("kcd,kc->kd", mesh.uv[number], weights)
        return Surface(rows=rows, columns=columns, part=mesh.part[number], uv=uv, **found)


@dataclass(eq=False)
class Material:
    """How the K pixels of a surface answer light; what draws a part fills in its rows.

    albedo [K, 3]; roughness [K] and specular [K] (reflectance at normal incidence) of the glossy layer;
    scatter [K]: how much light wanders below the surface (1 skin, 0 cloth); normals [K, 3] with the small
    relief; glow [K, 3]: light of its own, such as a lamp's mirror image in an eye.
    """

    albedo: Floats
    roughness: Floats
    specular: Floats
    scatter: Floats
    normals: Floats
    glow: Floats

    @staticmethod
    def of(surface: Surface) -> Material:
        """Grey cloth everywhere."""
        count = len(surface.rows)
        return Material(
            albedo=np.full((count, 3), 0.2),
            roughness=np.full(count, 0.8),
            specular=np.full(count, 0.02),
            scatter=np.zeros(count),
            normals=surface.normals.copy(),
            glow=np.zeros((count, 3)),
        )


@compiled
def _between_kernel(values: Floats, corners: NDArray[np.intp], weights: Floats) -> Floats:
    """Values [K, C] between those [V, C] of three corners [K, 3]."""
    count, width = len(corners), values.shape[1]
    result = np.empty((count, width))
    for n in range(count):
        a, b, c = corners[n, 0], corners[n, 1], corners[n, 2]
        for column in range(width):
            result[n, column] = (
                values[a, column] * weights[n, 0]
                + values[b, column] * weights[n, 1]
                + values[c, column] * weights[n, 2]
            )
    return result
