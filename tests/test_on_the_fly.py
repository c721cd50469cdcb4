"""Pictures decoded on the fly: those of the map, each once and ahead of when it is due, also in training."""

from __future__ import annotations

import shutil
import threading
import warnings
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import encoded, flat, opened, shard
from states import differing

from facegan import models
from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, dataset, open_dataset, stores
from facegan.images import decode
from facegan.run import Run
from facegan.training.loop import train
from facegan.training.reporter import Silent
from facegan.training.run_folder import RunFolder


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
    mapped = opened(picture_folder, tmp_path / "cache", mirror=True)
    decoded = opened(picture_folder, tmp_path / "cache", mirror=True, limit=0.0, num_threads=num_threads)
    for first in range(0, 160, 20):
        assert torch.equal(decoded.batch(first, 20, seed=1), mapped.batch(first, 20, seed=1))
        decoded.ahead(first + 20, 20, 1, range(20))  # true
        decoded.ahead(first + 7, 20, 2, range(0, 20, 3))  # not what comes


def test_what_was_told_to_come_is_decoded_once_and_before(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(picture_folder, tmp_path / "cache", limit=0.0, num_threads=1)
    counted = Counted(monkeypatch)
    data.ahead(0, 10, 0, range(10))
    data._store._threads.shutdown(wait=True)  # type: ignore[attr-defined]
    assert counted.calls.total() == 10
    data.batch(0, 10, seed=0)  # would fail, if it had anything left to begin
    assert counted.calls.total() == 10


def test_a_picture_and_its_mirror_image_are_decoded_once(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(picture_folder, tmp_path / "cache", limit=0.0, mirror=True)
    counted = Counted(monkeypatch)
    pixels = data.pictures([3, 27, 3])
    assert counted.calls.total() == 1
    assert torch.equal(pixels[0], pixels[1].flip(2))
    assert torch.equal(pixels[0], pixels[2])


@pytest.mark.parametrize("limit", [0.0, 20.0], ids=["on the fly", "map"])
def test_notes_on_damaged_metadata_are_not_passed_on(tmp_path: Path, limit: float) -> None:
    """Those of Pillow name no file; where warnings are errors, such a picture would become unreadable."""
    (tmp_path / "in").mkdir()
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\0\x05"  # of five tags none is there
    for number in range(4):
        picture = encoded(flat(9, 9, number), "JPEG", exif=damaged)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(picture)
    with pytest.warns(UserWarning, match="EXIF"):
        decode(picture)
    before = list(warnings.filters)
    data = opened(tmp_path / "in", limit=limit, num_threads=3)
    data.ahead(0, 4, 0, range(4))
    assert len(data.batch(0, 8, seed=0)) == 8
    if isinstance(data._store, stores.DecodedStore):
        data._store._threads.shutdown(wait=True)
    assert warnings.filters == before


def test_what_never_comes_is_dropped(picture_folder: Path, tmp_path: Path) -> None:
    data = opened(picture_folder, tmp_path / "cache", limit=0.0)
    for first in range(0, 240, 3):
        data.ahead(first, 3, 0, range(3))
    assert len(data._store._ready) == 6  # type: ignore[attr-defined]


def test_a_memory_map_needs_no_telling(picture_folder: Path, tmp_path: Path) -> None:
    data = opened(picture_folder, tmp_path / "cache")
    data.ahead(0, 10, 0, range(10))
    assert torch.equal(
        data.batch(0, 10, seed=0), opened(picture_folder, tmp_path / "cache").batch(0, 10, seed=0)
    )


def test_a_picture_that_has_become_unreadable_is_named_when_it_is_due(
    picture_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    data = opened(folder, limit=0.0)
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
        opened(tmp_path / "in", limit=limit)
    assert [archive.fp for archive in archives] == [None]
    assert set(threading.enumerate()) <= threads


def test_a_shape_that_cannot_be_is_told_before_anything_is_opened(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "open_source", None)  # any call would fail
    with pytest.raises(UsageError, match="crop celeba"):
        open_dataset(DataConfig(str(picture_folder), crop="celeba"), resolution=(10, 8))


def test_which_pictures_are_usable_is_found_out_once(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(picture_folder, tmp_path / "in"))
    (folder / "05.png").write_bytes(b"no picture")
    told: list[tuple[int, int]] = []
    first = opened(folder, limit=0.0, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)
    monkeypatch.setattr(stores, "decode", None)
    second = opened(folder, limit=0.0)
    assert (second.names, second.skipped, second.key) == (first.names, first.skipped, first.key)
    assert list(second.skipped) == ["05.png"]
    assert list(tmp_path.glob("cache/**/*.u8")) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"names": []}'])
def test_a_damaged_list_of_usable_pictures_is_made_anew(
    picture_folder: Path, tmp_path: Path, content: bytes
) -> None:
    before = opened(picture_folder, tmp_path / "cache", limit=0.0).names
    (path,) = tmp_path.glob("cache/datasets/*.names.json")
    path.write_bytes(content)
    assert opened(picture_folder, tmp_path / "cache", limit=0.0).names == before


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
