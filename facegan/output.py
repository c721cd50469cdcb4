"""Pictures of seeds, or of other latents, into files: one by one, or as a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from facegan.config import UsageError, choose
from facegan.files import require_writable
from facegan.images import SAVE_FORMATS, Provenance, grid, save
from facegan.synthesis import SEEDS, Sampler, Start

MAX_GRID = 10_000  # pictures; a grid is held in memory
MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # pixels, by format


def write_pictures(
    sampler: Sampler,
    seeds: Iterable[int],
    out: Path,
    *,
    psi: float,
    noise: str = "const",
    cutoff: int | None = None,
    label: str = "",
    start: Start = SEEDS,
    file_format: str = "png",
    wrote: Callable[[], None] = lambda: None,
) -> int:
    """Writes OUT/seed0000.png ... as they are made, and returns how many; memory does not grow with it.

    start: what the seeds stand for, and what the files are called.

    Raises:
        UsageError: unknown format, noise mode or label, a seed out of range, alpha into JPEG, an unwritable
            place.
    """
    suffix = "." + _format(file_format)
    _require_room_for_alpha(SAVE_FORMATS[suffix], sampler)
    require_writable(out, "--out")
    count = 0
    for seed, picture in sampler.stream(each_once(seeds), psi, noise, cutoff, label, start):
        if not count:
            out.mkdir(parents=True, exist_ok=True)  # not before the arguments have shown to be good
        text = start.text(str(seed))
        provenance = Provenance(sampler.model.name, text, psi, label=label, cutoff=cutoff)
        save(out / f"{start.stem(seed)}{suffix}", picture, provenance)
        wrote()
        count += 1
    return count


def write_grid(
    sampler: Sampler,
    seeds: Sequence[int],
    out: Path,
    *,
    psi: float,
    noise: str = "const",
    cutoff: int | None = None,
    label: str = "",
    start: Start = SEEDS,
    file_format: str = "png",
    seeds_text: str = "",
) -> Path:
    """Writes OUT/grid.png with all seeds, near-square, and returns its path.

    Raises:
        UsageError: unknown format, noise mode or label, a seed out of range, more than MAX_GRID pictures or
            than the format holds, alpha into JPEG, an unwritable place.
    """
    suffix = "." + _format(file_format)
    _require_room_for_alpha(SAVE_FORMATS[suffix], sampler)
    if len(seeds) > MAX_GRID:
        raise UsageError(
            f"--grid with {len(seeds):,} pictures: at most {MAX_GRID:,}; leave --grid out for single files"
        )
    require_writable(out, "--out")
    _, height, width = sampler.generator.image_shape
    columns = math.ceil(math.sqrt(len(seeds)))
    require_sides(SAVE_FORMATS[suffix], columns * height, columns * width)
    pixels = grid(sampler.sample(seeds, psi, noise, cutoff, label, start))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"grid{suffix}"
    text = start.text(seeds_text or ",".join(map(str, seeds)))
    save(path, pixels, Provenance(sampler.model.name, text, psi, label=label, cutoff=cutoff))
    return path


def require_sides(kind: str, height: int, width: int) -> None:
    """Checks that a picture of that size can be written in Pillow's format `kind`.

    Raises:
        UsageError: it cannot.
    """
    most = MAX_SIDE.get(kind)
    if most is not None and max(height, width) > most:
        raise UsageError(f"{width}x{height} pixels: {kind} holds at most {most:,} a side; use png")


def _require_room_for_alpha(kind: str, sampler: Sampler) -> None:
    if kind == "JPEG" and sampler.generator.image_shape[0] == 4:
        raise UsageError("the model's pictures have alpha, and JPEG has no transparency; use png or webp")


def each_once(seeds: Iterable[int]) -> Iterator[int]:
    """The seeds without repetitions; a range has none, and may be too long to be remembered."""
    return iter(seeds) if isinstance(seeds, range) else iter(dict.fromkeys(seeds))


def _format(name: str) -> str:
    return choose("format", name.lower().removeprefix("."), [s[1:] for s in SAVE_FORMATS])
