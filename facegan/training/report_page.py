"""The page about a run: what report.html shows, gathered and put into words.

The page has its style, script and pictures inside and no address to anywhere; its policy forbids requests.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facegan import __version__
from facegan.card import ARCHITECTURES
from facegan.networks.base import Stage
from facegan.run import Run
from facegan.training.curves import Band, Chart, Mark, Series, count, drawn, series_of, short
from facegan.training.film_strip import STRIP_ROWS, film, strip
from facegan.training.plot import NOT_TERMS
from facegan.training.record import Record, distance_names, nearest_preset, settings
from facegan.training.templates import template

MOST_ROWS = 40  # of a table that grows with the run
MOST_MARKS = 30
LONG = 200  # characters of one setting
_HERE = Path(__file__).parent


def page(record: Record) -> str:
    """The whole page."""
    shown = _head(record) | _faces(record) | _curves(record) | _measurements(record) | _events(record)
    shown |= _data_and_machine(record) | _settings(record.run)
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    html = template("report.html").render(
        shown, version=__version__, style=style, script=script, most_rows=MOST_ROWS
    )
    return html.encode(errors="replace").decode()  # half characters, as in names that are not UTF-8


# ---- what it is


@dataclass(frozen=True)
class Tile:
    """One large number; percent: of the bar below it."""

    name: str
    value: str
    below: str
    percent: float | None = None


def _head(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "lead": _lead(record),
        "tiles": list(_tiles(record)),
        "damaged": record.damaged,
    }


def _tiles(record: Record) -> Iterator[Tile]:
    seen, total = record.images_seen, record.run.total_images
    percent = 100 * seen / total
    state = "finished" if record.finished else f"{percent:.0f} % of {total:,}"
    yield Tile("Images seen", f"{seen:,}", state, round(min(percent, 100.0), 1))
    since = f"since {_date(record.starts[0])}" if record.starts else ""
    yield Tile("Training time", _duration(record.seconds), since)
    speeds = [line["images_per_second"] for line in record.log if "images_per_second" in line]
    if speeds:
        yield Tile("Images a second", short(statistics.median(speeds)), "median over the log")
    for name in distance_names(record.measurements)[:1]:
        best = min((line for line in record.measurements if name in line), key=lambda line: line[name])
        yield Tile(f"Best {name}", short(best[name]), f"after {int(best['images_seen']):,} images")


def _lead(record: Record) -> str:
    run, data = record.run, _data(record)
    pictures = f"{data['pictures']:,} pictures of " if isinstance(data.get("pictures"), int) else ""
    mirrored = ", mirrored ones too" if run.data.mirror else ""
    grows = f" It grows from {run.growth.first_resolution} px." if run.growth else ""
    labels = ", ".join(attribute.name for attribute in run.model.labels.attributes)
    knows = f" It knows the labels {labels}." if labels else ""
    return (
        f"{ARCHITECTURES.get(run.model.architecture, run.model.architecture)} at {_size(run)} px, trained on "
        f"{pictures}{data['name']}{mirrored}.{grows}{knows}"
    )


# ---- faces


def _faces(record: Record) -> dict[str, Any]:
    frames, unread = film(record.samples)
    columns = strip(record.samples, record.run.model.image_shape[1:])
    sheet, moments = (None, []) if columns is None else columns
    return {
        "frames": frames,
        "unread": unread,
        "strip": sheet,
        "strip_rows": STRIP_ROWS,
        "moments": [count(float(f"{moment:.3g}")) for moment in moments],
    }


# ---- curves


def _curves(record: Record) -> dict[str, Any]:
    if not record.log:
        return {"charts": None}
    drawings = (drawn(chart) for chart in _charts(record))
    return {"charts": [drawing for drawing in drawings if drawing is not None]}


def _charts(record: Record) -> Iterator[Chart]:
    end = float(max(record.images_seen, record.log[-1]["images_seen"]))
    shared: dict[str, Any] = {"end": end, "bands": tuple(bands(record.run, end)), "marks": _marks(record)}
    names = list(dict.fromkeys(name for line in record.log for name in line if name not in NOT_TERMS))
    adversarial = [name for name in names if name.endswith(("_real", "_fake", "_pair"))]
    for name in distance_names(record.measurements):
        yield Chart(
            "Distance to the training pictures", (_measured(record, name),), may_be_log=True, **shared
        )
    if adversarial:
        yield Chart(
            "Adversarial losses", tuple(series_of(record.log, name) for name in adversarial), **shared
        )
    others = {_TITLES.get(name, name): name for name in names if name not in adversarial}
    others |= {title: name for title, name in _OTHERS.items() if name in record.log[-1]}
    for title, name in others.items():
        yield Chart(title, (series_of(record.log, name),), from_zero=True, **shared)


_TITLES = {
    "D_r1": "R1 penalty",
    "D_r2": "R2 penalty",
    "D_penalty": "Gradient penalty",
    "G_path": "Path length penalty",
}
_OTHERS = {
    "Augmentation: p": "augment_p",
    "Sign of D's logits of reals": "augment_sign",
    "Speed, images/s": "images_per_second",
}


def _measured(record: Record, name: str) -> Series:
    lines = [line for line in record.measurements if name in line]
    known = all("low" in line and "high" in line for line in lines)
    ranges = tuple((line["low"], line["high"]) for line in lines) if known else ()
    return Series(name, series_of(lines, name).points, ranges)


def bands(run: Run, end: float) -> Iterable[Band]:
    """The stages of growing up to that image: named where a resolution stands, shaded where one fades in."""
    growth = run.growth
    if growth is None:
        return
    start, stage = 0.0, growth.stage(0, run.model.resolution)
    while start < end:
        is_last = stage.resolution >= run.model.resolution
        stands = end if is_last else min(start + growth.stable_images, end)
        yield Band(start, stands, f"{stage.resolution} px")
        faded = min(stands + growth.fade_images, end)
        if faded > stands:
            yield Band(stands, faded, shaded=True)
        start, stage = max(faded, stands), Stage(stage.resolution * 2)
        if is_last:
            return


def _marks(record: Record) -> tuple[Mark, ...]:
    return tuple(Mark(seen, text) for seen, text in _happened(record)[-MOST_MARKS:] if seen > 0)


# ---- numbers


@dataclass(frozen=True)
class Row:
    """A measurement: images seen, distance, its interval, samples."""

    cells: tuple[str, ...]
    is_best: bool


def _measurements(record: Record) -> dict[str, Any]:
    measured = {name: list(_measured_rows(record, name)) for name in distance_names(record.measurements)}
    protocol = record.best.metrics[0] if record.best is not None and record.best.metrics else None
    return {"measured": measured, "protocol": protocol}


def _measured_rows(record: Record, name: str) -> Iterator[Row]:
    """The best measurement and the last ones."""
    lines = [line for line in record.measurements if name in line]
    best = min(lines, key=lambda line: line[name])
    for line in [*([best] if best not in lines[-MOST_ROWS:] else []), *lines[-MOST_ROWS:]]:
        known = "low" in line and "high" in line
        between = f"{_precise(line['low'])} to {_precise(line['high'])}" if known else ""
        seen, samples = int(line["images_seen"]), int(line.get("samples", 0))
        yield Row((f"{seen:,}", _precise(line[name]), between, f"{samples:,}"), line is best)


def _events(record: Record) -> dict[str, Any]:
    happened = _happened(record)
    return {"events": happened[-MOST_ROWS:], "earlier": max(len(happened) - MOST_ROWS, 0)}


def _happened(record: Record) -> list[tuple[int, str]]:
    """Starts, resumes and events, by images seen."""
    found: list[tuple[int, str]] = []
    before: dict[str, Any] = {}
    for number, start in enumerate(record.starts):
        changed = [
            f"{name} {_text(value)}"
            for name, value in start["machine"].items()
            if before.get(name, value) != value
        ]
        on = f", now with {', '.join(changed)}" if changed else ""
        found.append((start["images_seen"], f"{'resumed' if number else 'began'} on {_date(start)}{on}"))
        before = start["machine"]
    found += [(event["images_seen"], f"{event['event']}: {event['text']}") for event in record.events]
    return sorted(found, key=lambda item: item[0])


def _data_and_machine(record: Record) -> dict[str, Any]:
    run, data = record.run, _data(record)
    facts = {"name": data["name"]}
    if isinstance(data.get("pictures"), int):
        facts["pictures"] = f"{data['pictures']:,}"
    facts |= {"crop": run.data.crop, "mirrored too": "yes" if run.data.mirror else "no"}
    if isinstance(data.get("key"), str):
        facts["key of the content"] = data["key"]
    machine = record.starts[-1]["machine"] if record.starts else {}
    texts = {name: _text(value) for name, value in machine.items()}
    return {"data": facts, "skipped": record.skipped, "machine": texts}


@dataclass(frozen=True)
class Setting:
    """A setting's name in its group and its value; preset: that of the closest preset where it differs."""

    name: str
    value: str
    preset: str | None


def _settings(run: Run) -> dict[str, Any]:
    """The settings by group, those of the run itself first, and the closest preset."""
    near = nearest_preset(run)
    theirs: dict[str, Any] = {} if near is None else near[1]
    groups: dict[str, list[Setting]] = {"run": []}
    for full, value in settings(run).items():
        group, dot, name = full.partition(".")
        preset = _text(theirs[full]) if full in theirs else None
        row = Setting(name if dot else full, _setting(full, value), preset)
        groups.setdefault(group if dot else "run", []).append(row)
    marked = sum(row.preset is not None for rows in groups.values() for row in rows)
    differs = [f"its {marked} differences are marked" if marked > 1 else "its one difference is marked"]
    differs = differs if marked else []
    if others := len(theirs) - marked:
        differs.append(f"{others} of its settings are not in this run")
    return {
        "settings": groups,
        "preset": None if near is None else near[0],
        "differs": "; ".join(differs) or "it does not differ",
    }


# ---- words


def _data(record: Record) -> dict[str, Any]:
    """Name, number of pictures and key of the data, as far as they are known."""
    data = record.starts[-1]["data"] if record.starts else {}
    path = Path(record.run.data.path).name.removesuffix(".zip")
    return data | {"name": data["name"] if isinstance(data.get("name"), str) else path}


def _size(run: Run) -> str:
    _, height, width = run.model.image_shape
    return f"{height}" if height == width else f"{height}x{width}"


def _date(start: dict[str, Any]) -> str:
    """2026-11-24 18:05 UTC of 2026-11-24T18:05:33+00:00."""
    return f"{start['at'][:10]} {start['at'][11:16]} UTC"


def _duration(seconds: float) -> str:
    """58 s, 12 min, 3 h 20 min or 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _precise(value: float) -> str:
    """A value to compare with others of its kind."""
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def _setting(name: str, value: Any) -> str:
    """A setting's value; of a path its last part: the others say where its maker keeps things."""
    is_path = name in ("data.path", "init") and not value.startswith("hf://")
    return _text(Path(value).name if is_path else value)


def _text(value: Any) -> str:
    """A value as it is written after --set, cut where it is very long."""
    text = value or "none" if isinstance(value, str) else json.dumps(value).removesuffix(".0")
    return text if len(text) <= LONG else f"{text[:LONG]} ..."
