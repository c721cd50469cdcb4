"""Where pictures lie: a folder, a zip file, or a folder of zip files (shards), read the same way.

with open_source("faces.zip") as source:
    for entry in source.pictures:
        data = source.read(entry)
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from facegan.config import UsageError, first_line
from facegan.images import READ_SUFFIXES

LABEL_FILES = ("metadata.jsonl", "dataset.json", "list_attr_celeba.txt")
MAX_FILE_BYTES = 256 * 2**20  # of one file; in a zip, unpacked
_ZIP_BITE = 4096  # packed bytes; as bzip2, which packs tightest, at most 80 MB
# what a user would expect to be read: left out by name, not passed over in silence
_OTHER_PICTURES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".ppm", ".tga", ".tif", ".tiff"
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One file of a source: its name with forward slashes, and what changes when its content does."""

    name: str
    size: int
    stamp: int  # modification time in ns, or the zip's CRC
    shard: str = ""  # of a file in a folder's zip: the zip's own name with a slash, with which `name` begins
    root: str = ""  # of a file in a folder's zip: the zip's own `Source.root`

    @property
    def inner(self) -> str:
        """The name inside its shard."""
        return self.name.removeprefix(self.shard)

    @property
    def folder(self) -> str:
        """Where it lies inside its shard, with its slash; nothing: at the top."""
        return self.inner[: self.inner.rfind("/") + 1]


class Source(ABC):
    """The files of a folder or zip, in the order of their names; `read` may be called from threads.

    `root` is the one top folder that all pictures share, with its slash, or nothing. Of files in a folder's
    zips, names inside the zip count. `label_files` are those in folders with pictures in them or below.
    `left_out` holds the pictures that are not read, with the reason.
    """

    def __init__(self, path: Path, entries: list[Entry], left_out: dict[str, str]) -> None:
        self.path, self.left_out = path, left_out
        entries = sorted(entries, key=lambda entry: entry.name)
        self.pictures = [e for e in entries if e.name.lower().endswith(READ_SUFFIXES)]
        for entry in entries:
            if entry.name.lower().endswith(_OTHER_PICTURES):
                left_out[entry.name] = "only PNG, JPEG and WebP are read; convert it first"
        self.root = _shared_folder([entry.inner for entry in self.pictures])
        holding = {(shard, e.folder) for e in self.pictures for shard in ("", e.shard)}
        holding = {(shard, above) for shard, folder in holding for above in folders_above(folder)}
        labelling = [e for e in entries if e.inner.removeprefix(e.folder) in LABEL_FILES]
        self.label_files = [e for e in labelling if (e.shard, e.folder) in holding]
        if not self.pictures:
            name, reason = next(iter(left_out.items()), ("", ""))
            example = f"; {on_one_line(name)}: {reason}" if name else ""
            raise UsageError(f"{path}: no pictures in it ({', '.join(READ_SUFFIXES)}){example}")

    def below_root(self, entry: Entry) -> str:
        """The name without the top folder."""
        return entry.inner.removeprefix(self.root_of(entry))

    def root_of(self, entry: Entry) -> str:
        """The top folder, which each of a folder's zips may have of its own."""
        return entry.root or self.root

    def read(self, entry: Entry) -> bytes:
        """The content of one file.

        Raises:
            ValueError: larger than MAX_FILE_BYTES.
            Exception: whatever the system or the zip has to say of an unreadable one.
        """
        if entry.size > MAX_FILE_BYTES:
            raise ValueError(f"{entry.size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return self._content(entry)

    @abstractmethod
    def _content(self, entry: Entry) -> bytes:
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
    """All files below a folder, hidden ones left out; links are followed, each folder is read once.

    Where no picture lies in it by itself, those in its zips are its own: the shards of one set.
    """

    def __init__(self, path: Path) -> None:
        entries: list[Entry] = []
        left_out: dict[str, str] = {}

        def unreadable(error: OSError) -> None:
            left_out[Path(str(error.filename)).relative_to(path).as_posix()] = reason(error)

        zips: list[str] = []
        seen = {_identity(path.stat())}
        for parent, folders, files in os.walk(path, followlinks=True, onerror=unreadable):
            # a folder comes before links to it
            folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
            found, folders[:] = [*folders, *files], []
            for name in found:
                file = Path(parent, name)
                relative = file.relative_to(path).as_posix()
                if _is_hidden(name):
                    continue
                try:
                    status = file.stat()
                except OSError as error:
                    to_nothing = isinstance(error, FileNotFoundError) and file.is_symlink()
                    left_out[relative] = "a link to nothing" if to_nothing else reason(error)
                    continue
                if stat.S_ISREG(status.st_mode) and name.lower().endswith(".zip"):
                    zips.append(relative)
                elif stat.S_ISREG(status.st_mode):
                    entries.append(Entry(relative, status.st_size, status.st_mtime_ns))
                elif stat.S_ISDIR(status.st_mode) and _identity(status) in seen:
                    left_out[relative] = "leads to a folder that is read already"
                elif stat.S_ISDIR(status.st_mode):
                    seen.add(_identity(status))
                    folders.append(name)
                else:  # a pipe would be waited on for ever
                    left_out[relative] = "neither a file nor a folder"
        self._shards: dict[str, ZipSource] = {}
        if any(entry.name.lower().endswith(READ_SUFFIXES) for entry in entries):
            # a zip of the same pictures, perhaps
            left_out |= dict.fromkeys(
                zips, "a zip beside pictures; give it alone, or zips a folder of their own"
            )
            zips = []
        try:
            for name in sorted(zips):
                entries += self._opened_shard(path, name, left_out)
            super().__init__(path, entries, left_out)
        except BaseException:
            self.close()
            raise

    def _opened_shard(self, path: Path, name: str, left_out: dict[str, str]) -> list[Entry]:
        """The files of one zip; none of a zip without use, which is left out."""
        try:
            shard = ZipSource(path / name)
        except UsageError as error:
            left_out[name] = str(error).removeprefix(f"{path / name}: ")
            return []
        prefix = f"{name}/"
        self._shards[prefix] = shard
        left_out |= {prefix + inner: why for inner, why in shard.left_out.items()}
        return [
            Entry(prefix + e.name, e.size, e.stamp, prefix, shard.root)
            for e in (*shard.pictures, *shard.label_files)
        ]

    def _content(self, entry: Entry) -> bytes:
        if entry.shard:
            return self._shards[entry.shard]._content(Entry(entry.inner, entry.size, entry.stamp))
        return (self.path / entry.name).read_bytes()

    def close(self) -> None:
        """Closes the shards; other files are opened one at a time."""
        for shard in self._shards.values():
            shard.close()


class ZipSource(Source):
    """All files in a zip. Nothing is ever unpacked to the disk, whatever its names say."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory can end in nearly any of them
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # no fault of this zip: one of more shards than the system opens at once
            raise UsageError(f"{path}: not a usable zip file ({reason(error)})") from None
        self._lock = threading.Lock()
        entries: dict[str, Entry] = {}
        left_out: dict[str, str] = {}
        for info in self._zip.infolist():
            name = info.filename
            if name.endswith("/") or _is_hidden(name):  # is_dir() fails on an empty name
                continue
            if name.startswith("/") or ".." in name.split("/"):
                left_out[name] = "its name leads out of the zip"
                continue
            if name in entries:
                left_out[f"{name} (an earlier one)"] = "the zip has a later file of the same name"
            entries[name] = Entry(name, info.file_size, info.CRC)
        try:
            super().__init__(path, list(entries.values()), left_out)
        except UsageError:
            self.close()
            raise

    def _content(self, entry: Entry) -> bytes:
        # in bites, as a zip may lie about its sizes: zipfile unpacks all of a bite before it counts
        with self._lock, self._zip.open(entry.name) as file:
            return b"".join(iter(lambda: file.read(_ZIP_BITE), b""))

    def close(self) -> None:
        """Closes the zip."""
        self._zip.close()


def reason(error: BaseException) -> str:
    """What was wrong, in one line, without the name of the file."""
    if isinstance(error, EOFError):  # zipfile's has no message
        return "cut off"
    return str(error.strerror) if isinstance(error, OSError) and error.strerror else first_line(error)


def on_one_line(name: str) -> str:
    """The name of a file with line breaks and the like escaped."""
    return repr(name)[1:-1]


def folders_above(name: str) -> list[str]:
    """`a/b/1.png` -> nothing, `a/`, `a/b/`."""
    return ["", *(name[: place + 1] for place, sign in enumerate(name) if sign == "/")]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _shared_folder(names: list[str]) -> str:
    """`faces/` where every picture lies below one top folder, as in a zip of a folder; else nothing."""
    tops = {name.split("/", 1)[0] + "/" if "/" in name else "" for name in names}
    return tops.pop() if len(tops) == 1 else ""


def _is_hidden(name: str) -> bool:
    """Whether a part of the name is hidden, or the junk folder that macOS puts into zips."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/")
    )


def open_source(path: Path) -> Source:
    """The folder or zip at `path`.

    Raises:
        UsageError: nothing there, neither folder nor zip, or no pictures in it.
        OSError: more zips in a folder than the system opens at once.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UsageError(f"data {str(path)!r}: {error.strerror}") from None
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise UsageError(
        f"data {str(path)!r}: no such folder or zip file; `starter` is the set that comes with facegan"
    )
