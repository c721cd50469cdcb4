"""Files of PyTorch: pickles with tensors, what torch.save writes today (a zip file), and what it wrote once.

    read_torch(data)     -> what the file holds: containers, Records, Tensors and Arrays

The older stream is five pickles (a magic number, a version, facts of the machine, the object, its storages'
keys), then for each key the number of elements and the bytes. In pickles of whole networks every storage is
such a stream in a bytes object. The zip file has the object's pickle in NAME/data.pkl and the storages in
NAME/data/KEY. torch.load would read some of these under weights_only; the one interpreter for all of them
needs no torch, has bounds on time and memory, and says what it found in a file that it cannot use.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

from facegan.config import UsageError
from facegan.interop.arrays import CONSTRUCTORS, Storage
from facegan.interop.inert import Budget, Constructors, damaged
from facegan.interop.pickles import read_pickle

MAGIC = 0x1950A86A20F9469CFC6C
STREAM_VERSION = 1001
MAX_ZIP_ENTRIES = 10_000
MAX_ZIP_TABLE = 2**23  # bytes
_ZIP_START, _ZIP_ENTRY = b"PK\x03\x04", b"PK\x01\x02"


def read_torch(data: memoryview) -> Any:
    """What a pickle, a file of torch.save, or an older one holds.

    Raises:
        UsageError: none of them, or damaged.
    """
    budget = Budget()
    if bytes(data[:4]) == _ZIP_START:
        return _read_zip(data, budget)
    constructors = CONSTRUCTORS | {
        ("torch.storage", "_load_from_bytes"): lambda args, _: _storage_of(args, budget),
    }
    found, end = read_pickle(data, budget=budget, constructors=constructors)
    if found == MAGIC and type(found) is int:
        return _read_stream(data, end, budget, constructors)
    return found


def _storage_of(args: tuple[Any, ...], budget: Budget) -> Storage:
    """The storage in the bytes that a pickled tensor holds."""
    (data,) = args
    if not isinstance(data, (bytes, memoryview)):
        raise damaged("a tensor without bytes")
    view = memoryview(data)
    magic, end = read_pickle(view, budget=budget)
    if type(magic) is not int or magic != MAGIC:
        raise damaged("a tensor whose bytes are not PyTorch's")
    found = _read_stream(view, end, budget, CONSTRUCTORS)
    if not isinstance(found, Storage):
        raise damaged("a tensor whose bytes hold no storage")
    return found


def _read_stream(data: memoryview, start: int, budget: Budget, constructors: Constructors) -> Any:
    """What stands behind the magic number."""
    storages: dict[str, Storage] = {}

    def storage(what: Any) -> Storage:
        if not isinstance(what, tuple) or len(what) not in (5, 6) or what[0] != "storage":
            raise damaged("a reference that is not to a storage")
        key, count = what[2], what[4]
        if not isinstance(key, str) or (len(what) == 6 and what[5] is not None):
            raise damaged("a storage without a key, or one that is part of another")
        if key not in storages:
            storages[key] = Storage(what[1], count)
        return storages[key]

    version, end = read_pickle(data, start, budget=budget)
    machine, end = read_pickle(data, end, budget=budget)
    if version != STREAM_VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise damaged("a stream of PyTorch of another version, or of a big-endian machine")
    found, end = read_pickle(data, end, budget=budget, constructors=constructors, persistent=storage)
    keys, end = read_pickle(data, end, budget=budget)
    if not isinstance(keys, list):
        raise damaged("a stream of PyTorch without a list of storages")
    for key in keys:
        if not isinstance(key, str) or key not in storages or storages[key].data is not None:
            raise damaged("a storage that nothing refers to, or that comes twice")
        if end + 8 > len(data):
            raise damaged("it ends before its storages")
        (count,) = struct.unpack_from("<q", data, end)
        wanted = storages[key]
        size = wanted.count * wanted.itemsize
        if count != wanted.count or size > len(data) - end - 8:
            raise damaged(f"a storage of {wanted.count:,} numbers, of which the file has {count:,}")
        wanted.fill(data[end + 8 : end + 8 + size])
        end += 8 + size
    return found


def _read_zip(data: memoryview, budget: Budget) -> Any:
    """What the zip file's data.pkl describes."""
    entries = _entries(data)
    folders = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise damaged("a zip file, but none of torch.save: it has no data.pkl")
    folder = folders[0]
    if f"{folder}byteorder" in entries and bytes(_content(data, entries[f"{folder}byteorder"])) != b"little":
        raise damaged("a file of a big-endian machine")
    storages: dict[str, Storage] = {}

    def storage(what: Any) -> Storage:
        if (
            not isinstance(what, tuple)
            or len(what) != 5
            or what[0] != "storage"
            or not isinstance(what[2], str)
        ):
            raise damaged("a reference that is not to a storage")
        _, storage_class, key, _, count = what
        if key not in storages:
            if f"{folder}data/{key}" not in entries:
                raise damaged(f"storage {key[:40]!r} is not in the file")
            storages[key] = Storage(storage_class, count)
            storages[key].fill(_content(data, entries[f"{folder}data/{key}"]))
        return storages[key]

    pickled = _content(data, entries[f"{folder}data.pkl"])
    found, _ = read_pickle(pickled, budget=budget, constructors=CONSTRUCTORS, persistent=storage)
    return found


def _entries(data: memoryview) -> dict[str, zipfile.ZipInfo]:
    """The zip file's table, by name; what it declares is no more than the file has."""
    if _count(data, _ZIP_ENTRY, MAX_ZIP_ENTRIES + 1) > MAX_ZIP_ENTRIES:
        raise damaged(f"a zip file of more than {MAX_ZIP_ENTRIES:,} files")
    try:
        with zipfile.ZipFile(_Reader(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, LookupError, struct.error) as error:
        raise damaged(f"a damaged zip file ({error})") from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise damaged("a zip file with compressed parts, which torch.save does not write")
    if sum(entry.file_size for entry in entries.values()) > len(data):
        raise damaged("a zip file that declares more bytes than it has")
    return entries


def _content(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an uncompressed file in the zip file, as a view; checked against their checksum."""
    start = entry.header_offset
    if start < 0 or start + 30 > len(data) or bytes(data[start : start + 4]) != _ZIP_START:
        raise damaged("a damaged zip file")
    name_length, extra_length = struct.unpack_from("<HH", data, start + 26)
    start += 30 + name_length + extra_length
    part = data[start : start + entry.file_size]
    if len(part) != entry.file_size or zlib.crc32(part) != entry.CRC:
        raise damaged("a zip file whose tensors have another checksum than it says")
    return part


def _count(data: memoryview, what: bytes, most: int) -> int:
    """How often it is there, counted up to `most`; in parts, since a view cannot search."""
    count, size = 0, 2**20
    for start in range(0, len(data), size):
        count += bytes(data[start : start + size + len(what) - 1]).count(what)
        if count >= most:
            break
    return count


class _Reader(io.RawIOBase):
    """A view as a file, for zipfile, which reads no more than the file has."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: len(self.data)}[whence]
        if position < 0:
            raise UsageError("not a usable zip file")
        self.position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.data) if size is None or size < 0 else self.position + size
        if end - self.position > MAX_ZIP_TABLE:
            raise damaged("a zip file with too long a table")
        part = bytes(self.data[self.position : end])
        self.position += len(part)
        return part
