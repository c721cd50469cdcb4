"""The page about a run: HTML with its style, script and pictures inside, no address to anywhere.

Every text that comes from a file is escaped; a content policy in the page forbids all requests besides.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from facegan import __version__
from facegan.card import ARCHITECTURES
from facegan.networks.base import Stage
from facegan.run import Run
from facegan.training.curves import Band, Chart, Mark, Series, chart_html, count, short
from facegan.training.film_strip import STRIP_ROWS, film, strip
from facegan.training.plot import NOT_TERMS
from facegan.training.record import Lines, Record, distance_names, nearest_preset, settings

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MOST_ROWS = 40  # of a table that grows with the run
MOST_MARKS = 30
LONG = 200  # characters of one setting
_HERE = Path(__file__).parent


def page(record: Record) -> str:
    """The whole page."""
    body = "".join(
        (
            _head(record),
            _faces(record),
            _curves(record),
            _measurements(record),
            _events(record),
            _data_and_machine(record),
            _settings(record.run),
        )
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="facegan {__version__}">'
        f"<title>{escape(record.name)} - a facegan run</title>\n<style>\n{style}</style></head>\n"
        f"<body><main>\n{body}\n<footer>All faces on this page were made by a network: these people do not "
        f"exist. Written by facegan {__version__}; the numbers are those of the run's own files.</footer>"
        f"</main>\n<script>\n{script}</script></body></html>\n"
    )
    return html.encode(errors="replace").decode()  # half characters, as in names that are not UTF-8


# ---- what it is


def _head(record: Record) -> str:
    seen, total = record.images_seen, record.run.total_images
    state = "finished" if record.finished else f"{100 * seen / total:.0f} % of {total:,}"
    bar = f'<span class="bar"><i style="width:{min(100 * seen / total, 100):.1f}%"></i></span>'
    tiles = [_tile("Images seen", f"{seen:,}", state, bar)]
    since = f"since {_date(record.starts[0])}" if record.starts else ""
    tiles.append(_tile("Training time", _duration(record.seconds), since))
    speeds = [line["images_per_second"] for line in record.log if "images_per_second" in line]
    if speeds:
        tiles.append(_tile("Images a second", short(statistics.median(speeds)), "median over the log"))
    for name in distance_names(record.measurements)[:1]:
        best = min((line for line in record.measurements if name in line), key=lambda line: line[name])
        tiles.append(_tile(f"Best {name}", short(best[name]), f"after {int(best['images_seen']):,} images"))
    damaged = ", ".join(f"{escape(name)}: {count:,}" for name, count in record.damaged.items())
    notes = f'<p class="note">Lines that could not be read are left out ({damaged}).</p>' if damaged else ""
    return (
        f'<header><p class="eyebrow">Training run</p><h1>{escape(record.name)}</h1>'
        f'<p class="lead">{escape(_lead(record))}</p></header><dl class="tiles">{"".join(tiles)}</dl>{notes}'
    )


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


def _tile(name: str, value: str, below: str, extra: str = "") -> str:
    last = f"<dd>{extra}{escape(below)}</dd>" if below or extra else ""
    return f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}</dd>{last}</div>'


# ---- faces


def _faces(record: Record) -> str:
    frames, damaged = film(record.samples) if record.samples else ([], 0)
    if not frames:
        return "<h2>Faces</h2><p class='quiet'>No sample grid yet.</p>"
    figures = "".join(
        f'<figure class="frame"><img src="{frame.address}" width="{frame.width}" height="{frame.height}" '
        f'alt="64 faces of seeds 0 to 63 after {frame.images_seen:,} images"'
        f"{' class=small' if frame.width < 400 else ''}>"
        f"<figcaption>{frame.images_seen:,} images</figcaption></figure>"
        for frame in frames
    )
    controls = (
        '<div class="controls" hidden><button type="button">Play</button>'
        '<input type="range" min="0" max="0" value="0" aria-label="images seen"></div>'
    )
    unread = f"<p class='quiet'>{damaged} of the grids could not be read.</p>" if damaged else ""
    columns = strip(record.samples, record.run.model.image_shape[1:])
    beside = ""
    if columns is not None:
        sheet, moments = columns
        names = "".join(f"<span>{count(float(f'{moment:.3g}'))}</span>" for moment in moments)
        beside = (
            f'<figure class="card strip"><img src="{sheet.address}" width="{sheet.width}" '
            f'height="{sheet.height}" alt="{STRIP_ROWS} faces at {len(moments)} moments, from left to right">'
            f'<div class="moments">{names}</div><figcaption class="quiet"><small>Seeds 0 to '
            f"{STRIP_ROWS - 1} from the first grid to the last, by images seen; at psi 1, of the running "
            "mean of the generator.</small></figcaption></figure>"
        )
    kind = "faces" if beside else "faces alone"
    return (
        f'<h2>Faces</h2><div class="{kind}"><div class="film"><div class="frames">{figures}</div>{controls}'
        f"</div>{beside}</div>{unread}"
    )


# ---- curves


def _curves(record: Record) -> str:
    if not record.log:
        return "<h2>Curves</h2><p class='quiet'>No log line yet.</p>"
    end = float(max(record.images_seen, record.log[-1]["images_seen"]))
    shared: dict[str, Any] = {"end": end, "bands": tuple(bands(record.run, end)), "marks": _marks(record)}
    names = list(dict.fromkeys(name for line in record.log for name in line if name not in NOT_TERMS))
    adversarial = [name for name in names if name.endswith(("_real", "_fake"))]
    charts = []
    for name in distance_names(record.measurements):
        charts.append(
            Chart("Distance to the training pictures", (_measured(record, name),), may_be_log=True, **shared)
        )
    if adversarial:
        series = tuple(_series(record.log, name) for name in adversarial)
        charts.append(Chart("Adversarial losses", series, **shared))
    for name in names:
        if name not in adversarial:
            charts.append(
                Chart(_TITLES.get(name, name), (_series(record.log, name),), from_zero=True, **shared)
            )
    for title, name in _OTHERS.items():
        if name in record.log[-1]:
            charts.append(Chart(title, (_series(record.log, name),), from_zero=True, **shared))
    return f'<h2>Curves</h2><div class="charts">{"".join(map(chart_html, charts))}</div>'


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


def _series(lines: Lines, name: str) -> Series:
    return Series(name, tuple((line["images_seen"], line[name]) for line in lines if name in line))


def _measured(record: Record, name: str) -> Series:
    lines = [line for line in record.measurements if name in line]
    known = all("low" in line and "high" in line for line in lines)
    ranges = tuple((line["low"], line["high"]) for line in lines) if known else ()
    return Series(name, _series(tuple(lines), name).points, ranges)


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


def _measurements(record: Record) -> str:
    tables = "".join(_measured_table(record, name) for name in distance_names(record.measurements))
    if not tables:
        return ""
    protocol = ""
    if record.best is not None and record.best.metrics:
        known = record.best.metrics[0]
        protocol = (
            f'<p class="protocol">{known.samples:,} samples at psi {known.psi:g} in {known.precision}, '
            f"against {known.reals:,} pictures of {escape(known.data)} at {known.resolution} px; features: "
            f"{escape(known.features)}. Distances fall with the number of samples: compare at equal ones.</p>"
        )
    return f'<h2>Measurements</h2><div class="card">{tables}{protocol}</div>'


def _measured_table(record: Record, name: str) -> str:
    """The best measurement and the last ones."""
    lines = [line for line in record.measurements if name in line]
    best = min(lines, key=lambda line: line[name])
    rows = ""
    for line in [*([best] if best not in lines[-MOST_ROWS:] else []), *lines[-MOST_ROWS:]]:
        known = "low" in line and "high" in line
        between = f"{_precise(line['low'])} to {_precise(line['high'])}" if known else ""
        cells = [
            f"{int(line['images_seen']):,}",
            _precise(line[name]),
            between,
            f"{int(line.get('samples', 0)):,}",
        ]
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows += f"<tr{' class=best' if line is best else ''}>{row}</tr>"
    head = "".join(f"<th>{escape(word)}</th>" for word in ("images seen", name, "95 % interval", "samples"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _events(record: Record) -> str:
    happened = _happened(record)
    if not happened:
        return ""
    items = "".join(
        f"<li><span>{seen:,} images</span><div>{escape(text)}</div></li>"
        for seen, text in happened[-MOST_ROWS:]
    )
    more = len(happened) - MOST_ROWS
    earlier = f"<p class='quiet'>{more:,} earlier ones are left out.</p>" if more > 0 else ""
    return f'<h2>What happened</h2><div class="card">{earlier}<ul class="events">{items}</ul></div>'


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


def _data_and_machine(record: Record) -> str:
    run, data = record.run, _data(record)
    facts = {"name": data["name"]}
    if isinstance(data.get("pictures"), int):
        facts["pictures"] = f"{data['pictures']:,}"
    facts |= {"crop": run.data.crop, "mirrored too": "yes" if run.data.mirror else "no"}
    if isinstance(data.get("key"), str):
        facts["key of the content"] = data["key"]
    skipped = ""
    if record.skipped:
        items = "".join(
            f"<tr><td>{escape(line['file_name'])}</td><td>{escape(line['reason'])}</td></tr>"
            for line in record.skipped[:MOST_ROWS]
        )
        more = len(record.skipped) - MOST_ROWS
        skipped = (
            f"<details><summary>{len(record.skipped):,} left out</summary><table>{items}</table>"
            f"{f'<p>... and {more:,} more in skipped.jsonl</p>' if more > 0 else ''}</details>"
        )
    machine = record.starts[-1]["machine"] if record.starts else {}
    known = (
        _facts({name: _text(value) for name, value in machine.items()})
        if machine
        else ("<p class='quiet'>The run was made by a version that did not note its machine.</p>")
    )
    return (
        '<h2>Data and machine</h2><div class="two">'
        f'<div class="card"><h3>Data</h3>{_facts(facts)}{skipped}</div>'
        f'<div class="card"><h3>Machine</h3>{known}</div></div>'
    )


def _facts(facts: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def _settings(run: Run) -> str:
    near = nearest_preset(run)
    theirs: dict[str, Any] = {} if near is None else near[1]
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, value in settings(run).items():
        group, dot, last = name.partition(".")
        groups.setdefault(group if dot else "run", []).append((last if dot else name, value))
    groups = {"run": groups.pop("run")} | groups
    sections = ""
    marked = 0
    for group, values in groups.items():
        rows = ""
        for name, value in values:
            full = name if group == "run" else f"{group}.{name}"
            preset = f"<small>preset: {escape(_text(theirs[full]))}</small>" if full in theirs else ""
            kind = ' class="changed"' if preset else ""
            marked += bool(preset)
            rows += f"<tr{kind}><th>{escape(name)}</th><td>{escape(_setting(full, value))}{preset}</td></tr>"
        sections += f"<section><h3>{escape(group)}</h3><table>{rows}</table></section>"
    about = "<p>No preset is close to this run.</p>"
    if near is not None:
        differs = [f"its {marked} differences are marked" if marked > 1 else "its one difference is marked"]
        differs = differs if marked else []
        if others := len(theirs) - marked:
            differs.append(f"{others} of its settings are not in this run")
        said = "; ".join(differs) or "it does not differ"
        about = f"<p>The closest preset is <code>{escape(near[0])}</code>; {said}.</p>"
    return f'<h2>Settings</h2><div class="card">{about}<div class="groups">{sections}</div></div>'


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
