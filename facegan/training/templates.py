"""The HTML of pages, from the templates beside this file; whatever they show is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from facegan.training.curves import Chart, drawn

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["thousands"] = "{:,}".format


def template(name: str) -> Template:
    """The template of that name, such as report.html."""
    return _ENVIRONMENT.get_template(name)


def chart_html(chart: Chart) -> str:
    """The chart as a <figure>; nothing where it has no points."""
    drawing = drawn(chart)
    return "" if drawing is None else template("chart.html").render(chart=drawing)
