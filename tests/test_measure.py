"""Distances while training: logged, shown, resumed, and the best model kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facegan import models
from facegan.card import Value
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.run import Measure, Run
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def measured_config(tiny_run_config: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run on 120 pictures, measured after 48 and 96 images."""
    folder, random = tmp_path_factory.mktemp("measured"), np.random.default_rng(0)
    for number in range(120):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    measure = Measure(every_images=48, features="pixels", samples=100)
    return replace(tiny_run_config, data=DataConfig(str(folder)), measure=measure)


@pytest.fixture(scope="module")
def measured_run(measured_config: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "measured"
    train(measured_config, folder)
    return folder


def test_distances_are_logged(measured_run: Path) -> None:
    lines = RunFolder(measured_run).read_metrics()
    assert [line["images_seen"] for line in lines] == [48, 96]
    for line in lines:
        assert line["low"] <= line["FD-pixels"] <= line["high"]
        assert line["samples"] == 100


def test_the_best_model_is_kept_with_its_number(measured_run: Path) -> None:
    lines = RunFolder(measured_run).read_metrics()
    best = min(lines, key=lambda line: line["FD-pixels"])
    card = models.load(str(measured_run / "best.safetensors")).card
    assert card.images_seen == best["images_seen"]
    assert card.metrics[0].values[0].value == best["FD-pixels"]


def test_a_resumed_run_measures_the_same(measured_run: Path, measured_config: Run, tmp_path: Path) -> None:
    """Killed after the second measurement: its line is dropped, and made again."""
    folder = tmp_path / "measured"
    shutil.copytree(measured_run, folder)
    (folder / "checkpoints" / "000000096.pt").unlink()
    train(measured_config, folder, resume=True)
    assert (folder / "metrics.jsonl").read_text() == (measured_run / "metrics.jsonl").read_text()


def test_a_model_that_is_not_better_does_not_take_the_best_one_s_place(
    measured_run: Path, measured_config: Run, tmp_path: Path
) -> None:
    """Nor does a rollback to an earlier checkpoint: the best one is read off its file."""
    folder = tmp_path / "measured"
    shutil.copytree(measured_run, folder)
    (folder / "checkpoints" / "000000096.pt").unlink()
    best = folder / "best.safetensors"
    _, card = models.read_header(best)
    unbeatable = replace(card.metrics[0], values=(Value("FD-pixels", 0.0),))
    models.rewrite_card(best, replace(card, metrics=(unbeatable,)))
    before = best.read_bytes()
    train(measured_config, folder, resume=True)
    assert best.read_bytes() == before


def test_the_best_by_another_protocol_is_no_match(
    measured_run: Path, measured_config: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "measured"
    shutil.copytree(measured_run, folder)
    other = replace(measured_config, measure=replace(measured_config.measure, features="random"))
    longer = replace(other, total_images=144)
    train(longer, folder, resume=True, force=True)
    card = models.load(str(folder / "best.safetensors")).card
    assert (card.images_seen, card.metrics[0].values[0].name) == (144, "FD-random")


def test_too_few_pictures_are_found_before_the_training(
    tiny_run_config: Run, measured_config: Run, tmp_path: Path
) -> None:
    few = replace(tiny_run_config, measure=measured_config.measure)
    with pytest.raises(UsageError, match="24 usable pictures; at least 100 to measure with"):
        train(few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_keeps_its_model_s_card(
    measured_run: Path, measured_config: Run, tmp_path: Path
) -> None:
    """A resume that takes no step writes nothing anew."""
    folder = tmp_path / "measured"
    shutil.copytree(measured_run, folder)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert train(measured_config, folder, resume=True).finished
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_reporter_is_told(measured_config: Run, tmp_path: Path) -> None:
    told: list[tuple[int, bool]] = []

    class Recorder:
        def measured(self, result: Any, *, best: bool) -> None:
            told.append((result.images_seen, best))

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: None

    train(replace(measured_config, total_images=48), tmp_path / "run", reporter=Recorder())  # type: ignore[arg-type]
    assert told == [(48, True)]


def test_a_run_without_measure_has_no_such_files(tiny_run: Path) -> None:
    assert not (tiny_run / "metrics.jsonl").exists()
    assert not (tiny_run / "best.safetensors").exists()


@pytest.mark.parametrize(("values", "message"), [({"every_images": -1}, "0 .never. or more"),
                                                 ({"samples": 99}, "100 to 100,000")])  # fmt: skip
def test_wrong_values_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Measure(**values)  # type: ignore[arg-type]
