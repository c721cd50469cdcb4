"""One process of several, for test_distributed: trains what it is given, and fails where it is told to.

torchrun ... one_of_many.py jobs JOBS.json           runs as JSON, one after the other
torchrun ... one_of_many.py FAULT train ...          the command line, with rank 1 failing at its third step
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from facegan import cli
from facegan.config import from_json
from facegan.losses import Phase
from facegan.run import Run
from facegan.training import joining, stretch
from facegan.training.loop import train
from facegan.training.state import TrainState
from facegan.training.step import train_step


def run_jobs(path: Path) -> None:
    with joining.joined("cpu") as world:
        for job in json.loads(path.read_text()):
            steps = 0

            def first_says_stop(after: int = job["stop_after_steps"]) -> bool:
                nonlocal steps
                steps += 1
                return world.rank == 0 and steps == after

            train(
                from_json(Run, job["run"]),
                job["out"],
                resume=job["resume"],
                stop_requested=first_says_stop,
                world=world,
            )


def failing(fault: str) -> Any:
    def step(state: TrainState, *arguments: Any) -> dict[str, torch.Tensor]:
        run, dataset, phases, *others = arguments
        third = os.environ["RANK"] == "1" and state.images_seen == 2 * run.batch
        if third and fault == "nan" and not state.retry:
            terms_of = phases[0].terms
            bad = Phase("D", lambda batch: {k: v * torch.nan for k, v in terms_of(batch).items()})
            phases = [bad, *phases[1:]]
        terms = train_step(state, run, dataset, phases, *others)
        if os.environ["RANK"] == "1" and state.images_seen == 3 * run.batch:
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "stuck":
                time.sleep(600)
            if fault == "wrong":
                raise OSError(None, "the disk is gone", "disk")
            if fault == "differs":
                with torch.no_grad():
                    next(state.discriminator.parameters())[0, 0, 0, 0] += 1e-6
        return terms

    return step


if __name__ == "__main__":
    if sys.argv[1] == "jobs":
        run_jobs(Path(sys.argv[2]))
    else:
        if sys.argv[1] in ("stuck", "alone"):
            joining.PATIENCE_SECONDS = 12.0 if sys.argv[1] == "stuck" else 6.0
        stretch.train_step = failing(sys.argv[1])  # type: ignore[attr-defined]
        sys.exit(cli.run(sys.argv[2:]))
