"""What is due after a step: multiples of the run's intervals that it reached or crossed, and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facegan.networks.dcgan import DCGANConfig
from facegan.run import Intervals, Measure, Run
from facegan.training.moment import NOTHING, Moment, moment

RUN = Run(
    DCGANConfig(resolution=8),
    intervals=Intervals(log_images=10, sample_images=30, checkpoint_images=40),
    measure=Measure(every_images=60, features="pixels"),
    total_images=1000,
)


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [
        (0, 9, NOTHING),
        (8, 10, Moment(ticks=True)),  # reached
        (8, 16, Moment(ticks=True)),  # crossed
        (10, 19, NOTHING),  # it was due before
        (24, 32, Moment(ticks=True, samples=True)),
        (32, 48, Moment(ticks=True, saves=True)),
        (48, 64, Moment(ticks=True, samples=True, measures=True)),
        (100, 200, Moment(ticks=True, samples=True, measures=True, saves=True)),
        (992, 1000, Moment(ticks=True, saves=True, last=True)),
        (992, 1008, Moment(ticks=True, saves=True, last=True)),
    ],
)
def test_what_is_due_is_what_a_step_reaches_or_crosses(before: int, after: int, due: Moment) -> None:
    assert moment(RUN, before, after, stops=False) == due


def test_a_stop_is_a_last_moment_and_no_time_to_log() -> None:
    """So that a run that was stopped and resumed has the log lines of one that was not."""
    assert moment(RUN, 0, 8, stops=True) == Moment(last=True)


def test_the_run_s_end_is_logged_wherever_it_is() -> None:
    run = replace(RUN, total_images=1004)
    assert moment(run, 1000, 1008, stops=False) == Moment(ticks=True, last=True)


def test_a_run_that_does_not_measure_never_has_to() -> None:
    run = replace(RUN, measure=Measure())
    assert not any(moment(run, seen, seen + 10, stops=False).measures for seen in range(0, 1000, 10))
