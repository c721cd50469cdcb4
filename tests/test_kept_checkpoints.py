"""Which checkpoints of a run stay, and that its log's clock goes on after a resume."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from facegan.checkpoint import checkpoints
from facegan.run import Intervals, Run
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder


def kept(out: Path) -> list[int]:
    return [int(path.stem) for path in checkpoints(out / "checkpoints")]


def test_beside_the_newest_two_a_checkpoint_stays_each_keep_checkpoint_images(
    tiny_run_config: Run, tmp_path: Path
) -> None:
    """Those of 16, 32 ... 96, then 112; also by the resume itself, before it saves."""
    out = tmp_path / "run"
    every = Intervals(log_images=96, sample_images=96, checkpoint_images=16, keep_checkpoint_images=48)
    run = replace(tiny_run_config, intervals=every)
    train(run, out)
    assert kept(out) == [48, 80, 96]
    train(run, out, resume=True)  # without a step
    assert kept(out) == [48, 80, 96]
    train(replace(run, total_images=112), out, resume=True)
    assert kept(out) == [48, 96, 112]


def test_the_log_s_seconds_go_on_after_a_stop_and_a_resume(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that is a second later at each look."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr("facegan.training.stretch.time", clock)
    stops = iter([False, False, False, True])
    train(tiny_run_config, tmp_path / "run", stop_requested=lambda: next(stops))
    train(tiny_run_config, tmp_path / "run", resume=True)
    log = RunFolder(tmp_path / "run").read_log()
    assert [line["images_seen"] for line in log] == [32, 64, 96]
    first, second, third = (line["seconds"] for line in log)
    assert first < second < third
