"""Drawn people per second and core, at three resolutions, and where the time goes.

    python benchmarks/people_speed.py [--people 20] [--resolutions 64 128 256] [--profile] [--json]

Process time of one thread, so waiting for others does not count, but a busy machine still slows it (shared
caches, lower clocks): refuses to run at a load average above 0.5 unless --force. The first picture of each
resolution warms up numba and is not counted. The mean counts, not the median: a set holds slow people too.

The prototype needed 0.143 s a picture at 64 px, 0.228 s at 128 px and 0.600 s at 256 px on the machine that
benchmarks/README.md names.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and numba are first imported
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import cProfile
import json
import platform
import pstats
import time
from pathlib import Path

import numba
import numpy as np
from machine import load_of_quiet_machine

from facegan.people.person import Person
from facegan.people.render import render

PACKAGE = Path("facegan", "people")


def people(count: int, seed: int) -> list[Person]:
    """The first people of a seed, as `facegan people` draws them."""
    return [Person.numbered(seed, number) for number in range(count)]


def seconds_each(persons: list[Person], resolution: int, supersample: int) -> list[float]:
    """Process time of each person's picture, after one to warm up."""
    render(persons[0], resolution, supersample=supersample)
    times = []
    for person in persons:
        began = time.process_time()
        render(person, resolution, supersample=supersample)
        times.append(time.process_time() - began)
    return times


def stages(persons: list[Person], resolution: int, supersample: int) -> dict[str, dict[str, float]]:
    """Seconds a picture within each function of facegan.people: with what it calls, and without.

    Functions of one name in one file count as one.
    """
    render(persons[0], resolution, supersample=supersample)
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    for person in persons:
        render(person, resolution, supersample=supersample)
    profiler.disable()
    result: dict[str, dict[str, float]] = {}
    for (file, _, function), row in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if Path(file).parent.parts[-2:] == PACKAGE.parts:
            name = f"{Path(file).stem}.{function}"
            stage = result.setdefault(name, dict.fromkeys(("total_seconds", "own_seconds", "calls"), 0.0))
            _, calls, own, total, _ = row
            stage["total_seconds"] += total / len(persons)
            stage["own_seconds"] += own / len(persons)
            stage["calls"] += calls / len(persons)
    return dict(sorted(result.items(), key=lambda item: -item[1]["total_seconds"]))


def main() -> None:
    """Prints a table, or one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--supersample", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="the stages as well, at the first resolution")
    parser.add_argument("--top", type=int, default=30, help="how many stages to print")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    load = load_of_quiet_machine(force=arguments.force)
    persons = people(arguments.people, arguments.seed)
    result: dict[str, object] = {
        "people": arguments.people,
        "seed": arguments.seed,
        "supersample": arguments.supersample,
        "machine": f"{platform.machine()}, numba {numba.__version__}, numpy {np.__version__}",
        "load_before": round(load, 2),
    }
    for resolution in arguments.resolutions:
        times = seconds_each(persons, resolution, arguments.supersample)
        result[f"seconds_{resolution}"] = round(float(np.mean(times)), 4)
        result[f"slowest_seconds_{resolution}"] = round(max(times), 4)
        result[f"img_s_{resolution}"] = round(len(times) / sum(times), 2)
    profile = stages(persons, arguments.resolutions[0], arguments.supersample) if arguments.profile else {}
    if arguments.json:
        print(json.dumps(result | ({"stages": profile} if profile else {})))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")
    if profile:
        print(
            f"\n{'stage, ' + str(arguments.resolutions[0]) + ' px':44}{'total s':>9}{'own s':>9}{'calls':>9}"
        )
        for name, row in list(profile.items())[: arguments.top]:
            print(f"{name:44}{row['total_seconds']:9.4f}{row['own_seconds']:9.4f}{row['calls']:9.1f}")


if __name__ == "__main__":
    main()
