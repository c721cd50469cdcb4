"""A disk that fails: counts what is done to it, and stops, fills up or becomes read-only at any chosen point.

    with FaultyDisk() as disk: work()                          disk.operations: all there were
    with FaultyDisk(at=7, fault=Killed()) as disk: work()      the 8th never ends, and none after it
    with FaultyDisk(at=7, fault=full()) as disk: work()        the 8th and every later one has no room
    with FaultyDisk(7, full(), once=True) as disk: work()      only the 8th

An operation is making a file or folder, writing, syncing, renaming, deleting. Of many writes to one file the
first and every 64th count; a write that fails has written half.
"""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """Stands for kill -9: nothing that the program does afterwards reaches the disk."""


def full() -> OSError:
    """No space left on device."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> OSError:
    """Read-only file system."""
    return OSError(errno.EROFS, os.strerror(errno.EROFS))


class FaultyDisk:
    """Replaces the calls by which a program changes a disk, for the length of a `with` block."""

    def __init__(
        self, at: int | None = None, fault: BaseException | None = None, *, once: bool = False
    ) -> None:
        self.at, self.fault, self._once = at, fault, once
        self.operations: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> FaultyDisk:
        self._open = builtins.open
        for name in ("replace", "unlink", "mkdir", "fsync"):
            self._patch.setattr(os, name, self._counted(name, getattr(os, name)))
        self._patch.setattr("facegan.files.open", self._opened, raising=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    @property
    def failing(self) -> bool:
        """Whether the chosen point has been reached."""
        if self.at is None or len(self.operations) <= self.at:
            return False
        return not self._once or len(self.operations) == self.at + 1

    def operation(self, name: str, *, countable: bool = True) -> None:
        """Counts one, and raises the fault from the chosen one on."""
        if countable:
            self.operations.append(name)
        # a full disk can still delete, and rename what is there
        spared = isinstance(self.fault, OSError) and self.fault.errno == errno.ENOSPC and name == "unlink"
        if self.failing and not spared:
            assert self.fault is not None
            raise self.fault

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.operation(name)
            return function(*arguments, **options)

        return call

    def _opened(self, path: Any, mode: str) -> _File:
        assert "b" in mode
        self.operation("open")
        return _File(self, self._open(path, mode, buffering=0))  # type: ignore[call-overload]


class _File:
    """A file without a buffer: what was not written is not written later."""

    def __init__(self, disk: FaultyDisk, file: Any) -> None:
        self._disk, self._file, self._writes = disk, file, 0

    def write(self, data: Any) -> int:
        try:
            self._disk.operation("write", countable=self._writes % 64 == 0)
        except BaseException:
            self._file.write(bytes(data)[: len(data) // 2])
            raise
        self._writes += 1
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        number: int = self._file.fileno()
        return number

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
