"""What a pickle's imports, calls and objects become here: names, records and bounds, nothing that acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from facegan.config import UsageError

MAX_OPCODES = 250_000
MAX_TEXT = 2**24  # characters and bytes that are copied, in all
MAX_NAME = 512  # characters of a global's name or of a key


class Global:
    """A name that the file wants imported: `module.name`, nothing else."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Record:
    """A call that is not made: what was to be called with which arguments, and what came on top of it."""

    __slots__ = ("args", "callable", "elements", "items", "state")

    def __init__(self, called: Global | Record, args: tuple[Any, ...]) -> None:
        self.callable, self.args = called, args
        self.state: Any = None
        self.items: dict[Any, Any] = {}
        self.elements: list[Any] = []

    def build(self, state: Any) -> None:
        """Keeps the state."""
        self.state = state


class Budget:
    """What is left of the bounds; one for a file and all pickles inside it."""

    def __init__(self) -> None:
        self.opcodes, self.text = MAX_OPCODES, MAX_TEXT

    def step(self, count: int = 1) -> None:
        """Counts opcodes, or as many steps of other work.

        Raises:
            UsageError: too many.
        """
        self.opcodes -= count
        if self.opcodes < 0:
            raise damaged(f"more than {MAX_OPCODES:,} opcodes")

    def copy(self, count: int) -> None:
        """Counts characters or bytes that are about to be copied.

        Raises:
            UsageError: too many.
        """
        self.text -= count
        if self.text < 0:
            raise damaged(f"more than {MAX_TEXT:,} characters of text")


Constructor = Callable[[tuple[Any, ...], Budget], Any]
Constructors = Mapping[tuple[str, str], Constructor]


def damaged(what: str) -> UsageError:
    """The error of a pickle that cannot be read."""
    return UsageError(f"not a pickle that can be read: {what}")


def checked_key(key: Any) -> Any:
    """A key that is cheap to hash and to compare: tuples and great numbers could be made to collide.

    Raises:
        UsageError: it is another one.
    """
    if isinstance(key, (str, bytes)) and len(key) > MAX_NAME:
        raise damaged(f"a dict with a key of {len(key):,} characters")
    if isinstance(key, int) and abs(key) >= 2**60:
        raise damaged("a dict with a key above 2**60")
    if key is None or isinstance(key, (str, bytes, int, float, Global, Record)):
        return key
    raise damaged(f"a dict with a key of type {type(key).__name__}")
