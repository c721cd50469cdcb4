"""Safetensors files, checked strictly: shapes, types, numbers. Loading one never executes anything.

Models have metadata of their own (models.py); the small files that come with facegan have
{"facegan_KIND": format version, "header": JSON}:

    write(path, "attributes", 1, header, tensors)
    read_header(path, "attributes", 1)              the JSON, without reading tensors
    read_tensors(path, network.state_dict())        exactly these
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from facegan.config import UsageError, parse_json
from facegan.files import write_atomically

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write(path: Path, kind: str, version: int, header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Writes the file, atomically."""
    metadata = {f"facegan_{kind}": str(version), "header": json.dumps(header)}
    write_tensors(path, {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes tensors and metadata, atomically; the same ones are the same bytes."""
    data = _in_order(to_safetensors(tensors, metadata))
    write_atomically(path, lambda file: file.write(data))


def _in_order(data: bytes) -> bytes:
    """The file with its header sorted by name; as it comes, the order is another each time.

    It begins with the header's length, a little-endian 8-byte integer; spaces make that a multiple of 8.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def read_header(path: Path, kind: str, version: int) -> Any:
    """The JSON in a file of that kind.

    Raises:
        UsageError: not readable, of another kind or format, or damaged.
    """
    metadata = read_metadata(path, f"facegan_{kind}", kind, version)
    try:
        return parse_json(metadata["header"])
    except (KeyError, ValueError):
        raise UsageError(f"{path}: its header is damaged") from None


def read_metadata(path: Path, key: str, kind: str, version: int) -> dict[str, str]:
    """The metadata of a file of that kind, whose format version is under `key`.

    Raises:
        UsageError: not readable, or of another kind or format.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unusable(path, error) from None
    found = metadata.get(key)
    if found is None:
        raise UsageError(f"{path}: a safetensors file, but not one of facegan's {kind}")
    if found != str(version):
        raise UsageError(f"{path}: {kind} of format {found[:20]!r}; this version of facegan reads {version}")
    return metadata


def read_tensors(
    path: Path, expected: Mapping[str, Tensor], *, prefix: str = "", optional: bool = False
) -> dict[str, Tensor]:
    """The tensors of exactly these names and shapes, in these types; shapes are compared before any is read.

    prefix: of their names in the file, whose other tensors are left alone.
    optional: none, where the file has no such names.

    Raises:
        UsageError: others, or numbers of another kind, or not finite.
    """
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            if optional and not names:
                return {}
            found = {name.removeprefix(prefix): list(file.get_slice(name).get_shape()) for name in names}
            _require_fitting(path, found, {name: list(tensor.shape) for name, tensor in expected.items()})
            tensors = {name: file.get_tensor(prefix + name) for name in expected}
    except SafetensorError as error:
        raise _unusable(path, error) from None
    for name, like in expected.items():
        if tensors[name].dtype not in (_FLOATS if like.is_floating_point() else (like.dtype,)):
            raise UsageError(f"{path}: {name} holds {tensors[name].dtype} numbers, expected {like.dtype}")
        tensors[name] = _finite(path, name, tensors[name].to(like.dtype))
    return tensors


def read_all(path: Path) -> dict[str, Tensor]:
    """Every tensor, as it is stored; in memory, as a file that is mapped cannot be replaced on Windows.

    Raises:
        UsageError: not readable, types of number that no network has, or numbers that are not finite.
    """
    try:
        tensors = from_safetensors(path.read_bytes())
    except SafetensorError as error:
        raise _unusable(path, error) from None
    except KeyError as error:  # a type that the format has and torch has not
        raise UsageError(f"{path}: holds {error.args[0]} numbers, which no network here has") from None
    for name, tensor in tensors.items():
        if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype not in _FLOATS):
            raise UsageError(f"{path}: {name} holds {tensor.dtype} numbers, which no network here has")
        _finite(path, name, tensor)
    return tensors


def _require_fitting(path: Path, found: dict[str, list[int]], expected: dict[str, list[int]]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in expected]
    problems += [
        f"{name} has shape {shape}, expected {expected[name]}"
        for name, shape in found.items()
        if shape != expected.get(name, shape)
    ]
    if problems:
        raise UsageError(f"{path}: does not fit its own header: {problems[0]} (of {len(problems)} problems)")


def _finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.isfinite().all():
        raise UsageError(f"{path}: {name} holds numbers that are not finite")
    return tensor


def _unusable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path}: not a usable safetensors file ({error})")
