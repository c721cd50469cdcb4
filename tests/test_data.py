"""Training data: sources, labels, the memory map, and the endless shuffled stream (facegan.data)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, open_dataset, stores
from facegan.data.dataset import STARTER_PATH
from facegan.data.source import open_source
from facegan.labels import label_space

NUM_PICTURES = 6
SHADES = [0, 40, 80, 120, 160, 200]
RAW_BYTES = NUM_PICTURES * 3 * 8 * 8
BROKEN = b"no picture"


def write_picture(path: Path, shade: int) -> None:
    """8x8 pixels: the left half is of that shade, the right half white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8, 3), 255, np.uint8)
    pixels[:, :4] = shade
    Image.fromarray(pixels).save(path)


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, 0.png to 5.png."""
    for number, shade in enumerate(SHADES):
        write_picture(tmp_path / "pictures" / f"{number}.png", shade)
    return tmp_path / "pictures"


Open = Callable[..., Dataset]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens a folder or zip at 8 px, with a cache of this test's own."""

    def call(
        path: Path, *, mirror: bool = True, crop: Any = "center", cache_limit_gb: float = 20.0, **options: Any
    ) -> Dataset:
        config = DataConfig(str(path), crop=crop, mirror=mirror, cache_limit_gb=cache_limit_gb)
        return open_dataset(config, **{"resolution": 8, "cache": tmp_path / "cache"} | options)

    return call


@pytest.fixture(scope="module")
def shared(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The 24 shared pictures, mirrored: 48."""
    cache = tmp_path_factory.mktemp("shared")
    return open_dataset(DataConfig(str(picture_folder)), resolution=4, cache=cache)


def shades(pictures: torch.Tensor) -> list[int]:
    """The shade of each picture: its smallest value, as the other half is white."""
    return pictures.amin(dim=(1, 2, 3)).tolist()


# ---- pictures


def test_pictures_are_those_of_the_files_in_the_order_of_their_names(folder: Path, opened: Open) -> None:
    expected = torch.full((NUM_PICTURES, 3, 8, 8), 255, dtype=torch.uint8)
    for number, shade in enumerate(SHADES):
        expected[number, :, :, :4] = shade
    assert torch.equal(opened(folder, mirror=False).pictures(range(NUM_PICTURES)), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [4, 16])
def test_pictures_have_the_shape_asked_for(
    folder: Path, opened: Open, channels: int, resolution: int
) -> None:
    pixels = opened(folder, channels=channels, resolution=resolution).pictures([0, 7])
    assert (pixels.shape, pixels.dtype) == ((2, channels, resolution, resolution), torch.uint8)


def test_pictures_need_not_be_square(folder: Path, opened: Open) -> None:
    dataset = opened(folder, resolution=(10, 8))
    assert dataset.pictures([0, 7]).shape == (2, 3, 10, 8)
    assert dataset.size == (10, 8)
    assert dataset.key not in {opened(folder, resolution=side).key for side in (8, 10, (8, 10))}


def test_label_vectors_are_those_of_the_pictures_mirrored_ones_too(folder: Path, opened: Open) -> None:
    lines = [{"file_name": f"{number}.png", "hat": ("cap", "none")[number % 2]} for number in range(6)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = opened(folder)
    space = label_space(["hat"], dataset.labels)
    vectors = dataset.label_vectors(space, [0, 1, 5, 6, 7])
    assert vectors.tolist() == [[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]
    other = label_space(["hat"], [{"hat": "none"}, {"hat": "fez"}])
    assert dataset.label_vectors(other, [0, 1]).tolist() == [[0, 0], [0, 1]]


def test_second_half_is_the_first_half_mirrored(shared: Dataset) -> None:
    half = len(shared) // 2
    first, second = shared.pictures(range(half)), shared.pictures(range(half, 2 * half))
    reversed_columns = torch.stack([first[..., column] for column in (3, 2, 1, 0)], dim=3)
    assert torch.equal(second, reversed_columns)


@pytest.mark.parametrize(("mirror", "count"), [(True, 12), (False, 6)])
def test_mirroring_doubles_the_set(folder: Path, opened: Open, mirror: bool, count: int) -> None:
    assert len(opened(folder, mirror=mirror)) == count


def test_unmirrored_stream_holds_no_mirrored_picture(folder: Path, opened: Open) -> None:
    batch = opened(folder, mirror=False).batch(0, 30, seed=0)
    assert (batch[..., 0] < batch[..., -1]).all()  # the shade stays left of the white


def test_folder_and_zip_give_identical_batches(folder: Path, opened: Open, tmp_path: Path) -> None:
    write_picture(folder / "more" / "a.png", 17)
    archive = zipped(folder, tmp_path / "pictures.zip")
    assert torch.equal(opened(folder).batch(3, 40, seed=1), opened(archive).batch(3, 40, seed=1))


@pytest.mark.parametrize("as_zip", [False, True])
def test_decoding_on_the_fly_gives_the_pictures_of_the_map(
    folder: Path, opened: Open, tmp_path: Path, as_zip: bool
) -> None:
    (folder / "3.png").write_bytes(BROKEN)
    path = zipped(folder, tmp_path / "pictures.zip") if as_zip else folder
    decoded, mapped = opened(path, cache_limit_gb=0.0), opened(path)
    assert torch.equal(decoded.batch(0, 40, seed=2), mapped.batch(0, 40, seed=2))
    assert (decoded.names, decoded.key) == (mapped.names, mapped.key)
    assert list(decoded.skipped) == ["3.png"]


@pytest.mark.parametrize(("limit_bytes", "map_bytes"), [(RAW_BYTES - 1, []), (RAW_BYTES, [RAW_BYTES])])
def test_set_above_the_cache_limit_writes_no_map(
    folder: Path, opened: Open, tmp_path: Path, limit_bytes: int, map_bytes: list[int]
) -> None:
    opened(folder, cache_limit_gb=limit_bytes / 1e9)
    assert [file.stat().st_size for file in tmp_path.glob("cache/**/*.u8")] == map_bytes


# ---- the stream


@settings(max_examples=20, deadline=None, derandomize=True)
@given(first=st.integers(0, 200), count=st.integers(0, 120), seed=st.integers(0, 3))
def test_batch_is_a_slice_of_the_stream_taken_one_by_one(
    shared: Dataset, first: int, count: int, seed: int
) -> None:
    one_by_one = [shared.batch(first + k, 1, seed) for k in range(count)]
    expected = torch.cat([torch.empty(0, 3, 4, 4, dtype=torch.uint8), *one_by_one])
    assert torch.equal(shared.batch(first, count, seed), expected)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(epoch=st.integers(0, 10**6), seed=st.integers(0, 2**32 - 1))
def test_every_epoch_holds_each_picture_once(shared: Dataset, epoch: int, seed: int) -> None:
    numbers = shared.stream(epoch * len(shared), len(shared), seed)
    assert sorted(numbers.tolist()) == list(range(48))


def test_batch_is_the_pictures_of_the_stream(shared: Dataset) -> None:
    numbers = shared.stream(40, 20, seed=3)
    expected = torch.cat([shared.pictures([number]) for number in numbers])
    assert torch.equal(shared.batch(40, 20, seed=3), expected)


def test_epochs_and_seeds_are_all_shuffled_differently(shared: Dataset) -> None:
    orders = {tuple(shared.stream(epoch * 48, 48, seed)) for epoch in range(5) for seed in range(5)}
    assert len(orders | {tuple(range(48))}) == 26  # of 48! orders, 25 draws and the sorted one


# ---- the memory map


def test_second_open_does_not_decode(folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "2.png").write_bytes(BROKEN)
    first = opened(folder, mirror=False)
    monkeypatch.setattr(stores, "decode", None)  # any call would fail, and leave no usable picture
    second = opened(folder, mirror=False)
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
def test_key_changes_with_a_file(folder: Path, opened: Open, change: str) -> None:
    before = opened(folder).key
    CHANGES[change](folder)
    assert opened(folder).key != before


@pytest.mark.parametrize("options", [{"resolution": 4}, {"crop": "pad"}, {"channels": 1}])
def test_key_changes_with_how_pictures_are_cut(folder: Path, opened: Open, options: dict[str, Any]) -> None:
    assert opened(folder, **options).key != opened(folder).key


def test_key_does_not_depend_on_place_and_mirroring(folder: Path, opened: Open, tmp_path: Path) -> None:
    before = opened(folder, mirror=True).key
    assert opened(folder.rename(tmp_path / "elsewhere"), mirror=False).key == before


def test_changed_zip_member_changes_the_key(folder: Path, opened: Open, tmp_path: Path) -> None:
    before = opened(zipped(folder, tmp_path / "a.zip")).key
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    assert opened(zipped(folder, tmp_path / "a.zip")).key != before


def test_changed_picture_is_read_anew(folder: Path, opened: Open) -> None:
    opened(folder)
    CHANGES["changed"](folder)
    assert shades(opened(folder).pictures([0, 1])) == [40, 40]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("*.json", None),
        ("*.json", b""),
        ("*.json", b'{"names": ["0.p'),
        ("*.json", b'{"names": null}'),
        ("*.json", b"[1, 2]"),
        ("*.json", b"\xff\xfe\x00"),
        ("*.u8", None),
        ("*.u8", bytes(RAW_BYTES - 1)),
        ("*.u8", bytes(RAW_BYTES + 1)),
    ],
)
def test_half_built_map_is_built_anew(
    folder: Path, opened: Open, tmp_path: Path, name: str, content: bytes | None
) -> None:
    opened(folder)
    (file,) = tmp_path.glob(f"cache/datasets/{name}")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert shades(opened(folder).pictures(range(NUM_PICTURES))) == SHADES


def test_interrupted_build_leaves_no_index(folder: Path, opened: Open, tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(folder, progress=interrupt)
    assert not list(tmp_path.glob("cache/**/*.json"))


def test_progress_counts_every_picture(folder: Path, opened: Open) -> None:
    (folder / "2.png").write_bytes(BROKEN)
    calls: list[tuple[int, int]] = []
    opened(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


# ---- what cannot be used


@pytest.mark.parametrize("content", [b"", b"words", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut PNG"])
def test_broken_picture_is_skipped_with_its_reason_and_the_rest_is_used(
    folder: Path, opened: Open, content: bytes
) -> None:
    (folder / "2.png").write_bytes(content)
    data = opened(folder, mirror=False)
    assert data.names == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert list(data.skipped) == ["2.png"]
    assert "picture" in data.skipped["2.png"] or "image" in data.skipped["2.png"]
    assert shades(data.pictures(range(5))) == [0, 40, 120, 160, 200]


def test_celeba_s_window_is_no_rectangle(folder: Path, opened: Open) -> None:
    with pytest.raises(UsageError, match="crop celeba: it cuts squares, and 10x8 pixels are asked for"):
        opened(folder, crop="celeba", resolution=(10, 8))


def test_picture_of_the_wrong_size_for_celeba_is_skipped_with_its_reason(folder: Path, opened: Open) -> None:
    Image.new("RGB", (178, 218)).save(folder / "aligned.png")
    data = opened(folder, crop="celeba")
    assert data.names == ["aligned.png"]
    assert "8x8 pixels" in data.skipped["0.png"]


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_nothing_usable_is_a_usage_error_with_the_first_reason(
    tmp_path: Path, opened: Open, limit: float
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "in" / name).write_text("words")
    with pytest.raises(UsageError, match=r"none of its 2 pictures is usable; a\.png: "):
        opened(tmp_path / "in", cache_limit_gb=limit)


def test_folder_without_pictures_is_a_usage_error(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(UsageError, match="no pictures in it"):
        opened(tmp_path)


def test_zip_without_pictures_is_a_usage_error(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="no pictures in it"):
        opened(zipped(tmp_path / "in", tmp_path / "a.zip"))


def test_missing_path_is_a_usage_error(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*no such folder or zip file; `starter`"):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "words, no zip"])
def test_text_posing_as_zip_is_a_usage_error(tmp_path: Path, opened: Open, content: str) -> None:
    (tmp_path / "a.zip").write_text(content)
    with pytest.raises(UsageError, match=r"a\.zip: not a usable zip"):
        opened(tmp_path / "a.zip")


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
    "NVIDIA, no labels": ("dataset.json", '{"labels": null}', {}, {}),
    "NVIDIA, broken": ("dataset.json", '{"labels": [["0.png"', {}, {}),
    "CelebA": ("list_attr_celeba.txt", CELEBA, CELEBA_0, CELEBA_1),
    "CelebA, short line": ("list_attr_celeba.txt", CELEBA[:-4], CELEBA_0, {}),
    "CelebA, empty": ("list_attr_celeba.txt", "", {}, {}),
}


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", LABEL_FILES)
def test_label_files_are_read(folder: Path, opened: Open, tmp_path: Path, case: str, as_zip: bool) -> None:
    name, content, *expected = LABEL_FILES[case]
    (folder / name).write_text(content, encoding="utf-8")
    data = opened(zipped(folder, tmp_path / "a.zip") if as_zip else folder)
    assert data.labels == [*expected, {}, {}, {}, {}]


def test_labels_of_several_files_are_joined(folder: Path, opened: Open) -> None:
    (folder / "metadata.jsonl").write_text(METADATA)
    (folder / "list_attr_celeba.txt").write_text(CELEBA)
    assert opened(folder).labels[0] == {"age": 30, "Smiling": True, "Young": False}


def test_labels_follow_the_names_past_a_skipped_picture(folder: Path, opened: Open) -> None:
    (folder / "metadata.jsonl").write_text(METADATA)
    (folder / "0.png").write_bytes(BROKEN)
    assert opened(folder).labels == [{"smile": True}, {}, {}, {}, {}]


def test_labels_find_pictures_in_a_sub_folder_by_their_base_name(folder: Path, opened: Open) -> None:
    write_picture(folder / "img_align_celeba" / "000001.png", 1)
    (folder / "metadata.jsonl").write_text('{"file_name": "000001.png", "age": 5}')
    assert opened(folder).labels[-1] == {"age": 5}


def test_sub_folders_are_classes(tmp_path: Path, opened: Open) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/old/1.png"):
        write_picture(tmp_path / "in" / name, 1)
    assert opened(tmp_path / "in").labels == [{"class": "cat"}, {"class": "cat"}, {"class": "dog"}]


def test_a_single_sub_folder_is_no_class(tmp_path: Path, opened: Open) -> None:
    write_picture(tmp_path / "in" / "faces" / "1.png", 1)
    assert opened(tmp_path / "in").labels == [{}]


# ---- the set that comes with facegan


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataConfig(), resolution=32, cache=tmp_path_factory.mktemp("starter"))


def test_starter_set_has_at_least_4000_usable_pictures(starter: Dataset) -> None:
    assert len(starter.names) >= 4000
    assert starter.skipped == {}


def test_every_starter_picture_has_the_same_label_names(starter: Dataset) -> None:
    names = {frozenset(labels) for labels in starter.labels}
    assert len(names) == 1
    assert names.pop() >= {"age_years", "gender_presentation", "skin_tone", "glasses", "smile"}


def test_starter_pictures_are_neither_flat_nor_equal(starter: Dataset) -> None:
    pictures = starter.pictures(range(64)).float()
    assert pictures.std(dim=(1, 2, 3)).min() > 10
    assert pictures.std(dim=0).mean() > 10


def test_starter_set_is_at_most_10_mb() -> None:
    assert STARTER_PATH.stat().st_size <= 10_000_000
