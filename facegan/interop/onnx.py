"""A model as one ONNX file, compared with the model before it takes its place.

    export_onnx(model, Path("faces.onnx"), start="z", half=False)  -> what was written

The file's metadata says what it is: name, card, licence, that its pictures are synthetic. `half` stores large
weights as float16, and a Cast beside each makes them float32 when the file is loaded: half the size, the same
speed. Arithmetic in float16 is no faster on CPUs, or slower (docs/export.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facegan.files import replaced
from facegan.graphs import Faces, Program, Session, Space, onnx_model, require_onnx
from facegan.interop.agreement import EXACT, HALF, metadata, require_same_faces, require_suffix, result_of
from facegan.models import Model

SMALL = 1024  # numbers; smaller tensors stay float32
MAX_FLOAT16 = 65_504.0


def export_onnx(model: Model, out: Path, *, start: Space = "z", half: bool = False) -> dict[str, Any]:
    """Writes the ONNX file OUT, and returns its path, size and how far its pictures are from the model's.

    start: what it takes, z or w (graphs.Faces).

    Raises:
        UsageError: OUT is no .onnx file or cannot be written, or a package is missing.
        Disagreement: it makes other pictures than the model; nothing was written.
    """
    require_suffix(out, ".onnx")
    require_onnx("--format onnx")
    program = Faces(model.generator, start)
    data = serialized(model, program, half=half)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced(out) as temporary:
        temporary.write_bytes(data)
        session = Session(temporary.read_bytes())
        found = require_same_faces(
            model, list(program.examples), lambda inputs: session(**inputs), HALF if half else EXACT
        )
    return result_of(out, len(data), found)


def serialized(model: Model, program: Program, *, half: bool = False) -> bytes:
    """The program of a model's generator as the content of an ONNX file."""
    proto = onnx_model(program)
    if half:
        halve(proto)
    for name, text in metadata(model).items():
        proto.metadata_props.add(key=name, value=text)
    data: bytes = proto.SerializeToString()
    return data


def halve(proto: Any) -> None:
    """Stores the large float32 tensors of an onnx.ModelProto as float16, with a Cast beside each."""
    import onnx
    from onnx import helper, numpy_helper

    graph = proto.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALL or not np.abs(values).max() <= MAX_FLOAT16:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]  # a node comes after those whose results it takes
    del graph.node[:]
    graph.node.extend(nodes)
