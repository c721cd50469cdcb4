"""Curves as HTML with SVG inside, drawn so that they are readable at any width and without a script.

The lines are an SVG that is stretched to its place; ticks and names are text of the page beside it, which
keeps its size on a phone. What a pointer shows is in the figure's data-chart, for report.js:

    {"end": largest x, "series": [{"name", "x": [...], "y": [...]}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_POINTS = 240  # of a curve; more are averaged
DOTS = 60  # up to so many points are marked
COLOURS = 6  # of report.css
WIDTH, HEIGHT = 1000, 300  # of the SVG's own units
LOG_FROM = 20.0  # largest over smallest value from which a distance is drawn on a log scale

Point = tuple[float, float]  # images seen, value


@dataclass(frozen=True)
class Series:
    """One curve; `ranges` (low, high) of each point where they are known."""

    name: str
    points: tuple[Point, ...]
    ranges: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Band:
    """A stretch of images that is shaded, or only named."""

    start: float
    end: float
    name: str = ""
    shaded: bool = False


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    images_seen: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Curves that share their axes; `end` is where the axis of images ends."""

    title: str
    series: tuple[Series, ...]
    end: float
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()
    from_zero: bool = False
    may_be_log: bool = False


@dataclass(frozen=True)
class Stroke:
    """An SVG path; kind: its classes."""

    kind: str
    d: str
    title: str = ""


@dataclass(frozen=True)
class Drawing:
    """A chart as chart.html shows it: where things are, in percent of the area, and what is said there."""

    title: str
    spoken: str  # in words, for those who do not see it
    data: str  # for report.js
    is_log: bool
    legend: tuple[tuple[int, str, str], ...]  # colour, name, last value
    rows: tuple[tuple[str, str], ...]  # ticks, from below
    columns: tuple[tuple[str, str], ...]  # ticks, from the left
    names: tuple[tuple[str, str, str], ...]  # of bands: from the left, width, name
    strokes: tuple[Stroke, ...]
    width: int = WIDTH
    height: int = HEIGHT


def series_of(lines: Iterable[Mapping[str, Any]], name: str) -> Series:
    """The values of that name in the lines that have it, over images seen."""
    return Series(
        name, tuple((float(line["images_seen"]), float(line[name])) for line in lines if name in line)
    )


def drawn(chart: Chart) -> Drawing | None:
    """The chart with all places worked out; None where it has no points."""
    curves = [thinned(series) for series in chart.series if series.points]
    if not curves:
        return None
    values = [value for curve in curves for _, value in curve.points]
    values += [
        bound for curve in curves if len(curve.points) <= DOTS for pair in curve.ranges for bound in pair
    ]
    is_log = chart.may_be_log and min(values) > 0 and max(values) > LOG_FROM * min(values)
    low, high, ticks = log_axis(values) if is_log else axis(values, from_zero=chart.from_zero)
    end = max(chart.end, 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        y = min(max(y, low), high)
        part = math.log(y / low) / math.log(high / low) if is_log else (y - low) / (high - low)
        return x / end, part

    named = [band for band in chart.bands if band.name]
    ends = [*(band.start for band in named[1:]), end][: len(named)]
    return Drawing(
        title=chart.title,
        spoken=_spoken(chart, curves),
        data=_data(curves, end),
        is_log=is_log,
        legend=tuple(
            (number % COLOURS, curve.name, short(curve.points[-1][1])) for number, curve in enumerate(curves)
        ),
        rows=tuple((_percent(place(0, tick)[1]), short(tick)) for tick in ticks),
        columns=tuple((_percent(x / end), count(x)) for x in image_ticks(end)),
        names=tuple(
            (_percent(band.start / end), _percent((stop - band.start) / end), band.name)
            for band, stop in zip(named, ends, strict=True)
        ),
        strokes=(
            *(_band(band, end) for band in chart.bands if band.shaded),
            *(Stroke("grid", f"M0.0 {HEIGHT * (1 - place(0, tick)[1]):.1f}H{WIDTH:.1f}") for tick in ticks),
            *(
                Stroke("mark", f"M{WIDTH * mark.images_seen / end:.1f} 0V{HEIGHT}", mark.text)
                for mark in chart.marks
            ),
            *(
                stroke
                for number, curve in enumerate(curves)
                for stroke in _curve(curve, number % COLOURS, place)
            ),
        ),
    )


def thinned(series: Series) -> Series:
    """At most MOST_POINTS points: means of neighbours, with the least and the most of them as ranges."""
    size = math.ceil(len(series.points) / MOST_POINTS)
    if size <= 1:
        return series
    points: list[Point] = []
    ranges: list[tuple[float, float]] = []
    for start in range(0, len(series.points), size):
        xs, ys = zip(*series.points[start : start + size], strict=True)
        points.append((sum(xs) / len(xs), sum(ys) / len(ys)))
        ranges.append((min(ys), max(ys)))
    return Series(series.name, tuple(points), tuple(ranges))


def axis(values: Sequence[float], *, from_zero: bool) -> tuple[float, float, list[float]]:
    """The ends of an axis that holds all values, and its ticks: steps of 1, 2 or 5 times a power of ten."""
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - max(abs(low) / 2, 0.5), high + max(abs(high) / 2, 0.5)
        low = max(low, 0.0) if from_zero else low
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= 0.999 * rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [number * step for number in range(first, last + 1)]


def image_ticks(end: float) -> list[float]:
    """The ticks of an axis of images seen, from 0 to its end."""
    return [x for x in axis([0.0, end], from_zero=True)[2] if x <= end]


def log_axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """The same for a log scale: ticks at 1, 2 and 5 times powers of ten."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [size * 10.0**power for power in powers for size in (1, 2, 5)]
    first = max(step for step in steps if step <= low * (1 + 1e-9))
    last = min(step for step in steps if step >= high * (1 - 1e-9))
    return first, last, [step for step in steps if first <= step <= last]


def short(value: float) -> str:
    """A value in three or four digits."""
    size = abs(value)
    if size >= 10_000:
        return count(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def count(value: float) -> str:
    """A number of images: 800, 12k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _percent(part: float) -> str:
    return f"{100 * part:.2f}%"


def _band(band: Band, end: float) -> Stroke:
    left, right = WIDTH * band.start / end, WIDTH * band.end / end
    return Stroke("band", f"M{left:.1f} 0H{right:.1f}V{HEIGHT}H{left:.1f}Z")


def _curve(
    curve: Series, colour: int, place: Callable[[float, float], tuple[float, float]]
) -> Iterator[Stroke]:
    def at(x: float, y: float) -> str:
        across, up = place(x, y)
        return f"{WIDTH * across:.1f} {HEIGHT * (1 - up):.1f}"

    if curve.ranges:
        xs = [x for x, _ in curve.points]
        upper = [at(x, high) for x, (_, high) in zip(xs, curve.ranges, strict=True)]
        lower = [at(x, low) for x, (low, _) in zip(xs, curve.ranges, strict=True)]
        yield Stroke(f"range c{colour}", f"M{'L'.join([*upper, *reversed(lower)])}Z")
    yield Stroke(f"curve c{colour}", f"M{'L'.join(at(x, y) for x, y in curve.points)}")
    if len(curve.points) <= DOTS:  # a line of no length is a dot of its width
        yield Stroke(f"dots c{colour}", "".join(f"M{at(x, y)}h0" for x, y in curve.points))


def _data(curves: Sequence[Series], end: float) -> str:
    series = [
        {
            "name": curve.name,
            "x": [round(x) for x, _ in curve.points],
            "y": [float(f"{y:.4g}") for _, y in curve.points],
        }
        for curve in curves
    ]
    return json.dumps({"end": round(end), "series": series}, separators=(",", ":"))


def _spoken(chart: Chart, curves: Sequence[Series]) -> str:
    """The chart in words, for those who do not see it."""
    parts = [f"{c.name} from {short(c.points[0][1])} to {short(c.points[-1][1])}" for c in curves]
    return f"{chart.title} over {count(chart.end)} images: {'; '.join(parts)}"
