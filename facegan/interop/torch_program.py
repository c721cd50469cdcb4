"""A model as a program of torch.export (.pt2): torch alone loads and runs it, without facegan's code.

export_torch(model, Path("faces.pt2"), start="z")     -> what was written
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from facegan.files import replaced
from facegan.graphs import Faces, Space
from facegan.interop.agreement import Array, metadata, require_same_faces, require_suffix, result_of
from facegan.models import Model

METADATA = "facegan.json"  # an extra file in it


def export_torch(model: Model, out: Path, *, start: Space = "z") -> dict[str, Any]:
    """Writes the program OUT, and returns its path, size and how far its pictures are from the model's.

    start: what it takes, z or w (graphs.Faces).

    Raises:
        UsageError: OUT is no .pt2 file or cannot be written.
        Disagreement: it makes other pictures than the model; nothing was written.
    """
    require_suffix(out, ".pt2")
    program = Faces(model.generator, start)
    exported = program.export()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced(out) as temporary:
        data = io.BytesIO()  # torch's own writer ends the process where a disk is full
        torch.export.save(exported, data, extra_files={METADATA: json.dumps(metadata(model))})
        temporary.write_bytes(data.getvalue())
        read = torch.export.load(temporary).module()

        def run(inputs: dict[str, Array]) -> Sequence[Array]:
            with torch.inference_mode():
                outputs = read(*(torch.from_numpy(value) for value in inputs.values()))
            return [output.numpy() for output in outputs]

        found = require_same_faces(model, list(program.examples), run)
        size = temporary.stat().st_size
    return result_of(out, size, found)
