"""An evaluation as text, and into a model file's card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from facegan.card import Evaluation, Value
from facegan.config import UsageError
from facegan.files import require_writable
from facegan.models import find, read_header, rewrite_card, shipped


def as_text(result: Evaluation) -> str:
    """A table of the numbers, with their 95 % intervals, above the protocol."""
    width = max((len(value.name) for value in result.values), default=0)
    rows = [
        f"{value.name:{max(width, 24)}} {_number(value.value):>10}  {_interval(value)}".rstrip()
        for value in result.values
    ]
    if result.subject_key:
        made = f"{result.samples:,} pictures, seed {result.seed}, key {result.subject_key}"
    else:
        last = result.seed + result.samples - 1
        made = (
            f"{result.images_seen:,} images seen: {result.samples:,} samples, seeds {result.seed}-{last}, "
            f"psi {result.psi:g}, noise {result.noise}, {result.precision}"
        )
    return "\n".join(
        [
            *rows,
            f"of        {result.subject}, {made}",
            f"against   {result.data}: {result.reals:,} pictures at {_size(result)} px, "
            f"crop {result.crop}, key {result.data_key}",
            f"features  {result.features}",
            f"by        facegan {result.version}; FD falls with the number of samples: compare at equal ones",
        ]
    )


def card_file(name: str) -> Path:
    """The file whose card a result of this model goes into.

    Raises:
        UsageError: not a model, a shipped one, or one in the hub's cache; a place that cannot be written to.
    """
    if name.startswith("hf://") or name in shipped():
        raise UsageError(f"model {name!r}: --write needs a file of one's own")
    path = find(name)
    require_writable(path.parent, "--write")
    return path


def add_to_card(path: Path, result: Evaluation) -> None:
    """Adds the result to the card of a model file; numbers of the same name and protocol are replaced.

    Raises:
        UsageError: not a model, or its file is no longer the one that was measured.
        OSError: the file could not be written.
    """
    _, card = read_header(path)
    if card.images_seen != result.images_seen:
        raise UsageError(
            f"{path}: has seen {card.images_seen:,} images by now, {result.images_seen:,} were measured; "
            f"its card stays as it is"
        )
    same = [known for known in card.metrics if _protocol(known) == _protocol(result)]
    values = {value.name: value for known in [*same, result] for value in known.values}
    others = tuple(known for known in card.metrics if known not in same)
    metrics = (*others, replace(result, values=tuple(values.values())))
    rewrite_card(path, replace(card, metrics=metrics), instead_of=card)


def _protocol(result: Evaluation) -> Evaluation:
    """All but the numbers."""
    return replace(result, values=())


def _size(result: Evaluation) -> str:
    """64 for square pictures, else height x width."""
    return f"{result.resolution}" if result.width is None else f"{result.resolution}x{result.width}"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"


def _interval(value: Value) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"({_number(value.low)} to {_number(value.high)})"
