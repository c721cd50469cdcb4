"""Data sets that are not quite right: zips of a folder, damaged label files, damaged cache indices."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from small_data import opened

from facegan.config import UsageError


def zip_of(pictures: Path, path: Path, names: list[str], extra: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.write(pictures / f"{number:02d}.png", name)
        for name, content in extra.items():
            archive.writestr(name, content)
    return path


def test_a_zip_of_a_folder_keeps_its_labels(picture_folder: Path, tmp_path: Path) -> None:
    line = b'{"file_name": "b.png", "age": 7}'
    path = zip_of(
        picture_folder, tmp_path / "z.zip", ["faces/a.png", "faces/b.png"], {"faces/metadata.jsonl": line}
    )
    assert opened(path).labels == [{}, {"age": 7}]


def test_a_zip_of_a_folder_keeps_its_classes(picture_folder: Path, tmp_path: Path) -> None:
    path = zip_of(picture_folder, tmp_path / "z.zip", ["faces/cat/a.png", "faces/dog/b.png"], {})
    assert opened(path).labels == [{"class": "cat"}, {"class": "dog"}]


def test_a_byte_order_mark_costs_no_labels(picture_folder: Path, tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"file_name": "a.png", "age": 7}'
    path = zip_of(picture_folder, tmp_path / "z.zip", ["a.png"], {"metadata.jsonl": content})
    assert opened(path).labels == [{"age": 7}]


def test_a_malformed_pair_costs_only_its_own_label(picture_folder: Path, tmp_path: Path) -> None:
    content = json.dumps({"labels": [["a.png", 1], "b.png", ["c.png", 3, 4], ["d.png", 2]]}).encode()
    path = zip_of(
        picture_folder, tmp_path / "z.zip", ["a.png", "b.png", "c.png", "d.png"], {"dataset.json": content}
    )
    assert opened(path).labels == [{"class": 1}, {}, {}, {"class": 2}]


def test_a_damaged_label_file_is_named(picture_folder: Path, tmp_path: Path) -> None:
    content = b'{"file_name": "a.png", "marker": "UNDAMAGED"}'
    path = zip_of(picture_folder, tmp_path / "z.zip", ["a.png"], {"metadata.jsonl": content})
    path.write_bytes(path.read_bytes().replace(b"UNDAMAGED", b"XXDAMAGED"))
    unlabelled = opened(path)  # training without labels does not need them
    with pytest.raises(UsageError, match=r"cannot read its metadata\.jsonl"):
        unlabelled.labels  # noqa: B018


@pytest.mark.parametrize("missing", ["key", "names", "skipped"])
def test_a_cache_index_without_a_field_is_built_anew(
    missing: str, picture_folder: Path, tmp_path: Path
) -> None:
    before = opened(picture_folder, tmp_path / "cache")
    (index_path,) = (tmp_path / "cache" / "datasets").glob("*.json")
    index = json.loads(index_path.read_text())
    del index[missing]
    index_path.write_text(json.dumps(index))
    assert opened(picture_folder, tmp_path / "cache").names == before.names
    assert missing in json.loads(index_path.read_text())


def test_changed_labels_are_read_without_decoding_a_picture_again(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"metadata.jsonl": b'{"file_name": "a.png", "age": 7}'}
    path = zip_of(picture_folder, tmp_path / "z.zip", ["a.png"], extra)
    before = opened(path).labels
    zip_of(picture_folder, path, ["a.png"], {"metadata.jsonl": b'{"file_name": "a.png", "age": 8}'})
    monkeypatch.setattr("facegan.data.stores.decode", None)
    after = opened(path).labels
    assert (before, after) == ([{"age": 7}], [{"age": 8}])


def test_labels_given_with_a_folder_are_not_for_its_neighbours(picture_folder: Path, tmp_path: Path) -> None:
    line = b'{"file_name": "cat/1.png", "age": 3}'
    path = zip_of(picture_folder, tmp_path / "z.zip", ["cat/1.png", "dog/1.png"], {"metadata.jsonl": line})
    assert opened(path).labels == [{"age": 3}, {}]


@pytest.mark.parametrize("content", [b'{"labels": 3}', b'{"labels": null}', b"[]", b"{"])
def test_a_dataset_json_of_another_form_gives_no_labels(
    content: bytes, picture_folder: Path, tmp_path: Path
) -> None:
    path = zip_of(picture_folder, tmp_path / "z.zip", ["a.png"], {"dataset.json": content})
    assert opened(path).labels == [{}]


def test_a_file_name_that_is_not_utf_8_is_read(picture_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (folder / name).write_bytes((picture_folder / "00.png").read_bytes())
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    assert opened(folder).names == [name]


def test_starter_is_the_shipped_set_whatever_lies_in_the_folder(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "starter").mkdir()
    (tmp_path / "starter" / "other.png").write_bytes((picture_folder / "00.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    shipped = zip_of(picture_folder, tmp_path / "shipped.zip", ["a.png", "b.png"], {})
    monkeypatch.setattr("facegan.data.dataset.STARTER_PATH", shipped)
    assert opened(Path("starter"), tmp_path / "cache").names == ["a.png", "b.png"]
