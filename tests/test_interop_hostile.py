"""Hostile and damaged files: refused in one line, in 2 s and 200 MB; nothing is executed or written."""

from __future__ import annotations

import ast
import builtins
import io
import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lookalike_nvidia import official, pickled
from lookalike_tensorflow import tensorflow_pickle
from small_stylegan2 import SHAPE, networks

from facegan import cli
from facegan.config import UsageError
from facegan.interop.importing import convert
from facegan.interop.inert import MAX_OPCODES, MAX_TEXT, Global, Record
from facegan.interop.pickles import read_pickle
from facegan.interop.rosinality import to_rosinality
from facegan.networks.stylegan2 import StyleGAN2Config

SECONDS, MEGABYTES = 2.0, 200
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
fuzzed = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


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


# ---- pickles, opcode by opcode


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


# ---- what would be executed


def attacks(canary: Path) -> dict[str, bytes]:
    """Pickles that make the canary file when they are loaded as they want to be."""
    command = f"touch {canary}"
    source = f"open({str(canary)!r}, 'w').close()"
    system = call("os", "system", text(command))
    evaluated = call("builtins", "eval", text(source))
    opener = call("builtins", "open", text(str(canary)), text("w"))
    stream = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    stream += pickle.dumps({"little_endian": True}, 2) + whole(system) + pickle.dumps([], 2)
    found = {
        "os.system": whole(system),
        "posix.system, protocol 0": f"cposix\nsystem\n(S'{command}'\ntR.".encode(),
        "eval": whole(evaluated),
        "exec of text": whole(call("builtins", "exec", text(source))),
        "open": whole(opener),
        "a function found by getattr": whole(
            call("builtins", "getattr", named("os", "path"), text("os")),
            b"0",
            call("builtins", "getattr", call("importlib", "import_module", text("os")), text("system")),
            b"(", text(command), b"tR",
        ),
        "nested calls": whole(call(
            "builtins", "list", call("builtins", "map", named("os", "system"), b"(", text(command), b"t")
        )),
        "NEWOBJ": whole(named("subprocess", "Popen"), b"(", text(command), b"t\x81"),
        "NEWOBJ_EX": whole(
            named("subprocess", "Popen"), b"(", text(command), b"t}", text("shell"), b"\x88s\x92"
        ),
        "INST": f"(S'{command}'\nios\nsystem\n.".encode(),
        "OBJ": whole(b"(", named("os", "system"), text(command), b"o"),
        "extension codes": b"\x80\x02\x82\x01.",
        "setstate": whole(
            named("functools", "partial"), b"(", named("os", "system"), b"t\x81(", named("os", "system"),
            b"(", text(command), b"t}Ntb)R",
        ),
        "a state that is called": whole(opener, b"}", text("__setstate__"), evaluated, b"sb"),
        "an item of a dict that calls": whole(
            named("collections", "defaultdict"), b"(", named("os", "system"), b"tR", text(command), b"Ns"
        ),
        "the source of a module": whole(b"}", text("G_ema"), module(source=source), b"s"),
        "numpy.load": whole(call("numpy", "load", long_bytes(whole(system)))),
        "an array of objects": whole(array((1,), whole(system).ljust(8, b"\0"), dtype="O")),
        "a tensor's bytes": whole(call("torch.storage", "_load_from_bytes", long_bytes(whole(system)))),
        "a tensor's stream": whole(call("torch.storage", "_load_from_bytes", long_bytes(stream))),
        "an old stream of torch.save": stream,
        "a persistent id": whole(system, b"Q"),
        "a network that begins with it": whole(b"}", text("G_ema"), system, b"s"),
        "a dictionary's key": whole(b"}", system, b"Ns"),
    }  # fmt: skip
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("a/data.pkl", whole(system))
    return found | {"a zip of torch.save": saved.getvalue()}


NAMES = list(attacks(Path("canary")))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_file_is_executed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    refused(attacks(tmp_path / "canary")[name], folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["os.system", "posix.system, protocol 0", "eval", "setstate"])
def test_the_attacks_would_work_on_a_reader_that_executes(name: str, tmp_path: Path) -> None:
    pickle.loads(attacks(tmp_path / "canary")[name])
    assert (tmp_path / "canary").exists()


def test_an_attack_beside_the_networks_is_passed_over(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    snapshot = official(resolution=8)
    snapshot["G_ema"].num_ws = Evil()
    content = pickled(snapshot | {"augment_pipe": Evil()})
    (tmp_path / "a.pkl").write_bytes(content)
    convert(tmp_path / "a.pkl", tmp_path / "model.safetensors")
    assert not (tmp_path / "canary").exists()
    pickle_of_evil = pickle.dumps(Evil())
    pickle.loads(pickle_of_evil)
    assert (tmp_path / "canary").exists()


def test_the_reader_imports_nothing_and_uses_no_pickle_module(monkeypatch: pytest.MonkeyPatch) -> None:
    content = whole(named("antigravity", "this"))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("something was imported")

    monkeypatch.setattr(builtins, "__import__", fail)
    found, _ = read_pickle(memoryview(content))
    monkeypatch.undo()
    assert isinstance(found, Global)
    for file in Path(read_pickle.__code__.co_filename).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)]
            assert not {"pickle", "importlib", "marshal", "runpy", "ctypes"} & {*names}, file.name
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("exec", "eval", "compile", "__import__", "getattr", "torch.load"), file.name


def test_a_wrong_file_is_one_line_and_exit_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pkl").write_bytes(whole(call("os", "sys\x1b[31m", text("x"))))
    assert cli.run(["import", str(tmp_path / "a.pkl"), "--out", str(tmp_path / "m.safetensors")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    assert "no model of a known kind: it holds os.sys" in said


# ---- bombs


def by_memo(first: bytes, again: bytes, levels: int = 100) -> bytes:
    """first, then each level made of two of the one before: `again` is done with two on the stack."""
    body = first + b"\x94"
    for level in range(levels):
        body += b"0h" + bytes([level]) + b"h" + bytes([level]) + again + b"\x94"
    return body


def forever(part: bytes, repeated: bytes) -> bytes:
    return b"\x80\x04" + part + repeated * (3 * MAX_OPCODES // 2) + b"."


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return saved.getvalue()


def chain_of_modules(levels: int) -> bytes:
    """Each module holds the one before twice: 2 ** levels of them."""
    body = module() + b"q\x00"
    for _ in range(levels):
        body += b"0" + module(b"h\x00", b"h\x00") + b"q\x00"
    return body


def same_tensors() -> bytes:
    """A model whose tensors are all one storage: a small file that describes a large one."""
    generator, _ = networks(channel_base=256, channel_max=32)
    found = to_rosinality(generator, StyleGAN2Config(**SHAPE | {"channel_base": 256, "channel_max": 32}))
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
        content, said = zip_of(files, zipfile.ZIP_DEFLATED), "compressed"
    elif name == "entries":
        content, said = zip_of(files | {f"{n}": b"" for n in range(10_001)}), "more than 10,000"
    elif name == "twice":
        content, said = zip_of(files | {"b/data.pkl": b"N."}), "no data.pkl"
    elif name == "checksum":
        content, said = content.replace(struct.pack("<f", 7.0), struct.pack("<f", 8.0)), "checksum"
    elif name == "length":
        count = b"M\xb8\x0b"
        content, said = zip_of({n: c.replace(count, b"M\xb9\x0b") for n, c in files.items()}), "3,001 numbers"
    elif name == "storage":
        content, said = zip_of({n: c for n, c in files.items() if "data/0" not in n}), "not in the file"
    elif name == "big":
        content, said = zip_of(files | {"archive/byteorder": b"big"}), "big-endian"
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


# ---- damage


def genuine() -> dict[str, bytes]:
    """A small file of each kind, all of which can be read."""
    snapshot = official(resolution=8)
    state = OrderedDict(a=torch.arange(300.0), b=torch.arange(50.0).half())
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return {
        "pickle": pickled(snapshot | {"G": None}),
        "protocol 2": pickled({"G_ema": snapshot["G_ema"]}, 2),
        "tensorflow": tensorflow_pickle(),
        "zip": new.getvalue(),
        "old stream": old.getvalue(),
    }


GENUINE = genuine()


@pytest.mark.parametrize("kind", GENUINE)
def test_a_file_cut_off_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    content = GENUINE[kind]
    cuts = sorted({len(content) * percent // 100 for percent in range(100)} | {len(content) - 1})
    for cut in cuts:
        refused(content[:cut], tmp_path)


def flip(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for position, value in changes:
        changed[position % len(content)] = value
    return bytes(changed)


CHANGES = st.tuples(
    st.sampled_from(sorted(GENUINE)),
    st.lists(st.tuples(st.integers(0, 2**24), st.integers(0, 255)), min_size=1, max_size=8),
)


def survives(case: tuple[str, list[tuple[int, int]]], folder: Path) -> None:
    """A changed file is refused, or is another model, for numbers have no checksum in a pickle."""
    kind, changes = case
    (folder / "changed.pkl").write_bytes(flip(GENUINE[kind], changes))
    out = folder / "model.safetensors"
    out.unlink(missing_ok=True)
    with bounded():
        try:
            convert(folder / "changed.pkl", out)
        except UsageError:
            assert not out.exists()
    assert {path.name for path in folder.iterdir()} <= {"changed.pkl", "model.safetensors"}


@given(CHANGES)
@fuzzed
def test_changed_bytes_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)


@pytest.mark.slow
@given(CHANGES)
@settings(fuzzed, max_examples=500)
def test_500_changed_files_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)


@pytest.mark.soak
@given(CHANGES)
@settings(fuzzed, max_examples=10_000)
def test_10000_changed_files_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)


# ---- what it does read


@pytest.mark.parametrize("protocol", range(6))
def test_plain_objects_are_read_in_every_protocol(protocol: int) -> None:
    plain = {
        "numbers": [0, 1, -1, 255, 70_000, -(2**40), 2**200, 1.5, float("inf")],
        "texts": ("", "a", "caf\u00e9\n'\"\\", "\U0001f600" * 100),
        "others": [None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {1: {2: 3}}],
    }
    shared = [plain["texts"]] * 3
    content = pickle.dumps(plain | {"shared": shared}, protocol)
    found, end = read_pickle(memoryview(content))
    assert found == plain | {"shared": shared}
    assert found["shared"][0] is found["shared"][1]
    assert end == len(content)


def test_unknown_objects_are_kept_as_what_would_be_called() -> None:
    found, _ = read_pickle(memoryview(pickle.dumps(np.random.default_rng)))
    assert isinstance(found, Global)
    assert str(found) == "numpy.random._generator.default_rng" or found.name == "default_rng"
    record, _ = read_pickle(memoryview(pickle.dumps(Path("a/b"), 4)))
    assert isinstance(record, Record)
    assert record.args == ("a", "b")
