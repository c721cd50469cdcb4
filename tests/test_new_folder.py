"""A folder appears with all that is in it, or not at all; a file has one writer's content, never two.

What killed processes leave behind goes, and nothing else.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from facegan.config import UsageError
from facegan.files import MAX_PARTIAL_SECONDS, clear_partial, new_folder, replaced, require_empty


def fill(out: Path) -> None:
    require_empty(out, "--out")
    with new_folder(out) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_text("a")
        assert not (out / "inner").exists()


@pytest.mark.parametrize("place", ["new", "deep/new", "empty", ".", "link"])
def test_it_is_filled_whatever_it_was(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "empty").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to("empty")
    monkeypatch.chdir(tmp_path / "here" / "empty" if place == "." else tmp_path / "here")
    fill(Path(place))
    assert (Path(place) / "inner" / "a").read_text() == "a"
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize("there", [False, True])
def test_a_block_that_fails_leaves_nothing(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fails() -> None:
        with new_folder(out) as folder:
            (folder / "a").touch()
            raise RuntimeError

    if there:
        out.mkdir()
    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.rglob("*")) == [out] * there


def test_a_folder_that_is_there_is_filled_from_within(tmp_path: Path) -> None:
    """It may be a disk of its own, or lie in a folder that nobody may write to."""
    out = tmp_path / "out"
    out.mkdir()
    with new_folder(out) as folder:
        (folder / "a").touch()
        assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_process_left_is_not_in_the_way(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = out / ".partial" if there else tmp_path / ".out.partial"
    left.mkdir(parents=True)
    (left / "half").touch()
    fill(out)
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "inner", "a"}


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="has files in it"):
        fill(tmp_path)


def test_two_writers_of_a_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replaced(path) as first:
        first.write_text("first")
        with replaced(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def half_written(path: Path, seconds: float = 0.0) -> Path:
    """What a process leaves that was killed so long ago while it wrote the file."""
    with replaced(path) as temporary:
        temporary.touch()
    path.unlink()
    temporary.write_bytes(b"half")
    os.utime(temporary, (time.time() - seconds,) * 2)
    return temporary


def test_only_what_was_left_half_written_is_cleared(tmp_path: Path) -> None:
    for name in ("a.png", "b.c.safetensors", "d", "e f[1].pt"):
        half_written(tmp_path / name)
    (tmp_path / ".site.partial").mkdir()
    (tmp_path / ".site.01234567.partial").mkdir()
    kept = {
        ".faces.zip.partial.zip",
        ".faces.zip.partial.jsonl",
        ".mine.partial.txt",
        ".a.0123456g.partial.png",
    }
    kept |= {"a.01234567.partial.png", ".a.01234567.partial.png.txt"}
    for name in kept:
        (tmp_path / name).touch()
    clear_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept | {".site.partial", ".site.01234567.partial"}


def test_of_one_file_only_its_own_is_cleared(tmp_path: Path) -> None:
    own, other = half_written(tmp_path / "[a]b.pt"), half_written(tmp_path / "b.pt")
    clear_partial(tmp_path, "[a]")
    assert (own.exists(), other.exists()) == (False, True)


def test_what_was_left_a_day_ago_goes_when_another_file_is_written_beside_it(tmp_path: Path) -> None:
    old, young = tmp_path / "old.onnx", tmp_path / "young.onnx"
    (tmp_path / "in").mkdir()
    left = [half_written(old, MAX_PARTIAL_SECONDS + 60), half_written(young, MAX_PARTIAL_SECONDS - 60)]
    moved = [path.rename(tmp_path / "in" / path.name) for path in left]
    with replaced(tmp_path / "in" / "new.onnx") as temporary:
        temporary.touch()
    assert [path.exists() for path in moved] == [False, True]
