"""What a run shows: a bar with losses, images/s and ETA; plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from facegan.card import Evaluation
from facegan.data import Dataset
from facegan.run import Run
from facegan.training.reporter import Tick

_SPEED_WINDOW_SECONDS = 30.0
FEW = 500  # pictures, without augmentation
VERY_FEW = 100  # with it: the least that the preset low-data is for


class ProgressReporter:
    """A reporter.Reporter on stderr; use it as a context manager.

    The bar is the fraction of the run's images or of its time limit, whichever will end it first.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            speed_estimate_period=_SPEED_WINDOW_SECONDS,
            disable=not self.console.is_terminal,
        )
        self._reading: TaskID | None = None
        self._training: TaskID | None = None
        self._total_images, self._stop_after_seconds = 1, math.inf
        self._began = 0.0

    def __enter__(self) -> ProgressReporter:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def data(self, done: int, total: int) -> None:
        """Pictures are being read, or features of them."""
        if self._reading is None:
            if self._bar.disable:
                self._say(f"reading {total:,} pictures")
            self._reading = self._bar.add_task("reading", total=total, note="")
        self._bar.update(self._reading, completed=done, note=f"{done:,} of {total:,} pictures")

    def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
        """Says what is trained on what, and which pictures were left out."""
        self._total_images, self._stop_after_seconds = run.total_images, stop_after_seconds
        self._began = time.monotonic()
        model = run.model
        height, width = model.image_shape[1:]
        size = f"{height} px" if height == width else f"{height}x{width}"
        known = ", ".join(attribute.name for attribute in model.labels.attributes)
        self._say(
            f"{model.architecture} {size} on {len(dataset):,} pictures of {dataset.name}"
            f"{' (mirrored ones included)' if dataset.mirror else ''}, in {run.precision} on {run.device}"
            f"{f', labels {known}' if known else ''}"
            f"{f', growing from {run.growth.first_resolution} px' if run.growth else ''}"
            f"{f', augmented by {run.augment.name}' if run.augment.name != 'none' else ''}"
            f"{f', {run.micro_batch} of {run.batch} at a time' if run.micro_batch < run.batch else ''}"
            f"{f', from {images_seen:,} images on' if images_seen else ''}"
        )
        if images_seen >= run.total_images:
            self._say(
                f"the run is finished: it has seen {images_seen:,} images, and total_images is "
                f"{run.total_images:,}; to go on, raise it with --set total_images=N"
            )
        if images_seen == 0 and (warning := by_heart(len(dataset.names), run)):
            self._say(f"note: {warning}")
        if images_seen == 0 and dataset.enlarged:
            some = "1 picture is" if dataset.enlarged == 1 else f"{dataset.enlarged:,} pictures are"
            which = "is" if dataset.enlarged == 1 else "are"
            self._say(f"note: {some} smaller than {size} in a side, and {which} enlarged")
        for name, reason in list(dataset.skipped.items())[:5]:
            self._say(f"left out {name}: {reason}")
        if len(dataset.skipped) > 5:
            self._say(f"... and {len(dataset.skipped) - 5:,} more left out")
        if self._reading is not None:
            self._bar.remove_task(self._reading)
        self._training = self._bar.add_task("training", total=1.0, note="")
        self.step(images_seen)

    def step(self, images_seen: int) -> None:
        """Moves the bar."""
        if self._training is not None:
            of_time = (time.monotonic() - self._began) / max(self._stop_after_seconds, 1e-9)
            self._bar.update(self._training, completed=max(images_seen / self._total_images, of_time))

    def tick(self, tick: Tick) -> None:
        """Shows speed and losses."""
        losses = "  ".join(f"{name} {value:.3f}" for name, value in tick.terms.items())
        note = f"{tick.images_seen:,} images  {tick.images_per_second:.0f} images/s  {losses}"
        if self._bar.disable:
            self._say(note)
        elif self._training is not None:
            self._bar.update(self._training, note=note)

    def measured(self, result: Evaluation, *, best: bool) -> None:
        """Shows the distance."""
        (distance,) = result.values
        note = f"{result.images_seen:,} images  {distance.name} {distance.value:.2f}"
        if distance.low is not None and distance.high is not None:
            note += f" ({distance.low:.2f} to {distance.high:.2f})"
        note += f" of {result.samples:,} samples{', the best so far' if best else ''}"
        self._say(note)

    def wrote(self, path: Path) -> None:
        """Names each file that was written."""
        self._say(f"wrote {path}")

    def warn(self, message: str) -> None:
        """Shows the message on a line of its own."""
        self._say(f"warning: {message}")


def by_heart(pictures: int, run: Run) -> str:
    """What to know before training on so few pictures; nothing where they are enough."""
    augmented = run.augment.name != "none"
    if pictures >= (VERY_FEW if augmented else FEW):
        return ""
    advice = "" if augmented else "; --preset low-data puts that off (docs/few-pictures.md)"
    return (
        f"fewer than some hundred pictures, here {pictures:,}, are learned by heart and drawn again{advice}"
    )
