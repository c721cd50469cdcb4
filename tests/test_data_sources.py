"""Where training data comes from: files that are pictures, label files, folders as classes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_data import folder_of, opened, shaded_pictures, write_picture, zipped

from facegan.config import UsageError
from facegan.data.source import open_source

BROKEN = b"no picture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, 0.png to 5.png."""
    return shaded_pictures(tmp_path)


def test_celeba_s_window_is_no_rectangle(folder: Path) -> None:
    with pytest.raises(UsageError, match="crop celeba: it cuts squares, and 10x8 pixels are asked for"):
        opened(folder, crop="celeba", resolution=(10, 8))


def test_picture_of_the_wrong_size_for_celeba_is_skipped_with_its_reason(folder: Path) -> None:
    Image.new("RGB", (178, 218)).save(folder / "aligned.png")
    data = opened(folder, crop="celeba")
    assert data.names == ["aligned.png"]
    assert "8x8 pixels" in data.skipped["0.png"]


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_nothing_usable_is_a_usage_error_with_the_first_reason(tmp_path: Path, limit: float) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "in" / name).write_text("words")
    with pytest.raises(UsageError, match=r"none of its 2 pictures is usable; a\.png: "):
        opened(tmp_path / "in", limit=limit)


def test_folder_without_pictures_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures in it"):
        opened(folder_of({"notes.txt": b"words"}, tmp_path))


def test_zip_without_pictures_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="no pictures in it"):
        opened(zipped(tmp_path / "in", tmp_path / "a.zip"))


def test_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*no such folder or zip file; `starter`"):
        opened(tmp_path / "nowhere")


def test_hidden_files_and_other_files_are_left_out(folder: Path) -> None:
    write_picture(folder / ".hidden.png", 1)
    write_picture(folder / ".thumbnails" / "0.png", 1)
    (folder / "readme.txt").write_text("words")
    assert [entry.name for entry in open_source(folder).pictures] == [f"{n}.png" for n in range(6)]


def test_hidden_files_of_a_zip_are_left_out(folder: Path, tmp_path: Path) -> None:
    # a Mac's zip of a folder has a __MACOSX/._NAME beside each NAME
    archive = zipped(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as file:
        for name in (".hidden.png", ".thumbnails/0.png", "__MACOSX/._0.png"):
            file.writestr(name, b"\0\5\x16\7")
    with open_source(archive) as source:
        assert [entry.name for entry in source.pictures] == [f"{n}.png" for n in range(6)]


@pytest.mark.parametrize("name", ["a.PNG", "a.jpg", "a.JPEG", "a.webp"])
def test_suffixes_are_known_in_either_case(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, 1)
    assert [entry.name for entry in open_source(tmp_path).pictures] == [name]


# ---- labels


METADATA = '{"file_name": "0.png", "age": 30}\n{"file_name": "1.png", "smile": true}\n'
BROKEN_LINES = 'words\n\n[1]\n{"age": 3}\n{"file_name": "0.png", "a\n{"file_name": "1.png", "smile": true}'
CELEBA = "2\nSmiling Young\n0.png  1 -1\n1.png -1 -1\n"
CELEBA_0, CELEBA_1 = {"Smiling": True, "Young": False}, {"Smiling": False, "Young": False}

# file, content, and the labels that it gives to pictures 0 and 1; the others have none
LABEL_FILES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "metadata": ("metadata.jsonl", METADATA, {"age": 30}, {"smile": True}),
    "metadata, broken lines": ("metadata.jsonl", BROKEN_LINES, {}, {"smile": True}),
    "metadata, U+2028 in a text": (
        "metadata.jsonl",
        '{"file_name": "0.png", "caption": "a\u2028b"}\n',
        {"caption": "a\u2028b"},
        {},
    ),
    "metadata of other pictures": ("metadata.jsonl", '{"file_name": "x.png", "age": 3}', {}, {}),
    "NVIDIA": ("dataset.json", '{"labels": [["0.png", 3], ["1.png", 0]]}', {"class": 3}, {"class": 0}),
    "NVIDIA, one-hot": (
        "dataset.json",
        '{"labels": [["0.png", [0.0, 0.0, 1.0]], ["1.png", [1, 0, 0]]]}',
        {"class": 2},
        {"class": 0},
    ),
    "NVIDIA, no labels": ("dataset.json", '{"labels": null}', {}, {}),
    "NVIDIA, broken": ("dataset.json", '{"labels": [["0.png"', {}, {}),
    "CelebA": ("list_attr_celeba.txt", CELEBA, CELEBA_0, CELEBA_1),
    "CelebA, short line": ("list_attr_celeba.txt", CELEBA[:-4], CELEBA_0, {}),
    "CelebA, empty": ("list_attr_celeba.txt", "", {}, {}),
}


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", LABEL_FILES)
def test_label_files_are_read(folder: Path, tmp_path: Path, case: str, as_zip: bool) -> None:
    name, content, *expected = LABEL_FILES[case]
    (folder / name).write_text(content, encoding="utf-8")
    data = opened(zipped(folder, tmp_path / "a.zip") if as_zip else folder)
    assert data.labels == [*expected, {}, {}, {}, {}]


def test_labels_of_several_files_are_joined(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text(METADATA)
    (folder / "list_attr_celeba.txt").write_text(CELEBA)
    assert opened(folder).labels[0] == {"age": 30, "Smiling": True, "Young": False}


def test_labels_follow_the_names_past_a_skipped_picture(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text(METADATA)
    (folder / "0.png").write_bytes(BROKEN)
    assert opened(folder).labels == [{"smile": True}, {}, {}, {}, {}]


def test_labels_find_pictures_in_a_sub_folder_by_their_base_name(folder: Path) -> None:
    write_picture(folder / "img_align_celeba" / "000001.png", 1)
    (folder / "metadata.jsonl").write_text('{"file_name": "000001.png", "age": 5}')
    assert opened(folder).labels[-1] == {"age": 5}


def test_each_split_has_its_own_label_file(tmp_path: Path) -> None:
    """As Hugging Face's imagefolder names them: relative to the file's own folder."""
    folder = tmp_path / "in"
    for name in ("test/0.png", "train/0.png", "train/more/0.png"):
        write_picture(folder / name, 1)
    (folder / "test" / "metadata.jsonl").write_text('{"file_name": "0.png", "age": 1}\n')
    lines = '{"file_name": "0.png", "age": 2}\n{"file_name": "more/0.png", "age": 3}\n'
    (folder / "train" / "metadata.jsonl").write_text(lines + '{"file_name": "x.png", "age": 4}\n')
    for path in (folder, zipped(folder, tmp_path / "a.zip")):
        data = opened(path)
        assert data.labels == [{"age": 1}, {"age": 2}, {"age": 3}]
        assert data.label_problems == {"train/metadata.jsonl, line 3": "labels 'x.png', which is not there"}


def test_the_label_file_nearest_to_a_picture_has_the_last_word(tmp_path: Path) -> None:
    for name in ("test/0.png", "train/0.png"):
        write_picture(tmp_path / "in" / name, 1)
    line = '{"file_name": "%s", "age": %d, "by": "%s"}\n'
    top = line % ("test/0.png", 1, "top") + line % ("train/0.png", 2, "top")
    (tmp_path / "in" / "metadata.jsonl").write_text(top)
    (tmp_path / "in" / "train" / "metadata.jsonl").write_text('{"file_name": "0.png", "by": "train"}')
    assert opened(tmp_path / "in").labels == [{"age": 1, "by": "top"}, {"age": 2, "by": "train"}]


def test_a_label_file_in_a_folder_without_pictures_is_none_of_the_set_s(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        write_picture(tmp_path / "in" / name, 1)
    (tmp_path / "in" / "notes").mkdir()
    (tmp_path / "in" / "notes" / "metadata.jsonl").write_text('{"file_name": "1.png", "age": 3}')
    data = opened(tmp_path / "in")
    assert (data.labels, data.label_problems) == ([{"class": "cat"}, {"class": "dog"}], {})


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/old/1.png"):
        write_picture(tmp_path / "in" / name, 1)
    assert opened(tmp_path / "in").labels == [{"class": "cat"}, {"class": "cat"}, {"class": "dog"}]


def test_a_single_sub_folder_is_no_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "faces" / "1.png", 1)
    assert opened(tmp_path / "in").labels == [{}]
