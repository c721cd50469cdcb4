"""Pictures of seeds into files: one by one, or as a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from facegan.config import UsageError, choose
from facegan.files import require_writable
from facegan.images import SAVE_FORMATS, Provenance, grid, save
from facegan.synthesis import Sampler

MAX_GRID = 10_000  # pictures; a grid is held in memory


def write_pictures(
    sampler: Sampler,
    seeds: Iterable[int],
    out: Path,
    *,
    psi: float,
    noise: str = "const",
    label: str = "",
    file_format: str = "png",
    wrote: Callable[[], None] = lambda: None,
) -> int:
    """Writes OUT/seed0000.png ... as they are made, and returns how many; memory does not grow with it.

    Raises:
        UsageError: unknown format, noise mode or label, a seed out of range, an unwritable place.
    """
    suffix = _suffix(file_format)
    require_writable(out, "--out")
    count = 0
    for seed, picture in sampler.stream(_each_once(seeds), psi, noise, label=label):
        if not count:
            out.mkdir(parents=True, exist_ok=True)  # not before the arguments have shown to be good
        provenance = Provenance(sampler.model.name, str(seed), psi, label=label)
        save(out / f"seed{seed:04d}{suffix}", picture, provenance)
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
    label: str = "",
    file_format: str = "png",
    seeds_text: str = "",
) -> Path:
    """Writes OUT/grid.png with all seeds, near-square, and returns its path.

    Raises:
        UsageError: unknown format, noise mode or label, a seed out of range, more than MAX_GRID pictures, an
            unwritable place.
    """
    suffix = _suffix(file_format)
    if len(seeds) > MAX_GRID:
        raise UsageError(
            f"--grid with {len(seeds):,} pictures: at most {MAX_GRID:,}; leave --grid out for single files"
        )
    require_writable(out, "--out")
    pixels = grid(sampler.sample(seeds, psi, noise, label=label))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"grid{suffix}"
    text = seeds_text or ",".join(map(str, seeds))
    save(path, pixels, Provenance(sampler.model.name, text, psi, label=label))
    return path


def _each_once(seeds: Iterable[int]) -> Iterator[int]:
    """The seeds without repetitions; a range has none, and may be too long to be remembered."""
    return iter(seeds) if isinstance(seeds, range) else iter(dict.fromkeys(seeds))


def _suffix(file_format: str) -> str:
    return "." + choose("format", file_format.lower().removeprefix("."), [s[1:] for s in SAVE_FORMATS])
