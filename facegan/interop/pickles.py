"""An interpreter of pickles (protocols 0 to 5) that executes nothing of what a file asks for.

A pickle is a program for a small stack machine that may import and call anything. This machine has neither
import nor call: a global is a name, a call is a Record of what was to be called, with which arguments, and
with what state. A few harmless constructors, looked up by name in a table of the caller's, make plain
containers and descriptions of arrays (arrays.py).

    read_pickle(data)        -> what the pickle describes, and where it ends

Work and memory are bounded (inert.py): MAX_OPCODES steps, each of which makes at most one object and one
entry of the memo, so that stack, memo and nesting are bounded with them; text and short bytes are copied up
to MAX_TEXT; longer bytes stay views of the file. Nothing here compares, hashes, prints or walks what was
read, which in a small file may be a tree of any size: each opcode costs as much as it is long.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any

from facegan.config import UsageError
from facegan.interop.inert import (
    MAX_NAME,
    MAX_TEXT,
    Budget,
    Constructors,
    Global,
    Record,
    checked_key,
    damaged,
)

MAX_INT_BYTES = 32
SHORT_BYTES = 4096  # longer ones stay views of the file
MAX_PROTOCOL = 5
_ESCAPED = re.compile(rb"""(?:[^\\]|\\[\\'"abfnrtvx])*+""", re.DOTALL)


def read_pickle(
    data: memoryview,
    start: int = 0,
    *,
    budget: Budget | None = None,
    constructors: Constructors | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """What the pickle at `start` describes, and the position behind it.

    constructors: by module and name, what is made of a call's arguments instead of a Record; persistent: what
    is made of a persistent id.

    Raises:
        UsageError: not a pickle, cut off, or beyond the bounds.
    """
    machine = _Machine(data, start, budget or Budget(), constructors or {}, persistent)
    try:
        return machine.run(), machine.position
    except UsageError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise damaged(f"{type(error).__name__} at byte {machine.position}") from None


class _Machine:
    """The stack, the memo and the position. An opcode is a method of `_STEPS`."""

    def __init__(
        self,
        data: memoryview,
        start: int,
        budget: Budget,
        constructors: Constructors,
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self.data, self.position, self.budget = data, start, budget
        self.constructors, self.persistent = constructors, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}
        self.globals: dict[tuple[str, str], Global] = {}

    def run(self) -> Any:
        while True:
            self.budget.step()
            code = self.take(1)[0]
            if code == _STOP:
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise damaged(f"opcode 0x{code:02x} at byte {self.position - 1}")
            step(self)

    # ---- the file

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise damaged(f"it ends within something of {count} bytes at byte {self.position}")
        part = self.data[self.position : end]
        self.position = end
        return part

    def unpack(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        size = 64
        while True:
            chunk = bytes(self.data[self.position : self.position + size])
            end = chunk.find(b"\n")
            if end >= 0:
                self.budget.copy(end)
                self.position += end + 1
                return chunk[:end]
            if len(chunk) < size or size > MAX_TEXT:
                raise damaged(f"a line without an end at byte {self.position}")
            size *= 2

    def name(self) -> str:
        return self.line().decode("utf-8", "replace")

    def text(self, count: int) -> str:
        self.budget.copy(count)
        return str(self.take(count), "utf-8", "replace")

    def binary(self, count: int) -> bytes | memoryview:
        part = self.take(count)
        if count > SHORT_BYTES:
            return part
        self.budget.copy(count)
        return bytes(part)

    def old_string(self, count: int) -> str | memoryview:
        """Python 2's str, which is a name or raw numbers."""
        part = self.take(count)
        if count > SHORT_BYTES:
            return part
        self.budget.copy(count)
        return str(part, "latin-1")

    # ---- the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        found, self.stack = self.stack, self.below.pop()
        return found

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise damaged(f"too little on the stack at byte {self.position}")
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def pop_either(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    # ---- containers

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.elements += values
        elif isinstance(target, list):
            target += values
        else:
            raise damaged(f"an element for what has none at byte {self.position}")

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Record) else target
        if not isinstance(items, dict) or len(flat) % 2:
            raise damaged(f"an item for what has none at byte {self.position}")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            items[checked_key(key)] = value

    def new_dict(self) -> None:
        flat = self.since_mark()
        self.push({})
        self.set_items(flat)

    # ---- memo

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.push(self.memo[index])

    # ---- what a pickle would import and call

    def push_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged(f"a global that is not named by two texts at byte {self.position}")
        if max(len(module), len(name)) > MAX_NAME:
            raise damaged(f"a global with a name of more than {MAX_NAME} characters")
        self.push(self.globals.setdefault((module, name), Global(module, name)))

    def push_call(self, called: object, args: object) -> None:
        if not isinstance(called, (Global, Record)) or not isinstance(args, tuple):
            raise damaged(f"a call of what is not a name at byte {self.position}")
        made: Any = None
        if isinstance(called, Global):
            constructor = self.constructors.get((called.module, called.name))
            made = None if constructor is None else constructor(args, self.budget)
        self.push(Record(called, args) if made is None else made)

    def call(self) -> None:
        args = self.pop()
        self.push_call(self.pop(), args)

    def call_with_keywords(self) -> None:
        keywords, args = self.pop(), self.pop()
        if not isinstance(args, tuple):
            raise damaged(f"a call without arguments at byte {self.position}")
        self.push_call(self.pop(), (*args, keywords))

    def stack_global(self) -> None:
        name = self.pop()
        self.push_global(self.pop(), name)

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, (dict, list)):
            return  # attributes of a container, such as the versions of a state dict's modules
        if not hasattr(target, "build"):
            raise damaged(f"a state for what has none at byte {self.position}")
        target.build(state)

    def push_persistent(self, what: Any) -> None:
        if self.persistent is None:
            raise damaged("it refers to objects outside of itself")
        self.push(self.persistent(what))

    # ---- head

    def protocol(self) -> None:
        number = self.take(1)[0]
        if number > MAX_PROTOCOL:
            raise damaged(f"protocol {number}, known are 0 to {MAX_PROTOCOL}")


def _whole(machine: _Machine, count: int) -> int:
    if count > MAX_INT_BYTES:
        raise damaged(f"a whole number of {count} bytes")
    return int.from_bytes(machine.take(count), "little", signed=True)


def _decimal(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    text = line.rstrip(b"L")
    if len(text) > 2 * MAX_INT_BYTES:
        raise damaged(f"a whole number of {len(text)} digits")
    return int(text)


def _quoted(line: bytes) -> str:
    line = line.strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise damaged("a text without its quotation marks")
    if not _ESCAPED.fullmatch(line, 1, len(line) - 1):  # Python warns of others, and reads on
        raise damaged("a text with an escape that Python does not write")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


_STOP = ord(".")
_STEPS: dict[int, Callable[[_Machine], object]] = {
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.unpack("<B")),
    ord("M"): lambda m: m.push(m.unpack("<H")),
    ord("J"): lambda m: m.push(m.unpack("<i")),
    ord("G"): lambda m: m.push(m.unpack(">d")),
    ord("I"): lambda m: m.push(_decimal(m.line())),
    ord("L"): lambda m: m.push(_decimal(m.line())),
    ord("F"): lambda m: m.push(float(m.line())),
    0x8A: lambda m: m.push(_whole(m, m.unpack("<B"))),
    0x8B: lambda m: m.push(_whole(m, m.unpack("<I"))),
    ord("X"): lambda m: m.push(m.text(m.unpack("<I"))),
    0x8C: lambda m: m.push(m.text(m.unpack("<B"))),
    0x8D: lambda m: m.push(m.text(m.unpack("<Q"))),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape", "replace")),
    ord("B"): lambda m: m.push(m.binary(m.unpack("<I"))),
    ord("C"): lambda m: m.push(m.binary(m.unpack("<B"))),
    0x8E: lambda m: m.push(m.binary(m.unpack("<Q"))),
    0x96: lambda m: m.push(m.binary(m.unpack("<Q"))),  # a bytearray
    ord("T"): lambda m: m.push(m.old_string(m.unpack("<i"))),
    ord("U"): lambda m: m.push(m.old_string(m.unpack("<B"))),
    ord("S"): lambda m: m.push(_quoted(m.line())),
    ord(")"): lambda m: m.push(()),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    0x8F: lambda m: m.push([]),  # a set, whose elements nobody looks for
    ord("("): lambda m: m.mark(),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("d"): lambda m: m.new_dict(),
    0x91: lambda m: m.push(m.since_mark()),  # a frozenset
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.since_mark()),
    0x90: lambda m: m.append(m.since_mark()),
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.since_mark()),
    ord("0"): lambda m: m.pop_either(),
    ord("1"): lambda m: m.since_mark(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("p"): lambda m: m.remember(_decimal(m.line())),
    ord("q"): lambda m: m.remember(m.unpack("<B")),
    ord("r"): lambda m: m.remember(m.unpack("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.recall(_decimal(m.line())),
    ord("h"): lambda m: m.recall(m.unpack("<B")),
    ord("j"): lambda m: m.recall(m.unpack("<I")),
    ord("c"): lambda m: m.push_global(m.name(), m.name()),
    0x93: lambda m: m.stack_global(),
    ord("R"): lambda m: m.call(),
    0x81: lambda m: m.call(),
    0x92: lambda m: m.call_with_keywords(),
    ord("b"): lambda m: m.build(),
    ord("P"): lambda m: m.push_persistent(m.name()),
    ord("Q"): lambda m: m.push_persistent(m.pop()),
    0x80: lambda m: m.protocol(),
    0x95: lambda m: m.take(8),  # a frame's length: the file is in memory
}  # fmt: skip
"""By opcode. Left out, and so refused: classes of Python 1 (i, o), extension codes, out-of-band buffers."""
