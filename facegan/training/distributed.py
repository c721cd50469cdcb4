"""The processes of a run: one, or several that torchrun started, each taking whole micro-batches of a batch.

    batch   | part 0 | part 1 | part 2 | part 3 |      of micro_batch images each
            '---- rank 0 -----'---- rank 1 -----'

What a phase comes to (gradients, loss terms, what the loss remembers) is summed over the processes in one
row, by one all-reduce; every random number is a function of (seed, images seen, purpose), drawn for the whole
batch. So several processes train what one does with the same micro_batch, to rounding. Not used is
DistributedDataParallel: it misses what a lone penalty's backward leaves out, and processes drift apart.

Tensors on CUDA go by nccl, all else by gloo. A process that dies closes its connections, and the others know
at once; one that is stuck is given up after a minute. Only where the first process writes and measures do
the others wait longer.
"""

from __future__ import annotations

import hashlib
import io
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from facegan.checkpoint import Parts
from facegan.config import UsageError, first_line
from facegan.run import Run

_ROLL_CALL_SECONDS = 6.0  # after a failure, for who is still there
T = TypeVar("T")


class ProcessError(RuntimeError):
    """A process of the run is gone, stuck, or differs from the others; the message says which."""


class World:
    """One process: all parts of a batch are its own, and there is nobody to wait for."""

    rank, size = 0, 1
    neighbours = 1  # processes on this machine, itself included

    def share(self, parts: int) -> range:
        """The parts of a batch that this process takes: a row of them, so that sums keep their order."""
        own = parts // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over the processes, the same bits in all of them."""

    def statistics(self, networks: Sequence[nn.Module]) -> AbstractContextManager[None]:
        """A block after which BatchNorm's running statistics are those of all processes' parts, in order."""
        return nullcontext()

    def agreed(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag

    def first(self, make: Callable[[], T]) -> T:
        """What the call gives in the first process, in all: numbers, strings, tensors, and dicts of them."""
        return make()

    def wait(self) -> None:
        """Until all processes are here."""

    def require_equal(self, values: Mapping[str, int | str], when: str) -> None:
        """Raises ProcessError, with the names and ranks, where a value differs from the first process's."""


def fingerprint(parts: Parts) -> dict[str, int]:
    """A number for each part, of all its bits: what may not differ between processes."""
    return {name: _bits(part) % 2**63 for name, part in parts.items()}


def _bits(value: Any) -> int:
    if isinstance(value, Tensor):
        kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        return int(value.detach().view(kinds[value.element_size()]).sum(dtype=torch.int64))
    if isinstance(value, (dict, list, tuple)):
        items = value.values() if isinstance(value, dict) else value
        return sum((place + 1) * _bits(item) for place, item in enumerate(items))
    return _number(str(value))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def require_shares(run: Run, processes: int) -> None:
    """Raises UsageError where a batch of the run cannot be dealt to so many processes in whole parts."""
    for batch in (run.growth.batches if run.growth else ()) or (run.batch,):
        part = min(run.micro_batch, batch)
        if batch // part % processes:
            fitting = _fitting(run, processes)
            how = (
                f"use --set micro_batch={fitting}"
                if fitting
                else f"use a batch that is a multiple of {processes}"
            )
            raise UsageError(
                f"{processes} processes: a batch of {batch} in parts of micro_batch {part} makes "
                f"{batch // part}, not a multiple of {processes}; {how}"
            )


def _fitting(run: Run, processes: int) -> int:
    """The largest micro_batch up to the run's own that all its batches can be dealt in; 0: none."""
    batches = (run.growth.batches if run.growth else ()) or (run.batch,)
    group = run.model.minibatch_std_group
    for size in range(run.micro_batch, 0, -1):
        whole_groups = size % min(group, size) == 0
        if whole_groups and all(batch % size == 0 and batch // size % processes == 0 for batch in batches):
            return size
    return 0


@dataclass(frozen=True)
class Place:
    """A process's place among the others, as torchrun tells it."""

    rank: int
    size: int
    local_rank: int
    neighbours: int


class Processes(World):
    """Several processes, through torch.distributed."""

    def __init__(self, place: Place, store: Any) -> None:  # a Store, whose type torch does not export
        self.rank, self.size, self.neighbours = place.rank, place.size, place.neighbours
        self._store, self.patient = store, None

    # ---- what training asks for

    def add(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        row = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with self.heard():
            distributed.all_reduce(row)
        pieces = torch.split(row, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.detach().copy_(piece.view(tensor.shape))

    @contextmanager
    def statistics(self, networks: Sequence[nn.Module]) -> Iterator[None]:
        modules = [module for network in networks for module in network.modules()]
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        before = [[value.clone() for value in _running(norm)] for norm in norms]
        yield
        if not norms:
            return
        # n updates of m take x to k x + c with k = (1 - m)^n; the ranks' are made one after the other
        sums = []
        for norm, (mean, variance, count) in zip(norms, before, strict=True):
            own_mean, own_variance, own_count = _running(norm)
            kept = (1 - (norm.momentum or 0.0)) ** (own_count - count)
            later = kept ** (self.size - 1 - self.rank)
            sums += [later * (own_mean - kept * mean), later * (own_variance - kept * variance)]
        self.add(sums)
        for place, (norm, (mean, variance, count)) in enumerate(zip(norms, before, strict=True)):
            own_mean, own_variance, own_count = _running(norm)
            updates = self.size * (own_count - count)
            kept = (1 - (norm.momentum or 0.0)) ** updates
            own_mean.copy_(kept * mean + sums[2 * place])
            own_variance.copy_(kept * variance + sums[2 * place + 1])
            own_count.copy_(count + updates)

    def agreed(self, flag: bool) -> bool:
        said = torch.tensor(int(flag))  # on the CPU: asked at every step, it waits for no device
        with self.heard():
            distributed.all_reduce(said)
        return bool(said)

    def first(self, make: Callable[[], T]) -> T:
        data, value = b"", None
        if self.rank == 0:
            value, buffer = make(), io.BytesIO()
            torch.save(value, buffer)
            data = buffer.getvalue()
        length = torch.tensor(len(data))
        with self.heard():
            distributed.broadcast(length, 0, group=self.patient)
            row = torch.frombuffer(bytearray(data or int(length)), dtype=torch.uint8)
            distributed.broadcast(row, 0, group=self.patient)
        if self.rank:
            value = torch.load(io.BytesIO(row.numpy().tobytes()), map_location="cpu", weights_only=True)
        return value  # type: ignore[return-value]

    def wait(self) -> None:
        with self.heard():
            distributed.barrier(group=self.patient)

    def require_equal(self, values: Mapping[str, int | str], when: str) -> None:
        own = torch.tensor([v if isinstance(v, int) else _number(v) for v in values.values()])
        rows = [torch.empty_like(own) for _ in range(self.size)]
        with self.heard():
            distributed.all_gather(rows, own, group=self.patient)
        differing = {
            rank: [name for name, a, b in zip(values, rows[0], row, strict=True) if a != b]
            for rank, row in enumerate(rows)
        }
        found = [f"{', '.join(names)} of {self.called(rank)}" for rank, names in differing.items() if names]
        if found:
            raise ProcessError(f"the processes differ {when}: {'; '.join(found)} not as in rank 0")

    # ---- who is there

    def called(self, rank: int) -> str:
        """A process by its rank and machine."""
        host = ""
        with suppress(RuntimeError):
            if self._store.check([f"here/{rank}"]):
                host = f" on {self._store.get(f'here/{rank}').decode()}"
        return f"rank {rank} of {self.size}{host}"

    def call_roll(self, seconds: float) -> None:
        """Waits until all processes have come; raises ProcessError with those that did not."""
        try:
            self._store.set(f"here/{self.rank}", socket.gethostname())
            missing = self._missing("here", seconds)
        except RuntimeError as error:
            raise ProcessError(f"the connection to rank 0 was lost ({first_line(error)[:100]})") from None
        if missing:
            names = ", ".join(str(rank) for rank in missing)
            raise ProcessError(
                f"no answer from rank {names} of {self.size} within {seconds:.0f} s; nothing was begun"
            )

    def _missing(self, what: str, seconds: float, but: Sequence[int] = ()) -> list[int]:
        """The ranks that do not report within so many seconds."""
        missing, end = [rank for rank in range(self.size) if rank not in but], time.monotonic() + seconds
        while True:
            missing = [rank for rank in missing if not self._store.check([f"{what}/{rank}"])]
            if not missing or time.monotonic() >= end:
                return missing
            time.sleep(0.05)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Turns torch.distributed's errors, which are all RuntimeErrors, into who is missing."""
        try:
            yield
        except RuntimeError as error:
            raise ProcessError(self._reason(error)) from None

    def _reason(self, error: RuntimeError) -> str:
        """Why a collective failed: what a process said before it left, else who is still there."""
        self.leave()  # so that those who wait for this process notice as well
        try:
            self._store.set(f"alive/{self.rank}", "yes")
            missing = self._missing("alive", _ROLL_CALL_SECONDS)
            told = self._store.get("told").decode() if self._store.check(["told"]) else ""
            self._store.set(f"heard/{self.rank}", "yes")
            self._linger(missing)
            if told:
                return told
            names = " and ".join(self.called(rank) for rank in missing)
            if names:
                return f"{names} is gone or stuck ({first_line(error).split(']')[-1].strip()[:100]})"
        except RuntimeError:  # the store is gone as well: rank 0 keeps it where torchrun does not
            return f"rank 0 of {self.size} is gone"
        return f"the processes lost one another ({first_line(error)[:200]})"

    def tell(self, why: str) -> None:
        """Leaves a word for the others, unless another process has; then they know why this one left."""
        with suppress(RuntimeError):
            if not self._store.check(["told"]):
                self._store.set("told", f"{self.called(self.rank)} stopped: {why}")
            for key in ("alive", "heard"):
                self._store.set(f"{key}/{self.rank}", "yes")
            self.leave()
            self._linger(())

    def _linger(self, missing: Sequence[int]) -> None:
        """The first process may keep the store: it stays until those who are there have heard."""
        if self.rank == 0:
            self._missing("heard", _ROLL_CALL_SECONDS, but=missing)

    def leave(self, *, all_is_well: bool = False) -> None:
        """Closes the connections; those who wait for this process get an error."""
        self.patient = None  # a group lives, and its connections, as long as it has a name
        on_cuda: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        # nccl would wait for one that is gone
        if distributed.is_initialized() and (all_is_well or not on_cuda):
            with suppress(RuntimeError):
                distributed.destroy_process_group()


def _running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """Running mean, variance, and the count of updates."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    return norm.running_mean, norm.running_var, norm.num_batches_tracked
