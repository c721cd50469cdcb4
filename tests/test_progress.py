"""What a run shows, on a terminal and without one."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from facegan.data import DataConfig, open_dataset
from facegan.presets import preset
from facegan.run import Run
from facegan.training.progress import ProgressReporter, by_heart
from facegan.training.reporter import Tick


def shown(run: Run, *, terminal: bool, stop_after_seconds: float = math.inf) -> str:
    """Everything that a run of one tick prints."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140, color_system=None)
    dataset = open_dataset(run.data, resolution=8)
    dataset.skipped = {f"bad{number}.png": "ValueError: [cut off]" for number in range(7)}
    with ProgressReporter(console) as reporter:
        reporter.data(3, 24)
        reporter.start(run, dataset, 16, stop_after_seconds)
        reporter.step(48)
        reporter.tick(Tick(48, {"D_real": 0.5, "G_fake": 1.25}, 123.4))
        reporter.wrote(Path("runs/x/samples/000000048.jpg"))
    return stream.getvalue()


def test_without_a_terminal_every_tick_is_a_plain_line(tiny_run_config: Run) -> None:
    lines = shown(tiny_run_config, terminal=False).splitlines()
    assert "48 images  123 images/s  D_real 0.500  G_fake 1.250" in lines
    assert "wrote runs/x/samples/000000048.jpg" in lines


def test_a_terminal_gets_a_bar_with_speed_losses_and_eta(tiny_run_config: Run) -> None:
    text = shown(tiny_run_config, terminal=True)
    for part in ("training", "123 images/s", "D_real 0.500", "ETA", "wrote runs/x/samples/000000048.jpg"):
        assert part in text


def test_left_out_pictures_are_named_with_their_reason_up_to_five(tiny_run_config: Run) -> None:
    text = shown(tiny_run_config, terminal=False)
    assert "left out bad0.png: ValueError: [cut off]" in text
    assert "bad5.png" not in text
    assert "... and 2 more left out" in text


def test_the_bar_is_full_when_the_time_is_over_though_images_are_left(tiny_run_config: Run) -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    dataset = open_dataset(tiny_run_config.data, resolution=8)
    with ProgressReporter(console) as reporter:
        reporter.start(tiny_run_config, dataset, 0, stop_after_seconds=0.0)
        reporter.step(16)
        assert reporter._bar.finished
        reporter.start(tiny_run_config, dataset, 0, stop_after_seconds=math.inf)
        reporter.step(16)
        assert not reporter._bar.finished


# ---- few pictures


@pytest.mark.parametrize(
    ("pictures", "name", "warned", "advised"),
    [
        (3, "dcgan-32", True, True),
        (499, "dcgan-32", True, True),
        (500, "dcgan-32", False, False),
        (3, "low-data", True, False),  # what it would advise is what runs
        (99, "low-data", True, False),
        (100, "low-data", False, False),  # what the preset is for
    ],
)
def test_few_pictures_are_learned_by_heart_and_low_data_is_named_but_to_itself(
    pictures: int, name: str, warned: bool, advised: bool
) -> None:
    said = by_heart(pictures, preset(name).run)
    assert (f"fewer than some hundred pictures, here {pictures}, are learned by heart" in said) == warned
    assert ("--preset low-data" in said) == advised
    assert bool(said) == warned


@pytest.mark.parametrize(("images_seen", "times"), [(0, 1), (16, 0)])
def test_a_run_on_few_pictures_says_so_once_and_not_when_it_goes_on(
    tiny_run_config: Run, images_seen: int, times: int
) -> None:
    stream = io.StringIO()
    dataset = open_dataset(tiny_run_config.data, resolution=8)  # 24 pictures, mirrored: 48
    with ProgressReporter(Console(file=stream, width=60)) as reporter:
        reporter.start(tiny_run_config, dataset, images_seen, math.inf)
        reporter.tick(Tick(48, {"D_real": 0.5}, 123.4))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("note: ")]
    assert len(lines) == times
    assert all("hundred pictures, here 24, are learned by heart" in line for line in lines)


@pytest.mark.parametrize(("seen", "total"), [(96, 96), (256, 100)])
def test_a_run_that_is_finished_says_what_it_saw_and_what_it_was_to_see(
    tiny_run_config: Run, seen: int, total: int
) -> None:
    stream = io.StringIO()
    run = replace(tiny_run_config, total_images=total)
    with ProgressReporter(Console(file=stream, width=60)) as reporter:
        reporter.start(run, open_dataset(run.data, resolution=8), seen, math.inf)
    assert f"it has seen {seen} images, and total_images is {total}; to go on, raise it" in stream.getvalue()


# ---- small pictures


def noted(run: Run, sides: list[tuple[int, int]], folder: Path, images_seen: int = 0) -> list[str]:
    """The notes when a run on pictures of these widths and heights begins, at 8 px."""
    folder.mkdir()
    for number, size in enumerate(sides):
        Image.new("RGB", size).save(folder / f"{number}.png")
    stream = io.StringIO()
    for _ in range(2):  # the second time from the cache
        dataset = open_dataset(DataConfig(str(folder)), resolution=8, cache=folder / "cache")
        stream = io.StringIO()
        with ProgressReporter(Console(file=stream, width=60)) as reporter:
            reporter.start(run, dataset, images_seen, math.inf)
    return [line for line in stream.getvalue().splitlines() if "enlarged" in line]


def test_pictures_smaller_than_the_model_s_are_counted(tiny_run_config: Run, tmp_path: Path) -> None:
    many = [(1, 1), (300, 7), (8, 8), (7, 300), (9, 20)]
    assert noted(tiny_run_config, many, tmp_path / "a") == [
        "note: 3 pictures are smaller than 8 px in a side, and are enlarged"
    ]
    assert noted(tiny_run_config, many[:1], tmp_path / "b") == [
        "note: 1 picture is smaller than 8 px in a side, and is enlarged"
    ]
    assert noted(tiny_run_config, many[2:3], tmp_path / "c") == []
    assert noted(tiny_run_config, many, tmp_path / "d", images_seen=16) == []  # it was said when it began
