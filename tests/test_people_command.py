"""`facegan people`: what is in a set, refusals in one line, progress, and train can read it."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import one_line
from drawn_people import COUNT, EXTRAS, Stub, broken_off, draw_as, drawn, hidden, noise, words
from filelock import FileLock
from PIL import Image

from facegan import cli, terminal
from facegan.config import UsageError
from facegan.data import DataConfig, open_dataset
from facegan.images import read_provenance
from facegan.people import draw, raster
from facegan.people.draw import FORMATS
from facegan.people.person import Person
from facegan.people.picture_set import growing
from facegan.randomness import Purpose, numpy_generator

pytestmark = pytest.mark.usefixtures("drawn_as_noise")


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


def test_a_folder_holds_what_a_zip_holds(whole_set: bytes, tmp_path: Path) -> None:
    drawn(tmp_path / "people")
    with zipfile.ZipFile(io.BytesIO(whole_set)) as file:
        expected = {name: file.read(name) for name in file.namelist()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "people").iterdir()} == expected
    assert hidden(tmp_path / "people") == []


def test_the_command_writes_what_the_python_api_writes(
    whole_set: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    assert out.read_bytes() == whole_set


@pytest.mark.parametrize("kind", ["people.zip", "people"])
def test_training_reads_a_set_with_its_labels(kind: str, tmp_path: Path) -> None:
    drawn(tmp_path / kind)
    data = open_dataset(DataConfig(str(tmp_path / kind), mirror=False), resolution=16)
    assert data.names == ["000000.png", "000001.png", "000002.png"]
    assert data.label_problems == {}
    assert data.skipped == {}
    person = Person.numbered(7, 2)
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
    person = Person.numbered(7, 0)
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
    options: dict[str, Any], said: str, whole_set: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people.zip"
    out.write_bytes(whole_set)
    assert cli.run(words(out, **options)) == 2
    assert said in capsys.readouterr().err
    assert out.read_bytes() == whole_set
    assert hidden(out) == []


def test_a_set_of_another_version_is_refused(
    whole_set: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(tmp_path / "begun.zip", 2)
    (tmp_path / "people.zip").write_bytes(whole_set)
    newer = draw._Job(7, 16, "png", "9.9.9")
    monkeypatch.setattr(draw, "_Job", lambda *_: newer)
    for name in ("begun.zip", "people.zip"):
        with pytest.raises(UsageError, match=r"facegan: '.*' -> '9\.9\.9'"):
            drawn(tmp_path / name)


def test_an_unfinished_set_with_other_arguments_is_refused_and_kept(whole_set: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    broken_off(out, 2)
    with pytest.raises(UsageError, match=r"begun here with other arguments \(seed: 7 -> 8\); .*\.jsonl"):
        drawn(out, seed=8)
    assert drawn(out).new == 1
    assert out.read_bytes() == whole_set


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
    assert said in one_line(capsys, words(tmp_path / "people.zip", **options))
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


def test_by_itself_a_machine_of_many_cores_gets_no_more_workers_than_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "usable_cores", lambda: draw.MAX_WORKERS + 1)
    assert drawn(tmp_path / "people.zip", 1, workers=None).finished


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
    said = "drawing people needs the extra people: {how_to_install('people')}"
    assert all(said in Path(str(module.__file__)).read_text() for module in (draw, raster))


def test_a_person_that_cannot_be_drawn_is_named(
    whole_set: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(person: Person, resolution: int) -> Stub:
        if person == Person.numbered(7, 1):
            raise ZeroDivisionError("no nose")
        return noise(person, resolution)

    out = tmp_path / "people.zip"
    draw_as(monkeypatch, fail)
    with pytest.raises(RuntimeError) as caught:
        drawn(out)
    assert str(caught.value) == "person 1 of seed 7 cannot be drawn: ZeroDivisionError: no nose"
    draw_as(monkeypatch, noise)
    assert drawn(out).new == 2
    assert out.read_bytes() == whole_set


def test_too_little_memory_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(person: Person, resolution: int) -> Stub:
        raise MemoryError

    draw_as(monkeypatch, fail)
    assert cli.run(words(tmp_path / "people.zip")) == 1
    assert "not enough memory; what is drawn is kept" in capsys.readouterr().err


# ---- progress


def test_a_slow_first_picture_is_explained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    explained = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if line == "compiling":
            explained.set()

    monkeypatch.setattr(terminal, "SLOW_START_SECONDS", 0.0)
    monkeypatch.setattr(terminal, "say", say)
    with terminal.pace("pictures", "compiling") as advance:
        advance(0, 3)
        assert explained.wait(10)
        for done in (1, 2, 3):
            advance(done, 3)
    assert lines.count("compiling") == 1
    assert lines[-1].startswith("3 of 3 pictures")


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
