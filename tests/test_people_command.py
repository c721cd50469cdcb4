"""`facegan people`: the same set whatever the workers and kills, refusals in one line, and train can read it.

Most tests put a stand-in for the renderer, which fills a picture with noise drawn from the person's seed.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from faulty_disk import FaultyDisk, Killed, full, read_only
from filelock import FileLock
from PIL import Image

from facegan import cli, terminal
from facegan.config import UsageError
from facegan.data import DataConfig, open_dataset
from facegan.images import read_provenance
from facegan.people import draw, raster
from facegan.people.draw import FORMATS, draw_people
from facegan.people.person import Person
from facegan.people.picture_set import growing
from facegan.randomness import Purpose, numpy_generator

COUNT = 3
EXTRAS = ["metadata.jsonl", "README.md", "people.json"]
FAULTS: dict[str, Callable[[], OSError]] = {"full": full, "read-only": read_only}


@dataclass
class Stub:
    image: np.ndarray
    landmarks: np.ndarray


def noise(person: Person, resolution: int) -> Stub:
    """A picture and landmarks that are a function of the person's seed."""
    random = np.random.default_rng(person.seed)
    image = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    return Stub(image, random.uniform(0, resolution, (68, 2)))


@pytest.fixture(autouse=True)
def _stand_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer that draws noise."""
    if "really" not in request.node.name:
        draw_as(monkeypatch, noise)


def draw_as(monkeypatch: pytest.MonkeyPatch, render: Callable[[Person, int], Stub]) -> None:
    module = ModuleType("facegan.people.render")
    module.render = render  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facegan.people.render", module)


def drawn(out: Path, count: int = COUNT, **options: Any) -> draw.Drawn:
    return draw_people(out, count=count, resolution=16, **{"seed": 7, "workers": 1, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The zip of a set that was left alone."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        draw_as(monkeypatch, noise)
        out = tmp_path_factory.mktemp("whole") / "people.zip"
        drawn(out)
    return out.read_bytes()


def words(out: Path, **options: object) -> list[str]:
    """The command line of this set."""
    given = {"count": COUNT, "resolution": 16, "seed": 7, "workers": 1} | options
    return [
        "people",
        str(out),
        *(word for name, value in given.items() for word in (f"--{name}", str(value))),
    ]


def hidden(out: Path) -> list[Path]:
    return sorted(out.parent.glob(".*"))


# ---- what is in a set


def test_a_set_holds_the_people_of_its_seed(tmp_path: Path) -> None:
    drawn(tmp_path / "people.zip")
    with zipfile.ZipFile(tmp_path / "people.zip") as file:
        assert file.testzip() is None
        assert file.namelist() == [f"00000{index}.png" for index in range(COUNT)] + EXTRAS
        for index in range(COUNT):
            person = Person.sample(numpy_generator(7, index, Purpose.PERSON))
            with Image.open(io.BytesIO(file.read(f"00000{index}.png"))) as image:
                np.testing.assert_array_equal(np.asarray(image), noise(person, 16).image)
            labels = json.loads(file.read("metadata.jsonl").splitlines()[index])
            assert (labels["seed"], labels["index"]) == (7, index)
            assert labels["age_years"] == round(person.age_years)
        assert json.loads(file.read("people.json"))["count"] == COUNT
        assert b"CC0" in file.read("README.md")
        assert b"--count 3 --resolution 16 --seed 7 --format png" in file.read("README.md")
    assert hidden(tmp_path / "people.zip") == []


def test_a_folder_holds_what_a_zip_holds(whole: bytes, tmp_path: Path) -> None:
    drawn(tmp_path / "people")
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        expected = {name: file.read(name) for name in file.namelist()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "people").iterdir()} == expected
    assert hidden(tmp_path / "people") == []


def test_the_command_writes_what_the_python_api_writes(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "people.zip"
    assert cli.run([*words(out), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert {name: result[name] for name in ("path", "pictures", "finished")} == {
        "path": str(out),
        "pictures": COUNT,
        "finished": True,
    }
    assert result["seconds"] >= 0
    assert result["pictures_per_second"] > 0
    assert f"{COUNT} of {COUNT} pictures" in captured.err
    assert "pictures/s" in captured.err
    assert "ETA" in captured.err
    assert out.read_bytes() == whole


@pytest.mark.parametrize("kind", ["people.zip", "people"])
def test_training_reads_a_set_with_its_labels(kind: str, tmp_path: Path) -> None:
    drawn(tmp_path / kind)
    data = open_dataset(DataConfig(str(tmp_path / kind), mirror=False), resolution=16)
    assert data.names == ["000000.png", "000001.png", "000002.png"]
    assert data.label_problems == {}
    assert data.skipped == {}
    person = Person.sample(numpy_generator(7, 2, Purpose.PERSON))
    assert data.labels[2]["hair_style"] == person.hair_style
    assert np.shape(data.labels[2]["landmarks"]) == (68, 2)
    np.testing.assert_array_equal(data.pictures([2])[0].permute(1, 2, 0), noise(person, 16).image)


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_picture_says_that_it_is_synthetic(file_format: str, tmp_path: Path) -> None:
    drawn(tmp_path / "people", file_format=file_format)
    path = tmp_path / "people" / f"000001.{file_format}"
    found = read_provenance(path)
    assert found is not None
    assert (found.model, found.seeds, found.synthetic) == ("people", "7/1", True)
    assert b"digitalsourcetype/algorithmicMedia" in path.read_bytes()


@pytest.mark.parametrize("file_format", ["png", "webp"])
def test_png_and_webp_lose_nothing(file_format: str, tmp_path: Path) -> None:
    drawn(tmp_path / "people", file_format=file_format)
    person = Person.sample(numpy_generator(7, 0, Purpose.PERSON))
    with Image.open(tmp_path / "people" / f"000000.{file_format}") as image:
        np.testing.assert_array_equal(np.asarray(image), noise(person, 16).image)


@pytest.mark.slow
def test_a_set_of_more_pictures_than_a_plain_zip_can_count_is_readable(tmp_path: Path) -> None:
    """65,535 is the most without zip64."""
    out, count = tmp_path / "people.zip", 70_000
    with growing(out, {"format": "png"}, count) as pictures:
        for index in range(count):
            pictures.append(b"%d" % index, b"{}")
        pictures.finish({})
    with zipfile.ZipFile(out) as file:
        assert len(file.namelist()) == count + 1
        assert file.read("069999.png") == b"69999"
        assert file.read("metadata.jsonl") == b"{}\n" * count


# ---- going on


def partials(out: Path) -> tuple[Path, Path]:
    return out.with_name(f".{out.name}.partial.zip"), out.with_name(f".{out.name}.partial.jsonl")


def broken_off(out: Path, after: int, count: int = COUNT) -> draw.Drawn:
    """Draws so many pictures and stops."""
    done: list[int] = []
    return drawn(out, count, progress=lambda now, _: done.append(now), stop=lambda: done[-1] >= after)


def test_a_stopped_set_goes_on_where_it_was(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "people.zip"
    first = broken_off(out, 2)
    assert (first.pictures, first.new, first.finished) == (2, 2, False)
    assert not out.exists()
    again = drawn(out)
    assert (again.pictures, again.new, again.finished) == (3, 1, True)
    assert out.read_bytes() == whole
    assert hidden(out) == []


def test_a_stop_by_the_user_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(person: Person, resolution: int) -> Stub:
        os.kill(os.getpid(), signal.SIGINT)
        return noise(person, resolution)

    draw_as(monkeypatch, interrupted)
    out = tmp_path / "people.zip"
    assert cli.run([*words(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pictures"] == 1
    assert json.loads(captured.out)["finished"] is False
    assert f"go on with: facegan people {out} --count 3 --resolution 16 --seed 7 --format png" in captured.err


@pytest.mark.parametrize("which", [0, 1], ids=["pictures", "labels"])
@pytest.mark.parametrize("damage", ["cut", "changed byte", "deleted", "emptied"])
def test_what_is_damaged_is_drawn_again(which: int, damage: str, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    broken_off(out, 2)
    path = partials(out)[which]
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "changed byte":
        data[-20] ^= 1
        path.write_bytes(data)
    elif damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"")
    result = drawn(out)
    assert result.new == (2 if damage in ("cut", "changed byte") else 3)
    assert out.read_bytes() == whole


def test_any_changed_byte_of_an_unfinished_set_is_found(whole: bytes, tmp_path: Path) -> None:
    """Forty places in each of both files."""
    out = tmp_path / "people.zip"
    broken_off(out, 2)
    kept = [path.read_bytes() for path in partials(out)]
    for which, content in enumerate(kept):
        for place in range(0, len(content), len(content) // 10):
            for path, data in zip(partials(out), kept, strict=True):
                path.write_bytes(data)
            damaged = bytearray(content)
            damaged[place] ^= 0x20
            partials(out)[which].write_bytes(damaged)
            drawn(out)
            assert out.read_bytes() == whole, f"{which}: {place}"
            out.unlink()


class Disk(FaultyDisk):
    """Every operation on the files of a set counts, each single write too."""

    def __enter__(self) -> Disk:
        super().__enter__()
        self._patch.setattr("facegan.people.picture_set.open", self._opened, raising=False)
        self._patch.setattr(os, "truncate", self._counted("truncate", os.truncate))
        return self

    def operation(self, name: str, *, countable: bool = True) -> None:
        super().operation(name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_set_killed_at_any_operation_on_the_disk_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    name = "people.zip" if kind == "zip" else "people"

    def content(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    drawn(tmp_path / "warm" / name)  # the first use of a module may write to the disk, too
    (tmp_path / "whole").mkdir()
    with Disk() as disk:
        drawn(tmp_path / "whole" / name)
    expected, count = content(tmp_path / "whole"), len(disk.operations)
    assert count > 40
    for at in range(count):
        folder = tmp_path / str(at)
        folder.mkdir()
        with Disk(at, Killed()) as disk, pytest.raises(Killed):
            drawn(folder / name)
        again = tmp_path / f"{at} again"
        shutil.copytree(folder, again)
        # and once more, as far into the second attempt
        with Disk(at, Killed()) as second, suppress(Killed):
            drawn(again / name)
        for place in (folder, again):
            drawn(place / name)
            assert content(place) == expected, f"killed at {at}: {disk.operations[-1]}"
        assert second.operations


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_is_full_or_read_only_is_one_line_and_loses_nothing(
    fault: str, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn(tmp_path / "warm" / "people.zip")
    with Disk() as disk:
        drawn(tmp_path / "counted" / "people.zip")
    for at in range(len(disk.operations)):
        out = tmp_path / str(at) / "people.zip"
        with Disk(at, FAULTS[fault]()) as disk:
            status = cli.run(words(out))
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("facegan:")]
        if status == 0:
            assert disk.operations[-1] == "unlink"
            continue
        assert status == 1
        assert len(said) == 1
        assert "the same command goes on" in said[0]
        assert ".partial" not in said[0]
        drawn(out)
        assert out.read_bytes() == whole, f"failed at {at}: {disk.operations[-1]}"


def test_a_full_disk_is_one_line_and_exit_1(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people.zip"
    with Disk(12, full()):
        assert cli.run(words(out)) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"facegan: {out}: No space left on device; what is drawn is kept")
    assert drawn(out).new < COUNT
    assert out.read_bytes() == whole


def test_a_finished_set_is_left_alone(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "people.zip"
    out.write_bytes(whole)
    draw_as(monkeypatch, lambda *_: pytest.fail("drew"))
    assert cli.run([*words(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pictures_per_second"] == 0
    assert f"{out}: all 3 pictures are there already" in captured.err
    assert out.read_bytes() == whole


def test_a_finished_zip_grows(whole: bytes, tmp_path: Path) -> None:
    drawn(tmp_path / "five.zip", 5)
    out = tmp_path / "people.zip"
    out.write_bytes(whole)
    assert drawn(out, 5).new == 2
    assert out.read_bytes() == (tmp_path / "five.zip").read_bytes()


def test_a_growing_that_was_stopped_leaves_the_finished_zip_and_goes_on(whole: bytes, tmp_path: Path) -> None:
    drawn(tmp_path / "five.zip", 5)
    out = tmp_path / "people.zip"
    out.write_bytes(whole)
    assert not broken_off(out, 4, 5).finished
    assert out.read_bytes() == whole
    assert drawn(out).new == 0  # the smaller one is still complete, and its growing is not lost
    assert drawn(out, 5).new == 1
    assert out.read_bytes() == (tmp_path / "five.zip").read_bytes()


def test_a_damaged_zip_is_not_added_to(whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    damaged = bytearray(whole)
    damaged[200] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"cannot be added to \(its 000000\.png is damaged\)"):
        drawn(out, 5)
    assert out.read_bytes() == damaged


def test_an_unfinished_set_may_become_smaller_or_larger(whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    broken_off(out, 4, 5)
    assert drawn(out).new == 0
    assert out.read_bytes() == whole


# ---- refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 8}, "seed: 7 -> 8"),
        ({"resolution": 17}, "resolution: 16 -> 17"),
        ({"format": "webp"}, "format: 'png' -> 'webp'"),
        ({"count": 2}, "count: 3 -> 2"),
    ],
    ids=str,
)
def test_a_finished_set_with_other_arguments_is_refused_with_the_difference(
    options: dict[str, Any], said: str, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people.zip"
    out.write_bytes(whole)
    assert cli.run(words(out, **options)) == 2
    assert said in capsys.readouterr().err
    assert out.read_bytes() == whole
    assert hidden(out) == []


def test_a_set_of_another_version_is_refused(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(tmp_path / "begun.zip", 2)
    (tmp_path / "people.zip").write_bytes(whole)
    newer = draw._Job(7, 16, "png", "9.9.9")
    monkeypatch.setattr(draw, "_Job", lambda *_: newer)
    for name in ("begun.zip", "people.zip"):
        with pytest.raises(UsageError, match=r"facegan: '.*' -> '9\.9\.9'"):
            drawn(tmp_path / name)


def test_an_unfinished_set_with_other_arguments_is_refused_and_kept(whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    broken_off(out, 2)
    with pytest.raises(UsageError, match=r"begun here with other arguments \(seed: 7 -> 8\); .*\.jsonl"):
        drawn(out, seed=8)
    assert drawn(out).new == 1
    assert out.read_bytes() == whole


def test_a_finished_folder_is_not_added_to(tmp_path: Path) -> None:
    drawn(tmp_path / "people")
    with pytest.raises(UsageError, match=r"count: 3 -> 5\); choose another name; to a zip one could add"):
        drawn(tmp_path / "people", 5)


@pytest.mark.parametrize("name", ["people.zip", "people"])
def test_what_is_no_set_of_people_is_not_touched(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "people":
        path.mkdir()
        path /= "letter.txt"
    path.write_text("words")
    with pytest.raises(UsageError, match="is there already, and is no set of people"):
        drawn(tmp_path / name)
    assert path.read_text() == "words"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    assert drawn(tmp_path / "people").finished


def test_a_second_process_at_the_same_set_is_refused(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".people.zip.partial.lock"),
        pytest.raises(UsageError, match="another process is drawing it"),
    ):
        drawn(tmp_path / "people.zip")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolution": 15}, "resolution 15: 16 to 1024"),
        ({"resolution": 1025}, "resolution 1025: 16 to 1024"),
        ({"count": 0}, "count 0: 1 to 10,000,000"),
        ({"count": 10_000_001}, "count 10000001: 1 to 10,000,000"),
        ({"seed": -1}, "seed -1: 0 to 2**63 - 1"),
        ({"workers": 0}, "workers 0: 1 to 256"),
        ({"workers": 257}, "workers 257: 1 to 256"),
        ({"format": "gif"}, "format 'gif': one of png, webp, jpg"),
        ({"count": "many"}, "'many' is not a whole number"),
    ],
    ids=str,
)
def test_wrong_use_is_one_line(
    options: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words(tmp_path / "people.zip", **options)) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("people.tar", "ends in .zip, or a folder's, which has no suffix"),
        ("..", "ends in .zip, or a folder's"),
        ("p" * 250 + ".zip", "too long"),
        ("file/people.zip", "choose another place"),
    ],
)
def test_a_wrong_place_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=said):
        drawn(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_set_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["people"]) == 2
    assert "OUT" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["numba", "scipy"])
def test_a_missing_package_names_the_extra(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(UsageError, match=r"extra people: pip install 'facegan\[people\]'.*" + missing):
        drawn(tmp_path / "people.zip")
    assert list(tmp_path.iterdir()) == []


def test_the_rasteriser_names_the_extra_in_the_same_words() -> None:
    assert draw.EXTRA_MISSING in Path(str(raster.__file__)).read_text()


def test_a_person_that_cannot_be_drawn_is_named(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(person: Person, resolution: int) -> Stub:
        if person == Person.sample(numpy_generator(7, 1, Purpose.PERSON)):
            raise ZeroDivisionError("no nose")
        return noise(person, resolution)

    out = tmp_path / "people.zip"
    draw_as(monkeypatch, fail)
    with pytest.raises(RuntimeError) as caught:
        drawn(out)
    assert str(caught.value) == "person 1 of seed 7 cannot be drawn: ZeroDivisionError: no nose"
    draw_as(monkeypatch, noise)
    assert drawn(out).new == 2
    assert out.read_bytes() == whole


def test_too_little_memory_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(person: Person, resolution: int) -> Stub:
        raise MemoryError

    draw_as(monkeypatch, fail)
    assert cli.run(words(tmp_path / "people.zip")) == 1
    assert "not enough memory; what is drawn is kept" in capsys.readouterr().err


# ---- progress


def test_a_slow_first_picture_is_explained_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "SLOW_START_SECONDS", 0.0)
    with terminal.pace("pictures", "compiling") as advance:
        advance(0, 3)
        deadline = time.monotonic() + 10
        err = ""
        while "compiling" not in err and time.monotonic() < deadline:
            err += capfd.readouterr().err
        advance(1, 3)
        advance(2, 3)
        advance(3, 3)
    err += capfd.readouterr().err
    assert err.count("compiling") == 1
    assert "3 of 3 pictures" in err


def test_the_rate_is_that_of_new_pictures_after_the_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 100 on: the first new one after 40 s of compiling, then 22 in 11 s; so 77 take 38.5 s."""
    clock: Iterator[float] = iter([0.0, 40.0, 40.5, 41.0, 51.0])
    monkeypatch.setattr(terminal, "monotonic", lambda: next(clock))
    with terminal.pace("pictures", "compiling") as advance:
        for done in (100, 101, 102, 103, 123):
            advance(done, 200)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "100 of 200 pictures"
    assert lines[-1] == "123 of 200 pictures  2.0 pictures/s  ETA 0:00:38"


# ---- real processes

STUB = """
import os, signal, sys, time, types
module = types.ModuleType("facegan.people.render")
def render(person, resolution):
    import numpy as np
    random = np.random.default_rng(person.seed)
    image = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    BODY
    return types.SimpleNamespace(image=image, landmarks=random.uniform(0, resolution, (68, 2)))
module.render = render
sys.modules["facegan.people.render"] = module
"""


def environment(folder: Path, body: str = "pass") -> dict[str, str]:
    """One in which every new process draws noise, and does something besides."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(STUB.replace("BODY", body))
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def command(out: Path, **options: object) -> list[str]:
    return [sys.executable, "-m", "facegan", *words(out, **options)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_the_set_does_not_depend_on_the_number_of_workers(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on which of them is fast."""
    drawn(tmp_path / "one.zip", 40)
    body = "time.sleep(random.uniform(0, 0.02))"
    env = environment(tmp_path / "stub", body.replace("random", "np.random"))
    subprocess.run(command(tmp_path / "more.zip", count=40, workers=workers), env=env, check=True, timeout=60)
    assert (tmp_path / "more.zip").read_bytes() == (tmp_path / "one.zip").read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_command_with_a_line(whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    env = environment(tmp_path / "stub", "os.kill(os.getpid(), signal.SIGKILL)")
    result = subprocess.run(
        command(out, workers=2), env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "facegan: " in result.stderr.splitlines()[-1]
    assert "a worker process died" in result.stderr.splitlines()[-1]
    drawn(out)
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle_loses_little_and_leaves_no_process(
    number: signal.Signals, workers: int, tmp_path: Path
) -> None:
    """Ctrl-C goes to all processes of a terminal, kill to one."""
    drawn(tmp_path / "whole.zip", 200)
    out = tmp_path / "people.zip"
    env = environment(
        tmp_path / "stub", f"time.sleep(0.02); open({str(tmp_path)!r} + f'/pid-{{os.getpid()}}', 'w')"
    )
    process = subprocess.Popen(
        command(out, count=200, workers=workers), env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 30
    journal = partials(out)[1]
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = journal.read_bytes().count(b"\n") - 1
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 0, err
        assert b"go on with: facegan people" in err
        assert b"Traceback" not in err
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == workers
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)
    result = drawn(out, 200)
    assert result.new <= 200 - before
    assert out.read_bytes() == (tmp_path / "whole.zip").read_bytes()


@pytest.mark.slow
def test_a_worker_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np, facegan.people.draw, facegan.people.labels, facegan.people.population;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_renderer_really_draws_the_same_set_in_two_processes(tmp_path: Path) -> None:
    for workers in (1, 2):
        drawn(tmp_path / f"{workers}.zip", 6, workers=workers)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


@pytest.mark.slow
def test_landmarks_really_lie_on_the_face_in_the_68_point_layout(tmp_path: Path) -> None:
    """x right, y down, in pixels: brows above eyes above nose above mouth, the picture's left first."""
    draw_people(tmp_path / "people", count=8, resolution=32, seed=1, workers=1)
    lines = (tmp_path / "people" / "metadata.jsonl").read_text().splitlines()
    for labels in map(json.loads, lines):
        points = np.array(labels["landmarks"])
        groups = ((17, 22), (36, 42), (42, 48), (48, 60))
        brow, eye, other_eye, mouth = (points[start:end].mean(axis=0) for start, end in groups)
        assert brow[1] < eye[1] < points[30][1] < mouth[1] < points[8][1]
        assert eye[0] < mouth[0] < other_eye[0]
        assert points[0][0] < points[8][0] < points[16][0]
        # FFHQ's crop: its centre is between the eyes, a tenth of the way down to the mouth
        between = (eye + other_eye) / 2
        np.testing.assert_allclose(between + 0.1 * (mouth - between), 16, atol=2)
