"""Training and sampling speed of a preset, in float32 and bfloat16, in one run.

    python benchmarks/train_step.py --preset dcgan-64 [--seconds 10] [--json]

Random pixels stand in for data: reading a batch from the memory map takes about a millisecond. Refuses to run
on a busy machine (load average above 0.5) unless --force: other processes distort the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from facegan.data import Dataset
from facegan.models import Model
from facegan.networks import build_generator
from facegan.presets import Precision, Run, preset
from facegan.synthesis import Sampler
from facegan.training.loop import train_step
from facegan.training.state import new_state, settled

MAX_LOAD = 0.5


class RandomPictures:
    """Stands in for a Dataset: the same random pixels as every batch."""

    def __init__(self, run: Run) -> None:
        shape = (run.micro_batch, run.model.channels, run.model.resolution, run.model.resolution)
        self._pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))

    def batch(self, first: int, count: int, seed: int) -> torch.Tensor:
        """uint8 [count, C, H, W]."""
        return self._pixels


def per_second(work: Callable[[], int], seconds: float) -> float:
    """How many items a second: `work` returns how many it did; two calls warm up."""
    for _ in range(2):
        work()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    return done / (time.perf_counter() - began)


def training_speed(run: Run, precision: str, seconds: float) -> float:
    """Images a second through `train_step`."""
    run = settled(replace(run, precision=cast(Precision, precision)))
    state, pictures, phases = new_state(run), cast(Dataset, RandomPictures(run)), run.loss.phases()

    def step() -> int:
        means = train_step(state, run, pictures, phases)
        float(next(iter(means.values())))  # waits for the device
        return run.batch

    return per_second(step, seconds)


def sampling_speed(run: Run, precision: str, seconds: float) -> float:
    """Pictures a second through Sampler.sample, 32 at a time."""
    sampler = Sampler(Model(build_generator(run.model).eval(), run.model), precision=precision)
    return per_second(lambda: len(sampler.sample(range(32))), seconds)


def main() -> None:
    """Prints a table, or one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="dcgan-64")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if load > MAX_LOAD and not arguments.force:
        sys.exit(
            f"the machine is busy (load average {load:.2f}, at most {MAX_LOAD}); --force measures anyway"
        )
    run = preset(arguments.preset).run
    result: dict[str, object] = {
        "preset": arguments.preset,
        "batch": run.batch,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "load_before": round(load, 2),
    }
    speeds = {}
    for precision in ("fp32", "bf16"):
        speeds[precision] = training_speed(run, precision, arguments.seconds)
        result[f"train_img_s_{precision}"] = round(speeds[precision], 1)
        result[f"sample_img_s_{precision}"] = round(sampling_speed(run, precision, arguments.seconds), 1)
    result["train_ratio_bf16"] = round(speeds["bf16"] / speeds["fp32"], 2)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
