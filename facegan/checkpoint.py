"""Training checkpoints: named parts in one file, written atomically, read without executing anything.

    save(path, {"G": ..., "D": ..., ...})      all or nothing: see facegan.files
    load(path)                                 checksums first, then torch.load(weights_only=True)
    checkpoints(folder)                        the finished ones, oldest first

File names hold the clock: 000128000.pt was written after 128,000 images.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import torch

from facegan.config import UsageError, first_line, is_whole
from facegan.files import write_atomically

FORMAT = 1
# what zipfile and torch.load raise on files that are not, or no longer, what was written
_DAMAGE = (
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)
Parts = dict[str, Any]


def save(path: Path, parts: Parts) -> None:
    """Writes the parts: nested dictionaries and lists of tensors, numbers and strings.

    Raises:
        OSError: it could not be written; an older file of that name is still there.
    """

    def write(file: IO[bytes]) -> None:
        stream = _ErrorsKept(file)
        torch.save({"format": FORMAT, **parts}, cast(IO[bytes], stream))
        if stream.error:
            raise stream.error

    write_atomically(path, write)


class _ErrorsKept:
    """A file whose first error is kept: raised through torch's writer, it would lose its cause."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Left to whoever opened the file."""


def load(path: Path) -> Parts:
    """The parts that `save` wrote, tensors on the CPU.

    Raises:
        UsageError: damaged, not a checkpoint, or of a later format.
    """
    if not path.is_file():  # a pipe would be waited on, a device read for ever
        raise UsageError(f"{path}: not a usable checkpoint (no such file)")
    try:
        with open(path, "rb") as file:
            # torch would try its older formats on what is no zip, and looks at no checksum
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"{damaged} was changed")
            file.seek(0)
            parts: Parts = torch.load(file, map_location="cpu", weights_only=True)
            version = parts["format"]
            if type(version) is not int:
                raise TypeError("its format is no number")
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
    found = (path for path in folder.glob("*.pt") if is_whole(path.stem))
    return sorted(found, key=lambda path: int(path.stem))


def prune(folder: Path, keep_newest: int, keep_every_images: int) -> None:
    """Deletes all but the newest few and those where the clock passes a multiple of `keep_every_images`."""
    kept_marks = set()
    for path in checkpoints(folder)[:-keep_newest]:
        mark = int(path.stem) // keep_every_images if keep_every_images else 0
        if mark and mark not in kept_marks:
            kept_marks.add(mark)
        else:
            path.unlink()
