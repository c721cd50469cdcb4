"""The loss plot shows every term's curve where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from facegan.training.plot import COLOURS, MARGIN, SIZE, plot_losses


def line(images_seen: int, **terms: float) -> dict[str, float]:
    return {"images_seen": images_seen, "seconds": 1.0, "images_per_second": 1.0, **terms}


def rows_of(path: Path, colour: str, column: int) -> np.ndarray:
    """The pixel rows of a column, below the legend, that have exactly this colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    same = (pixels[:, column] == ImageColor.getrgb(colour)).all(axis=1)
    return np.flatnonzero(same[MARGIN[1] - 2 :]) + MARGIN[1] - 2


def test_a_constant_term_is_a_horizontal_line_at_its_value(tmp_path: Path) -> None:
    log = [line(images_seen, D=4.0, G=1.0) for images_seen in (0, 500, 1000)]
    plot_losses(log, tmp_path / "p.png")
    lower = SIZE[1] - MARGIN[3]
    for column in (200, 500, 800):
        # the axis ends at 4: D lies at its top, G a quarter of the way up
        assert rows_of(tmp_path / "p.png", COLOURS[0], column).mean() == pytest.approx(MARGIN[1], abs=2)
        expected = lower - (lower - MARGIN[1]) / 4
        assert rows_of(tmp_path / "p.png", COLOURS[1], column).mean() == pytest.approx(expected, abs=2)


def test_a_negative_term_lies_below_the_line_of_zero(tmp_path: Path) -> None:
    """As WGAN-GP's and the hinge loss's do."""
    log = [line(images_seen, D=-2.0, G=2.0) for images_seen in (0, 1000)]
    plot_losses(log, tmp_path / "p.png")
    # the axis goes from -2 to 2
    assert rows_of(tmp_path / "p.png", COLOURS[0], 500).mean() == pytest.approx(SIZE[1] - MARGIN[3], abs=2)
    assert rows_of(tmp_path / "p.png", COLOURS[1], 500).mean() == pytest.approx(MARGIN[1], abs=2)


def test_a_rising_term_rises(tmp_path: Path) -> None:
    plot_losses([line(0, D=0.0), line(1000, D=1.0)], tmp_path / "p.png")
    rows = [rows_of(tmp_path / "p.png", COLOURS[0], column).mean() for column in (100, 500, 900)]
    assert rows[0] > rows[1] > rows[2]


def test_one_line_makes_an_empty_plot_and_none_makes_no_file(tmp_path: Path) -> None:
    plot_losses([line(100, D=1.0)], tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == SIZE
    plot_losses([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
