"""The report's charts: round axes, points where their numbers say, bands of growing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from facegan.growth import Growth
from facegan.presets import preset
from facegan.training.curves import Chart, Series, axis, count, log_axis, thinned
from facegan.training.report_page import bands
from facegan.training.templates import chart_html


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0], [0.0, 0.5, 1.0]),
        ([3.0, 97.0], [0, 50, 100]),
        ([-0.9, 0.9], [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ([0.0, 25_600.0], [0, 10_000, 20_000, 30_000]),
    ],
)
def test_ticks_are_round_and_hold_the_values(values: list[float], expected: list[float]) -> None:
    low, high, ticks = axis(values, from_zero=False)
    assert ticks == pytest.approx(expected)
    assert (low, high) == (ticks[0], ticks[-1])


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0, 1e-12, 1e20])
def test_a_single_value_has_an_axis_around_it(value: float) -> None:
    low, high, ticks = axis([value], from_zero=False)
    assert low < value < high
    assert len(ticks) < 12


def test_a_log_axis_holds_the_values_between_1_2_5_steps() -> None:
    assert log_axis([3.0, 480.0]) == (2, 500, pytest.approx([2, 5, 10, 20, 50, 100, 200, 500]))


def test_many_points_become_means_with_their_extremes() -> None:
    points = tuple((float(k), float(k % 2)) for k in range(4800))
    few = thinned(Series("x", points))
    assert len(few.points) == 240
    assert few.points[0] == (9.5, 0.5)
    assert set(few.ranges) == {(0.0, 1.0)}


def test_a_point_lies_where_its_numbers_say() -> None:
    html = chart_html(Chart("t", (Series("s", ((0.0, 0.0), (50.0, 1.0), (100.0, 0.5))),), end=100.0))
    (path,) = re.findall(r'class="curve c0" d="([^"]*)"', html)
    assert path == "M0.0 300.0L500.0 0.0L1000.0 150.0"  # of 1000 by 300, from the top


def test_a_log_scale_has_equal_steps_for_equal_ratios() -> None:
    series = Series("FD", ((0.0, 1000.0), (50.0, 100.0), (100.0, 10.0)))
    html = chart_html(Chart("t", (series,), end=100.0, may_be_log=True))
    (path,) = re.findall(r'class="curve c0" d="([^"]*)"', html)
    assert path == "M0.0 0.0L500.0 150.0L1000.0 300.0"
    assert "log scale" in html


def test_a_chart_without_points_is_nothing() -> None:
    assert chart_html(Chart("t", (Series("s", ()),), end=1.0)) == ""


def test_the_pointer_s_data_are_the_curve_s() -> None:
    reader = re.search(
        r'data-chart="([^"]*)"', chart_html(Chart("t", (Series('a"<', ((1.0, 0.123456),)),), end=9.0))
    )
    assert reader is not None
    data = json.loads(unescape(reader[1]))
    assert data == {"end": 9, "series": [{"name": 'a"<', "x": [1], "y": [0.1235]}]}


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (800, "800"), (12_800, "12.8k"), (25_000_000, "25M")])
def test_counts_are_short(number: float, text: str) -> None:
    assert count(number) == text


def test_bands_are_the_stages_of_growing() -> None:
    model = preset("stylegan-64").run
    run = replace(model, growth=Growth(first_resolution=8, stable_images=100, fade_images=50))
    found = [(band.start, band.end, band.name, band.shaded) for band in bands(run, 400.0)]
    assert found == [
        (0, 100, "8 px", False),
        (100, 150, "", True),
        (150, 250, "16 px", False),
        (250, 300, "", True),
        (300, 400, "32 px", False),
    ]
    for images_seen in range(1, 400):  # the stage that growth itself knows
        stage = run.growth.stage(images_seen, 64) if run.growth else None
        shaded = any(start < images_seen < end for start, end, _, fades in found if fades)
        assert stage is not None
        assert shaded == (stage.alpha < 1.0)
    assert list(bands(replace(run, growth=None), 400.0)) == []
