"""The two ways to hold pictures of one size: a memory map in the cache, and decoding on the fly.

    MappedStore     every picture decoded once into a raw file; read as fast as memory
    DecodedStore    for sets whose map would be too large: decoded by threads whenever they are asked for, and
                    before, where it is told what will be asked for next

Both give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from facegan.config import UsageError, parse_json
from facegan.cores import usable_cores
from facegan.data.source import Entry, Source, on_one_line, reason
from facegan.files import clear_partial, require_writable, write_atomically, write_text
from facegan.images import Crop, Pixels, decode, enlarges, fit

T = TypeVar("T")
Progress = Callable[[int, int], None]  # (pictures done, pictures in all)

CACHE_FORMAT = 1
_DECODE_AHEAD = 256  # pictures in flight while all are decoded

Shape = tuple[int, int, int]  # channels, height, width
Numbers = npt.NDArray[np.int64]


class Store(ABC):
    """Pictures by number: `read` gives uint8 [n, C, H, W]; `index` holds key, names, skipped, enlarged."""

    index: dict[str, Any]

    @abstractmethod
    def read(self, numbers: Numbers) -> npt.NDArray[np.uint8]:
        """The pictures of these numbers, uint8 [n, C, H, W]."""


class MappedStore(Store):
    """A raw file of uint8 [n, C, H, W] beside a JSON index.

    The index is written last, in one rename, after the pixels are on the disk: a map without a matching
    index was not finished and is built anew.
    """

    def __init__(
        self, source: Source, shape: Shape, crop: Crop, cache: Path, progress: Progress | None
    ) -> None:
        key = _key(source, shape, crop)
        folder = cache / "datasets"
        pixels_path, index_path = folder / f"{key}.u8", folder / f"{key}.json"

        def build() -> dict[str, Any]:
            index: dict[str, Any] = {}

            def write(file: IO[bytes]) -> None:
                with ThreadPoolExecutor(usable_cores()) as threads:
                    decoding = _Decoding(source, shape, crop, threads)
                    index.update(decoding.whole(key, progress, lambda pixels: file.write(pixels.tobytes())))

            index_path.unlink(missing_ok=True)
            clear_partial(folder, key)
            write_atomically(pixels_path, write)
            write_text(index_path, json.dumps(index))
            return index

        def find() -> dict[str, Any] | None:
            index = _read_index(index_path, source, shape, key)
            size = pixels_path.stat().st_size if pixels_path.is_file() else 0
            fits = index is not None and size == len(index["names"]) * int(np.prod(shape))
            return index if fits else None

        self.index = found_or_built(folder / f"{key}.lock", find, build)
        self._pixels = np.memmap(pixels_path, np.uint8, "r", shape=(len(self.index["names"]), *shape))

    def read(self, numbers: Numbers) -> npt.NDArray[np.uint8]:
        pixels: npt.NDArray[np.uint8] = self._pixels[numbers]
        return pixels


class DecodedStore(Store):
    """Decodes on demand, in threads.

    Every picture is opened once, to know which are usable; that is kept in the cache, so that a later start
    knows it at once. The source has to stay open.
    """

    def __init__(
        self,
        source: Source,
        shape: Shape,
        crop: Crop,
        cache: Path,
        progress: Progress | None,
        num_threads: int | None = None,
    ) -> None:
        threads = ThreadPoolExecutor(num_threads or usable_cores())
        self._decoding = _Decoding(source, shape, crop, threads)
        self._shape, self._threads = shape, threads
        key = _key(source, shape, crop)
        index_path = cache / "datasets" / f"{key}.names.json"

        def build() -> dict[str, Any]:
            index = self._decoding.whole(key, progress, lambda pixels: None)
            write_text(index_path, json.dumps(index))
            return index

        try:
            self.index = found_or_built(
                index_path.with_name(f"{key}.lock"),
                lambda: _read_index(index_path, source, shape, key),
                build,
            )
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
        entries = {entry.name: entry for entry in source.pictures}
        self._entries = [entries[name] for name in self.index["names"]]
        self._ready: dict[int, Future[Pixels]] = {}  # what was told to come, the oldest first

    def read(self, numbers: Numbers) -> npt.NDArray[np.uint8]:
        ready = self._ready
        wanted = {n: ready.pop(n) if n in ready else self._begun(n) for n in dict.fromkeys(numbers.tolist())}
        pixels = np.empty((len(numbers), *self._shape), np.uint8)
        for place, number in enumerate(numbers.tolist()):
            pixels[place] = wanted[number].result()
        return pixels

    def prepare(self, numbers: Numbers, most: int) -> None:
        """Begins to decode what will be read soon; beyond so many, drops what did not come after all."""
        for number in numbers.tolist():
            if number not in self._ready:
                self._ready[number] = self._begun(number)
        while len(self._ready) > most:
            self._ready.pop(next(iter(self._ready))).cancel()

    def _begun(self, number: int) -> Future[Pixels]:
        return self._threads.submit(self._decoding.again, self._entries[number])


class _Decoding:
    """From the files of a source to pixels [C, H, W] of one shape."""

    def __init__(self, source: Source, shape: Shape, crop: Crop, threads: ThreadPoolExecutor) -> None:
        self._source, self._shape, self._crop, self._threads = source, shape, crop, threads

    def whole(self, key: str, progress: Progress | None, take: Callable[[Pixels], object]) -> dict[str, Any]:
        """Decodes every picture, gives the usable ones to `take` in order, and returns the index.

        Raises:
            UsageError: none is usable.
        """
        source = self._source
        names: list[str] = []
        skipped: dict[str, str] = {}
        enlarged = 0
        for done, (entry, result) in enumerate(self._all(), 1):
            if isinstance(result, str):
                skipped[entry.name] = result
            else:
                pixels, larger = result
                names.append(entry.name)
                enlarged += larger
                take(pixels)
            if progress:
                progress(done, len(source.pictures))
        if not names:
            name, why = next(iter(skipped.items()))
            first = f"{on_one_line(name)}: {why}"
            raise UsageError(f"{source.path}: none of its {len(skipped)} pictures is usable; {first}")
        return {
            "key": key,
            "shape": list(self._shape),
            "crop": self._crop,
            "names": names,
            "skipped": skipped,
            "enlarged": enlarged,
        }

    def again(self, entry: Entry) -> Pixels:
        """The pixels of a picture that was usable before.

        Raises:
            OSError: it no longer is.
        """
        try:
            return self._one(entry)[0]
        except Exception as error:
            what = f"its {entry.name} has become unreadable: {reason(error)}"
            raise OSError(None, what, str(self._source.path)) from error

    def _all(self) -> Iterator[tuple[Entry, tuple[Pixels, bool] | str]]:
        """(entry, what `_one` gives or the reason why not), in order, a bounded number ahead."""

        def attempt(entry: Entry) -> tuple[Pixels, bool] | str:
            try:
                return self._one(entry)
            except Exception as error:  # whatever is wrong with one file must not end the run; it is reported
                return reason(error)

        pictures = self._source.pictures
        for start in range(0, len(pictures), _DECODE_AHEAD):
            chunk = pictures[start : start + _DECODE_AHEAD]
            yield from zip(chunk, self._threads.map(attempt, chunk), strict=True)

    def _one(self, entry: Entry) -> tuple[Pixels, bool]:
        """The pixels, and whether the picture had to be enlarged for them."""
        channels, height, width = self._shape
        with _without_notes:
            image = decode(self._source.read(entry), channels)
        pixels = fit(image, (height, width), self._crop)
        larger = enlarges(image.size, (height, width), self._crop)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)), larger


class _WithoutNotes:
    """Ignores Pillow's notes on damaged metadata, which name no file: a usable picture is used.

    Filters of warnings are the process's: the first thread inside sets this one, the last one takes it back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._filter = warnings.filters[0]
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            filters: Any = warnings.filters
            if not self._inside and self._filter in filters:  # not where a catch_warnings has ended meanwhile
                filters.remove(self._filter)


_without_notes = _WithoutNotes()


def _key(source: Source, shape: Shape, crop: Crop) -> str:
    text = json.dumps([CACHE_FORMAT, source.manifest(), shape, crop])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def found_or_built(lock: Path, find: Callable[[], T | None], build: Callable[[], T]) -> T:
    """What `find` finds in the cache, or else what `build` makes and writes there; by one process at a time.

    Raises:
        UsageError: a cache that cannot be written to.
    """
    found = find()
    if found is None:
        require_writable(lock.parent, "data cache (FACEGAN_CACHE names another)")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            found = find()  # another process may have built it
            if found is None:
                found = build()
    return found


def _read_index(path: Path, source: Source, shape: Shape, key: str) -> dict[str, Any] | None:
    """An index that holds or skips every picture of the source, or None."""
    try:
        index: dict[str, Any] = parse_json(path.read_text())
        names, skipped = index["names"], index["skipped"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    complete = (
        index.get("key") == key
        and index.get("shape") == list(shape)
        and isinstance(index.get("crop"), str)
        and isinstance(index.get("enlarged", 0), int)  # maps of earlier versions do not say it
        and isinstance(names, list)
        and isinstance(skipped, dict)
        and all(isinstance(why, str) for why in skipped.values())
        and names == [entry.name for entry in source.pictures if entry.name not in skipped]
        and len(names) + len(skipped) == len(source.pictures)
        and len(names) > 0
    )
    return index if complete else None
