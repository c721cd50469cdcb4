"""A set of pictures that grows on the disk: killed at any moment, it goes on where it was.

    .people.zip.partial.zip      the first bytes of the finished zip: one stored entry a picture, in order
    .people.zip.partial.jsonl    what they are drawn with; then a line a picture: checksums, size, labels

A picture is written before its line. When a set is opened again, both files are read against their checksums
and cut behind the last picture that is whole. At the end labels, texts and the zip's directory are added, and
the file takes its name in one step; a folder is unpacked from it first. The bytes of a set depend on what is
in it alone.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, overload

from filelock import FileLock, Timeout

from facegan.config import Json, UsageError, differences, first_line
from facegan.files import MAX_NAME_BYTES, clear_partial, write_atomically

LABELS = "metadata.jsonl"
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same set is the same bytes
UNIX, PLAIN_FILE = 3, 0o100644 << 16  # who made an entry, and its rights: the same on every system
_CRC_CHARACTERS = 9  # of a line: eight digits and a space
# what a zip raises that is damaged, encrypted or packed in an unknown way
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError)


@contextmanager
def growing(out: Path, drawn_with: Json, limit: int) -> Iterator[PictureSet]:
    """The set that will be `out` (a zip by its suffix, else a folder), with up to `limit` pictures of it.

    drawn_with: what all pictures have in common. Nobody else can work on it until the block ends.

    Raises:
        UsageError: another process is at it, or it was begun with other arguments.
        OSError: it cannot be written; what was appended before is kept.
    """
    with _locked(out):
        pictures = PictureSet(out, drawn_with, limit)
        with open(_partial(out, "zip"), "ab") as records, open(_partial(out, "jsonl"), "ab") as journal:
            pictures.write_to(records, journal)
            yield pictures
        if pictures.finished:
            _publish(out)


class PictureSet:
    """What is on the disk of a set: `len` pictures, in order; see `growing`."""

    finished = False

    def __init__(self, out: Path, drawn_with: Json, limit: int) -> None:
        self._records_path, self._journal_path = _partial(out, "zip"), _partial(out, "jsonl")
        self._suffix: str = drawn_with["format"]
        self._crcs, self._sizes, self._offsets = array("I"), array("Q"), array("Q")
        self._others: list[zipfile.ZipInfo] = []  # entries that are no pictures
        self._end = 0  # bytes of whole entries
        self._keep_what_is_whole(out, drawn_with, limit)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._crcs)

    def write_to(self, records: IO[bytes], journal: IO[bytes]) -> None:
        """Where to append: both files, open at their ends."""
        self._records, self._journal = records, journal

    def append(self, picture: bytes, labels: bytes) -> None:
        """Adds the next picture, encoded, and its labels, a line of JSON."""
        crc = zlib.crc32(picture)
        self._records.write(_header(self._entry(len(self), crc, len(picture))) + picture)
        self._records.flush()
        self._journal.write(_checked(b"%08x %d %b" % (crc, len(picture), labels)))
        self._journal.flush()
        self._count(crc, len(picture))

    def take_over(self, finished: Path) -> None:
        """Copies from a finished zip of the same kind what is not here yet.

        Raises:
            UsageError: it is damaged.
        """
        try:
            with zipfile.ZipFile(finished) as old:
                damaged = old.testzip()
                if damaged is not None:
                    raise ValueError(f"its {damaged} is damaged")
                with old.open(LABELS) as lines:
                    for line in islice(lines, len(self), None):
                        self.append(old.read(self.name(len(self))), line.rstrip(b"\n"))
        except UNREADABLE as error:
            raise UsageError(f"{finished}: cannot be added to ({first_line(error)})") from None

    def finish(self, texts: Mapping[str, str]) -> None:
        """Adds labels, texts by name, and the zip's directory. At the end of its block, the set is there."""
        self._append_packed(LABELS, self._label_lines)
        for name, text in texts.items():
            self._append_packed(name, lambda text=text: iter([text.encode()]))  # type: ignore[misc]
        with zipfile.ZipFile(_Tail(self._records, self._end), "w") as directory:
            directory.filelist = _Entries(len(self) + len(self._others), self._nth)  # type: ignore[assignment]
        self._records.flush()
        os.fsync(self._records.fileno())
        self.finished = True

    def name(self, index: int) -> str:
        """The file name of a picture."""
        return f"{index:06d}.{self._suffix}"

    # ---- parts

    def _keep_what_is_whole(self, out: Path, drawn_with: Json, limit: int) -> None:
        """Takes up what a broken-off run left, and cuts off what is damaged or too much."""
        there = self._records_path.exists() and self._journal_path.exists()
        lines = _whole_lines(self._journal_path) if there else iter(())
        first = next(lines, None)
        if first is None:
            with open(self._records_path, "wb"):
                pass
            start = _checked(json.dumps(drawn_with).encode())
            write_atomically(self._journal_path, lambda file: file.write(start), durable=False)
            return
        if changed := differences(json.loads(first), drawn_with):
            raise UsageError(
                f"{out}: a set was begun here with other arguments ({'; '.join(changed)}); go on with those, "
                f"choose another name, or delete {self._journal_path.name}"
            )
        journal_end = _CRC_CHARACTERS + len(first) + 1
        with self._records_path.open("rb") as records:
            for line in islice(lines, limit):
                crc, size = int(line.split(b" ")[0], 16), int(line.split(b" ")[1])
                header = _header(self._entry(len(self), crc, size))
                if records.read(len(header)) != header or zlib.crc32(records.read(size)) != crc:
                    break
                self._count(crc, size)
                journal_end += _CRC_CHARACTERS + len(line) + 1
        os.truncate(self._records_path, self._end)
        os.truncate(self._journal_path, journal_end)

    def _count(self, crc: int, size: int) -> None:
        """The next picture is on the disk."""
        header = _header(self._entry(len(self), crc, size))
        self._offsets.append(self._end)
        self._crcs.append(crc)
        self._sizes.append(size)
        self._end += len(header) + size

    def _entry(self, index: int, crc: int, size: int) -> zipfile.ZipInfo:
        entry = _dated(self.name(index))
        entry.CRC, entry.file_size, entry.compress_size = crc, size, size
        return entry

    def _nth(self, number: int) -> zipfile.ZipInfo:
        """An entry of the directory: first the pictures, then the others."""
        if number >= len(self):
            return self._others[number - len(self)]
        entry = self._entry(number, self._crcs[number], self._sizes[number])
        entry.header_offset = self._offsets[number]
        return entry

    def _label_lines(self) -> Iterator[bytes]:
        for line in islice(_whole_lines(self._journal_path), 1, None):
            yield line.split(b" ", 2)[2] + b"\n"

    def _append_packed(self, name: str, pieces: Callable[[], Iterator[bytes]]) -> None:
        """Adds a deflated entry of any length; packed twice, as its size stands before it."""
        entry = _dated(name)
        entry.compress_type, entry.header_offset = zipfile.ZIP_DEFLATED, self._end
        for piece in pieces():
            entry.CRC, entry.file_size = zlib.crc32(piece, entry.CRC), entry.file_size + len(piece)
        entry.compress_size = sum(map(len, _packed(pieces())))
        header = _header(entry)
        self._records.write(header)
        for packed in _packed(pieces()):
            self._records.write(packed)
        self._others.append(entry)
        self._end += len(header) + entry.compress_size


def clear_leftovers(out: Path) -> None:
    """Deletes what was left beside a finished set by a process that was killed right after its last step."""
    if out.is_dir() or not _partial(out, "zip").exists():
        with _locked(out):
            _delete_partials(out)


def check_name(out: Path) -> None:
    """Checks that the names beside `out` are not too long.

    Raises:
        UsageError: they are.
    """
    longest = _partial(out, "folder").name
    if len(os.fsencode(longest)) > MAX_NAME_BYTES:
        raise UsageError(f"OUT {out.name!r}: too long; {longest} would have more than {MAX_NAME_BYTES} bytes")


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """The system ends it when the process dies."""
    path = _partial(out, "lock")
    try:
        held = FileLock(path).acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{out}: another process is drawing it") from None
    with held:
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _publish(out: Path) -> None:
    """Gives the finished set its name."""
    records, folder = _partial(out, "zip"), _partial(out, "folder")
    if out.suffix == ".zip":
        os.replace(records, out)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with zipfile.ZipFile(records) as whole:
            for name in whole.namelist():
                with whole.open(name) as source, open(folder / name, "wb") as target:
                    shutil.copyfileobj(source, target)
        if hasattr(os, "sync"):
            os.sync()  # the zip is deleted next; one wait for all files
        os.replace(folder, out)
    _delete_partials(out)


def _delete_partials(out: Path) -> None:
    _partial(out, "jsonl").unlink(missing_ok=True)
    _partial(out, "zip").unlink(missing_ok=True)
    shutil.rmtree(_partial(out, "folder"), ignore_errors=True)
    clear_partial(out.parent, _partial(out, "").name)


def _partial(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.partial.{kind}")


def _checked(text: bytes) -> bytes:
    """A line of the journal, its checksum first."""
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a journal without their checksums, up to the first that is damaged."""
    with path.open("rb") as file:
        for line in file:
            text = line[_CRC_CHARACTERS:-1]
            if line != _checked(text):
                return
            yield text


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)  # raw, as zips hold it
    yield from filter(None, map(packer.compress, pieces))
    yield packer.flush()


def _dated(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system, entry.external_attr = UNIX, PLAIN_FILE
    entry.CRC = 0
    return entry


def _header(entry: zipfile.ZipInfo) -> bytes:
    """What stands before an entry's content."""
    return entry.FileHeader()


class _Tail:
    """The end of a file, as zipfile wants it: it asks where it is, and never goes back."""

    def __init__(self, file: IO[bytes], position: int) -> None:
        self._file, self._position = file, position

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._position += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        pass  # the file is another's


class _Entries(Sequence[zipfile.ZipInfo]):
    """The entries of a directory, each made when it is asked for: ten million at once are gigabytes."""

    def __init__(self, count: int, nth: Callable[[int], zipfile.ZipInfo]) -> None:
        self._count, self._nth = count, nth

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> zipfile.ZipInfo: ...
    @overload
    def __getitem__(self, number: slice) -> Any: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice) or not 0 <= number < self._count:
            raise IndexError(number)
        return self._nth(number)
