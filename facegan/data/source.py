"""Where pictures lie: a folder or a zip file, read the same way.

with open_source("faces.zip") as source:
    for entry in source.pictures:
        data = source.read(entry.name)
"""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from facegan.config import UsageError
from facegan.images import READ_SUFFIXES

LABEL_FILES = ("metadata.jsonl", "dataset.json", "list_attr_celeba.txt")


@dataclass(frozen=True)
class Entry:
    """One file of a source: its name with forward slashes, and what changes when its content does."""

    name: str
    size: int
    stamp: int  # modification time in ns, or the zip's CRC


class Source(ABC):
    """The files of a folder or zip, in the order of their names; `read` may be called from threads.

    `root` is the one top folder that all pictures share, with its slash, or nothing: names of labels and
    classes are relative to it.
    """

    def __init__(self, path: Path, entries: list[Entry]) -> None:
        self.path = path
        entries = sorted(entries, key=lambda entry: entry.name)
        self.pictures = [e for e in entries if e.name.lower().endswith(READ_SUFFIXES)]
        self.root = _shared_folder([entry.name for entry in self.pictures])
        self.label_files = [e for e in entries if e.name.removeprefix(self.root) in LABEL_FILES]
        if not self.pictures:
            raise UsageError(f"{path}: no pictures in it ({', '.join(READ_SUFFIXES)})")

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of one file."""

    @abstractmethod
    def close(self) -> None:
        """Gives up what is open."""

    def manifest(self) -> str:
        """A hash over the names, sizes and stamps of all pictures."""
        digest = hashlib.sha256()
        for entry in self.pictures:
            digest.update(f"{entry.name}\0{entry.size}\0{entry.stamp}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderSource(Source):
    """All files below a folder; hidden ones and links to folders are left out."""

    def __init__(self, path: Path) -> None:
        entries = []
        for parent, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            for name in names:
                file = Path(parent, name)
                if not _is_hidden(name) and file.is_file():
                    stat = file.stat()
                    entries.append(Entry(file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns))
        super().__init__(path, entries)

    def read(self, name: str) -> bytes:
        """The content of one file."""
        return (self.path / name).read_bytes()

    def close(self) -> None:
        """Nothing to give up: files are opened one at a time."""


class ZipSource(Source):
    """All files in a zip."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UsageError(f"{path}: not a usable zip file ({error})") from None
        self._lock = threading.Lock()
        infos = [i for i in self._zip.infolist() if not i.is_dir() and not _is_hidden(i.filename)]
        super().__init__(path, [Entry(info.filename, info.file_size, info.CRC) for info in infos])

    def read(self, name: str) -> bytes:
        """The content of one file."""
        with self._lock:
            return self._zip.read(name)

    def close(self) -> None:
        """Closes the zip."""
        self._zip.close()


def _shared_folder(names: list[str]) -> str:
    """`faces/` where every picture lies below one top folder, as in a zip of a folder; else nothing."""
    tops = {name.split("/", 1)[0] + "/" if "/" in name else "" for name in names}
    return tops.pop() if len(tops) == 1 else ""


def _is_hidden(name: str) -> bool:
    """Whether a part of the name is hidden, or the junk folder that macOS puts into zips."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def open_source(path: Path) -> Source:
    """The folder or zip at `path`.

    Raises:
        UsageError: nothing there, neither folder nor zip, or no pictures in it.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise UsageError(
        f"data {str(path)!r}: no such folder or zip file; `starter` is the set that comes with facegan"
    )
