"""All that a run folder says of its run, for those who show it; what is damaged is left out and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facegan.card import Card
from facegan.config import UsageError, to_json
from facegan.models import read_header
from facegan.presets import PRESETS
from facegan.run import Run
from facegan.training.run_folder import RunFolder, count_lines, json_lines

MOST_CHANGES = 16  # a preset further away than so many settings is no relative
# what a run finds out when it begins, where its preset says auto or nothing
_SETTLED = ("device", "precision", "compile", "track", "micro_batch", "data.path", "model.labels")
_NEEDED: dict[str, dict[str, type]] = {
    "starts.jsonl": {"images_seen": int, "at": str, "data": dict, "machine": dict},
    "events.jsonl": {"images_seen": int, "event": str, "text": str},
    "skipped.jsonl": {"file_name": str, "reason": str},
}

Lines = tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Record:
    """All that a run folder says of its run; `damaged` counts the lines that could not be read, by file."""

    name: str
    run: Run
    log: Lines
    measurements: Lines
    starts: Lines
    events: Lines
    skipped: Lines
    samples: tuple[tuple[int, Path], ...]  # images seen, picture
    best: Card | None
    damaged: dict[str, int]

    @property
    def images_seen(self) -> int:
        """By the last log line, or the last sample grid where it is later."""
        return max(self.log[-1]["images_seen"] if self.log else 0, self.samples[-1][0] if self.samples else 0)

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return float(self.log[-1]["seconds"]) if self.log else 0.0

    @property
    def finished(self) -> bool:
        """Whether the run's total is reached."""
        return self.images_seen >= self.run.total_images


def read_record(path: Path) -> Record:
    """What the run folder holds; a line that is damaged is left out and counted.

    Raises:
        UsageError: no run there, or its config is damaged.
    """
    folder = RunFolder(path)
    if not folder.exists():
        raise UsageError(
            f"{path}: no run here (no run.json); give the folder that `facegan train --out` made"
        )
    run = folder.read_config()
    read: dict[str, Lines] = {
        "log.jsonl": tuple(folder.read_log()),
        "metrics.jsonl": tuple(folder.read_metrics()),
    }
    for name, needed in _NEEDED.items():
        read[name] = tuple(line for line in json_lines(path / name) if _fits(line, needed))
    damaged = {name: count_lines(path / name) - len(lines) for name, lines in read.items()}
    return Record(
        name=path.resolve().name,
        run=run,
        log=read["log.jsonl"],
        measurements=read["metrics.jsonl"],
        starts=read["starts.jsonl"],
        events=read["events.jsonl"],
        skipped=read["skipped.jsonl"],
        samples=folder.grids(),
        best=_card(folder.best_path),
        damaged={name: count for name, count in damaged.items() if count},
    )


def nearest_preset(run: Run) -> tuple[str, dict[str, Any]] | None:
    """The preset that shares most settings with the run, and its values of the others; None: none is near.

    What a run settles when it begins (device, paths ...) is not compared.
    """
    given = settings(run)
    best: tuple[str, dict[str, Any]] | None = None
    for name, preset in PRESETS.items():
        if preset.run.model.architecture != run.model.architecture:
            continue
        theirs = settings(preset.run)
        names = [key for key in {**given, **theirs} if not key.startswith(_SETTLED)]
        others = {key: theirs.get(key) for key in names if given.get(key) != theirs.get(key)}
        if len(others) <= (MOST_CHANGES if best is None else len(best[1]) - 1):
            best = name, others
    return best


def settings(run: Run) -> dict[str, Any]:
    """Every setting by its dotted name, as --set has them; a label space is its attributes' names."""
    labels = [attribute.name for attribute in run.model.labels.attributes]
    data = to_json(replace(run, model=replace(run.model, labels=type(run.model.labels)())))
    data["model"]["labels"] = labels
    return dict(_flat(data, ""))


def _flat(data: dict[str, Any], where: str) -> Iterable[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield where + name, value


def _fits(line: dict[str, Any], needed: dict[str, type]) -> bool:
    """Whether it has what is needed, and its clock, where it needs one, stands as it may in log.jsonl."""
    has_all = all(isinstance(line.get(name), kind) for name, kind in needed.items())
    return has_all and ("images_seen" not in needed or line["images_seen"] < 1e38)


def _card(path: Path) -> Card | None:
    """The card of the best model, None where there is none that can be read."""
    try:
        return read_header(path)[1] if path.is_file() else None
    except UsageError:
        return None


def distance_names(lines: Iterable[dict[str, Any]]) -> list[str]:
    """The names of the distances that are measured, such as FD-efficientnet."""
    names = {
        name: None for line in lines for name in line if name not in ("images_seen", "samples", "low", "high")
    }
    return list(names)
