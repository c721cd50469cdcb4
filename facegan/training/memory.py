"""How many images of a batch fit into memory at a time: what micro_batch 0, `--batch auto`, comes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from facegan.config import UsageError
from facegan.data import Dataset
from facegan.networks.dcgan import DCGANConfig
from facegan.run import Run
from facegan.runtime import choose_device
from facegan.training.batch import TrainingBatch
from facegan.training.state import TrainState, new_state

SHARE = 0.8  # of the free memory is taken
BACKWARD = 1.5  # a step's peak over what autograd keeps for it, with room (benchmarks/README.md)


def fitted(
    run: Run,
    dataset: Dataset,
    warn: Callable[[str], None],
    free_bytes: int | None = None,
    *,
    processes: int = 1,
    neighbours: int = 1,
) -> Run:
    """The run, its micro_batch chosen if that is 0: the largest part of the batch that fits, or one group.

    free_bytes: of the run's device; None asks it. warn says where the choice changes what is learnt, or where
    even the smallest part seems too large.
    processes: that share the parts; neighbours: of them on this machine, who share its memory.

    Raises:
        UsageError: the batch cannot be shared by so many processes, or free memory is not known.
    """
    if run.micro_batch:
        return run
    sizes = micro_batches(run, processes)
    if not sizes:
        raise UsageError(f"{processes} processes cannot share a batch of {run.batch}; use a multiple of them")
    if free_bytes is None:
        device = choose_device(run.device)
        free_bytes = free_memory(device) // (1 if device.type == "cuda" else neighbours)
    need = step_need(run, new_state(replace(run, micro_batch=sizes[-1])), dataset)
    fitting = [size for size in sizes if need.bytes(size) <= SHARE * free_bytes]
    chosen = max(fitting, default=sizes[-1])
    if not fitting:
        warn(
            f"a step needs {need.bytes(chosen) / 1e9:.1f} GB even with {chosen} images at a time; "
            f"{free_bytes / 1e9:.1f} are free"
        )
    if chosen < run.batch and isinstance(run.model, DCGANConfig):
        warn(f"BatchNorm sees {chosen} images at a time, not the batch of {run.batch}: another training")
    return replace(run, micro_batch=chosen)


def micro_batches(run: Run, processes: int = 1) -> list[int]:
    """The parts that the batch can be taken in, the largest first: whole groups of minibatch std.

    With several processes, each gets as many parts as the others.
    """
    group = min(run.model.minibatch_std_group, run.batch)
    sizes = [size for size in range(run.batch, group - 1, -1) if run.batch % size == 0 and size % group == 0]
    return [size for size in sizes if run.batch // size % processes == 0]


@dataclass(frozen=True)
class Need:
    """What a step needs at its peak, in bytes: for weights, gradients and moments, and for each image."""

    fixed: float
    per_image: float

    def bytes(self, images: int) -> float:
        """With so many images at a time."""
        return self.fixed + self.per_image * images


def step_need(run: Run, state: TrainState, dataset: Dataset) -> Need:
    """The step's need, of what autograd keeps for the two smallest parts of the batch."""
    sizes = micro_batches(run)[-2:]
    # each as a whole batch, for which G's graph is kept while D learns
    kept = [_kept_bytes(replace(run, batch=size, micro_batch=size), state, dataset) for size in sizes]
    slope = (kept[0] - kept[-1]) / (sizes[0] - sizes[-1]) if len(sizes) > 1 else kept[0] / sizes[0]
    bytes_of = {
        player: sum(parameter.nbytes for parameter in network.parameters())
        for player, network in state.networks.items()
    }
    weights = 5 * bytes_of["G"] + 4 * bytes_of["D"]  # with gradient and Adam's two moments; G's running mean
    return Need(weights + BACKWARD * (kept[-1] - slope * sizes[-1]), BACKWARD * slope)


def _kept_bytes(run: Run, state: TrainState, dataset: Dataset) -> int:
    """The most that autograd keeps for a phase of one batch in one part, without the weights."""
    weights = {
        parameter.untyped_storage().data_ptr()
        for network in state.networks.values()
        for parameter in network.parameters()
    }
    most = 0
    for phase in run.loss.phases():
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        batch = TrainingBatch(state, run, dataset, 0)
        batch.player = phase.player
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            terms = phase.terms(batch)  # while it lives, no address comes back
        most = max(most, sum(kept.values()))
        del terms, batch
    return most


def free_memory(device: torch.device) -> int:
    """Bytes free on the device; on a CPU those that the system can give, within a container's limit.

    Raises:
        UsageError: the system does not tell.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    with suppress(OSError, ValueError):  # Linux
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            group = Path("/sys/fs/cgroup")
            limit = int((group / "memory.max").read_text())
            free = min(free, limit - int((group / "memory.current").read_text()))
        return free
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        raise UsageError("this system does not tell its free memory: say --batch N") from None
