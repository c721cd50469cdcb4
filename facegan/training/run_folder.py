"""What a training run leaves on the disk.

run.json               the whole config
log.jsonl              one line a log interval: images_seen, seconds, images_per_second, the loss terms
metrics.jsonl          one line a measurement: images_seen, the distance by its name, its interval, samples
best.safetensors       the EMA generator of the smallest distance so far, where distances are measured;
                       after a roll-back, the best of the models still on disk
samples/*.jpg          grids of the EMA generator at fixed seeds; .png where pictures have transparency
losses.png             the loss curves
checkpoints/*.pt       everything a resume needs
transfer.json          what a run with init took of the other model, and what is fresh
events.jsonl           a line each time that something was amiss: images_seen, event, text
events/*.json          what a batch was made of that gave something not finite
skipped.jsonl          the pictures that were left out, with the reason; missing where there are none
starts.jsonl           a line each time that training began or went on: images_seen, at, the data, the machine
model.safetensors      the newest EMA generator
tensorboard/, wandb.id what a logger writes, and the name of the run there, where run.track says so
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from facegan import checkpoint
from facegan.checkpoint import Parts
from facegan.config import UsageError, differences, from_json, parse_json, to_json
from facegan.files import append_line, clear_partial, write_atomically, write_text
from facegan.images import Pixels, Provenance, save
from facegan.models import RUN_MODEL, read_header
from facegan.run import Run
from facegan.training.machine import machine

KEEP_NEWEST = 2
LOSSES = "losses.png"
PATIENCE_SECONDS = 0.5


def read_run(path: Path) -> Run:
    """The config that a file holds, as a run's run.json does; of a run's folder, its own.

    Raises:
        UsageError: no such file, or it holds no config.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        stored = parse_json(file.read_text())
        # a run from before there was `compile` ran without
        return from_json(Run, {"compile": "no"} | stored if isinstance(stored, dict) else stored)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{file}: not usable ({error})") from None


class RunFolder:
    """The paths of one run, and reading and writing them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.log_path = path / "log.jsonl"
        self.metrics_path = path / "metrics.jsonl"
        self.model_path = path / RUN_MODEL
        self.best_path = path / "best.safetensors"
        self.losses_path = path / LOSSES
        self.events_path = path / "events.jsonl"
        self.starts_path = path / "starts.jsonl"
        self._config_path = path / "run.json"

    def exists(self) -> bool:
        """Whether a run is here."""
        return self._config_path.is_file()

    def start(self, run: Run, data: dict[str, Any] | None = None, images_seen: int = 0) -> None:
        """Makes the folder and writes run.json; notes when and on what it began or went on.

        What a crash left half-written goes. data: what is known of the data set.
        """
        self.samples.mkdir(parents=True, exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        for folder in (self.path, self.checkpoints, self.samples):
            clear_partial(folder)
        self.write_config(run)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"images_seen": images_seen, "at": at, "data": data or {}, "machine": machine()}
        before = self.starts_path.read_bytes() if self.starts_path.exists() else b""
        if before and not before.endswith(b"\n"):  # cut off by a crash
            before += b"\n"
        write_atomically(
            self.starts_path, lambda file: file.write(before + json.dumps(line).encode() + b"\n")
        )

    def write_config(self, run: Run) -> None:
        """Writes run.json."""
        text = json.dumps(to_json(run), indent=2)
        # lists of numbers on one line: a label space has thousands
        text = re.sub(r"\[\s+([^][{}\"]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
        write_text(self._config_path, text + "\n")

    def read_config(self) -> Run:
        """The run's config.

        Raises:
            UsageError: no run here, or run.json is damaged.
        """
        if not self.exists():
            raise UsageError(f"{self.path}: no run to resume (it has no run.json)")
        return read_run(self._config_path)

    def require_new(self) -> None:
        """Raises UsageError where a run is already there."""
        if self.exists():
            raise UsageError(
                f"{self.path}: a run is already there; --resume goes on with it, or choose another --out"
            )

    def with_kept_choices(self, run: Run) -> Run:
        """The run with what it found out when it began, where it is asked to find out.

        The labels of its data, the logger, the micro_batch that fits.
        """
        stored = self.read_config()
        if run.data.labels == stored.data.labels and not run.model.labels.attributes:
            run = replace(run, model=replace(run.model, labels=stored.model.labels))
        if run.track == "auto":
            run = replace(run, track=stored.track)
        asks = run.micro_batch == 0 and run.batch == stored.batch
        return replace(run, micro_batch=stored.micro_batch) if asks else run

    def require_same(self, run: Run, *, force: bool) -> None:
        """Raises UsageError, with the differences, where the stored config is not this one.

        A run may always be made longer.

        force: only the networks must be the same, and what decided on them when the run began.
        """
        stored = self.read_config()
        began, begins = ((each.data.labels, each.init, each.freeze_d) for each in (stored, run))
        for name, before, after in zip(("data.labels", "init", "freeze_d"), began, begins, strict=True):
            if before != after:
                raise UsageError(
                    f"{self.path}: --resume with another {name} ({before!r} -> {after!r}), which is settled "
                    "when a run begins; start a new run with another --out"
                )
        reshaped = differences(to_json(stored.model), to_json(run.model))
        if reshaped:
            raise UsageError(
                f"{self.path}: --resume with other networks (model.{'; model.'.join(reshaped)}), which its "
                f"weights do not fit; start a new run with another --out"
            )
        longer = replace(stored, total_images=run.total_images)  # on which nothing before its end depends
        changed = differences(to_json(longer), to_json(run))
        if changed and not force:
            raise UsageError(
                f"{self.path}: --resume with another config ({'; '.join(changed)}); --force accepts it"
            )

    def resumed(self, run: Run, images_seen: int, data: dict[str, Any]) -> None:
        """Takes a resumed run's config; drops what came after its checkpoint."""
        self.start(run, data, images_seen)
        self.forget_after(images_seen)
        checkpoint.prune(self.checkpoints, KEEP_NEWEST, run.intervals.keep_checkpoint_images)

    def forget_after(self, images_seen: int) -> None:
        """Drops what was logged and saved after this point of the clock, from which training goes on."""
        for path, lines in (
            (self.log_path, self.read_log()),
            (self.metrics_path, self.read_metrics()),
            (self.events_path, _numbers(self.events_path, {"images_seen"})),
        ):
            kept = "".join(json.dumps(line) + "\n" for line in lines if line["images_seen"] <= images_seen)
            if path.exists():
                write_text(path, kept)
        for path in checkpoint.checkpoints(self.checkpoints):
            if int(path.stem) > images_seen:  # damaged, or the resume would be from it
                path.unlink()

    def abandon_after(self, images_seen: int) -> None:
        """Also drops what a resume would make again, but a run with other random numbers does not.

        That is sample grids, and a best model from after this point; the next measurement makes a new one.
        """
        self.forget_after(images_seen)
        for moment, path in self.grids():
            if moment > images_seen:
                path.unlink()
        try:
            best = read_header(self.best_path)[1]
        except UsageError:  # there is none, or it is damaged
            return
        if best.images_seen > images_seen:
            self.best_path.unlink()

    def write_transfer(self, taken: dict[str, Any]) -> None:
        """Writes what came of a transfer."""
        write_text(self.path / "transfer.json", json.dumps(taken, indent=2) + "\n")

    def write_skipped(self, skipped: dict[str, str]) -> Path | None:
        """Writes which pictures were left out and why, one a line; returns where, None if there are none."""
        path = self.path / "skipped.jsonl"
        if not skipped:
            path.unlink(missing_ok=True)
            return None
        lines = [json.dumps({"file_name": name, "reason": why}) + "\n" for name, why in skipped.items()]
        write_text(path, "".join(lines))
        return path

    def save_checkpoint(self, parts: Parts, keep_every_images: int) -> Path:
        """Writes a checkpoint and deletes the ones no longer kept."""
        path = checkpoint.checkpoint_path(self.checkpoints, parts["images_seen"])
        checkpoint.save(path, parts)
        checkpoint.prune(self.checkpoints, KEEP_NEWEST, keep_every_images)
        return path

    def newest_checkpoint(self, warn: Callable[[str], None]) -> Parts | None:
        """The parts of the newest checkpoint that can be read, or None before the first.

        `warn` is told of every damaged one that was passed over.

        Raises:
            UsageError: there are checkpoints, but all are damaged; or their folder is gone.
        """
        if not (self.checkpoints.is_dir() and os.access(self.checkpoints, os.R_OK | os.X_OK)):
            # it was made before run.json: a run without it has lost what it had
            raise UsageError(f"{self.checkpoints}: not a folder that can be read; a resume needs it")
        paths = checkpoint.checkpoints(self.checkpoints)
        for number, path in reversed(list(enumerate(paths))):
            try:
                return checkpoint.load(path)
            except UsageError as error:
                if not number:
                    raise UsageError(f"no checkpoint of {self.path} can be read; {error}") from None
                warn(f"{error}; trying the one before it")
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; the system ends it when the process dies.

        Who only looks whether somebody trains here, as the studio does, holds the lock for a moment.

        Raises:
            UsageError: another process is at it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=PATIENCE_SECONDS)
        except Timeout:
            raise UsageError(f"{self.path}: another process is training in this folder") from None
        try:
            yield
        finally:
            lock.release()

    def append_log(self, line: dict[str, Any]) -> None:
        """Adds one line to log.jsonl."""
        append_line(self.log_path, json.dumps(line))

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl; one that was cut off by a crash, or holds no numbers, is left out."""
        return _numbers(self.log_path, {"images_seen", "seconds"})

    def append_event(self, images_seen: int, event: str, text: str) -> None:
        """Adds one line to events.jsonl."""
        append_line(self.events_path, json.dumps({"images_seen": images_seen, "event": event, "text": text}))

    def write_bad_batch(self, batch: dict[str, Any]) -> None:
        """Writes what is needed to take the step again that gave something not finite."""
        path = self.path / "events" / f"{batch['images_seen']:09d}.json"
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(batch, indent=2) + "\n")

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Adds one line to metrics.jsonl."""
        append_line(self.metrics_path, json.dumps(line))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, as `read_log`."""
        return _numbers(self.metrics_path, {"images_seen"})

    def save_samples(self, pixels: Pixels, images_seen: int, seeds: str) -> Path:
        """Writes a sample grid [H, W, C]."""
        path = self.samples / f"{images_seen:09d}.jpg"
        if pixels.shape[2] == 4:
            path = path.with_suffix(".png")
        save(path, pixels, Provenance(self.path.name, seeds, 1.0))
        return path

    def grids(self) -> tuple[tuple[int, Path], ...]:
        """The sample grids: images seen and path of each, the oldest first."""
        pictures = [path for path in self.samples.glob("*") if path.suffix in (".jpg", ".png")]
        return tuple(sorted((int(path.stem), path) for path in pictures if path.stem.isdecimal()))


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with a JSON object a line; what is none is left out."""
    objects = []
    for text in _lines(path):
        try:
            value = parse_json(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects


def count_lines(path: Path) -> int:
    """How many lines are not empty; 0 where there is no file."""
    return len(_lines(path))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]


def _numbers(path: Path, needed: set[str]) -> list[dict[str, Any]]:
    return [line for line in json_lines(path) if needed <= line.keys() and _all_numbers(line)]


def _all_numbers(line: dict[str, Any]) -> bool:
    """Whether every value is a number that float32 could hold, but for an event's words."""
    numbers = [value for name, value in line.items() if name not in ("event", "text")]
    return all(isinstance(value, (int, float)) and abs(value) < 1e38 for value in numbers)
