"""A folder or zip of pictures of any size -> endless, deterministic uint8 batches.

    pictures --decode, crop, resize once--> memory map uint8 [n, C, H, W] in the cache --index--> batches

The stream is a fresh shuffle of the whole set per epoch, a function of (seed, epoch), so image k of the
stream can be asked for directly: `batch(k, count)`; a resumed run simply starts at another k.
Mirroring is a doubled data set (picture i + n is picture i mirrored), not a coin.
Float conversion belongs on the device: see images.to_float.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from facegan.config import UsageError, parse_json
from facegan.data.labels import Labels, read_labels
from facegan.data.source import Entry, Source, on_one_line, open_source, reason
from facegan.files import require_writable, write_atomically, write_text
from facegan.images import Crop, Pixels, decode, fit
from facegan.labels import LabelSpace
from facegan.randomness import Purpose, numpy_generator

Progress = Callable[[int, int], None]  # (pictures done, pictures in all)

STARTER = "starter"
STARTER_PATH = Path(__file__).parent.parent / "zoo" / "starter-64.zip"
CACHE_FORMAT = 1
CACHE_LIMIT_GB = 20.0
_DECODE_AHEAD = 256  # pictures in flight while a memory map is built


@dataclass(frozen=True)
class DataConfig:
    """What is read and how it is cut. `path` is a folder, a zip, or "starter": the set that ships.

    labels: the attributes that a model is to know, as labels.label_space reads them.
    """

    path: str = STARTER
    crop: Crop = "center"
    mirror: bool = True
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise UsageError(f"data.path {self.path!r}: expected a folder, a zip or {STARTER!r}")


class Dataset:
    """Pictures by index: `len`, `pictures`, `batch`, `labels`; `skipped` says what was left out and why.

    `key` names the content: manifest, size, crop and channels.
    """

    def __init__(self, store: _Store, source: Source, *, mirror: bool) -> None:
        path = source.path
        self._store, self._path = store, path
        self.name = path.name.removesuffix(".zip")
        self.mirror = mirror
        self.key: str = store.index["key"]
        self.size: tuple[int, int] = tuple(store.index["shape"][1:])  # height, width
        self.crop: str = store.index["crop"]
        self.names: list[str] = store.index["names"]
        self.skipped: dict[str, str] = source.left_out | store.index["skipped"]
        self._vectors: tuple[LabelSpace, Tensor] | None = None

    @property
    def labels(self) -> list[Labels]:
        """The labels of each picture of `names`, read when they are first asked for; {} where there are none.

        Raises:
            UsageError: a label file cannot be read.
        """
        return self._labels_and_problems[0]

    @property
    def label_problems(self) -> dict[str, str]:
        """What was wrong with the labels: lines without sense, pictures without labels and the reverse."""
        return self._labels_and_problems[1]

    @cached_property
    def _labels_and_problems(self) -> tuple[list[Labels], dict[str, str]]:
        with open_source(self._path) as source:
            found, problems = read_labels(source)
        return [found.get(name, {}) for name in self.names], problems

    def __len__(self) -> int:
        """Number of pictures, mirrored ones included."""
        return len(self.names) * (2 if self.mirror else 1)

    def identity(self) -> dict[str, str | int]:
        """What a checkpoint remembers of the data: name, number of pictures, key."""
        return {"name": self.name, "pictures": len(self.names), "key": self.key}

    def pictures(self, indices: npt.ArrayLike) -> Tensor:
        """uint8 [n, C, H, W] for picture numbers in 0 .. len - 1."""
        numbers = np.asarray(indices, np.int64)
        pixels = torch.from_numpy(self._store.read(numbers % len(self.names)))
        mirrored = torch.from_numpy(numbers >= len(self.names))
        return torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels) if self.mirror else pixels

    def label_vectors(self, space: LabelSpace, indices: npt.ArrayLike) -> Tensor:
        """float32 [n, space.dim]: the labels of these pictures, the same mirrored."""
        if self._vectors is None or self._vectors[0] is not space:
            self._vectors = space, torch.from_numpy(space.encode(self.labels))
        return self._vectors[1][torch.as_tensor(np.asarray(indices, np.int64) % len(self.names))]

    def batch(self, first: int, count: int, seed: int) -> Tensor:
        """uint8 [count, C, H, W]: images first .. first + count - 1 of the endless shuffled stream."""
        return self.pictures(self.stream(first, count, seed))

    def stream(self, first: int, count: int, seed: int) -> npt.NDArray[np.int64]:
        """The picture numbers behind `batch` [count]; every epoch holds each picture once."""
        positions = np.arange(first, first + count)
        epochs, places = positions // len(self), positions % len(self)
        numbers = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            numbers[chosen] = _shuffle(seed, int(epoch), len(self))[places[chosen]]
        return numbers


def open_dataset(
    config: DataConfig,
    *,
    resolution: int | tuple[int, int],
    channels: int = 3,
    cache: Path | None = None,
    cache_limit_gb: float = CACHE_LIMIT_GB,
    progress: Progress | None = None,
) -> Dataset:
    """The data set, through a memory map that is built in the cache on first use.

    resolution: of a side of square pictures, or (height, width).

    Sets whose map would be larger than `cache_limit_gb` are decoded on the fly instead.

    Raises:
        UsageError: no such data, or no usable picture in it; a cache that cannot be written to.
    """
    path = STARTER_PATH if config.path == STARTER else Path(config.path)
    source = open_source(path)
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    if config.crop == "celeba" and height != width:
        raise UsageError(f"crop celeba: it cuts squares, and {height}x{width} pixels are asked for")
    shape = (channels, height, width)
    store: _Store
    with warnings.catch_warnings():
        # Pillow's notes on damaged metadata name no file, and a usable picture is used
        warnings.filterwarnings("ignore", module=r"PIL\.")
        if len(source.pictures) * channels * height * width > cache_limit_gb * 1e9:
            store = _DecodedStore(source, shape, config.crop)
        else:
            with source:
                store = _MappedStore(source, shape, config.crop, cache or default_cache(), progress)
    return Dataset(store, source, mirror=config.mirror)


def default_cache() -> Path:
    """$FACEGAN_CACHE, else facegan/ in the user's cache folder."""
    if place := os.environ.get("FACEGAN_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facegan"


# ---- the two ways to hold pictures


class _Store(ABC):
    """Pictures by number: `read` gives uint8 [n, C, H, W]; `index` holds key, names, skipped."""

    index: dict[str, Any]

    @abstractmethod
    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The pictures of these numbers, uint8 [n, C, H, W]."""


class _MappedStore(_Store):
    """A raw file of uint8 [n, C, H, W] beside a JSON index.

    The index is written last, in one rename, after the pixels are on the disk: a map without a matching
    index was not finished and is built anew.
    """

    def __init__(
        self, source: Source, shape: tuple[int, int, int], crop: Crop, cache: Path, progress: Progress | None
    ) -> None:
        key = _key(source, shape, crop)
        folder = cache / "datasets"
        pixels_path, index_path = folder / f"{key}.u8", folder / f"{key}.json"
        index = _finished_index(index_path, pixels_path, source, shape, key)
        if index is None:
            require_writable(folder, "data cache (FACEGAN_CACHE names another)")
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{key}.lock"):
                # another process may have built it
                index = _finished_index(index_path, pixels_path, source, shape, key)
                if index is None:
                    index = _build(source, shape, crop, key, pixels_path, index_path, progress)
        self.index = index
        self._pixels = np.memmap(pixels_path, np.uint8, "r", shape=(len(index["names"]), *shape))

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        pixels: npt.NDArray[np.uint8] = self._pixels[numbers]
        return pixels


class _DecodedStore(_Store):
    """Decodes on demand, in threads; every picture is opened once at the start, to know which are usable."""

    def __init__(self, source: Source, shape: tuple[int, int, int], crop: Crop) -> None:
        self._source, self._shape, self._crop = source, shape, crop
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._entries: list[Entry] = []
        skipped: dict[str, str] = {}
        for entry, result in _decoded(source, shape, crop, self._threads):
            if isinstance(result, str):
                skipped[entry.name] = result
            else:
                self._entries.append(entry)
        names = [entry.name for entry in self._entries]
        _require_usable(source, names, skipped)
        self.index = {
            "key": _key(source, shape, crop),
            "shape": shape,
            "crop": crop,
            "names": names,
            "skipped": skipped,
        }

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.stack(list(self._threads.map(self._one, [self._entries[number] for number in numbers])))

    def _one(self, entry: Entry) -> Pixels:
        try:
            return _decode_one(self._source, entry, self._shape, self._crop)
        except Exception as error:
            what = f"its {entry.name} has become unreadable: {reason(error)}"
            raise OSError(None, what, str(self._source.path)) from error


def _key(source: Source, shape: tuple[int, int, int], crop: Crop) -> str:
    text = json.dumps([CACHE_FORMAT, source.manifest(), shape, crop])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _finished_index(
    index_path: Path, pixels_path: Path, source: Source, shape: tuple[int, int, int], key: str
) -> dict[str, Any] | None:
    """The index of a map that holds or skips every picture of the source, or None."""
    try:
        index: dict[str, Any] = parse_json(index_path.read_text())
        names, skipped = index["names"], index["skipped"]
        size = pixels_path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    complete = (
        index.get("key") == key
        and index.get("shape") == list(shape)
        and isinstance(index.get("crop"), str)
        and isinstance(names, list)
        and isinstance(skipped, dict)
        and all(isinstance(why, str) for why in skipped.values())
        and names == [entry.name for entry in source.pictures if entry.name not in skipped]
        and len(names) + len(skipped) == len(source.pictures)
        and size == len(names) * int(np.prod(shape)) > 0
    )
    return index if complete else None


def _build(
    source: Source,
    shape: tuple[int, int, int],
    crop: Crop,
    key: str,
    pixels_path: Path,
    index_path: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    names: list[str] = []
    skipped: dict[str, str] = {}

    def write(file: IO[bytes]) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for done, (entry, result) in enumerate(_decoded(source, shape, crop, threads), 1):
                if isinstance(result, str):
                    skipped[entry.name] = result
                else:
                    names.append(entry.name)
                    file.write(result.tobytes())
                if progress:
                    progress(done, len(source.pictures))
        _require_usable(source, names, skipped)

    index_path.unlink(missing_ok=True)
    write_atomically(pixels_path, write)
    index = {
        "key": key,
        "source": str(source.path),
        "shape": shape,
        "crop": crop,
        "names": names,
        "skipped": skipped,
    }
    write_text(index_path, json.dumps(index))
    return index


def _decoded(
    source: Source, shape: tuple[int, int, int], crop: Crop, threads: ThreadPoolExecutor
) -> Iterator[tuple[Entry, Pixels | str]]:
    """(entry, pixels [C, H, W] or the reason why there are none), in order, a bounded number ahead."""

    def attempt(entry: Entry) -> Pixels | str:
        try:
            return _decode_one(source, entry, shape, crop)
        except Exception as error:  # whatever is wrong with one file must not end the run; it is reported
            return reason(error)

    for start in range(0, len(source.pictures), _DECODE_AHEAD):
        chunk = source.pictures[start : start + _DECODE_AHEAD]
        yield from zip(chunk, threads.map(attempt, chunk), strict=True)


def _decode_one(source: Source, entry: Entry, shape: tuple[int, int, int], crop: Crop) -> Pixels:
    pixels = fit(decode(source.read(entry), shape[0]), shape[1:], crop)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _require_usable(source: Source, names: list[str], skipped: dict[str, str]) -> None:
    if not names:
        name, why = next(iter(skipped.items()))
        first = f"{on_one_line(name)}: {why}"
        raise UsageError(f"{source.path}: none of its {len(skipped)} pictures is usable; {first}")


@lru_cache(maxsize=2)
def _shuffle(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return numpy_generator(seed, epoch, Purpose.SHUFFLE).permutation(count)
