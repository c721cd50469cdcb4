"""A folder appears with all that is in it, or not at all; a file has one writer's content, never two."""

from __future__ import annotations

from pathlib import Path

import pytest

from facegan.config import UsageError
from facegan.files import new_folder, replaced, require_empty


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


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


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
