"""Latents in files, .npz or .json, by key:

    w      [N, num_ws, w_dim], or [N, w_dim]: the same in all layers; used as it is, truncated already
    z      [N, z_dim]: goes through the mapping, with psi and labels
    seeds  [N]: whose noise "random" draws, and who draw the labels that z leaves open; else 0, 1, ...
    fingerprint  [16]: bytes, of the model that made w (direction_file); with another there is a note

    latents = read_latents(path)
    sampler.stream(range(len(latents)), start=latents)
    write_latents(path, sampler, seeds)            .npz of w: read back, the same pictures

Files are not trusted: sizes are looked at before anything is allocated, and nothing is unpickled.
"""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy
from torch import Tensor

from facegan.config import UsageError, first_line, parse_json
from facegan.files import replaced, require_writable_file, suffix_of
from facegan.latents.direction_file import fingerprint
from facegan.networks.base import Generator
from facegan.synthesis import MAX_SEED, SEEDS, Sampler, Start

MAX_BYTES = 2**30  # of one array in memory, as float64
MAX_JSON_BYTES = 2**26
MAX_VALUE = 1e6  # far beyond any z or w; what overflows would look like a damaged model
SUFFIXES = (".npz", ".json")
FINGERPRINT_BYTES = 16
_KEYS = ("w", "z", "seeds", "fingerprint")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Latents:
    """Numbers are rows of w [N, num_ws, w_dim] or [N, w_dim], or of z [N, z_dim], from `source`.

    Exactly one of the two is given; `seeds` are those of their noise and of the labels that z leaves open.
    fingerprint: of the model that made w, where that is known; z is for any.

    Raises:
        UsageError: a shape, or numbers, that are no latents.
    """

    source: str
    w_rows: Array | None = None
    z_rows: Array | None = None
    seeds: Sequence[int] | None = None
    fingerprint: str = ""
    _compared: WeakSet[Generator] = field(default_factory=WeakSet, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.w_rows is None) == (self.z_rows is None):
            has = "neither" if self.w_rows is None else "both"
            raise UsageError(f"{self.source}: w or z is wanted, and it has {has}")
        if self._rows.ndim not in ((2,) if self.w_rows is None else (2, 3)) or not self._rows.size:
            wanted = "[N, z_dim]" if self.w_rows is None else "[N, num_ws, w_dim] or [N, w_dim]"
            raise UsageError(f"{self._called} has shape {list(self._rows.shape)}, expected {wanted}")
        if not (np.abs(self._rows) <= MAX_VALUE).all():  # not so for NaN either
            raise UsageError(f"{self._called}: not all its numbers are in {-MAX_VALUE:g} .. {MAX_VALUE:g}")
        if self.seeds is not None and len(self.seeds) != len(self._rows):
            raise UsageError(f"{self.source}: {len(self.seeds)} seeds for {len(self._rows)} rows")
        if self.seeds is not None and not all(0 <= seed <= MAX_SEED for seed in self.seeds):
            raise UsageError(f"{self.source}: seeds are whole numbers from 0 to {MAX_SEED}")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def _rows(self) -> Array:
        rows = self.z_rows if self.w_rows is None else self.w_rows
        assert rows is not None
        return rows

    @property
    def _called(self) -> str:
        return f"{self.source}: {'z' if self.w_rows is None else 'w'}"

    def w(
        self, sampler: Sampler, numbers: Sequence[int], psi: float, cutoff: int | None, label: str
    ) -> Tensor:
        """w [N, num_ws, w_dim] of the rows.

        Raises:
            UsageError: another model's shape; psi, cutoff or a label with w, on which they have no effect.
        """
        self.require_fitting(sampler, psi, cutoff, label)
        g = sampler.generator
        if self.w_rows is None:
            vectors = sampler.label_vectors(self.noise_seeds(numbers), label)
            return sampler.w(self._rows[list(numbers)], psi, cutoff, vectors)
        rows = torch.from_numpy(self._rows[list(numbers)].astype(np.float32)).to(g.w_avg.device)
        return rows if rows.ndim == 3 else rows[:, None].expand(-1, g.num_ws, -1)

    def require_fitting(self, sampler: Sampler, psi: float, cutoff: int | None, label: str) -> None:
        """Checks that `w` can be made of them by this model, before any work; warns of another model's w.

        Raises:
            UsageError: as `w`.
        """
        g = sampler.generator
        if self.w_rows is None:
            self._require(self._rows.shape[1:] == (g.z_dim,), [g.z_dim])
            return
        self._require(self._rows.shape[1:] in ((g.num_ws, g.w_dim), (g.w_dim,)), [g.num_ws, g.w_dim])
        if psi != 1 or cutoff is not None or label:
            raise UsageError(f"{self._called} is used as it is: psi, cutoff and label have no effect on it")
        if self.fingerprint and g not in self._compared:
            self._compared.add(g)
            if fingerprint(g) != self.fingerprint:
                name = sampler.model.name
                warnings.warn(f"{self._called} comes from another model than {name!r}", stacklevel=2)

    def _require(self, fits: bool, sizes: list[int]) -> None:
        if not fits:
            wanted = ", ".join(map(str, sizes))
            raise UsageError(
                f"{self._called} has shape {list(self._rows.shape)}: this model wants [N, {wanted}]; "
                "latents fit the model that they come from"
            )

    def noise_seeds(self, numbers: Sequence[int]) -> Sequence[int]:
        """The rows' seeds, or else their numbers."""
        return numbers if self.seeds is None else [self.seeds[number] for number in numbers]

    def stem(self, number: int) -> str:
        """latent0000"""
        return f"latent{number:04d}"

    def text(self, numbers: str) -> str:
        """w 0-3 of faces.npz"""
        return f"{'z' if self.w_rows is None else 'w'} {numbers} of {self.source}"


# ---- reading


def read_latents(path: str | os.PathLike[str]) -> Latents:
    """The latents of a file.

    Raises:
        UsageError: not such a file, damaged, too large, or with numbers that are no latents.
        OSError: it cannot be opened.
    """
    path = Path(path)
    suffix = suffix_of(path, "latents format", SUFFIXES)
    arrays = _read_npz(path) if suffix == ".npz" else _read_json(path)
    if not arrays.keys() & {"w", "z"}:
        raise UsageError(f"{path}: has neither w nor z")
    seeds = arrays.get("seeds")
    if seeds is not None and (seeds.ndim != 1 or not (seeds == np.floor(seeds)).all()):
        raise UsageError(f"{path}: seeds are a list of whole numbers")
    # a name may hold bytes that are no text; it goes into the pictures
    name = path.name.encode(errors="replace").decode()
    return Latents(
        name,
        arrays.get("w"),
        arrays.get("z"),
        None if seeds is None else _whole(path, seeds),
        _fingerprint(path, arrays["fingerprint"]) if "fingerprint" in arrays else "",
    )


def _whole(path: Path, seeds: Array) -> list[int]:
    if not (np.abs(seeds) <= MAX_SEED).all():
        raise UsageError(f"{path}: seeds are whole numbers from 0 to {MAX_SEED}")
    return [int(seed) for seed in seeds]


def _fingerprint(path: Path, numbers: Array) -> str:
    if numbers.shape != (FINGERPRINT_BYTES,) or not np.isin(numbers, range(256)).all():
        raise UsageError(f"{path}: fingerprint is a list of {FINGERPRINT_BYTES} bytes")
    return bytes(int(number) for number in numbers).hex()


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [key for key in _KEYS if f"{key}.npy" in archive.namelist()]
            for key in names:
                with archive.open(f"{key}.npy") as file:
                    _require_small(path, key, *_header(file))
            return {key: _read_array(archive, f"{key}.npy") for key in names}
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # zip's and numpy's readers answer damage with nearly any of them
        if isinstance(error, OSError) and error.filename:
            raise  # it could not be opened
        raise UsageError(f"{path}: not a usable .npz file ({first_line(error)})") from None


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False), np.float64)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in a file, by its first bytes."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"array format {version}")
    shape, _, dtype = readers[version](file)
    return shape, dtype


def _require_small(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "fiu":
        raise UsageError(f"{path}: {key} holds {dtype} values, expected numbers")
    if 8 * math.prod(shape) > MAX_BYTES or dtype.itemsize * math.prod(shape) > MAX_BYTES:
        raise UsageError(
            f"{path}: {key} has shape {list(shape)}; at most {MAX_BYTES // 8:,} numbers are read"
        )


def _read_json(path: Path) -> dict[str, Array]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UsageError(f"{path}: larger than {MAX_JSON_BYTES // 2**20} MiB; .npz holds more in less")
    try:
        data = parse_json(path.read_text("utf-8"))
    except ValueError as error:  # not UTF-8 is one too
        raise UsageError(f"{path}: not JSON ({first_line(error)})") from None
    if not isinstance(data, dict):
        raise UsageError(f'{path}: expected {{"w": [...]}} or {{"z": [...]}}')
    return {key: _array(path, key, data[key]) for key in _KEYS if key in data}


def _array(path: Path, key: str, rows: Any) -> Array:
    try:
        array = np.asarray(rows)
    except ValueError:  # rows of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{path}: {key} is not an array of numbers, all rows of one length")
    return np.asarray(array, np.float64)


# ---- writing


def check_latents_path(path: Path, sampler: Sampler, count: int, what: str = "--save-latents") -> None:
    """Checks before the work that the w of so many pictures can be written there.

    Raises:
        UsageError: another suffix, an unwritable place, or more than can be read back; `what` is how the
            message calls it.
    """
    suffix_of(path, f"format of {what}", [".npz"])
    require_writable_file(path, what)
    g = sampler.generator
    if (most := MAX_BYTES // (8 * g.num_ws * g.w_dim)) < count:
        raise UsageError(f"{what} of {count:,} pictures: at most {most:,} of this model in one file")


def write_latents(
    path: str | os.PathLike[str],
    sampler: Sampler,
    numbers: Sequence[int],
    *,
    psi: float = 1.0,
    cutoff: int | None = None,
    label: str = "",
    start: Start = SEEDS,
) -> None:
    """Writes w as used, float32 [N, num_ws, w_dim], the seeds of its noise [N], and whose w it is, as .npz.

    It is made and written a batch at a time.

    Raises:
        UsageError: as `check_latents_path` and `Sampler.stream`.
        OSError: it could not be written; nothing was.
    """
    path = Path(path)
    check_latents_path(path, sampler, len(numbers))
    g = sampler.generator
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        with archive.open("w.npy", "w", force_zip64=True) as file:
            _write_header(file, (len(numbers), g.num_ws, g.w_dim), "<f4")
            for _, w in sampler.stream_w(numbers, psi, cutoff, label, start):
                file.write(w.float().cpu().contiguous().numpy().astype("<f4").tobytes())
        with archive.open("seeds.npy", "w", force_zip64=True) as file:
            seeds = np.asarray(start.noise_seeds(numbers), "<i8")
            _write_header(file, seeds.shape, "<i8")
            file.write(seeds.tobytes())
        with archive.open("fingerprint.npy", "w") as file:
            _write_header(file, (FINGERPRINT_BYTES,), "|u1")
            file.write(bytes.fromhex(fingerprint(g)))


def _write_header(file: Any, shape: tuple[int, ...], descr: str) -> None:
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
