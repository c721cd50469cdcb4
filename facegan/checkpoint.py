"""Training checkpoints: named parts in one file, written atomically, read without executing anything.

    save(path, {"G": ..., "D": ..., ...})      temporary file -> fsync -> rename -> fsync of the folder
    load(path)                                 torch.load(weights_only=True)
    checkpoints(folder)                        the finished ones, oldest first

File names hold the clock: 000128000.pt was written after 128,000 images.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from facegan.config import UsageError, first_line

FORMAT = 1
# what torch.load raises on files that are not, or no longer, what it wrote
_DAMAGE = (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError)
Parts = dict[str, Any]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write(file)` so that `path` holds its old content or all of the new one, even after a crash."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def save(path: Path, parts: Parts) -> None:
    """Writes the parts: nested dictionaries and lists of tensors, numbers and strings."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **parts}, file))


def load(path: Path) -> Parts:
    """The parts that `save` wrote, tensors on the CPU.

    Raises:
        UsageError: damaged, not a checkpoint, or of a later format.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):  # torch would try its older formats
            raise UsageError(f"{path}: not a usable checkpoint (not a zip archive, or cut off)")
        file.seek(0)
        try:
            parts: Parts = torch.load(file, map_location="cpu", weights_only=True)
            version = parts["format"]
        except _DAMAGE as error:
            raise UsageError(f"{path}: not a usable checkpoint ({first_line(error)})") from None
    if version != FORMAT:
        raise UsageError(
            f"{path}: checkpoint format {version}; this version of facegan reads format {FORMAT}"
        )
    return parts


def checkpoint_path(folder: Path, images_seen: int) -> Path:
    """Where the checkpoint at this point of the clock lies."""
    return folder / f"{images_seen:09d}.pt"


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a folder, oldest first."""
    return sorted((p for p in folder.glob("*.pt") if p.stem.isdigit()), key=lambda p: int(p.stem))


def prune(folder: Path, keep_newest: int, keep_every_images: int) -> None:
    """Deletes all but the newest few and those where the clock passes a multiple of `keep_every_images`."""
    kept_marks = set()
    for path in checkpoints(folder)[:-keep_newest]:
        mark = int(path.stem) // keep_every_images if keep_every_images else 0
        if mark and mark not in kept_marks:
            kept_marks.add(mark)
        else:
            path.unlink()


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder to sync it
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
