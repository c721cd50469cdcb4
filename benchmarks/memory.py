"""Peak memory of a training step, each preset: what `--batch auto` reckons, and what a process takes.

    python benchmarks/memory.py [--precision bf16] [--presets dcgan-64 ...] [--measure dcgan-64 ...]

Reckoned for every preset at its whole batch, from two small parts of it, which takes minutes for the
published shapes; measured, for those named, as the growth of a fresh process's resident memory over two
steps of every phase.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import cast

from train_step import RandomPictures, at_full_size

from facegan.config import override
from facegan.data import Dataset
from facegan.presets import PRESETS, preset
from facegan.run import Run
from facegan.training.memory import step_need
from facegan.training.state import new_state, settled
from facegan.training.step import train_step

MIB = 2**20


def prepared(name: str, precision: str) -> Run:
    """The preset's run on the CPU, in one part."""
    run = at_full_size(preset(name).run)
    return settled(override(run, ["device=cpu", f"precision={precision}", f"micro_batch={run.batch}"]))


def reckoned(name: str, precision: str) -> float:
    """MiB."""
    run = prepared(name, precision)
    need = step_need(run, new_state(run), cast(Dataset, RandomPictures(run)))
    return need.bytes(run.batch) / MIB


def measured(name: str, precision: str) -> float:
    """MiB; in a process of its own, whose peak nothing before it has raised."""
    command = [sys.executable, __file__, "--precision", precision, "--child", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def growth(name: str, precision: str) -> float:
    """MiB that the networks and two steps add to this process's peak."""
    run = prepared(name, precision)
    pictures = cast(Dataset, RandomPictures(run))
    before = _peak()
    state = new_state(run)
    for _ in range(2):
        state.images_seen = 0  # where every phase takes place
        train_step(state, run, pictures, run.loss.phases())
    return _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--measure", nargs="*", default=[])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(growth(arguments.child, arguments.precision))
        return
    print("| preset | batch | reckoned, MiB | measured, MiB |\n|---|---|---|---|")
    for name in arguments.presets:
        found = f"{measured(name, arguments.precision):,.0f}" if name in arguments.measure else ""
        batch = preset(name).run.batch
        print(f"| `{name}` | {batch} | {reckoned(name, arguments.precision):,.0f} | {found} |", flush=True)


if __name__ == "__main__":
    main()
