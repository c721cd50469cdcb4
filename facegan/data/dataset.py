"""A folder or zip of pictures of any size -> endless, deterministic uint8 batches.

    pictures --decode, crop, resize once--> memory map uint8 [n, C, H, W] in the cache --index--> batches
                      or, where that would be too large, whenever they are due

The stream is a fresh shuffle of the whole set per epoch, a function of (seed, epoch), so image k of the
stream can be asked for directly: `batch(k, count)`; a resumed run simply starts at another k.
Mirroring is a doubled data set (picture i + n is picture i mirrored), not a coin.
Float conversion belongs on the device: see images.to_float.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan.config import UsageError, choose
from facegan.data.labels import Labels, read_labels
from facegan.data.source import Source, open_source
from facegan.data.stores import DecodedStore, MappedStore, Progress, Store
from facegan.images import CROPS, Crop
from facegan.labels import LabelSpace
from facegan.randomness import Purpose, numpy_generator

STARTER = "starter"
STARTER_PATH = Path(__file__).parent.parent / "zoo" / "starter-64.zip"


@dataclass(frozen=True)
class DataConfig:
    """What is read and how it is cut. `path` is a folder, a zip, or "starter": the set that ships.

    labels: the attributes that a model is to know, as labels.label_space reads them.
    cache_limit_gb: sets whose memory map would be larger are decoded on the fly instead.
    """

    path: str = STARTER
    crop: Crop = "center"
    mirror: bool = True
    labels: tuple[str, ...] = ()
    cache_limit_gb: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        if not self.path or "\0" in self.path:
            raise UsageError(f"data.path {self.path!r}: expected a folder, a zip or {STARTER!r}")
        choose("data.crop", self.crop, CROPS)
        if self.cache_limit_gb < 0:
            raise UsageError(f"data.cache_limit_gb {self.cache_limit_gb}: 0 (no memory map) or more")


class Dataset:
    """Pictures by index: `len`, `pictures`, `batch`, `labels`; `skipped` says what was left out and why.

    `key` names the content: manifest, size, crop and channels. `enlarged`: how many were smaller than that.
    """

    def __init__(self, store: Store, source: Source, *, mirror: bool) -> None:
        path = source.path
        self._store, self._path = store, path
        self.name = path.name.removesuffix(".zip")
        self.mirror = mirror
        self.key: str = store.index["key"]
        self.size: tuple[int, int] = tuple(store.index["shape"][1:])  # height, width
        self.crop: str = store.index["crop"]
        self.names: list[str] = store.index["names"]
        self.skipped: dict[str, str] = source.left_out | store.index["skipped"]
        self.enlarged: int = store.index.get("enlarged", 0)
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
        """uint8 [n, C, H, W] for picture numbers in 0 .. len - 1.

        Raises:
            UsageError: another number.
        """
        numbers = np.asarray(indices, np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise UsageError(
                f"{self.name}: pictures {numbers.min()} to {numbers.max()}: 0 to {len(self) - 1}"
            )
        pixels = torch.from_numpy(self._store.read(numbers % len(self.names)))
        mirrored = torch.from_numpy(numbers >= len(self.names))
        return torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels) if self.mirror else pixels

    def ahead(self, first: int, count: int, seed: int, rows: npt.ArrayLike) -> None:
        """Says that these places of the stream's images first .. first + count - 1 will be asked for next."""
        if isinstance(self._store, DecodedStore):
            numbers = self.stream(first, count, seed)[np.asarray(rows, np.int64)] % len(self.names)
            self._store.prepare(numbers, most=2 * count)

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
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> Dataset:
    """The data set, through a memory map that is built in the cache on first use.

    resolution: of a side of square pictures, or (height, width).
    num_threads: that decode on the fly; None: one for each core.

    Raises:
        UsageError: no such data, or no usable picture in it; a cache that cannot be written to.
    """
    path = STARTER_PATH if config.path == STARTER else Path(config.path)
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    if min(height, width) < 1 or channels not in (1, 3, 4):
        raise UsageError(
            f"pictures of {height}x{width} pixels, channels {channels}: 1 pixel or more; 1, 3 or 4"
        )
    if config.crop == "celeba" and height != width:
        raise UsageError(f"crop celeba: it cuts squares, and {height}x{width} pixels are asked for")
    shape = (channels, height, width)
    cache = default_cache() if cache is None else Path(cache)
    store: Store
    with ExitStack() as closing:
        source = closing.enter_context(open_source(path))
        if len(source.pictures) * channels * height * width > config.cache_limit_gb * 1e9:
            store = DecodedStore(source, shape, config.crop, cache, progress, num_threads)
            closing.pop_all()  # it reads on
        else:
            store = MappedStore(source, shape, config.crop, cache, progress)
    return Dataset(store, source, mirror=config.mirror)


def default_cache() -> Path:
    """$FACEGAN_CACHE, else facegan/ in the user's cache folder."""
    if place := os.environ.get("FACEGAN_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facegan"


@lru_cache(maxsize=2)
def _shuffle(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return numpy_generator(seed, epoch, Purpose.SHUFFLE).permutation(count)
