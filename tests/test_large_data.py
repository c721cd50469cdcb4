"""Large data: zips of one set in a folder, and pictures decoded on the fly, ahead of when they are due."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from states import differing

from facegan import cli, models
from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, dataset, open_dataset, source, stores
from facegan.run import Run
from facegan.training.loop import train
from facegan.training.reporter import Silent
from facegan.training.run_folder import RunFolder

NAMES = [f"{number:02d}.png" for number in range(24)]


def opened(
    path: Path, tmp_path: Path, *, limit: float = 20.0, mirror: bool = True, **options: Any
) -> Dataset:
    config = DataConfig(str(path), mirror=mirror, cache_limit_gb=limit)
    return open_dataset(config, resolution=8, cache=tmp_path / "cache", **options)


def shard(pictures: Path, path: Path, names: Mapping[str, str], **extra: str) -> Path:
    """A zip with pictures of the folder under other names, and texts; "__" in their names is a dot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, inside in names.items():
            archive.write(pictures / name, inside)
        for name, text in extra.items():
            archive.writestr(name.replace("__", "."), text)
    return path


def same(names: list[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


@pytest.fixture
def shards(picture_folder: Path, tmp_path: Path) -> Path:
    """The 24 pictures in b.zip, made first, and in a.zip: 12 each."""
    folder = tmp_path / "shards"
    shard(picture_folder, folder / "b.zip", same(NAMES[12:]))
    shard(picture_folder, folder / "a.zip", same(NAMES[:12]))
    return folder


# ---- shards


def test_shards_give_the_batches_of_the_same_pictures_in_one_folder(
    shards: Path, picture_folder: Path, tmp_path: Path
) -> None:
    one, many = opened(picture_folder, tmp_path), opened(shards, tmp_path)
    assert torch.equal(many.batch(5, 100, seed=3), one.batch(5, 100, seed=3))


@pytest.mark.parametrize("limit", [0.0, 20.0], ids=["on the fly", "map"])
def test_shards_are_read_in_the_order_of_their_names(
    shards: Path, picture_folder: Path, tmp_path: Path, limit: float
) -> None:
    shard(picture_folder, shards / "more" / "0.ZIP", {"00.png": "late.png"})
    data = opened(shards, tmp_path, limit=limit)
    expected = [f"a.zip/{name}" for name in NAMES[:12]] + [f"b.zip/{name}" for name in NAMES[12:]]
    assert data.names == [*expected, "more/0.ZIP/late.png"]
    assert torch.equal(data.pictures([24])[0], data.pictures([0])[0])


def test_each_shard_s_labels_are_of_its_own_pictures(picture_folder: Path, tmp_path: Path) -> None:
    line = '{"file_name": "x.png", "age": %d}\n'
    for name, picture, age in (("a.zip", "00.png", 3), ("b.zip", "01.png", 70)):
        shard(picture_folder, tmp_path / "in" / name, {picture: "x.png"}, metadata__jsonl=line % age)
    data = opened(tmp_path / "in", tmp_path)
    assert (data.labels, data.label_problems) == ([{"age": 3}, {"age": 70}], {})


@pytest.mark.parametrize(
    ("place", "named"),
    [("{top}/", ""), ("", "{top}/")],
    ids=["in the top folder", "beside it"],
)
def test_each_shard_may_have_its_own_top_folder(
    picture_folder: Path, tmp_path: Path, place: str, named: str
) -> None:
    for top, age in (("part0", 3), ("part1", 70)):
        line = f'{{"file_name": "{named.format(top=top)}x.png", "age": {age}}}'
        names = {"00.png": f"{top}/x.png"}
        path = tmp_path / "in" / f"{top}.zip"
        shard(picture_folder, path, names, **{f"{place.format(top=top)}metadata__jsonl": line})
        alone = opened(path, tmp_path)
        assert (alone.labels, alone.label_problems) == ([{"age": age}], {})
    data = opened(tmp_path / "in", tmp_path)
    assert (data.labels, data.label_problems) == ([{"age": 3}, {"age": 70}], {})


def test_labels_beside_the_shards_may_name_their_top_folders(picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, tmp_path / "in" / "a.zip", {"00.png": "part0/x.png"})
    shard(picture_folder, tmp_path / "in" / "b.zip", {"01.png": "x.png"})
    lines = '{"file_name": "x.png", "age": 70}\n{"file_name": "part0/x.png", "age": 3}\n'
    (tmp_path / "in" / "metadata.jsonl").write_text(lines)
    data = opened(tmp_path / "in", tmp_path)
    assert (data.labels, data.label_problems) == ([{"age": 3}, {"age": 70}], {})


def test_labels_beside_the_shards_are_for_all_of_them(shards: Path, tmp_path: Path) -> None:
    """As CelebA's zip and its list of attributes come."""
    lines = "".join(f"{name} {1 if number % 2 else -1}\n" for number, name in enumerate(NAMES))
    (shards / "list_attr_celeba.txt").write_text(f"24\nSmiling\n{lines}")
    data = opened(shards, tmp_path)
    assert data.labels == [{"Smiling": bool(number % 2)} for number in range(24)]
    assert data.label_problems == {}


def test_labels_of_a_picture_that_is_not_in_the_shard_are_told(picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, tmp_path / "in" / "a.zip", {"00.png": "x.png"})
    text = '{"file_name": "x.png", "age": 3}'
    shard(picture_folder, tmp_path / "in" / "b.zip", {"00.png": "y.png"}, metadata__jsonl=text)
    data = opened(tmp_path / "in", tmp_path)
    assert data.labels == [{}, {}]
    assert data.label_problems == {
        "a.zip/x.png": "has no labels",
        "b.zip/y.png": "has no labels",
        "b.zip/metadata.jsonl, line 1": "labels 'x.png', which is not there",
    }


def test_classes_are_the_sub_folders_of_all_shards_together(picture_folder: Path, tmp_path: Path) -> None:
    """A shard may hold one class only; a top folder that all share is none."""
    shard(picture_folder, tmp_path / "in" / "a.zip", {"00.png": "all/cat/0.png", "01.png": "all/cat/1.png"})
    shard(picture_folder, tmp_path / "in" / "b.zip", {"02.png": "all/dog/0.png"})
    assert opened(tmp_path / "in", tmp_path).labels == [{"class": "cat"}, {"class": "cat"}, {"class": "dog"}]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["cat/0.png", "dog/1.png"], ["cat/0.png", "dog/1.png"]),
        (["part0/cat/0.png", "part0/dog/1.png"], ["part1/cat/0.png", "part1/dog/1.png"]),
        (["part0/cat/0.png", "part0/dog/1.png"], ["cat/0.png", "dog/1.png"]),
        (["cat/0.png"], ["dog/1.png"]),
        (["part0/cat/0.png"], ["part1/dog/1.png"]),
        (["cat/images/0.png"], ["dog/images/1.png"]),
        (["cat/0.png"], ["cat/0.png", "dog/1.png"]),
    ],
)
def test_shards_without_label_files_have_the_classes_of_their_sub_folders(
    picture_folder: Path, tmp_path: Path, first: list[str], second: list[str]
) -> None:
    for name, inside in (("a.zip", first), ("b.zip", second)):
        shard(picture_folder, tmp_path / "in" / name, dict(zip(NAMES, inside, strict=False)))
    expected = [{"class": "cat" if "cat/" in name else "dog"} for name in (*first, *second)]
    assert opened(tmp_path / "in", tmp_path).labels == expected


def test_shards_themselves_are_no_classes(shards: Path, tmp_path: Path) -> None:
    assert opened(shards, tmp_path).labels == [{}] * 24


def test_a_damaged_shard_costs_its_own_pictures(shards: Path, tmp_path: Path) -> None:
    (shards / "a.zip").write_bytes(b"no zip")
    data = opened(shards, tmp_path)
    assert data.names == [f"b.zip/{name}" for name in NAMES[12:]]
    assert data.skipped == {"a.zip": "not a usable zip file (File is not a zip file)"}


def test_an_empty_shard_is_told(shards: Path, picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, shards / "c.zip", {})
    data = opened(shards, tmp_path)
    assert len(data.names) == 24
    assert list(data.skipped) == ["c.zip"]
    assert data.skipped["c.zip"].startswith("no pictures in it")


def test_a_folder_of_damaged_shards_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match=r"no pictures in it .*a\.zip: not a usable zip file"):
        opened(tmp_path / "in", tmp_path)


def test_what_is_left_out_of_a_shard_is_named_with_it(picture_folder: Path, tmp_path: Path) -> None:
    texts = {"bad__png": "no picture", "../out__png": "x", "old__bmp": "BM"}
    shard(picture_folder, tmp_path / "in" / "a.zip", same(NAMES), **texts)
    assert opened(tmp_path / "in", tmp_path).skipped == {
        "a.zip/../out.png": "its name leads out of the zip",
        "a.zip/old.bmp": "only PNG, JPEG and WebP are read; convert it first",
        "a.zip/bad.png": "not a PNG, JPEG or WebP picture",
    }


def test_a_zip_beside_pictures_is_left_out_and_told(picture_folder: Path, tmp_path: Path) -> None:
    """It may well be a zip of them."""
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    shard(picture_folder, folder / "all.zip", same(NAMES))
    data = opened(folder, tmp_path)
    assert data.names == NAMES
    assert data.skipped == {"all.zip": "a zip beside pictures; give it alone, or zips a folder of their own"}


def test_a_changed_shard_changes_the_key_and_a_later_start_decodes_nothing(
    shards: Path, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = opened(shards, tmp_path).key
    with monkeypatch.context() as patched:
        patched.setattr(stores, "decode", None)  # any call would fail
        assert opened(shards, tmp_path).key == key
    shard(picture_folder, shards / "b.zip", {NAMES[0]: NAMES[12]})
    assert opened(shards, tmp_path).key != key


def test_more_shards_than_the_system_opens_are_no_damaged_shards(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(source.zipfile, "ZipFile", full)
    with pytest.raises(OSError, match="Too many open files"):
        opened(shards, tmp_path)


def test_hidden_shards_are_passed_over(shards: Path, tmp_path: Path) -> None:
    (shards / "a.zip").rename(shards / ".a.zip")
    data = opened(shards, tmp_path)
    assert (len(data.names), data.skipped) == (12, {})


# ---- decoding on the fly


class Counted:
    """stores.decode that counts, by the bytes it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[bytes] = Counter()
        decode = stores.decode

        def counting(data: bytes, channels: int) -> Image.Image:
            self.calls[data] += 1
            return decode(data, channels)

        monkeypatch.setattr(stores, "decode", counting)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_decoding_on_the_fly_gives_the_map_s_batches_whatever_was_told_to_come(
    picture_folder: Path, tmp_path: Path, num_threads: int
) -> None:
    mapped = opened(picture_folder, tmp_path)
    decoded = opened(picture_folder, tmp_path, limit=0.0, num_threads=num_threads)
    for first in range(0, 160, 20):
        assert torch.equal(decoded.batch(first, 20, seed=1), mapped.batch(first, 20, seed=1))
        decoded.ahead(first + 20, 20, 1, range(20))  # true
        decoded.ahead(first + 7, 20, 2, range(0, 20, 3))  # not what comes


def test_what_was_told_to_come_is_decoded_once_and_before(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(picture_folder, tmp_path, limit=0.0, mirror=False, num_threads=1)
    counted = Counted(monkeypatch)
    data.ahead(0, 10, 0, range(10))
    data._store._threads.shutdown(wait=True)  # type: ignore[attr-defined]
    assert counted.calls.total() == 10
    data.batch(0, 10, seed=0)  # would fail, if it had anything left to begin
    assert counted.calls.total() == 10


def test_a_picture_and_its_mirror_image_are_decoded_once(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(picture_folder, tmp_path, limit=0.0)
    counted = Counted(monkeypatch)
    pixels = data.pictures([3, 27, 3])
    assert counted.calls.total() == 1
    assert torch.equal(pixels[0], pixels[1].flip(2))
    assert torch.equal(pixels[0], pixels[2])


def test_what_never_comes_is_dropped(picture_folder: Path, tmp_path: Path) -> None:
    data = opened(picture_folder, tmp_path, limit=0.0, mirror=False)
    for first in range(0, 240, 3):
        data.ahead(first, 3, 0, range(3))
    assert len(data._store._ready) == 6  # type: ignore[attr-defined]


def test_a_memory_map_needs_no_telling(picture_folder: Path, tmp_path: Path) -> None:
    data = opened(picture_folder, tmp_path)
    data.ahead(0, 10, 0, range(10))
    assert torch.equal(data.batch(0, 10, seed=0), opened(picture_folder, tmp_path).batch(0, 10, seed=0))


def test_a_picture_that_has_become_unreadable_is_named_when_it_is_due(
    picture_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    data = opened(folder, tmp_path, limit=0.0, mirror=False)
    (folder / "05.png").unlink()
    data.ahead(0, 24, 0, range(24))
    data.pictures([4, 6])
    with pytest.raises(OSError, match=r"its 05\.png has become unreadable"):
        data.pictures([5])


@pytest.mark.parametrize("limit", [0.0, 20.0], ids=["on the fly", "map"])
def test_a_set_without_usable_pictures_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    shard(tmp_path, tmp_path / "in" / "a.zip", {}, bad__png="no picture")
    archives: list[zipfile.ZipFile] = []

    class Kept(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            archives.append(self)

    monkeypatch.setattr(zipfile, "ZipFile", Kept)
    threads = set(threading.enumerate())
    with pytest.raises(UsageError, match="none of its 1 pictures is usable"):
        opened(tmp_path / "in", tmp_path, limit=limit)
    assert [archive.fp for archive in archives] == [None]
    assert set(threading.enumerate()) <= threads


def test_a_shape_that_cannot_be_is_told_before_anything_is_opened(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "open_source", None)  # any call would fail
    with pytest.raises(UsageError, match="crop celeba"):
        open_dataset(DataConfig(str(shards), crop="celeba"), resolution=(10, 8))


def test_which_pictures_are_usable_is_found_out_once(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    (folder / "05.png").write_bytes(b"no picture")
    told: list[tuple[int, int]] = []
    first = opened(folder, tmp_path, limit=0.0, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)
    monkeypatch.setattr(stores, "decode", None)
    second = opened(folder, tmp_path, limit=0.0)
    assert (second.names, second.skipped, second.key) == (first.names, first.skipped, first.key)
    assert list(second.skipped) == ["05.png"]
    assert list(tmp_path.glob("cache/**/*.u8")) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"names": []}'])
def test_a_damaged_list_of_usable_pictures_is_made_anew(
    picture_folder: Path, tmp_path: Path, content: bytes
) -> None:
    before = opened(picture_folder, tmp_path, limit=0.0).names
    (path,) = tmp_path.glob("cache/datasets/*.names.json")
    path.write_bytes(content)
    assert opened(picture_folder, tmp_path, limit=0.0).names == before


def test_a_limit_below_0_is_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"cache_limit_gb -1\.0: 0 \(no memory map\) or more"):
        DataConfig(cache_limit_gb=-1.0)


# ---- in training


class Clock(Silent):
    """Remembers how many images were seen."""

    images_seen = 0

    def step(self, images_seen: int) -> None:
        self.images_seen = images_seen


def test_training_on_the_fly_is_bit_equal_also_after_a_resume(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = replace(tiny_run_config, data=replace(tiny_run_config.data, cache_limit_gb=0.0))
    clock = Clock()
    train(run, tmp_path / "run", reporter=clock, stop_requested=lambda: clock.images_seen >= 48)
    assert clock.images_seen == 48
    train(run, tmp_path / "run", resume=True)
    weights = [models.load(str(folder)).generator.state_dict() for folder in (tmp_path / "run", tiny_run)]
    assert differing(*weights) == []
    both = [RunFolder(folder).read_log() for folder in (tmp_path / "run", tiny_run)]
    for fly, mapped in zip(*both, strict=True):
        assert [fly[name] for name in ("images_seen", "D_real", "G_fake")] == [
            mapped[name] for name in ("images_seen", "D_real", "G_fake")
        ]


def test_training_tells_each_part_of_the_next_batch(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, list[int]]] = []
    monkeypatch.setattr(
        Dataset,
        "ahead",
        lambda self, first, count, seed, rows: told.append((first, count, sorted(np.asarray(rows)))),
    )
    train(replace(tiny_run_config, total_images=32), tmp_path / "run")
    assert {(first, count) for first, count, _ in told} == {(16, 16), (32, 16)}
    assert sorted(row for first, _, rows in told if first == 16 for row in rows) == list(range(16))


def test_the_command_line_takes_the_limit_and_shards(shards: Path, tmp_path: Path) -> None:
    settings = ["model.resolution=8", "model.z_dim=8", "model.g_base_channels=4", "model.d_base_channels=4"]
    settings += ["total_images=16", "data.cache_limit_gb=0", "track=no"]
    words = [word for setting in settings for word in ("--set", setting)]
    out = str(tmp_path / "run")
    arguments = ["train", "--preset", "dcgan-32", "--data", str(shards), "--out", out, "--batch", "16"]
    assert cli.run([*arguments, "--device", "cpu", *words]) == 0
    assert RunFolder(tmp_path / "run").read_config().data.cache_limit_gb == 0.0
