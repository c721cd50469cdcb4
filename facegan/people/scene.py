"""Everything solid in a picture as one mesh: the person's body and what is worn."""

from __future__ import annotations

import numpy as np

from facegan.people.head import Floats, Part, head
from facegan.people.light import unshadowed
from facegan.people.person import Person
from facegan.people.shape import Posture, Shape, body_rows
from facegan.people.skin import COLUMNS, WORN, vertex_paint
from facegan.people.solids import Piece
from facegan.people.surface import Mesh
from facegan.people.wear import clothes_clip

EXTRA = len(Part)  # the part number of the first piece that is worn


def scene(person: Person, shape: Shape, posture: Posture, worn: list[Piece]) -> tuple[Mesh, Floats]:
    """The mesh of body and pieces, and where it has holes: a value [V] that is negative there."""
    body = Mesh(
        turned=posture.points(shape.vertices),
        normals=posture.vectors(shape.normals, shape.vertices),
        rest=head().vertices,
        transfer=head().ambient_transfer,
        paint=vertex_paint(person),
        triangles=head().triangles[body_rows()],
        part=head().parts[body_rows()].astype(np.intp),
        uv=head().uv[body_rows()],
    )
    clip = clothes_clip(person, head().vertices)
    meshes = [body, *(worn_mesh(piece, posture, EXTRA + number) for number, piece in enumerate(worn))]
    starts = np.cumsum([0, *(len(mesh.turned) for mesh in meshes[:-1])])
    columns = {name: np.concatenate([getattr(mesh, name) for mesh in meshes]) for name in vars(body)}
    columns["triangles"] = np.concatenate(
        [m.triangles + start for m, start in zip(meshes, starts, strict=True)]
    )
    holes = np.ones(len(columns["turned"]))
    holes[: len(clip)] = clip
    return Mesh(**columns), holes


def worn_mesh(piece: Piece, posture: Posture, part: int) -> Mesh:
    """A piece as it is held, with this part number."""
    count = len(piece.vertices)
    share = {"head": np.ones(count), "body": np.zeros(count)}.get(piece.turns, posture.share(piece.vertices))
    paint = np.zeros((count, COLUMNS))
    paint[:, :WORN] = piece.colours
    return Mesh(
        turned=posture.points(piece.vertices, share),
        normals=posture.vectors(piece.normals, piece.vertices, share),
        rest=piece.vertices,
        transfer=unshadowed(piece.normals),
        paint=paint,
        triangles=piece.triangles,
        part=np.full(len(piece.triangles), part),
        uv=np.zeros((len(piece.triangles), 3, 2)),
    )
