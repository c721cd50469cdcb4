"""Small safetensors files that come with facegan, checked as strictly as models are: shapes, types, numbers.

metadata {"facegan_KIND": format version, "header": JSON}; loading one never executes anything.

    write(path, "attributes", 1, header, tensors)
    read_header(path, "attributes", 1)          the JSON, without reading tensors
    read_tensors(path, {"head.bias": [13]})     float32, exactly these
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from facegan.config import UsageError, parse_json
from facegan.files import write_atomically

_FLOATS = (torch.float16, torch.float32)


def write(path: Path, kind: str, version: int, header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Writes the file, atomically."""
    metadata = {f"facegan_{kind}": str(version), "header": json.dumps(header)}
    data = to_safetensors({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    write_atomically(path, lambda file: file.write(data))


def read_header(path: Path, kind: str, version: int) -> Any:
    """The JSON in a file of that kind.

    Raises:
        UsageError: not readable, of another kind or format, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: not a usable safetensors file ({error})") from None
    found = metadata.get(f"facegan_{kind}")
    if found is None:
        raise UsageError(f"{path}: a safetensors file, but not one of facegan's {kind}")
    if found != str(version):
        raise UsageError(f"{path}: {kind} of format {found[:20]!r}; this version of facegan reads {version}")
    try:
        return parse_json(metadata["header"])
    except (KeyError, ValueError):
        raise UsageError(f"{path}: its header is damaged") from None


def read_tensors(path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The tensors of exactly these names and shapes, as float32; shapes are compared before anything is read.

    Raises:
        UsageError: others, or numbers that are not floating-point, or not finite.
    """
    try:
        with safe_open(path, "pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            problems = [f"{name} is missing" for name in shapes if name not in found]
            problems += [f"{name} is unknown" for name in found if name not in shapes]
            problems += [
                f"{name} has shape {shape}, expected {list(shapes[name])}"
                for name, shape in found.items()
                if name in shapes and shape != list(shapes[name])
            ]
            if problems:
                count = len(problems)
                raise UsageError(f"{path}: does not fit its own header: {problems[0]} (of {count} problems)")
            tensors = {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as error:
        raise UsageError(f"{path}: not a usable safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise UsageError(f"{path}: {name} holds {tensor.dtype} numbers, expected float16 or float32")
        if not tensor.isfinite().all():
            raise UsageError(f"{path}: {name} holds numbers that are not finite")
    return {name: tensor.float() for name, tensor in tensors.items()}
