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
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.presets import Measure, Run
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


def test_a_resumed_run_knows_its_best(measured_config: Run, tmp_path: Path) -> None:
    """A model that is not better than the one before the stop does not take its place."""
    stop = iter([*[False] * 2, True])
    train(measured_config, tmp_path / "run", stop_requested=lambda: next(stop))
    folder = RunFolder(tmp_path / "run")
    parts = folder.newest_checkpoint(warn=pytest.fail)
    assert parts is not None
    assert parts["best"] == folder.read_metrics()[0]["FD-pixels"]
    folder.save_checkpoint(parts | {"best": 0.0}, keep_every_images=0)
    train(measured_config, tmp_path / "run", resume=True)
    assert models.load(str(folder.best_path)).card.images_seen == 48


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
