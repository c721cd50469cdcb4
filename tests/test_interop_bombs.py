"""Files that describe more than they hold: refused in one line, in 2 s and 200 MB."""

from __future__ import annotations

import io
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hostile_pickles import array, call, module, named, numbers, refused, storage, tensor, text, whole
from small_data import zip_bytes
from small_stylegan2 import SHAPE, networks

from facegan.interop.inert import MAX_OPCODES, MAX_TEXT
from facegan.interop.rosinality import to_rosinality
from facegan.networks.stylegan2 import StyleGAN2Config


def by_memo(first: bytes, again: bytes, levels: int = 100) -> bytes:
    """first, then each level made of two of the one before: `again` is done with two on the stack."""
    body = first + b"\x94"
    for level in range(levels):
        body += b"0h" + bytes([level]) + b"h" + bytes([level]) + again + b"\x94"
    return body


def forever(part: bytes, repeated: bytes) -> bytes:
    return b"\x80\x04" + part + repeated * (3 * MAX_OPCODES // 2) + b"."


def chain_of_modules(levels: int) -> bytes:
    """Each module holds the one before twice: 2 ** levels of them."""
    body = module() + b"q\x00"
    for _ in range(levels):
        body += b"0" + module(b"h\x00", b"h\x00") + b"q\x00"
    return body


def same_tensors() -> bytes:
    """A model whose tensors are all one storage: a small file that describes a large one."""
    changes = {"z_dim": SHAPE["w_dim"], "channel_base": 256, "channel_max": 32}
    generator, _ = networks(**changes)
    found = to_rosinality(generator, StyleGAN2Config(**SHAPE | changes))
    one = torch.zeros(10_000)
    for name, t in found["g_ema"].items():
        if not name.endswith(".kernel"):
            found["g_ema"][name] = one[: t.numel()].view(t.shape)
    saved = io.BytesIO()
    torch.save(found, saved)
    assert len(saved.getvalue()) < sum(t.nbytes for t in found["g_ema"].values())
    return saved.getvalue()


MANY = 10**6
TEXT = b"\x8d" + struct.pack("<Q", MANY) + b"a" * MANY + b"\x94"  # memo 0
OPCODES, CHARACTERS, UNKNOWN = "250,000 opcodes", "characters of text", "no model of a known kind"
ENDS = "it ends within something"


def large_tensor() -> bytes:
    stream = storage(MANY // 4)
    return stream[stream.index(b"\x8e") : stream.rindex(b"tR")] + b"\x94"


# what the file is, and what is said of it
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tuples of tuples": (lambda: whole(by_memo(b")", b"\x86")), UNKNOWN),
    "lists of lists": (lambda: whole(by_memo(b"]", b"\x86"), b"]\x94h\x64a"), UNKNOWN),
    "a tuple of tuples as a key": (lambda: whole(b"}", by_memo(b")", b"\x86"), b"Ns"), "type tuple"),
    "tuples as keys": (lambda: whole(b"}", b"K\x01K\x02\x86Ns"), "a key of type tuple"),
    "a set of tuples of tuples": (lambda: whole(b"\x8f(", by_memo(b")", b"\x86"), b"\x90"), UNKNOWN),
    "keys that collide": (
        lambda: whole(b"}(", b"".join(b"\x8a\x10" + (n * (2**61 - 1)).to_bytes(16, "little") + b"N"
                                     for n in range(1, 50_000)), b"u"),
        "a key above 2**60",
    ),
    "long keys": (lambda: whole(b"}", TEXT, b"Ns"), "a key of 1,000,000 characters"),
    "long names": (lambda: whole(TEXT, b"h\x00\x93"), "a name of more than 512 characters"),
    "2 ** 60 modules": (lambda: whole(b"}", text("G_ema"), chain_of_modules(60), b"s"), "20,000 parts"),
    "2 ** 11 modules": (
        lambda: whole(b"}", text("G_ema"), chain_of_modules(11), b"s"), "expected mapping and synthesis",
    ),
    "a module that holds itself": (
        lambda: whole(b"}", text("G_ema"), module() + b"q\x07h\xff" + text("x") + b"h\x07s0", b"s"),
        "nested deeper than 12",
    ),
    "a list that holds itself": (lambda: whole(b"]\x94h\x00a"), UNKNOWN),
    "a list nested 100,000 deep": (lambda: whole(b"]" * 100_000, b"a" * 99_999), UNKNOWN),
    "tuples nested 100,000 deep": (lambda: whole(b")", b"\x85" * 100_000), UNKNOWN),
    "endless marks": (lambda: forever(b"", b"("), OPCODES),
    "endless dictionaries": (lambda: forever(b"", b"}\x94"), OPCODES),
    "endless texts": (lambda: forever(b"", b"U\x03abc"), OPCODES),
    "endless globals": (lambda: forever(b"", b"cos\nsystem\n"), OPCODES),
    "endless calls": (lambda: forever(named("os", "system") + b"\x94)\x94", b"h\x00h\x01R"), OPCODES),
    "the same pairs in many dictionaries": (
        lambda: whole(
            b"](" + b"".join(text(f"{n}") + b"N\x86" for n in range(20_000)) + b"e\x85\x94",
            named("collections", "OrderedDict"), b"\x940", b"h\x01h\x00R" * 20_000,
        ),
        OPCODES,
    ),
    "the same bytes as many tensors": (
        lambda: whole(large_tensor(), (named("torch.storage", "_load_from_bytes") + b"h\x00\x85R") * 20_000),
        OPCODES,
    ),
    "the same text as many arrays": (
        lambda: whole(TEXT, (
            named("numpy._core.numeric", "_frombuffer") + b"(h\x00" + call("numpy", "dtype", text("u1"))
            + numbers(MANY) + text("C") + b"tR"
        ) * 5000),
        CHARACTERS,
    ),
    "the same text as many bytes": (
        lambda: whole(TEXT, (named("_codecs", "encode") + b"h\x00" + text("latin1") + b"\x86R") * 5000),
        CHARACTERS,
    ),
    "more text than may be": (
        lambda: whole(b"\x8d" + struct.pack("<Q", MAX_TEXT + 1) + b"a" * (MAX_TEXT + 1)), CHARACTERS,
    ),
    "wide text": (
        lambda: whole(b"\x8d" + struct.pack("<Q", MAX_TEXT) + b"a" * (MAX_TEXT - 4) + "\U0001f600".encode()),
        UNKNOWN,
    ),
    "a line without an end": (lambda: b"S'" + b"a" * (4 * MAX_TEXT), "a line without an end"),
    "many lines": (lambda: b"S'a'\n" * 100_000 + b"S'" + b"a" * MANY, "a line without an end"),
    "a whole number of a megabyte": (
        lambda: whole(b"\x8b" + struct.pack("<I", MANY) + bytes(MANY)), "a whole number of 1000000 bytes",
    ),
    "a number of a million digits": (lambda: b"I" + b"9" * MANY + b"\n.", "1000000 digits"),
    "a negative length": (lambda: b"T" + struct.pack("<i", -1) + b".", ENDS),
    "2 ** 31 bytes": (lambda: b"B" + struct.pack("<I", 2**31) + b".", ENDS),
    "2 ** 63 bytes": (lambda: b"\x8e" + struct.pack("<Q", 2**63) + b".", ENDS),
    "2 ** 63 bytes of text": (lambda: b"\x8d" + struct.pack("<Q", 2**63) + b".", CHARACTERS),
    "a number of 2 ** 31 bytes": (lambda: b"\x8b" + struct.pack("<I", 2**31) + b".", "2147483648 bytes"),
    "a memo at 2 ** 32 - 1": (lambda: b"Nr" + struct.pack("<I", 2**32 - 1) + b".", UNKNOWN),
    "a memo at 10 ** 60": (lambda: b"Np" + b"9" * 60 + b"\n.", UNKNOWN),
    "a memo of nothing": (lambda: b"h\x07.", "KeyError"),
    "a frame of 2 ** 64 - 1": (lambda: b"\x80\x04\x95" + b"\xff" * 8 + b".", "IndexError"),
    "protocol 9": (lambda: whole(b"N", protocol=9), "protocol 9, known are 0 to 5"),
    "buffers from outside": (lambda: whole(b"\x97"), "opcode 0x97"),
    "nothing on the stack": (lambda: whole(), "IndexError"),
    "an end without a mark": (lambda: whole(b"u"), "IndexError"),
    "an empty file": (lambda: b"", "0 bytes; expected 1 to"),
    "no pickle at all": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "not a pickle"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_time_and_memory(name: str, tmp_path: Path) -> None:
    made, said = BOMBS[name]
    assert said in refused(made(), tmp_path)


ARRAYS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a shape beyond its storage": (lambda: tensor((3, 3), (3, 1)), "shape"),
    "a shape of 2 ** 60": (lambda: tensor((2**60,), (0,)), "shape"),
    "a shape of 2 ** 124 elements": (lambda: tensor((2**62, 2**62), (0, 0)), "shape"),
    "a shape of 2 ** 62 times nothing": (lambda: tensor((0, 2**62), (1, 1)), "shape"),
    "one number a thousand times": (lambda: tensor((1000,), (0,)), "shape"),
    "a negative stride": (lambda: tensor((2,), (-1,), offset=3), "stride"),
    "a negative offset": (lambda: tensor((2,), (1,), offset=-1), "offset"),
    "an offset behind the end": (lambda: tensor((2,), (1,), offset=5), "shape"),
    "an offset of 2 ** 63": (lambda: tensor((2,), (1,), offset=2**63), "offset"),
    "a stride of 2 ** 61": (lambda: tensor((2, 2), (2**61, 1)), "shape"),
    "more strides than sizes": (lambda: tensor((2,), (1, 1)), "strides"),
    "200 dimensions": (lambda: tensor((1,) * 200, (1,) * 200), "dimensions"),
    "an array beyond its bytes": (lambda: array((7,)), "has 24 bytes"),
    "an array of 2 ** 60": (lambda: array((2**60,)), "has 24 bytes"),
    "an array of a negative size": (lambda: array((-6,)), "offset"),
    "an array of 2 ** 62 times nothing": (lambda: array((2**62, 2**62, 0), b""), ""),
    "an array of 40 dimensions": (lambda: array((1,) * 40, bytes(4)), "type and a shape"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_is_not_in_the_file_is_refused(name: str, tmp_path: Path) -> None:
    made, said = ARRAYS[name]
    assert said in refused(whole(made()), tmp_path)


def test_tensors_that_use_the_same_numbers_again_and_again_are_refused(tmp_path: Path) -> None:
    """Else a file of a megabyte could describe a model of gigabytes."""
    assert "tensors are used twice" in refused(same_tensors(), tmp_path)


@pytest.mark.parametrize("name", ["deflated", "entries", "twice", "checksum", "length", "storage", "big"])
def test_a_zip_that_torch_would_not_write_is_refused(name: str, tmp_path: Path) -> None:
    saved = io.BytesIO()
    torch.save(OrderedDict(a=torch.cat([torch.randn(2992), torch.arange(8.0)])), saved)
    with zipfile.ZipFile(saved) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    content, said = saved.getvalue(), ""
    if name == "deflated":
        content, said = zip_bytes(files, zipfile.ZIP_DEFLATED), "compressed"
    elif name == "entries":
        content, said = zip_bytes(files | {f"{n}": b"" for n in range(10_001)}), "more than 10,000"
    elif name == "twice":
        content, said = zip_bytes(files | {"b/data.pkl": b"N."}), "no data.pkl"
    elif name == "checksum":
        content, said = content.replace(struct.pack("<f", 7.0), struct.pack("<f", 8.0)), "checksum"
    elif name == "length":
        count = b"M\xb8\x0b"
        content, said = (
            zip_bytes({n: c.replace(count, b"M\xb9\x0b") for n, c in files.items()}),
            "3,001 numbers",
        )
    elif name == "storage":
        content, said = zip_bytes({n: c for n, c in files.items() if "data/0" not in n}), "not in the file"
    elif name == "big":
        content, said = zip_bytes(files | {"archive/byteorder": b"big"}), "big-endian"
    assert said in refused(content, tmp_path)


def test_an_old_stream_whose_counts_differ_is_refused(tmp_path: Path) -> None:
    saved = io.BytesIO()
    torch.save(OrderedDict(a=torch.ones(3000)), saved, _use_new_zipfile_serialization=False)
    content = saved.getvalue()
    numbers_begin = struct.pack("<q", 3000) + struct.pack("<f", 1.0)
    assert content.count(numbers_begin) == 1
    changed = content.replace(numbers_begin, struct.pack("<q", 2999) + struct.pack("<f", 1.0))
    assert "3,000 numbers, of which the file has 2,999" in refused(changed, tmp_path)
    big = content.replace(b"little_endian", b"little_indian")
    assert "a big-endian machine" in refused(big, tmp_path)
