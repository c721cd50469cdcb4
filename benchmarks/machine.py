"""The machine that numbers are measured on: it should do nothing else meanwhile."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

MAX_LOAD = 0.5


def load_of_quiet_machine(*, force: bool) -> float:
    """The load average of the last minute; ends the program if it is above MAX_LOAD, unless `force`."""
    load = os.getloadavg()[0]
    if load > MAX_LOAD and not force:
        sys.exit(
            f"the machine is busy (load average {load:.2f}, at most {MAX_LOAD}); --force measures anyway"
        )
    return load


def seconds_each(
    cases: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median time of each case, the cases taking turns for `seconds` in all; two turns warm up."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    turns, began = 0, time.perf_counter()
    while turns < 5 or time.perf_counter() - began < seconds:
        for name, work in cases.items():
            started = clock()
            work()
            times[name].append(clock() - started)
        turns += 1
    return {name: statistics.median(taken[2:]) for name, taken in times.items()}
