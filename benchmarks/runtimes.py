"""Milliseconds a picture of each runtime (facegan.runtimes), for the shipped models, at batch 1 and 8.

    python benchmarks/runtimes.py [--model M ...] [--seconds 5] [--json]

Float32 on the CPU, w to float images, one thread unless --threads. The runtimes take turns, batch by batch,
and the median counts: ratios hold on a machine whose speed drifts. With one thread it is processor time,
which other processes hardly touch. `prepare` is what a runtime takes before its first picture.
Refuses to run on a busy machine (load average above 0.5) unless --force.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import torch
from machine import load_of_quiet_machine, seconds_each
from torch import Tensor

from facegan import models
from facegan.networks import Generator
from facegan.runtime import place
from facegan.runtimes import prepare

BATCHES = (1, 8)
NAMES = ("eager", "compiled", "onnx")


def measured(generator: Generator, batch: int, seconds: float) -> dict[str, float]:
    """Of each runtime the milliseconds a picture, and the seconds to prepare it."""
    runs: dict[str, Callable[[Tensor], Tensor]] = {}
    result: dict[str, float] = {}
    z = torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        w = generator.mapping(z).contiguous()
    for name in NAMES:
        began = time.process_time()  # a compiler's own processes are not in it
        runs[name] = prepare(generator, name, batch=batch) or generator.synthesis
        with torch.inference_mode():
            runs[name](w)
        result[f"{name}_prepare_s"] = round(time.process_time() - began, 2)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    with torch.inference_mode():
        taken = seconds_each({name: partial(run, w) for name, run in runs.items()}, seconds, clock)
    for name, each in taken.items():
        result[f"{name}_ms"] = round(1000 * each / batch, 3)
    return result


def main() -> None:
    """Prints a table, or a line of JSON for each model and batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", help="default: those that are shipped")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each model and batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    load = load_of_quiet_machine(force=arguments.force)
    torch.set_num_threads(arguments.threads)
    if not arguments.json:
        print(f"torch {torch.__version__}, {arguments.threads} thread(s), load average before {load:.1f}")
        print(f"{'model':20} batch " + " ".join(f"{name + ' ms':>12}" for name in NAMES) + "   prepare, s")
    for name in arguments.model or models.shipped():
        generator = models.load(name).generator
        place(generator, torch.device("cpu"), torch.float32)
        for batch in BATCHES:
            result = measured(generator, batch, arguments.seconds)
            if arguments.json:
                settings = {
                    "model": name,
                    "batch": batch,
                    "threads": arguments.threads,
                    "load": round(load, 2),
                }
                print(json.dumps(settings | result), flush=True)
                continue
            row = " ".join(f"{result[f'{runtime}_ms']:12.2f}" for runtime in NAMES)
            prepare_seconds = ", ".join(f"{result[f'{runtime}_prepare_s']:.1f}" for runtime in NAMES)
            print(f"{name:20} {batch:5} {row}   {prepare_seconds}", flush=True)


if __name__ == "__main__":
    main()
