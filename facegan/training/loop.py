"""The training loop: one `train_step` for every model, on the two seams.

    for each phase of the loss:            phase = (player, terms, every)
        for each micro-batch of the batch:
            terms -> mean -> backward, into this player's parameters only
        one optimiser step
    EMA, then the clock (images seen) moves on by one batch

Every random draw is a function of (seed, images seen), so a checkpoint needs no generator state, and a
resumed run is bit-equal to an uninterrupted one on the same machine, thread count and torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from facegan.augment import Ada
from facegan.card import Card, Evaluation
from facegan.checkpoint import checkpoints
from facegan.config import UsageError, differences
from facegan.data import Dataset, open_dataset
from facegan.files import require_writable
from facegan.images import grid
from facegan.losses import Phase
from facegan.models import Model
from facegan.models import save as save_model
from facegan.perception.features import extractor
from facegan.run import Run
from facegan.runtime import choose_device, keep_freed_memory
from facegan.synthesis import Sampler
from facegan.training import growing
from facegan.training.batch import TrainingBatch
from facegan.training.compiled import compiled_forms
from facegan.training.ema import calibrated, ema_beta, update_ema
from facegan.training.labels import data_identity, labelled
from facegan.training.memory import fitted
from facegan.training.plot import plot_losses
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state, settled, trainable
from facegan.training.transfer import transfer, weights_of
from facegan.training.yardstick import Yardstick

SAMPLE_SEEDS = range(64)


def train_step(state: TrainState, run: Run, dataset: Dataset, phases: list[Phase]) -> dict[str, Tensor]:
    """One batch: every phase's update, then EMA and clock. Returns the mean of each term, on the device."""
    stage = growing.stage_of(run, state.images_seen)
    run = growing.run_at(run, stage)
    growing.enter(state, run, stage)
    step = state.images_seen // run.batch
    parts = range(run.batch // run.micro_batch)
    batches = [TrainingBatch(state, run, dataset, state.images_seen, part) for part in parts]
    means: dict[str, Tensor] = {}
    for phase in phases:
        if step % phase.every:
            continue
        parameters = trainable(state.networks[phase.player])
        optimizer = state.optimizers[phase.player]
        optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            batch.player = phase.player
            terms = {name: term.mean() / len(batches) for name, term in phase.terms(batch).items()}
            torch.autograd.backward(torch.stack(list(terms.values())).sum(), inputs=parameters)
            _add(means, {name: term.detach() for name, term in terms.items()})
        optimizer.step()
        for name in batches[0].memories:
            state.memory[name] = torch.stack([batch.memories[name] for batch in batches]).mean(dim=0)
        if phase.player == "G":
            for batch in batches:
                batch.generator_changed()
    w_means = [batch.w_mean for batch in batches if batch.w_mean is not None]
    if w_means:
        state.generator.track(torch.stack(w_means).mean(dim=0))
    means |= _adapted(state, run, [batch.sign for batch in batches if batch.sign is not None])
    state.images_seen += run.batch
    update_ema(state.average, state.generator, ema_beta(run.ema, run.batch, state.images_seen))
    return means


def _adapted(state: TrainState, run: Run, signs: list[Tensor]) -> dict[str, Tensor]:
    """ADA's controller: collects D's signs of the reals, and moves p at the end of each interval."""
    ada, memory = run.augment, state.memory
    if not isinstance(ada, Ada) or not signs:
        return {}
    sign, p = torch.stack(signs).mean(), state.augment_p
    zero = torch.zeros_like(sign)
    collected, steps = memory.get("augment_signs", zero) + sign, memory.get("augment_steps", zero) + 1
    if (state.images_seen // run.batch + 1) % ada.interval == 0:
        # of as many steps as there were: an interval may have begun with another batch
        memory["augment_p"] = ada.next_p(p, collected / steps, run.batch * ada.interval)
        collected, steps = zero, zero
    memory["augment_signs"], memory["augment_steps"] = collected, steps
    return {"augment_p": p, "augment_sign": sign}


def _add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value


@dataclass(frozen=True)
class Tick:
    """What the loop reports at a log interval: the terms' means since the last one, and the speed."""

    images_seen: int
    terms: dict[str, float]
    images_per_second: float


class Reporter(Protocol):
    """Whoever watches a run: a progress display, a test."""

    def data(self, done: int, total: int) -> None:
        """Pictures read into the memory map so far."""

    def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
        """The data is ready, training begins at this point of the clock, for at most so long."""

    def step(self, images_seen: int) -> None:
        """After every step."""

    def tick(self, tick: Tick) -> None:
        """At every log interval."""

    def measured(self, result: Evaluation, *, best: bool) -> None:
        """The distance to the training pictures; best: the smallest so far."""

    def wrote(self, path: Path) -> None:
        """A sample grid or checkpoint was written."""

    def warn(self, message: str) -> None:
        """Something is not as it should be, but the run goes on."""


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
) -> Result:
    """Trains in the folder `out` until the run's total, a time limit, or a request to stop.

    Whatever ends it but an error, the last act is a checkpoint, a model file and a sample grid, from which
    `resume` goes on exactly. What is "auto" (device, precision, compile) and a micro_batch of 0 are chosen at
    the start and kept; so is that a compiler failed.

    Raises:
        UsageError: `out` holds a run already (without resume) or none (with it), or the stored one has
            other networks, or another config or other data (without force); another process trains in
            `out`, or it cannot be written to; no usable data.
        OSError: a file could not be written; what was saved before is still there.
        FloatingPointError: a loss or a weight is not finite any more; nothing of it was saved.
        KeyboardInterrupt: a request to stop while the data is still being read.
    """
    keep_freed_memory()
    folder, run = RunFolder(Path(out)), settled(run)
    require_writable(folder.path, "--out")
    warn = reporter.warn if reporter else _ignore
    if resume:
        run = folder.with_kept_choices(run)
        folder.require_same(run, force=force)
    else:
        folder.require_new()

    def read(done: int, total: int) -> None:
        if stop_requested():
            raise KeyboardInterrupt
        if reporter:
            reporter.data(done, total)

    # before the work begins: what is asked for may be missing
    given = weights_of(run.init) if run.init and not (resume and checkpoints(folder.checkpoints)) else None
    network = None
    if run.measure.every_images:
        network = extractor(run.measure.features, device=choose_device(run.device))
    dataset = open_dataset(
        run.data, resolution=run.model.image_shape[1:], channels=run.model.channels, progress=read
    )
    run = fitted(labelled(run, dataset, warn), dataset, warn)
    yardstick = None if network is None else Yardstick(run, folder, dataset, network, read)
    state = new_state(run)
    taken = None if given is None else transfer(given, state)
    if taken is not None and taken.fresh:
        warn(taken.as_text())
    with folder.locked():
        if not resume:
            folder.require_new()  # once more: it took a while until here
        if resume:
            _load_newest(state, folder, data_identity(dataset, run), force=force, reporter=reporter)
            if isinstance(run.augment, Ada) and not run.augment.full_images:
                state.memory["augment_p"].fill_(run.augment.p_start)  # which does not follow the past
        state.stage = growing.stage_remembered(state.memory)
        if shortfall := growing.never_reached(run):
            warn(shortfall)
        if run.compile == "yes":
            state.compiled = compiled_forms(state, run, warn)
            run = run if state.compiled else replace(run, compile="no")
        if resume:
            folder.resumed(run, state.images_seen)
        else:
            folder.start(run)
        if taken is not None:
            folder.write_transfer(asdict(taken))
        skipped = folder.write_skipped(dataset.skipped)
        if reporter:
            reporter.start(run, dataset, state.images_seen, stop_after_seconds)
            if skipped:
                reporter.wrote(skipped)
        stretch = _Stretch(run, folder, dataset, state, reporter, yardstick)
        stretch.train(stop_after_seconds, stop_requested)
    return Result(state.images_seen, state.images_seen >= run.total_images)


def _ignore(message: str) -> None:
    pass


def _load_newest(
    state: TrainState,
    folder: RunFolder,
    identity: dict[str, str | int],
    *,
    force: bool,
    reporter: Reporter | None,
) -> None:
    parts = folder.newest_checkpoint(warn=reporter.warn if reporter else _ignore)
    if parts is None:
        if reporter:
            reporter.warn("no checkpoint yet: starting from the beginning")
        return
    stored = parts.get("data")
    changed = differences(stored if isinstance(stored, dict) else {}, identity)
    if changed and not force:
        raise UsageError(
            f"{folder.path}: --resume with other data ({'; '.join(changed)}); --force accepts it"
        )
    state.load_parts(parts)


class _Stretch:
    """One stretch of a run, from start or resume to stop: steps, and what is written along the way."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        dataset: Dataset,
        state: TrainState,
        reporter: Reporter | None,
        yardstick: Yardstick | None,
    ) -> None:
        self.run, self.folder, self.dataset, self.state, self.reporter = run, folder, dataset, state, reporter
        self._yardstick, self._identity = yardstick, data_identity(dataset, run)
        self._averaged_at, self._batch = -1, run.batch
        # what a checkpoint was written of has all else: a resume that takes no step writes nothing
        self._checkpointed_at = self._sampled_at = state.images_seen if folder.model_path.exists() else -1
        self._average: Model | None = None
        log = folder.read_log()
        self._seconds_before = float(log[-1]["seconds"]) if log else 0.0

    def train(self, stop_after_seconds: float, stop_requested: Callable[[], bool]) -> None:
        run, state, intervals = self.run, self.state, self.run.intervals
        phases = run.loss.phases()
        began = tick_began = time.monotonic()
        images = 0  # since the last tick, in this stretch
        last = state.images_seen >= run.total_images
        while not last:
            before = state.images_seen
            _add(state.log_sums, train_step(state, run, self.dataset, phases))
            self._batch = state.images_seen - before
            state.log_steps += 1
            images += self._batch
            if self.reporter:
                self.reporter.step(state.images_seen)
            finished = state.images_seen >= run.total_images
            last = finished or stop_requested() or time.monotonic() - began >= stop_after_seconds
            if self._passed(intervals.log_images) or finished:
                now = time.monotonic()
                self._tick(images_per_second=images / (now - tick_began), seconds=now - began)
                tick_began, images = now, 0
            if self._passed(intervals.sample_images) or last:
                self._sample()
            if run.measure.every_images and self._passed(run.measure.every_images):
                self._measure()
            if self._passed(intervals.checkpoint_images) or last:
                self._checkpoint()
        self._sample()  # where a resume had no step to take, and its model was gone
        self._checkpoint()

    def _passed(self, interval: int) -> bool:
        """Whether the last batch reached or crossed a multiple of the interval."""
        images_seen = self.state.images_seen
        return images_seen // interval > (images_seen - self._batch) // interval

    def _tick(self, *, images_per_second: float, seconds: float) -> None:
        self._require_finite_losses()
        state = self.state
        terms = {name: float(total) / state.log_steps for name, total in state.log_sums.items()}
        state.log_sums, state.log_steps = {}, 0
        line = {"images_seen": state.images_seen, "seconds": round(self._seconds_before + seconds, 3)}
        if state.stage is not None:
            line |= {"resolution": state.stage.resolution, "alpha": state.stage.alpha}
        self.folder.append_log(line | {"images_per_second": round(images_per_second, 2)} | terms)
        if self.reporter:
            self.reporter.tick(Tick(state.images_seen, terms, images_per_second))

    def _checkpoint(self) -> None:
        """Comes after all else of its moment: what it leaves behind is not made again on resume."""
        if self._checkpointed_at == self.state.images_seen:
            return
        save_model(self.folder.model_path, self._average_model())
        parts = self.state.parts() | {"data": self._identity}
        path = self.folder.save_checkpoint(parts, self.run.intervals.keep_checkpoint_images)
        self._checkpointed_at = self.state.images_seen
        if self.reporter:
            self.reporter.wrote(path)

    def _sample(self) -> None:
        if self._sampled_at == self.state.images_seen:
            return
        sampler = Sampler(self._average_model(), device=self.state.device.type)
        pixels = grid(sampler.sample(SAMPLE_SEEDS))
        path = self.folder.save_samples(
            pixels, self.state.images_seen, f"{SAMPLE_SEEDS[0]}-{SAMPLE_SEEDS[-1]}"
        )
        plot_losses(self.folder.read_log(), self.folder.losses_path)
        self._sampled_at = self.state.images_seen
        if self.reporter:
            self.reporter.wrote(path)

    def _measure(self) -> None:
        """The distance of the EMA generator's samples to the training pictures."""
        grown = self.state.stage is None or self.state.stage.resolution == self.run.model.resolution
        if self._yardstick is not None and grown:
            result, best = self._yardstick.measure(self._average_model())
            if self.reporter:
                self.reporter.measured(result, best=best)

    def _average_model(self) -> Model:
        """The EMA generator with BatchNorm statistics of its own, and what is known of it.

        Raises:
            FloatingPointError: a loss or weight is not finite: nothing may be saved of it.
        """
        if self._average is None or self._averaged_at != self.state.images_seen:
            self._require_finite_losses()
            self._require_finite_weights()
            card = Card(data=self.dataset.name, images_seen=self.state.images_seen)
            average, config = growing.model_at(self.state.average, self.run.model, self.state.stage)
            generator = calibrated(average, self.run.seed, config.labels)
            discriminator = growing.so_far(self.state.discriminator.state_dict(), self.state.stage)
            self._average = Model(generator, config, card, self.folder.path.name, discriminator)
            self._averaged_at = self.state.images_seen
        return self._average

    def _require_finite_losses(self) -> None:
        self._require_finite([name for name, value in self.state.log_sums.items() if not value.isfinite()])

    def _require_finite_weights(self) -> None:
        for player, network in self.state.networks.items():
            finite = torch.stack([parameter.isfinite().all() for parameter in network.parameters()]).all()
            self._require_finite([] if finite else [f"a weight of {player}"])

    def _require_finite(self, bad: list[str]) -> None:
        if bad:
            good = checkpoints(self.folder.checkpoints)
            how = (
                "the last checkpoint is good: go on from it with --resume --force and"
                if good
                else "start with"
            )
            raise FloatingPointError(
                f"{', '.join(bad)} is not finite after {self.state.images_seen:,} images; {how} a lower "
                f"--set optimizer.lr (now {self.run.optimizer.lr:g})"
            )
