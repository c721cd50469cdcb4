"""The studio's tab of training runs: what it says of them, and which it lists."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.networks.dcgan import DCGANConfig
from facegan.run import Run
from facegan.serve.studio.train import curves_html, facts_html, look, runs_in, sample_html, sample_state
from facegan.training.record import Record
from facegan.training.run_folder import RunFolder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of runs that the studio looks into."""
    return tmp_path / "runs"


@pytest.fixture
def run_folder(runs: Path) -> RunFolder:
    """A run of 1000 images that has seen 400, at 20 a second."""
    folder = RunFolder(runs / "<b>run")
    folder.start(Run(DCGANConfig(resolution=8), data=DataConfig("x"), total_images=1000))
    for images in (200, 400):
        folder.append_log(
            {"images_seen": images, "seconds": images / 20, "images_per_second": 20, "D_real": 0.5}
        )
    return folder


def test_a_run_is_seen_with_its_speed_and_the_time_left(run_folder: RunFolder, runs: Path) -> None:
    with run_folder.locked():
        seen = look(runs, "<b>run")
        later = look(runs, "<b>run", now=os.stat(run_folder.log_path).st_mtime + 3600)
    assert seen.seconds_left == 600 / 20
    assert seen.state == "is training"
    page = facts_html(seen)
    assert "400 of 1,000 images seen" in page
    assert "0:00:30 left" in page
    assert "&lt;b&gt;run" in page
    assert "<b>run" not in page
    assert "D_real" in curves_html(seen.record)
    for resting in (later, look(runs, "<b>run")):  # silent for an hour; stopped
        assert resting.state == "rests"
        assert "left" not in facts_html(resting)


def test_the_grids_of_a_run_can_be_gone_through(run_folder: RunFolder, runs: Path) -> None:
    assert "No sample grid yet" in sample_html(look(runs, "<b>run").record, None)
    for images in (200, 400):
        run_folder.save_samples(np.zeros((8, 8, 3), np.uint8), images, "0-63")
    record = look(runs, "<b>run").record
    assert "after 400 images" in sample_html(record, None)
    assert "after 200 images" in sample_html(record, 0)
    record.samples[0][1].unlink()
    assert "not there any more" in sample_html(record, 0)


def test_a_grid_has_another_state_once_its_picture_is_another(run_folder: RunFolder, runs: Path) -> None:
    """So the page asks for it again then, and only then."""

    def record() -> Record:
        return look(runs, "<b>run").record

    states = [sample_state(record(), None)]
    for images in (200, 400):
        run_folder.save_samples(np.zeros((8, 8, 3), np.uint8), images, "0-63")
        states.append(sample_state(record(), None))
        run_folder.append_log({"images_seen": images + 100, "seconds": 1.0})
        assert sample_state(record(), None) == states[-1]
    assert sample_state(record(), 0) == states[1]
    path = record().samples[0][1]
    os.utime(path, (1, 1))
    states.append(sample_state(record(), 0))
    gone = record()
    path.unlink()
    states.append(sample_state(gone, 0))
    assert len(set(states)) == 5


def test_runs_are_listed_the_one_that_wrote_last_first(run_folder: RunFolder, runs: Path) -> None:
    assert runs_in(runs / "nowhere") == []
    RunFolder(runs / "older").start(Run(DCGANConfig(resolution=8)))
    os.utime(runs / "older" / "run.json", (1, 1))
    assert runs_in(runs) == ["<b>run", "older"]
    assert runs_in(runs / "older") == ["."]
    assert curves_html(look(runs, "older").record) == '<p class="quiet">No log line yet.</p>'
    with pytest.raises(UsageError, match="not in"):
        look(runs, "../runs")
