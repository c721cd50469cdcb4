"""The memory map of a data set: told by its key, and built anew where anything of it is not as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import any_json, fuzzed
from hypothesis import example, given
from hypothesis import strategies as st
from small_data import (
    SHADES,
    SIDE,
    encoded,
    flat,
    folder_of,
    opened,
    picture,
    shaded_pictures,
    shades,
    write_picture,
    zipped,
)

from facegan.data import stores

BROKEN = b"no picture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, 0.png to 5.png."""
    return shaded_pictures(tmp_path)


# ---- its key


def test_second_open_does_not_decode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "2.png").write_bytes(BROKEN)
    first = opened(folder)
    monkeypatch.setattr(stores, "decode", None)  # any call would fail, and leave no usable picture
    second = opened(folder)
    assert shades(second.pictures(range(5))) == [0, 40, 120, 160, 200]
    assert second.skipped == first.skipped


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda folder: (folder / "0.png").write_bytes((folder / "1.png").read_bytes() + bytes(1000)),
    "touched": lambda folder: os.utime(folder / "0.png", ns=(1, 1)),
    "renamed": lambda folder: (folder / "0.png").rename(folder / "00.png"),  # which keeps its place
    "added": lambda folder: write_picture(folder / "new.png", 50),
    "removed": lambda folder: (folder / "0.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_key_changes_with_a_file(folder: Path, change: str) -> None:
    before = opened(folder).key
    CHANGES[change](folder)
    assert opened(folder).key != before


@pytest.mark.parametrize("options", [{"resolution": 4}, {"crop": "pad"}, {"channels": 1}])
def test_key_changes_with_how_pictures_are_cut(folder: Path, options: dict[str, Any]) -> None:
    assert opened(folder, **options).key != opened(folder).key


def test_key_does_not_depend_on_place_and_mirroring(folder: Path, tmp_path: Path) -> None:
    before = opened(folder, mirror=True).key
    assert opened(folder.rename(tmp_path / "elsewhere")).key == before


def test_changed_zip_member_changes_the_key(folder: Path, tmp_path: Path) -> None:
    before = opened(zipped(folder, tmp_path / "a.zip")).key
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    assert opened(zipped(folder, tmp_path / "a.zip")).key != before


def test_changed_picture_is_read_anew(folder: Path) -> None:
    opened(folder)
    CHANGES["changed"](folder)
    assert shades(opened(folder).pictures([0, 1])) == [40, 40]


# ---- built anew


@pytest.mark.parametrize("name", ["*.json", "*.u8"])
def test_half_built_map_is_built_anew(folder: Path, tmp_path: Path, name: str) -> None:
    opened(folder)
    (file,) = tmp_path.glob(f"cache/datasets/{name}")
    file.unlink()
    assert shades(opened(folder).pictures(range(len(SHADES)))) == SHADES


def test_interrupted_build_leaves_no_index(folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(folder, progress=interrupt)
    assert not list(tmp_path.glob("cache/**/*.json"))


MAP_BYTES = 3 * 3 * SIDE**2  # of three pictures
MAPPED = {f"{number}.png": encoded(flat(40 * number)) for number in range(3)} | {"bad.png": b""}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three shades and a bad picture, whose map is built."""
    folder = folder_of(MAPPED, tmp_path_factory.mktemp("mapped"))
    opened(folder)
    return folder


def map_file(folder: Path, suffix: str) -> Path:
    (file,) = (folder.parent / "cache" / "datasets").glob(f"*.{suffix}")
    return file


def check_mapped(folder: Path) -> None:
    data = opened(folder)
    found = {name: int(picture(data, name).mean()) for name in data.names}
    assert found == {"0.png": 0, "1.png": 40, "2.png": 80}
    assert data.skipped == {"bad.png": "not a PNG, JPEG or WebP picture"}


@fuzzed
@given(field=st.sampled_from(["key", "names", "skipped"]), value=any_json)
def test_map_whose_index_holds_a_wrong_field_is_built_anew(mapped: Path, field: str, value: Any) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    map_file(mapped, "json").write_text(json.dumps(index | {field: value}))
    check_mapped(mapped)


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["1.png", "0.png", "2.png"]},
        {"names": ["0.png", "1.png", "x.png"]},
        {"names": ["0.png", "0.png", "1.png"]},
        {"names": "012"},
        {"names": {"0.png": 0, "1.png": 1, "2.png": 2}},
        {"skipped": {}},
        {"skipped": ["bad.png"]},
        {"skipped": {"bad.png": None}},
        {"skipped": {"x.png": "words"}},
        {"key": "of other pictures"},
    ],
)
def test_map_whose_index_names_other_pictures_is_built_anew(mapped: Path, wrong: dict[str, Any]) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    map_file(mapped, "json").write_text(json.dumps(index | wrong))
    check_mapped(mapped)


def test_map_of_no_pictures_is_built_anew(mapped: Path) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    everything_skipped = {"names": [], "skipped": dict.fromkeys(MAPPED, "words")}
    map_file(mapped, "json").write_text(json.dumps(index | everything_skipped))
    map_file(mapped, "u8").write_bytes(b"")
    check_mapped(mapped)


@fuzzed
@given(content=any_json.map(json.dumps).map(str.encode) | st.binary(max_size=60))
@example(content=b"")
@example(content=b'{"names": ["0.p')
@example(content=b'{"names": null}')
@example(content=b"[1, 2]")
@example(content=b"\xff\xfe\x00")
def test_map_with_any_other_index_is_built_anew(mapped: Path, content: bytes) -> None:
    map_file(mapped, "json").write_bytes(content)
    check_mapped(mapped)


@fuzzed
@given(length=st.integers(0, 10**6))
def test_map_whose_index_is_cut_is_built_anew(mapped: Path, length: int) -> None:
    content = map_file(mapped, "json").read_bytes()
    map_file(mapped, "json").write_bytes(content[: length % len(content)])
    check_mapped(mapped)


@fuzzed
@given(length=st.integers(0, 2 * MAP_BYTES))
@example(length=MAP_BYTES - 1)
@example(length=MAP_BYTES + 1)
def test_map_of_any_other_length_is_built_anew(mapped: Path, length: int) -> None:
    content = map_file(mapped, "u8").read_bytes()
    map_file(mapped, "u8").write_bytes(content[:length].ljust(length, b"\xaa"))
    check_mapped(mapped)
