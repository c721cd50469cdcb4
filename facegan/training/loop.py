"""A training run from its config to its folder: what is checked and chosen at the start, then the steps.

With several processes the first one reads, chooses and writes; the others are told, and take their parts of
every batch. One process is the same with nobody to tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from numbers import Real
from os import PathLike
from pathlib import Path

from facegan.augment import Ada
from facegan.checkpoint import checkpoints
from facegan.config import UsageError, differences, from_json, to_json
from facegan.data import Dataset, open_dataset
from facegan.files import require_writable
from facegan.perception.features import extractor
from facegan.run import Run
from facegan.runtime import choose_device, keep_freed_memory
from facegan.training import growing
from facegan.training.compiled import compiled_forms
from facegan.training.distributed import World, require_shares
from facegan.training.labels import data_identity, labelled
from facegan.training.loggers import Tracked, chosen, require_installed
from facegan.training.memory import fitted
from facegan.training.reporter import Reporter, Silent, Warns
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state, settled
from facegan.training.stretch import Stretch
from facegan.training.transfer import Weights, transfer, weights_of
from facegan.training.yardstick import Yardstick


@dataclass(frozen=True)
class Result:
    """How a call of `train` ended."""

    images_seen: int
    finished: bool  # the run's total is reached


def train(
    run: Run,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    force: bool = False,
    stop_after_seconds: float = math.inf,
    stop_requested: Callable[[], bool] = lambda: False,
    reporter: Reporter | None = None,
    world: World | None = None,
) -> Result:
    """Trains in the folder `out` until the run's total, a time limit, or a request to stop.

    Whatever ends it but an error, the last act is a checkpoint, a model file and a sample grid, from which
    `resume` goes on (on a CPU exactly, elsewhere to rounding). What is "auto" (device, precision, compile,
    track) and a micro_batch of 0 are chosen at the start and kept; so is that a compiler failed.

    world: the processes that train together (distributed.joined), each of which makes this call; None: one.
    reporter: who is told what goes on; None: trouble becomes Python's warnings, the rest is in `out`.

    Raises:
        UsageError: `out` holds a run already (without resume) or none (with it), or the stored one has
            other networks, or another config or other data (without force); another process trains in
            `out`, or it cannot be written to; no usable data; a batch that so many processes cannot share.
        OSError: a file could not be written; what was saved before is still there.
        FloatingPointError: a loss or a weight is not finite any more; nothing of it was saved.
        KeyboardInterrupt: a request to stop while the data is still being read.
        ProcessError: another process is gone or stuck, or its networks are not the same.
    """
    run = _as_stored(run)
    if not isinstance(stop_after_seconds, Real) or math.isnan(stop_after_seconds):
        raise UsageError(f"stop_after_seconds {stop_after_seconds!r}: expected a number of seconds")
    keep_freed_memory()
    world = world or World()
    is_first = world.rank == 0
    reporter = (reporter or Warns()) if is_first else Silent()
    folder = RunFolder(Path(out))

    def read(done: int, total: int) -> None:
        if stop_requested():
            raise KeyboardInterrupt
        reporter.data(done, total)

    if is_first:
        begun = _begun(run, folder, world, reporter, read, resume=resume, force=force)
        run, dataset = begun.run, begun.dataset
    if world.size > 1:
        told = world.first(lambda: to_json(run))
        if not is_first:  # on another machine it may have to make its own memory map
            run = from_json(Run, told)
            dataset = _open(run, read)
        world.require_equal(data_identity(dataset, run), "in their data")
    state = new_state(run)
    taken = transfer(begun.given, state, run.model) if is_first and begun.given else None
    if taken is not None and (taken.fresh or taken.widened):
        reporter.warn(taken.as_text())
    with folder.locked() if is_first else nullcontext(), closing(Tracked(reporter, folder)) as watching:
        if is_first:
            if resume:
                _load_newest(state, folder, data_identity(dataset, run), force=force, reporter=reporter)
                if isinstance(run.augment, Ada) and not run.augment.full_images:
                    state.memory["augment_p"].fill_(run.augment.p_start)  # which does not follow the past
            else:
                folder.require_new()  # once more: it took a while until here
        if world.size > 1:
            parts = world.first(state.parts)
            if not is_first:
                state.load_parts(parts)
        state.stage = growing.stage_remembered(state.memory)
        if shortfall := growing.never_reached(run):
            reporter.warn(shortfall)
        if run.compile == "yes":
            compiled = compiled_forms(state, run, reporter.warn)
            world.wait()  # which takes one longer than another
            if not world.agreed(compiled is None):  # all or none
                state.compiled = compiled
            run = run if state.compiled else replace(run, compile="no")
        if is_first:
            if resume:
                folder.resumed(run, state.images_seen, dataset.identity())
            else:
                folder.start(run, dataset.identity())
            if taken is not None:
                folder.write_transfer(asdict(taken))
            skipped = folder.write_skipped(dataset.skipped)
            watching.start(run, dataset, state.images_seen, stop_after_seconds)
            if skipped:
                watching.wrote(skipped)
        world.wait()
        stretch = Stretch(run, folder, dataset, state, watching, begun.yardstick if is_first else None, world)
        stretch.train(stop_after_seconds, stop_requested)
    return Result(state.images_seen, state.images_seen >= run.total_images)


def _as_stored(run: Run) -> Run:
    """The run that its folder's file will hold, so that it can be resumed.

    Raises:
        UsageError: it is no Run, or a file cannot hold it.
    """
    if not isinstance(run, Run):
        raise UsageError(f"run {run!r:.60}: expected a facegan.Run, such as PRESETS['dcgan-64'].run")
    return from_json(Run, to_json(run))


@dataclass(frozen=True)
class _Begun:
    """What the first process found out before there are networks."""

    run: Run
    dataset: Dataset
    given: Weights | None  # another model's, to start from
    yardstick: Yardstick | None


def _begun(
    run: Run,
    folder: RunFolder,
    world: World,
    reporter: Reporter,
    read: Callable[[int, int], None],
    *,
    resume: bool,
    force: bool,
) -> _Begun:
    """The run with what is "auto" chosen, its data read, and what else it needs; `out` is left alone."""
    run = settled(run)
    require_writable(folder.path, "--out")
    if resume:
        run = folder.with_kept_choices(run)
    run = replace(run, track=chosen(run.track))
    if resume:
        folder.require_same(run, force=force)
    else:
        folder.require_new()
        require_installed(run.track)
    # before the work begins: what is asked for may be missing
    given = weights_of(run.init) if run.init and not (resume and checkpoints(folder.checkpoints)) else None
    network = None
    if run.measure.every_images:
        network = extractor(run.measure.features, device=choose_device(run.device))
    dataset = _open(run, read)
    run = labelled(run, dataset, reporter.warn)
    run = fitted(run, dataset, reporter.warn, processes=world.size, neighbours=world.neighbours)
    require_shares(run, world.size)
    yardstick = None if network is None else Yardstick(run, folder, dataset, network, read)
    return _Begun(run, dataset, given, yardstick)


def _open(run: Run, read: Callable[[int, int], None]) -> Dataset:
    size, channels = run.model.image_shape[1:], run.model.channels
    return open_dataset(run.data, resolution=size, channels=channels, progress=read)


def _load_newest(
    state: TrainState, folder: RunFolder, identity: dict[str, str | int], *, force: bool, reporter: Reporter
) -> None:
    parts = folder.newest_checkpoint(warn=reporter.warn)
    if parts is None:
        reporter.warn("no checkpoint yet: starting from the beginning")
        return
    stored = parts.get("data")
    changed = differences(stored if isinstance(stored, dict) else {}, identity)
    if changed and not force:
        raise UsageError(
            f"{folder.path}: --resume with other data ({'; '.join(changed)}); --force accepts it"
        )
    state.load_parts(parts)
