"""How processes that torchrun started find one another, before any work begins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch's stubs hide them

from facegan.config import UsageError, first_line, is_whole
from facegan.cores import usable_cores
from facegan.runtime import choose_device
from facegan.training.distributed import Place, ProcessError, Processes, World

PATIENCE_SECONDS = 60.0  # for one that is stuck, or does not come, now and while training
WRITING_SECONDS = 7200.0  # for the first one, while it writes and measures


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The processes of torchrun's environment, connected and tried out; one where there is no torchrun.

    device: of the run; each process of a machine gets the CUDA device of its local rank.

    Raises:
        UsageError: the environment or the device does not fit several processes.
        ProcessError: one of them did not come.
    """
    place = place_of(os.environ)
    if place is None:
        yield World()
        return
    kind = choose_device(device).type
    if kind == "cuda" and place.local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"LOCAL_RANK {place.local_rank}: this machine has {torch.cuda.device_count()} CUDA devices; "
            "start at most so many processes on it"
        )
    if kind == "mps":
        raise UsageError("device mps: one process only; use --device cpu for several")
    if kind == "cuda":
        torch.cuda.set_device(place.local_rank)  # which "cuda" means from now on
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // place.neighbours))
    world = _connected(place, kind)
    try:
        yield world
        world.wait()  # whoever leaves first is not missed
        world.leave(all_is_well=True)
    except ProcessError:
        raise
    except BaseException as error:
        world.tell("interrupted" if isinstance(error, KeyboardInterrupt) else first_line(error))
        if isinstance(error, UsageError) and place.rank:
            raise UsageError(f"{world.called(place.rank)}: {error}") from None
        raise
    finally:
        world.leave()


def place_of(environment: Mapping[str, str]) -> Place | None:
    """None where there is one process only.

    Raises:
        UsageError: a variable is missing or makes no sense.
    """

    def number(name: str, least: int, below: int, default: str = "") -> int:
        text = environment.get(name, default)
        if not (is_whole(text) and least <= int(text) < below):
            raise UsageError(
                f"{name} {text!r}: with WORLD_SIZE set, a number from {least} to {below - 1}; start "
                "several processes with torchrun, which sets it"
            )
        return int(text)

    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    size = number("WORLD_SIZE", 1, 100_000)
    rank, neighbours = number("RANK", 0, size), number("LOCAL_WORLD_SIZE", 1, size + 1, str(size))
    number("MASTER_PORT", 1, 65_536)
    if not environment.get("MASTER_ADDR"):
        raise UsageError("MASTER_ADDR is missing: start several processes with torchrun, which sets it")
    return Place(rank, size, number("LOCAL_RANK", 0, neighbours), neighbours)


def _connected(place: Place, kind: str) -> Processes:
    """The processes, once all have come and an all-reduce has worked."""
    patience = timedelta(seconds=PATIENCE_SECONDS)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    of_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # else rank 0 keeps the store
    try:
        store = TCPStore(
            address,
            port,
            is_master=place.rank == 0 and not of_torchrun,
            wait_for_workers=False,
            timeout=patience,
        )
    except RuntimeError as error:
        raise ProcessError(
            f"rank {place.rank} of {place.size}: no answer from {address}:{port} within "
            f"{PATIENCE_SECONDS:.0f} s ({first_line(error)[:100]}); is rank 0 running there?"
        ) from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    world = Processes(place, PrefixStore(f"facegan/{attempt}", store))
    world.call_roll(PATIENCE_SECONDS)
    with world.heard():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
            store=PrefixStore(f"groups/{attempt}", store),
            rank=place.rank,
            world_size=place.size,
            timeout=patience,
        )
        world.patient = distributed.new_group(backend="gloo", timeout=timedelta(seconds=WRITING_SECONDS))
    tried = torch.ones([], device=kind)
    world.add([tried])
    if float(tried) != place.size:
        raise ProcessError(f"an all-reduce of {place.size} ones came to {float(tried):g}")
    return world
