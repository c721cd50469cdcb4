"""Writing so that nothing is lost: a file holds its old content or all of the new one, whatever happens.

    write_atomically(path, write)      temporary file -> fsync -> rename -> fsync of the folder
    write_text(path, text)             the same with a text
    append_line(path, text)            for logs: at worst the last line is cut
    new_folder(out)                    a folder that appears with all that is in it, or not at all
    clear_partial(folder)              what a killed process left half-written
    require_writable(folder, what)     a wrong place is a UsageError before the work begins
    require_writable_file(path, what)  the same for a file to be; require_empty(folder, what): for a folder
    suffix_of(path, what, allowed)     the ending of its name, when it is an allowed one

Errors of the system (disk full, read-only, ...) are OSErrors that name the file that was to be written.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from facegan.config import UsageError, choose

MAX_NAME_BYTES = 255  # of one file or folder, on all common file systems
MAX_PARTIAL_SECONDS = 24 * 3600  # after which nobody writes at a half-written file any more
_PARTIAL = ".partial"
_TOKEN_BYTES = 4
_TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}{re.escape(_PARTIAL)}(\.[^.]*)?", re.DOTALL)
_LONGER_BYTES = len(f"..{_PARTIAL}") + 2 * _TOKEN_BYTES  # a temporary name than its file's


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True) -> None:
    """Calls `write(file)` so that `path` holds its old content or all of the new one, even after a crash.

    durable: also after a power cut, which costs a wait for the disk.

    Raises:
        OSError: with `path` as its file name; the old content is still there.
    """
    with replaced(path) as temporary, open(temporary, "wb") as file:
        write(file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        with _naming(path):
            _fsync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes the text as UTF-8, as write_atomically does."""
    write_atomically(path, lambda file: file.write(text.encode()))


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, with its suffix, that takes its place if the block ends well.

    What killed processes left half-written in its folder a day ago or more goes.

    Raises:
        OSError: with `path` as its file name.
    """
    writer = secrets.token_hex(_TOKEN_BYTES)  # two processes may write the same file
    temporary = path.with_name(f".{path.stem}.{writer}{_PARTIAL}{path.suffix}")
    _clear_old(path.parent.absolute())
    try:
        with _naming(path):
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder for what `out`, which is empty or not there, holds if the block ends well.

    It lies in `out` where that is there, and beside it where it is not.
    """
    out = out.resolve()  # "." has no name, and a link stays one
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out / _PARTIAL if out.is_dir() else out.with_name(f".{out.name}{_PARTIAL}")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        yield temporary
        if out.is_dir():  # it may be where somebody is: filled, not replaced
            for made in temporary.iterdir():
                made.replace(out / made.name)
            temporary.rmdir()
        else:
            temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def append_line(path: Path, text: str) -> None:
    """Adds one line at the end.

    Raises:
        OSError: with `path` as its file name; the line may be there in part.
    """
    with _naming(path), open(path, "ab") as file:
        file.write(text.encode() + b"\n")


def clear_partial(folder: Path, start: str = "") -> None:
    """Deletes what a killed process left half-written in this folder, of files whose names start so."""
    for leftover in _leftovers(folder, start):
        leftover.unlink(missing_ok=True)


@cache  # once a folder: it may get a million files, each of which is written by itself
def _clear_old(folder: Path) -> None:
    oldest = time.time() - MAX_PARTIAL_SECONDS
    with suppress(OSError):  # else it stays there
        for leftover in _leftovers(folder):
            if leftover.stat().st_mtime < oldest:
                leftover.unlink(missing_ok=True)


def _leftovers(folder: Path, start: str = "") -> Iterator[Path]:
    """The files with temporary names of `replaced`; others may look like them."""
    for path in folder.glob(f".{glob.escape(start)}*{_PARTIAL}*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            yield path


def require_writable(folder: Path, what: str) -> None:
    """Checks that `folder` is one that can be written to, or can be made; makes nothing.

    Raises:
        UsageError: it cannot; `what` is how the message calls it, such as "--out".
    """
    place = folder.absolute()
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in place.parts):
        raise UsageError(f"{what} {str(folder)!r}: a name in it is longer than {MAX_NAME_BYTES} bytes")
    while not os.path.lexists(place) and place != place.parent:  # an unmounted drive is its own parent
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"{what} {str(folder)!r}: {place} is not a folder; choose another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{what} {str(folder)!r}: {place} cannot be written to; choose another place")


def require_writable_file(path: Path, what: str) -> None:
    """Checks that `path` is a file that can be written or replaced, or can be made; makes nothing.

    Raises:
        UsageError: it cannot; `what` is how the message calls it.
    """
    require_writable(path.parent, what)
    if len(os.fsencode(path.name)) + _LONGER_BYTES > MAX_NAME_BYTES:
        raise UsageError(f"{what} {str(path)!r}: its name is (nearly) longer than {MAX_NAME_BYTES} bytes")
    if path.is_dir():
        raise UsageError(f"{what} {str(path)!r}: a folder; name a file in it")


def suffix_of(path: Path, what: str, allowed: Iterable[str]) -> str:
    """The suffix of the path in small letters, when it is an allowed one.

    Raises:
        UsageError: it is not, or there is none; `what` is how the message calls it.
    """
    words = list(allowed)
    if not path.suffix:
        raise UsageError(f"{what} of {str(path)!r}: its name has no ending; one of {', '.join(words)}")
    return choose(what, path.suffix.lower(), words)


def require_empty(folder: Path, what: str) -> None:
    """Checks that `folder` is a new or empty one that can be written to.

    What a killed `new_folder` left in it does not count.

    Raises:
        UsageError: it is not; `what` is how the message calls it.
    """
    if folder.is_dir() and any(path.name != _PARTIAL for path in folder.iterdir()):
        raise UsageError(f"{what} {str(folder)!r}: has files in it; name a new folder")
    require_writable(folder, what)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives the system's errors the name of the file that was to be written: a full disk's has none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder to sync it
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)
