"""Pickles written opcode by opcode, for tests of hostile files, and how such a file must be refused."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from facegan.config import UsageError
from facegan.interop.importing import convert

SECONDS, MEGABYTES = 2.0, 200
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_megabytes() -> float:
    """The process's largest memory since the counter was cleared."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextmanager
def bounded() -> Iterator[None]:
    """Fails where the block takes more time or memory than it may."""
    measured = os.access(CLEAR, os.W_OK)  # Linux
    if measured:
        CLEAR.write_text("5")
    before = peak_megabytes() if measured else 0.0
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    if measured:
        assert peak_megabytes() - before < MEGABYTES


def refused(content: bytes, folder: Path) -> str:
    """The one line with which a file is refused."""
    (folder / "hostile.pkl").write_bytes(content)
    with bounded(), pytest.raises(UsageError) as caught:
        convert(folder / "hostile.pkl", folder / "model.safetensors")
    assert [path.name for path in folder.iterdir()] == ["hostile.pkl"]
    return str(caught.value)


def text(words: str) -> bytes:
    return b"\x8c" + bytes([len(words)]) + words.encode()


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def call(module: str, name: str, *args: bytes) -> bytes:
    return named(module, name) + b"(" + b"".join(args) + b"tR"


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def long_bytes(content: bytes) -> bytes:
    return b"\x8e" + struct.pack("<Q", len(content)) + content


def whole(*body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + b"".join(body) + b"."


def storage(floats: int = 6) -> bytes:
    """The opcodes of a storage of that many float32."""
    made = io.BytesIO()
    blank: Any = torch.zeros(floats)
    torch.save(blank.__reduce_ex__(4)[1][0], made, _use_new_zipfile_serialization=False)
    return call("torch.storage", "_load_from_bytes", long_bytes(made.getvalue()))


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, floats: int = 6) -> bytes:
    parts = storage(floats), number(offset), numbers(*shape), numbers(*strides), b"\x89", b"}"
    return call("torch._utils", "_rebuild_tensor_v2", *parts)


def array(shape: tuple[int, ...], content: bytes = bytes(24), dtype: str = "f4") -> bytes:
    kind = call("numpy", "dtype", text(dtype), b"\x89", b"\x88")
    begun = call("numpy._core.multiarray", "_reconstruct", named("numpy", "ndarray"), numbers(0), b"C\x01b")
    return begun + b"(K\x01" + numbers(*shape) + kind + b"\x89" + long_bytes(content) + b"tb"


def module(*children: bytes, source: str = "") -> bytes:
    """A persistent module with these children, named 0, 1, ...; the dictionary of them is memo 255."""
    inside = b"".join(text(str(i)) + child for i, child in enumerate(children))
    empty = text("_parameters") + b"}" + text("_buffers") + b"}"
    state = b"}(" + empty + text("_modules") + b"}q\xff(" + inside + b"uu"
    words = text("class_name") + text("Generator") + text("module_src") + text(source)
    meta = b"}(" + words + text("state") + state + b"u"
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)
