"""Training data: pictures of folders and zips, and the endless shuffled stream (facegan.data)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import SHADES, opened, shaded_pictures, write_picture, zipped

from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.data.dataset import STARTER_PATH
from facegan.labels import label_space

NUM_PICTURES = len(SHADES)
RAW_BYTES = NUM_PICTURES * 3 * 8 * 8
BROKEN = b"no picture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, 0.png to 5.png."""
    return shaded_pictures(tmp_path)


@pytest.fixture(scope="module")
def shared(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The 24 shared pictures, mirrored: 48."""
    cache = tmp_path_factory.mktemp("shared")
    return open_dataset(DataConfig(str(picture_folder)), resolution=4, cache=cache)


# ---- pictures


def test_pictures_are_those_of_the_files_in_the_order_of_their_names(folder: Path) -> None:
    expected = torch.full((NUM_PICTURES, 3, 8, 8), 255, dtype=torch.uint8)
    for number, shade in enumerate(SHADES):
        expected[number, :, :, :4] = shade
    assert torch.equal(opened(folder).pictures(range(NUM_PICTURES)), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [4, 16])
def test_pictures_have_the_shape_asked_for(folder: Path, channels: int, resolution: int) -> None:
    pixels = opened(folder, mirror=True, channels=channels, resolution=resolution).pictures([0, 7])
    assert (pixels.shape, pixels.dtype) == ((2, channels, resolution, resolution), torch.uint8)


def test_pictures_need_not_be_square(folder: Path) -> None:
    dataset = opened(folder, mirror=True, resolution=(10, 8))
    assert dataset.pictures([0, 7]).shape == (2, 3, 10, 8)
    assert dataset.size == (10, 8)
    assert dataset.key not in {opened(folder, resolution=side).key for side in (8, 10, (8, 10))}


def test_label_vectors_are_those_of_the_pictures_mirrored_ones_too(folder: Path) -> None:
    lines = [{"file_name": f"{number}.png", "hat": ("cap", "none")[number % 2]} for number in range(6)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = opened(folder, mirror=True)
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
def test_mirroring_doubles_the_set(folder: Path, mirror: bool, count: int) -> None:
    assert len(opened(folder, mirror=mirror)) == count


def test_unmirrored_stream_holds_no_mirrored_picture(folder: Path) -> None:
    batch = opened(folder, mirror=False).batch(0, 30, seed=0)
    assert (batch[..., 0] < batch[..., -1]).all()  # the shade stays left of the white


def test_folder_and_zip_give_identical_batches(folder: Path, tmp_path: Path) -> None:
    write_picture(folder / "more" / "a.png", 17)
    archive = zipped(folder, tmp_path / "pictures.zip")
    batches = [opened(path, mirror=True).batch(3, 40, seed=1) for path in (folder, archive)]
    assert torch.equal(*batches)


@pytest.mark.parametrize("as_zip", [False, True])
def test_decoding_on_the_fly_gives_the_pictures_of_the_map(
    folder: Path, tmp_path: Path, as_zip: bool
) -> None:
    (folder / "3.png").write_bytes(BROKEN)
    path = zipped(folder, tmp_path / "pictures.zip") if as_zip else folder
    decoded, mapped = (opened(path, mirror=True, limit=limit) for limit in (0.0, 1.0))
    assert torch.equal(decoded.batch(0, 40, seed=2), mapped.batch(0, 40, seed=2))
    assert (decoded.names, decoded.key) == (mapped.names, mapped.key)
    assert list(decoded.skipped) == ["3.png"]


@pytest.mark.parametrize(("limit_bytes", "map_bytes"), [(RAW_BYTES - 1, []), (RAW_BYTES, [RAW_BYTES])])
def test_set_above_the_cache_limit_writes_no_map(
    folder: Path, tmp_path: Path, limit_bytes: int, map_bytes: list[int]
) -> None:
    opened(folder, limit=limit_bytes / 1e9)
    assert [file.stat().st_size for file in tmp_path.glob("cache/**/*.u8")] == map_bytes


def test_an_unknown_crop_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"data.crop 'centre': one of center, pad, celeba .did you mean 'center'"
    ):
        DataConfig("x", crop="centre")  # type: ignore[arg-type]


def test_progress_counts_every_picture(folder: Path) -> None:
    (folder / "2.png").write_bytes(BROKEN)
    calls: list[tuple[int, int]] = []
    opened(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


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
