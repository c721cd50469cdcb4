"""A model as a folder of static files: a page that makes faces in the visitor's browser, with WebAssembly.

    export_web(model, Path("site"))      index.html and its parts (page/), model.json,
                                         mapping.onnx z -> w, faces.onnx w -> images, ort/: ONNX Runtime Web

Mapping and synthesis are two files so that the page can mix: it sets the layers of one w to those of another.
Truncation comes after it; the order of the two does not matter. Everything is served from the folder itself.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facegan.config import UsageError
from facegan.files import new_folder, require_empty
from facegan.graphs import Faces, Mapping, Program, Session, require_onnx
from facegan.interop.agreement import EXACT, HALF, Array, require_same_faces, result_of
from facegan.interop.onnx import serialized
from facegan.labels import LabelSpace
from facegan.layers import BANDS
from facegan.models import Model

PAGE = Path(__file__).parent / "page"
RUNTIME = "FACEGAN_ORT_WEB"  # in the environment: where ONNX Runtime Web's files are
FETCHED = Path(__file__).parents[2] / "build" / "onnxruntime-web"  # where `make web` puts them
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LICENCE = "onnxruntime-licence.txt"


def export_web(model: Model, out: Path, *, half: bool = False) -> dict[str, Any]:
    """Writes the folder OUT, and returns its path, size and how far its pictures are from the model's.

    half: weights are stored as float16 (interop/onnx.py).

    Raises:
        UsageError: OUT is not an empty or new folder, a package or ONNX Runtime Web's files are missing.
        Disagreement: it makes other pictures than the model; nothing was written.
    """
    require_empty(out, "--out")
    require_onnx("--format web")
    runtime = runtime_folder()
    parts: dict[str, Program] = {"mapping": Mapping(model.generator), "faces": Faces(model.generator, "w")}
    files = {f"{name}.onnx": serialized(model, program, half=half) for name, program in parts.items()}
    with new_folder(out) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        text = json.dumps(about(model), indent=1)
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
        for source in sorted(PAGE.iterdir()):
            if source.name != _LICENCE:
                shutil.copyfile(source, folder / source.name)
        (folder / "ort").mkdir()
        for name in RUNTIME_FILES:
            shutil.copyfile(runtime / name, folder / "ort" / name)
        shutil.copyfile(PAGE / _LICENCE, folder / "ort" / "LICENSE.txt")
        inputs = list(dict.fromkeys([*parts["mapping"].examples, *list(parts["faces"].examples)[1:]]))
        found = require_same_faces(model, inputs, _both(folder, parts), HALF if half else EXACT)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return result_of(out, size, found)


def runtime_folder() -> Path:
    """The folder that holds ONNX Runtime Web's files.

    Raises:
        UsageError: they are not there.
    """
    named = os.environ.get(RUNTIME)
    folder = Path(named) if named else FETCHED
    missing = [name for name in RUNTIME_FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"--format web needs ONNX Runtime Web: no {missing[0]} in {folder}; `make web` in a checkout "
            f"fetches it, and {RUNTIME} names another folder"
        )
    return folder


def about(model: Model) -> dict[str, Any]:
    """What the page knows of the model: sizes, the layers of each band [first, end), labels, origin."""
    generator = model.generator
    channels, height, width = generator.image_shape
    bands = {
        name: [first, min(end or generator.num_ws, generator.num_ws)]
        for name, (first, end) in BANDS.items()
        if first < generator.num_ws and generator.num_ws > 1
    }
    return {
        "name": model.name,
        "licence": model.card.licence,
        "data": model.card.data,
        "synthetic": True,
        "z_dim": generator.z_dim,
        "w_dim": generator.w_dim,
        "num_ws": generator.num_ws,
        "channels": channels,
        "height": height,
        "width": width,
        "bands": bands,
        "labels": _labels(model.config.labels),
    }


def _labels(space: LabelSpace) -> list[dict[str, Any]]:
    """Of each attribute its values, and the number of the most frequent, which the page begins with."""
    usual = space.combinations[0] if space.combinations else [0] * len(space.attributes)
    return [
        {"name": attribute.name, "values": list(attribute.values), "usual": max(0, number)}
        for attribute, number in zip(space.attributes, usual, strict=True)
    ]


def _both(folder: Path, parts: dict[str, Program]) -> Any:
    """A function of arrays by input name that runs the two files as the page does."""
    sessions = {name: Session((folder / f"{name}.onnx").read_bytes()) for name in parts}

    def run(inputs: dict[str, Array]) -> Sequence[Array]:
        taken = {name: inputs[name] for name in parts["mapping"].examples}
        offered = inputs | {"w": np.ascontiguousarray(sessions["mapping"](**taken)[0])}
        return sessions["faces"](**{name: offered[name] for name in parts["faces"].examples})

    return run
