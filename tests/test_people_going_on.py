"""`facegan people` broken off: stopped, killed or out of room, a set goes on to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from drawn_people import COUNT, Stub, broken_off, draw_as, drawn, hidden, noise, partials, words
from faulty_disk import FaultyDisk, Killed, full, read_only

from facegan import cli
from facegan.config import UsageError
from facegan.people.person import Person

FAULTS: dict[str, Callable[[], OSError]] = {"full": full, "read-only": read_only}
pytestmark = pytest.mark.usefixtures("drawn_as_noise")


def test_a_stopped_set_goes_on_where_it_was(whole_set: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    first = broken_off(out, 2)
    assert (first.pictures, first.new, first.finished) == (2, 2, False)
    assert not out.exists()
    again = drawn(out)
    assert (again.pictures, again.new, again.finished) == (3, 1, True)
    assert out.read_bytes() == whole_set
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
def test_what_is_damaged_is_drawn_again(which: int, damage: str, whole_set: bytes, tmp_path: Path) -> None:
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
    assert out.read_bytes() == whole_set


def test_any_changed_byte_of_an_unfinished_set_is_found(whole_set: bytes, tmp_path: Path) -> None:
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
            assert out.read_bytes() == whole_set, f"{which}: {place}"
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
    fault: str, whole_set: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
        assert out.read_bytes() == whole_set, f"failed at {at}: {disk.operations[-1]}"


def test_a_full_disk_is_one_line_and_exit_1(
    whole_set: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people.zip"
    with Disk(12, full()):
        assert cli.run(words(out)) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"facegan: {out}: No space left on device; what is drawn is kept")
    assert drawn(out).new < COUNT
    assert out.read_bytes() == whole_set


def test_a_finished_set_is_left_alone(
    whole_set: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "people.zip"
    out.write_bytes(whole_set)
    draw_as(monkeypatch, lambda *_: pytest.fail("drew"))
    assert cli.run([*words(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pictures_per_second"] == 0
    assert f"{out}: all 3 pictures are there already" in captured.err
    assert out.read_bytes() == whole_set


def test_a_finished_zip_grows(whole_set: bytes, tmp_path: Path) -> None:
    drawn(tmp_path / "five.zip", 5)
    out = tmp_path / "people.zip"
    out.write_bytes(whole_set)
    assert drawn(out, 5).new == 2
    assert out.read_bytes() == (tmp_path / "five.zip").read_bytes()


def test_a_growing_that_was_stopped_leaves_the_finished_zip_and_goes_on(
    whole_set: bytes, tmp_path: Path
) -> None:
    drawn(tmp_path / "five.zip", 5)
    out = tmp_path / "people.zip"
    out.write_bytes(whole_set)
    assert not broken_off(out, 4, 5).finished
    assert out.read_bytes() == whole_set
    assert drawn(out).new == 0  # the smaller one is still complete, and its growing is not lost
    assert drawn(out, 5).new == 1
    assert out.read_bytes() == (tmp_path / "five.zip").read_bytes()


def test_a_damaged_zip_is_not_added_to(whole_set: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    damaged = bytearray(whole_set)
    damaged[200] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"cannot be added to \(its 000000\.png is damaged\)"):
        drawn(out, 5)
    assert out.read_bytes() == damaged


def place_of(name: bytes, data: bytes) -> int:
    """Where the directory's entry of that name begins; the name is at its byte 46 (APPNOTE 4.3.12)."""
    place = data.rindex(name) - 46
    assert data[place : place + 4] == b"PK\x01\x02"
    return place


def test_a_zip_with_an_encrypted_picture_is_not_added_to(whole_set: bytes, tmp_path: Path) -> None:
    out, encrypted = tmp_path / "people.zip", bytearray(whole_set)
    encrypted[place_of(b"000001.png", whole_set) + 8] |= 1
    out.write_bytes(encrypted)
    with pytest.raises(UsageError, match=r"cannot be added to \(File '000001\.png' is encrypted"):
        drawn(out, 5)
    assert out.read_bytes() == encrypted


@pytest.mark.parametrize("damage", ["encrypted", "changed bytes"])
def test_a_zip_whose_description_cannot_be_read_is_no_set(
    damage: str, whole_set: bytes, tmp_path: Path
) -> None:
    out, changed = tmp_path / "people.zip", bytearray(whole_set)
    entry = place_of(b"people.json", whole_set)
    if damage == "encrypted":
        changed[entry + 8] |= 1
    else:
        packed = int.from_bytes(whole_set[entry + 42 : entry + 46], "little") + 30 + len("people.json")
        changed[packed : packed + 4] = b"\xff" * 4  # no kind of deflated block begins so
    out.write_bytes(changed)
    with pytest.raises(UsageError, match="is there already, and is no set of people"):
        drawn(out, 5)
    assert out.read_bytes() == changed


def test_an_unfinished_set_may_become_smaller_or_larger(whole_set: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    broken_off(out, 4, 5)
    assert drawn(out).new == 0
    assert out.read_bytes() == whole_set
