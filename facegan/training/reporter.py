"""The interface of a progress display, a silent one, and one that only warns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from facegan.card import Evaluation
from facegan.data import Dataset
from facegan.run import Run


@dataclass(frozen=True)
class Tick:
    """What the loop reports at a log interval: the terms' means since the last one, and the speed."""

    images_seen: int
    terms: dict[str, float]
    images_per_second: float


class Reporter(Protocol):
    """A progress display, a test."""

    def data(self, done: int, total: int) -> None:
        """Pictures read so far, or those whose features are made."""

    def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
        """The data is ready, training begins at this point of the clock, for at most so long."""

    def step(self, images_seen: int) -> None:
        """After every step."""

    def tick(self, tick: Tick) -> None:
        """At every log interval."""

    def measured(self, result: Evaluation, *, best: bool) -> None:
        """The distance to the training pictures; best: the smallest so far."""

    def wrote(self, path: Path) -> None:
        """A sample grid or checkpoint was written."""

    def warn(self, message: str) -> None:
        """Something is not as it should be, but the run goes on."""


class Silent:
    """Nobody listens."""

    def data(self, done: int, total: int) -> None:
        """Nothing."""

    def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
        """Nothing."""

    def step(self, images_seen: int) -> None:
        """Nothing."""

    def tick(self, tick: Tick) -> None:
        """Nothing."""

    def measured(self, result: Evaluation, *, best: bool) -> None:
        """Nothing."""

    def wrote(self, path: Path) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""


class Warns(Silent):
    """What a run from Python says: Python's warnings, and nothing else."""

    def warn(self, message: str) -> None:
        """The message as a UserWarning."""
        warnings.warn(message, stacklevel=2)
