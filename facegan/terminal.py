"""What the command line needs of a terminal: numbers from words, one line for an error, bars, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from types import FrameType
from typing import Any

import typer

from facegan.config import UsageError, nearest

# a place that cannot be what it should be; a disk that is full or fails is another matter
WRONG_PLACE = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
MAX_MESSAGE = 600  # characters
SLOW_START_SECONDS = 5.0
LINE_SECONDS = 10.0  # between lines of progress where there is no terminal


def number(text: str) -> float:
    """A number as ASCII digits, sign, point and exponent, or nan or inf.

    Raises:
        typer.BadParameter: anything else.
    """
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf)", str(text)):
        raise typer.BadParameter(f"{text!r} is not a number")
    return float(text)


def whole_number(text: str) -> int:
    """A whole number of at most 18 ASCII digits.

    Raises:
        typer.BadParameter: anything else.
    """
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", str(text)):
        raise typer.BadParameter(f"{text!r} is not a whole number of at most 18 digits")
    return int(text)


AUTO = 0  # as a batch size


def batch_size(text: str) -> int:
    """A whole number, or AUTO for "auto".

    Raises:
        typer.BadParameter: anything else.
    """
    if str(text) == "auto":
        return AUTO
    number = whole_number(text)
    if number < 1:
        raise typer.BadParameter(f"batch {number}: a positive number, or auto")
    return number


def say(line: str) -> None:
    """Prints a line to stderr at once."""
    print(line, file=sys.stderr, flush=True)


def seconds(text: str) -> float:
    """Seconds of 90s, 20m or 2h.

    Raises:
        UsageError: of another form.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", text.strip())
    if not match:
        raise UsageError(f"--stop-after {text!r}: a number and s, m or h, such as 90s, 20m, 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def parse_message(error: Any) -> str:
    """What was given, what is allowed, and the nearest right word, of an error in the words themselves."""
    text: str = error.format_message()
    command: Any = getattr(error.ctx, "command", None)
    where = "" if error.ctx is None or error.ctx.parent is None else f" {command.name}"
    unknown = re.match(r"No such (command|option):? '?([^' ]+?)'?[. ]*(\(|Did|$)", text)
    if unknown and unknown[1] == "command":
        words = list(command.commands)
        return f"no command {unknown[2]!r}: one of {', '.join(words)}{nearest(unknown[2], words)}"
    if unknown and command is not None:
        words = [word for parameter in command.params for word in parameter.opts]
        return f"no option {unknown[2]}{nearest(unknown[2], words)}; facegan{where} --help lists them"
    return text


def is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch's CPU allocator or CUDA had no memory left; the last two raise RuntimeErrors."""
    texts = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def fail(message: str, status: int) -> int:
    """Prints one line, of a readable length and without control characters, whatever a file's names hold."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(message.split()))
    if len(line) > MAX_MESSAGE:
        line = f"{line[: MAX_MESSAGE // 2]} ... {line[-MAX_MESSAGE // 2 :]}"
    print(f"facegan: {line}", file=sys.stderr)
    return status


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C (or SIGTERM) came; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        # not print: the signal may have come in the middle of one
        os.write(2, b"\nstopping as soon as everything is saved (again to stop at once)\n")

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each stage of the work; in the end, where the time went.

    The function takes its name, how much is done and of how much, 0: nobody knows. Without a terminal, a line
    as each begins, and one every 10 s.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TaskID

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    tasks: dict[str, TaskID] = {}
    taken: dict[str, float] = {}
    said = before = monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def advance(what: str, done: int, total: int) -> None:
            nonlocal before, said
            now = monotonic()
            taken[what] = taken.get(what, 0.0) + now - before
            before = now
            if bar.disable and (what not in tasks or now - said >= LINE_SECONDS):
                said = now
                say(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done)

        yield advance
    if taken:
        say("seconds: " + ", ".join(f"{what} {passed:.1f}" for what, passed in taken.items()))


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr; the function given moves it by one."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def pace(what: str, slow_start: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that shows both, the rate and the time left on stderr.

    On a terminal as a bar, else a line every 10 s. The first call tells what was done before; `slow_start`
    is said once if the second takes more than 5 s.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[note]}"))
    timer = threading.Timer(SLOW_START_SECONDS, say, [slow_start])
    timer.daemon = True
    began: tuple[int, float] | None = None  # where the clock was started: at the first new one
    said = -LINE_SECONDS
    calls = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")

        def advance(done: int, total: int) -> None:
            nonlocal began, said, calls
            calls += 1
            now = monotonic()
            note = f"{done:,} of {total:,} {what}"
            if calls == 1 and done < total:
                timer.start()
            elif calls == 2:
                timer.cancel()
                began = done, now
            elif began is not None and now > began[1]:
                rate = (done - began[0]) / (now - began[1])
                note += f"  {rate:.1f} {what}/s  ETA {timedelta(seconds=round((total - done) / rate))}"
            bar.update(task, completed=done, total=total, note=note)
            if bar.disable and (now - said >= LINE_SECONDS or done == total):
                said = now
                say(note)

        try:
            yield advance
        finally:
            timer.cancel()
