"""Folders with circles of links, dangling links, pipes, and what may not be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_data import GOOD, folder_of, opened

from facegan.config import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, and sub/b.png."""
    folder = folder_of({"a.png": GOOD}, tmp_path)
    (folder / "sub").mkdir()
    (folder / "sub" / "b.png").write_bytes(GOOD)
    return folder


ALREADY = "leads to a folder that is read already"


@pytest.mark.parametrize("target", ["..", "."])
def test_links_in_a_circle_are_followed_once(folder: Path, target: str) -> None:
    (folder / "sub" / "loop").symlink_to(target, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"sub/loop": ALREADY})


def test_circle_through_a_folder_outside_ends(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(GOOD)
    (outside / "back").symlink_to(folder, target_is_directory=True)
    (folder / "out").symlink_to(outside, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "out/c.png", "sub/b.png"], {"out/back": ALREADY})


def test_second_link_to_a_folder_is_named(folder: Path) -> None:
    (folder / "again").symlink_to(folder / "sub", target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"again": ALREADY})


def test_two_links_to_a_folder_outside_are_read_once(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(GOOD)
    for name in ("one", "two"):
        (folder / name).symlink_to(outside, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "one/c.png", "sub/b.png"], {"two": ALREADY})


def test_dangling_link_is_named(folder: Path) -> None:
    (folder / "x.png").symlink_to("nowhere.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"x.png": "a link to nothing"})


def test_links_to_each_other_are_named(folder: Path) -> None:
    (folder / "x.png").symlink_to("y.png")
    (folder / "y.png").symlink_to("x.png")
    assert sorted(opened(folder).skipped) == ["x.png", "y.png"]


def test_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png"], {"sub": "Permission denied"})


def test_data_folder_that_cannot_be_listed_is_a_usage_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=r"pictures: no pictures in it .*Permission denied"):
        opened(folder)


def test_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    data = opened(folder)
    assert (data.names, data.skipped) == (["sub/b.png"], {"a.png": "Permission denied"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_with_a_picture_s_name_is_named_and_not_waited_on(folder: Path) -> None:
    os.mkfifo(folder / "x.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"x.png": "neither a file nor a folder"})


def test_folder_with_a_picture_s_name_is_a_folder(folder: Path) -> None:
    (folder / "sub").rename(folder / "sub.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub.png/b.png"], {})
