"""A long run takes no more memory, files or threads at its end than early on."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from facegan.run import Intervals, Run
from facegan.training.loop import train
from facegan.training.reporter import Silent, Tick


class Gauge(Silent):
    """At every log line: resident memory in pages, open files, threads."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def tick(self, tick: Tick) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.seen.append((pages, len(os.listdir("/proc/self/fd")), threading.active_count()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "steps", [pytest.param(2_000, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.soak)]
)
def test_a_long_run_stays_as_it_is(steps: int, tiny_run_config: Run, tmp_path: Path) -> None:
    images = steps * 16
    often = Intervals(log_images=images // 40, sample_images=images // 20, checkpoint_images=images // 20)
    run = replace(tiny_run_config, intervals=often, micro_batch=16, total_images=images)
    gauge = Gauge()
    assert train(run, tmp_path / "run", reporter=gauge).images_seen == images
    early, late = gauge.seen[8], gauge.seen[-1]
    assert late[0] == pytest.approx(early[0], rel=0.05)
    assert late[1:] == early[1:]
