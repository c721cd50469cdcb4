"""Shards: zips of one set in a folder are one data set, with its labels and classes."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from small_data import opened, shard

from facegan import cli
from facegan.config import UsageError
from facegan.data import source, stores
from facegan.training.run_folder import RunFolder

NAMES = [f"{number:02d}.png" for number in range(24)]


def same(names: list[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


@pytest.fixture
def shards(picture_folder: Path, tmp_path: Path) -> Path:
    """The 24 pictures in b.zip, made first, and in a.zip: 12 each."""
    folder = tmp_path / "shards"
    shard(picture_folder, folder / "b.zip", same(NAMES[12:]))
    shard(picture_folder, folder / "a.zip", same(NAMES[:12]))
    return folder


def test_shards_give_the_batches_of_the_same_pictures_in_one_folder(
    shards: Path, picture_folder: Path, tmp_path: Path
) -> None:
    one, many = (opened(path, tmp_path / "cache", mirror=True) for path in (picture_folder, shards))
    assert torch.equal(many.batch(5, 100, seed=3), one.batch(5, 100, seed=3))


@pytest.mark.parametrize("limit", [0.0, 20.0], ids=["on the fly", "map"])
def test_shards_are_read_in_the_order_of_their_names(
    shards: Path, picture_folder: Path, tmp_path: Path, limit: float
) -> None:
    shard(picture_folder, shards / "more" / "0.ZIP", {"00.png": "late.png"})
    data = opened(shards, limit=limit)
    expected = [f"a.zip/{name}" for name in NAMES[:12]] + [f"b.zip/{name}" for name in NAMES[12:]]
    assert data.names == [*expected, "more/0.ZIP/late.png"]
    assert torch.equal(data.pictures([24])[0], data.pictures([0])[0])


def test_each_shard_s_labels_are_of_its_own_pictures(picture_folder: Path, tmp_path: Path) -> None:
    line = '{"file_name": "x.png", "age": %d}\n'
    for name, picture, age in (("a.zip", "00.png", 3), ("b.zip", "01.png", 70)):
        shard(picture_folder, tmp_path / "in" / name, {picture: "x.png"}, metadata__jsonl=line % age)
    data = opened(tmp_path / "in")
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
        alone = opened(path, tmp_path / "cache")
        assert (alone.labels, alone.label_problems) == ([{"age": age}], {})
    data = opened(tmp_path / "in")
    assert (data.labels, data.label_problems) == ([{"age": 3}, {"age": 70}], {})


def test_labels_beside_the_shards_may_name_their_top_folders(picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, tmp_path / "in" / "a.zip", {"00.png": "part0/x.png"})
    shard(picture_folder, tmp_path / "in" / "b.zip", {"01.png": "x.png"})
    lines = '{"file_name": "x.png", "age": 70}\n{"file_name": "part0/x.png", "age": 3}\n'
    (tmp_path / "in" / "metadata.jsonl").write_text(lines)
    data = opened(tmp_path / "in")
    assert (data.labels, data.label_problems) == ([{"age": 3}, {"age": 70}], {})


def test_labels_beside_the_shards_are_for_all_of_them(shards: Path, tmp_path: Path) -> None:
    """As CelebA's zip and its list of attributes come."""
    lines = "".join(f"{name} {1 if number % 2 else -1}\n" for number, name in enumerate(NAMES))
    (shards / "list_attr_celeba.txt").write_text(f"24\nSmiling\n{lines}")
    data = opened(shards)
    assert data.labels == [{"Smiling": bool(number % 2)} for number in range(24)]
    assert data.label_problems == {}


def test_labels_of_a_picture_that_is_not_in_the_shard_are_told(picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, tmp_path / "in" / "a.zip", {"00.png": "x.png"})
    text = '{"file_name": "x.png", "age": 3}'
    shard(picture_folder, tmp_path / "in" / "b.zip", {"00.png": "y.png"}, metadata__jsonl=text)
    data = opened(tmp_path / "in")
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
    assert opened(tmp_path / "in").labels == [{"class": "cat"}, {"class": "cat"}, {"class": "dog"}]


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
    assert opened(tmp_path / "in").labels == expected


def test_shards_themselves_are_no_classes(shards: Path, tmp_path: Path) -> None:
    assert opened(shards).labels == [{}] * 24


def test_a_damaged_shard_costs_its_own_pictures(shards: Path, tmp_path: Path) -> None:
    (shards / "a.zip").write_bytes(b"no zip")
    data = opened(shards)
    assert data.names == [f"b.zip/{name}" for name in NAMES[12:]]
    assert data.skipped == {"a.zip": "not a usable zip file (File is not a zip file)"}


def test_an_empty_shard_is_told(shards: Path, picture_folder: Path, tmp_path: Path) -> None:
    shard(picture_folder, shards / "c.zip", {})
    data = opened(shards)
    assert len(data.names) == 24
    assert list(data.skipped) == ["c.zip"]
    assert data.skipped["c.zip"].startswith("no pictures in it")


def test_a_folder_of_damaged_shards_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match=r"no pictures in it .*a\.zip: not a usable zip file"):
        opened(tmp_path / "in")


def test_what_is_left_out_of_a_shard_is_named_with_it(picture_folder: Path, tmp_path: Path) -> None:
    texts = {"bad__png": "no picture", "../out__png": "x", "old__bmp": "BM"}
    shard(picture_folder, tmp_path / "in" / "a.zip", same(NAMES), **texts)
    assert opened(tmp_path / "in").skipped == {
        "a.zip/../out.png": "its name leads out of the zip",
        "a.zip/old.bmp": "only PNG, JPEG and WebP are read; convert it first",
        "a.zip/bad.png": "not a PNG, JPEG or WebP picture",
    }


def test_a_zip_beside_pictures_is_left_out_and_told(picture_folder: Path, tmp_path: Path) -> None:
    """It may well be a zip of them."""
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    shard(picture_folder, folder / "all.zip", same(NAMES))
    data = opened(folder)
    assert data.names == NAMES
    assert data.skipped == {"all.zip": "a zip beside pictures; give it alone, or zips a folder of their own"}


def test_a_changed_shard_changes_the_key_and_a_later_start_decodes_nothing(
    shards: Path, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = opened(shards).key
    with monkeypatch.context() as patched:
        patched.setattr(stores, "decode", None)  # any call would fail
        assert opened(shards).key == key
    shard(picture_folder, shards / "b.zip", {NAMES[0]: NAMES[12]})
    assert opened(shards).key != key


def test_more_shards_than_the_system_opens_are_no_damaged_shards(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(source.zipfile, "ZipFile", full)
    with pytest.raises(OSError, match="Too many open files"):
        opened(shards)


def test_hidden_shards_are_passed_over(shards: Path, tmp_path: Path) -> None:
    (shards / "a.zip").rename(shards / ".a.zip")
    data = opened(shards)
    assert (len(data.names), data.skipped) == (12, {})


def test_the_command_line_takes_the_limit_and_shards(shards: Path, tmp_path: Path) -> None:
    settings = ["model.resolution=8", "model.z_dim=8", "model.g_base_channels=4", "model.d_base_channels=4"]
    settings += ["total_images=16", "data.cache_limit_gb=0", "track=no"]
    words = [word for setting in settings for word in ("--set", setting)]
    out = str(tmp_path / "run")
    arguments = ["train", "--preset", "dcgan-32", "--data", str(shards), "--out", out, "--batch", "16"]
    assert cli.run([*arguments, "--device", "cpu", *words]) == 0
    assert RunFolder(tmp_path / "run").read_config().data.cache_limit_gb == 0.0
