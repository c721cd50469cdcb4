"""What is due after a step: a function of the clock before and after it, and of whether the run stops."""

from __future__ import annotations

from dataclasses import dataclass

from facegan.run import Run


@dataclass(frozen=True)
class Moment:
    """What a step's end is a time for; nothing at most of them."""

    ticks: bool = False  # a log line
    samples: bool = False
    measures: bool = False
    saves: bool = False  # a checkpoint
    last: bool = False


NOTHING = Moment()


def moment(run: Run, before: int, after: int, *, stops: bool) -> Moment:
    """What is due where images seen went from `before` to `after`: multiples that were reached or crossed.

    stops: the stretch ends here; the run's own end also does, and is logged.
    """

    def passed(interval: int) -> bool:
        return interval > 0 and after // interval > before // interval

    finished = after >= run.total_images
    return Moment(
        ticks=passed(run.intervals.log_images) or finished,
        samples=passed(run.intervals.sample_images),
        measures=passed(run.measure.every_images),
        saves=passed(run.intervals.checkpoint_images),
        last=stops or finished,
    )
