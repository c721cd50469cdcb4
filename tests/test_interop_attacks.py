"""Files that would run commands: nothing in them is executed or imported, and plain objects are read."""

from __future__ import annotations

import ast
import builtins
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_pickles import array, call, long_bytes, module, named, refused, text, whole
from lookalike_nvidia import official, pickled

from facegan import cli
from facegan.config import UsageError
from facegan.interop.importing import convert
from facegan.interop.inert import Global, Record
from facegan.interop.pickles import read_pickle


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


@pytest.mark.parametrize("line", [rb"'\z'", rb"'\400'", rb"'\xg'", rb"'a\'"])
def test_a_text_with_an_escape_that_python_does_not_write_is_damage(line: bytes) -> None:
    with pytest.raises(UsageError, match="not a pickle that can be read"):
        read_pickle(memoryview(b"S" + line + b"\n."))


def test_a_quoted_text_is_read_as_python_writes_it() -> None:
    assert read_pickle(memoryview(rb"S'it\'s \\ \x41\n'" + b"\n."))[0] == "it's \\ A\n"


def test_unknown_objects_are_kept_as_what_would_be_called() -> None:
    found, _ = read_pickle(memoryview(pickle.dumps(np.random.default_rng)))
    assert isinstance(found, Global)
    assert str(found) == "numpy.random._generator.default_rng" or found.name == "default_rng"
    record, _ = read_pickle(memoryview(pickle.dumps(Path("a/b"), 4)))
    assert isinstance(record, Record)
    assert record.args == ("a", "b")
