"""A run's numbers and grids in TensorBoard or Weights & Biases, beside its own files.

    with closing(Tracked(reporter, folder)) as reporter: ...     logs as well, as run.track says

A logger sees what a Reporter sees; that it fails (disk, network) costs a warning and itself, never the run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from facegan.card import Evaluation
from facegan.config import UsageError, first_line, how_to_install, to_json
from facegan.data import Dataset
from facegan.files import write_text
from facegan.images import Pixels, rgb
from facegan.run import Run, Track
from facegan.training.reporter import Reporter, Tick
from facegan.training.run_folder import RunFolder

INSTALL = {"tensorboard": how_to_install("track"), "wandb": "pip install wandb"}


class Logger(Protocol):
    """Where numbers and pictures over images seen go; a resume goes on in the same curves."""

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """Numbers of one moment."""

    def image(self, images_seen: int, name: str, pixels: Pixels) -> None:
        """A picture [H, W, 3] of one moment."""

    def close(self) -> None:
        """All is written."""


class TensorBoard:
    """Events in `folder`; those after `images_seen`, of a stretch that was lost, are no longer shown.

    Nor are those of a stretch that a run went back from.
    """

    def __init__(self, folder: Path, images_seen: int) -> None:
        self._folder, self._newest = folder, images_seen
        self._shown: set[str] = set()  # names at the newest moment
        self._writer = self._opened(images_seen + 1)

    def _opened(self, hidden_from: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._folder), purge_step=hidden_from)

    def _move(self, images_seen: int, names: set[str]) -> None:
        """To this moment; where its names are there already, or later ones, a stretch was lost."""
        went_back = images_seen < self._newest or (images_seen == self._newest and self._shown & names)
        if went_back:
            self._writer.close()
            self._writer = self._opened(images_seen)
        if went_back or images_seen > self._newest:
            self._shown = set()
        self._newest = images_seen
        self._shown |= names

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """Scalars, on the disk at once: a run may be killed."""
        self._move(images_seen, set(values))
        for name, value in values.items():
            self._writer.add_scalar(name, value, images_seen)
        self._writer.flush()

    def image(self, images_seen: int, name: str, pixels: Pixels) -> None:
        """A picture."""
        self._move(images_seen, {name})
        self._writer.add_image(name, pixels, images_seen, dataformats="HWC")

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project "facegan", known again by the id in RUN/wandb.id.

    It passes over steps that it has already, and a resume makes the same ones again: none is there twice.
    Where a run went back, the numbers of the lost stretch stay.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self._module: Any = import_module("wandb")
        path = folder / "wandb.id"
        known = path.read_text(encoding="utf-8").strip() if path.is_file() else None
        self._run: Any = self._module.init(
            project="facegan",
            name=folder.resolve().name,
            dir=str(folder),
            id=known,
            resume="allow",
            config=to_json(run),
        )
        write_text(path, f"{self._run.id}\n")

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """Numbers at the step `images_seen`."""
        self._run.log(values, step=images_seen)

    def image(self, images_seen: int, name: str, pixels: Pixels) -> None:
        """A picture at the step `images_seen`."""
        self._run.log({name: self._module.Image(pixels)}, step=images_seen)

    def close(self) -> None:
        """Waits until all is sent."""
        self._run.finish()


def chosen(track: Track) -> Track:
    """What "auto" comes to here: tensorboard where it is installed."""
    if track != "auto":
        return track
    return "tensorboard" if find_spec("tensorboard") is not None else "no"


def require_installed(track: Track) -> None:
    """Raises UsageError where the package of a chosen logger is missing."""
    if track in INSTALL and find_spec(track) is None:
        raise UsageError(f"track {track!r}: it is not installed: {INSTALL[track]}; or leave it out, track=no")


class Tracked:
    """A Reporter that passes everything on to another, and to a logger from `start` on."""

    def __init__(self, reporter: Reporter, folder: RunFolder) -> None:
        self._reporter, self._folder = reporter, folder
        self._track: Track = "no"
        self._logger: Logger | None = None

    def data(self, done: int, total: int) -> None:
        """Passed on."""
        self._reporter.data(done, total)

    def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
        """Passed on; opens the logger."""
        self._reporter.start(run, dataset, images_seen, stop_after_seconds)
        self._track = run.track
        self._safely(lambda: self._open(run, images_seen))

    def _open(self, run: Run, images_seen: int) -> None:
        require_installed(run.track)  # a resumed run may be on another machine now
        if run.track == "tensorboard":
            self._logger = TensorBoard(self._folder.path / "tensorboard", images_seen)
        elif run.track == "wandb":
            self._logger = WeightsAndBiases(self._folder.path, run)

    def step(self, images_seen: int) -> None:
        """Passed on."""
        self._reporter.step(images_seen)

    def tick(self, tick: Tick) -> None:
        """Passed on; logs what a line of log.jsonl holds."""
        self._reporter.tick(tick)
        self._log(tick.images_seen, tick.terms | {"images_per_second": tick.images_per_second})

    def measured(self, result: Evaluation, *, best: bool) -> None:
        """Passed on; logs the distance."""
        self._reporter.measured(result, best=best)
        self._log(result.images_seen, {value.name: value.value for value in result.values})

    def wrote(self, path: Path) -> None:
        """Passed on; logs a sample grid."""
        self._reporter.wrote(path)
        logger = self._logger
        if logger is not None and path.parent == self._folder.samples:

            def show() -> None:
                with Image.open(path) as image:
                    pixels = rgb(np.atleast_3d(np.asarray(image)))
                logger.image(int(path.stem), "samples", np.ascontiguousarray(pixels))

            self._safely(show)

    def warn(self, message: str) -> None:
        """Passed on."""
        self._reporter.warn(message)

    def close(self) -> None:
        """Ends the logger."""
        if self._logger is not None:
            self._safely(self._logger.close)

    def _log(self, images_seen: int, values: dict[str, float]) -> None:
        logger = self._logger
        if logger is not None:
            self._safely(lambda: logger.log(images_seen, values))

    def _safely(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever becomes of a logger, the run goes on
            self._logger = None
            self.warn(f"{self._track}: {first_line(error)}; nothing more goes there, the run goes on")
