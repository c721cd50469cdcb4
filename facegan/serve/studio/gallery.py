"""The faces that were kept: ordinary PNGs in a folder of this computer.

    gallery = Gallery(default_folder())
    name = gallery.add(png)             face-20261126-181523-042.png
    gallery.names()                     the newest first
    gallery.delete(name); gallery.bring_back()

What is deleted lies in a hidden folder beside the others for a day or more: a studio that starts deletes what
has lain there longer. Several studios may have the same gallery.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from facegan.config import UsageError
from facegan.files import require_writable, write_atomically

MAX_SHOWN = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ()_.-]{0,199}\.png")
_DELETED, _DELETED_SECONDS = ".deleted", 24 * 3600
_GONE = "this face is not in the gallery any more"


def default_folder() -> Path:
    """FACEGAN_GALLERY, or `facegan/gallery` in the user's data folder, as the system has it."""
    if given := os.environ.get("FACEGAN_GALLERY"):
        return Path(given)
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "facegan" / "gallery"


class Gallery:
    """A folder of kept faces; it is made with the first one.

    Raises:
        UsageError: a folder that cannot be written to.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        require_writable(folder, "--gallery")
        self.folder, self._clock, self._lock = folder, clock, threading.Lock()
        self._deleted: list[str] = []  # the last one last
        for path in (folder / _DELETED).glob("*.png"):
            with suppress(FileNotFoundError):  # another studio has brought it back, or deleted it as well
                if path.stat().st_mtime < clock() - _DELETED_SECONDS:
                    path.unlink()

    def names(self) -> list[str]:
        """The files' names, those kept last first."""
        if not self.folder.is_dir():
            return []
        found = [entry.name for entry in os.scandir(self.folder) if _NAME.fullmatch(entry.name)]
        return sorted(found, reverse=True)

    def add(self, png: bytes) -> str:
        """Writes a file and returns its name.

        Raises:
            OSError: it could not be written; nothing was.
        """
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            now = self._clock()
            stem = time.strftime("face-%Y%m%d-%H%M%S", time.localtime(now))
            number = int(now * 1000) % 1000
            while (path := self.folder / f"{stem}-{number:03d}.png").exists():
                number += 1
            write_atomically(path, lambda file: file.write(png))
            return path.name

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            UsageError: not one of the gallery's.
        """
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise UsageError(_GONE) from None

    def delete(self, name: str) -> None:
        """Takes a file out; `bring_back` undoes it.

        Raises:
            UsageError: not one of the gallery's.
        """
        with self._lock:
            hidden = self.folder / _DELETED
            hidden.mkdir(exist_ok=True)
            try:
                os.replace(self._path(name), hidden / name)
            except FileNotFoundError:
                raise UsageError(_GONE) from None
            os.utime(hidden / name, (self._clock(),) * 2)
            self._deleted.append(name)

    def bring_back(self) -> str | None:
        """Puts back what was deleted last, and returns its name; None where there is nothing.

        Raises:
            UsageError: it is gone for good.
        """
        with self._lock:
            if not self._deleted:
                return None
            name = self._deleted[-1]
            try:
                os.replace(self.folder / _DELETED / name, self.folder / name)
            except FileNotFoundError:
                self._deleted.pop()
                raise UsageError(_GONE) from None
            return self._deleted.pop()

    @property
    def can_bring_back(self) -> bool:
        """Whether something was deleted since the studio was started."""
        return bool(self._deleted)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError("no such face in the gallery")
        return self.folder / name
