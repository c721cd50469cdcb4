"""An evaluation as text, and into a model file's card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from facegan.card import Evaluation, Value
from facegan.config import UsageError
from facegan.models import find, read_header, rewrite_card


def as_text(result: Evaluation) -> str:
    """A table of the numbers, with their 95 % intervals, above the protocol."""
    rows = [
        f"{value.name:24} {_number(value.value):>10}  {_interval(value)}".rstrip() for value in result.values
    ]
    last = result.seed + result.samples - 1
    model = f", {result.images_seen:,} images seen" if result.images_seen else ""
    return "\n".join(
        [
            *rows,
            f"of        {result.subject}{model}: {result.samples:,} samples, seeds {result.seed}-{last}, "
            f"psi {result.psi:g}, {result.precision}",
            f"against   {result.data}: {result.reals:,} pictures at {result.resolution} px, "
            f"key {result.data_key}",
            f"features  {result.features}",
            f"by        facegan {result.version}; FD falls with the number of samples: compare at equal ones",
        ]
    )


def add_to_card(name: str, result: Evaluation) -> Path:
    """Adds the result to the card of a model's file, in place of one by the same protocol; returns the file.

    Raises:
        UsageError: not a model, or one in the hub's cache.
        OSError: the file could not be written.
    """
    if name.startswith("hf://"):
        raise UsageError(f"model {name!r}: --write needs a file of one's own, not one of the hub")
    path = find(name)
    _, card = read_header(path)
    others = [known for known in card.metrics if _protocol(known) != _protocol(result)]
    rewrite_card(path, replace(card, metrics=(*others, result)))
    return path


def _protocol(result: Evaluation) -> Evaluation:
    """All but the numbers, and the state of the model."""
    return replace(result, values=(), images_seen=0, version="")


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"


def _interval(value: Value) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"({_number(value.low)} to {_number(value.high)})"
