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
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from facegan.data import Dataset, open_dataset
from facegan.images import grid, to_float
from facegan.losses import Phase
from facegan.models import Card, Model
from facegan.models import save as save_model
from facegan.presets import Run
from facegan.randomness import Purpose, torch_generator
from facegan.synthesis import Sampler
from facegan.training.ema import calibrated, ema_beta, update_ema
from facegan.training.plot import plot_losses
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state

SAMPLE_SEEDS = range(64)


class _MicroBatch:
    """losses.MicroBatch over the state; latents are a function of (seed, first image)."""

    def __init__(self, state: TrainState, run: Run, dataset: Dataset, first: int) -> None:
        pixels = dataset.batch(first, run.micro_batch, run.seed)
        self.real = to_float(pixels.to(state.device)).contiguous(memory_format=torch.channels_last)
        self._state, self._seed, self._first = state, run.seed, first
        self._keep_fake = run.micro_batch == run.batch
        self._fake: Tensor | None = None

    def fake(self) -> Tensor:
        """G's images; the graph is kept for the next phase, unless those of several batches would pile up."""
        if self._fake is not None:
            return self._fake
        generator, device = self._state.generator, self._state.device
        random = torch_generator(self._seed, self._first, Purpose.LATENT, device)
        z = torch.randn(len(self.real), generator.z_dim, generator=random, device=device)
        fake: Tensor = generator(z)
        if self._keep_fake:
            self._fake = fake
        return fake

    def logits(self, image: Tensor) -> Tensor:
        """D's logits [N]."""
        logits: Tensor = self._state.discriminator(image)
        return logits


def train_step(state: TrainState, run: Run, dataset: Dataset, phases: list[Phase]) -> dict[str, Tensor]:
    """One batch: every phase's update, then EMA and clock. Returns the mean of each term, on the device."""
    step = state.images_seen // run.batch
    firsts = range(state.images_seen, state.images_seen + run.batch, run.micro_batch)
    batches = [_MicroBatch(state, run, dataset, first) for first in firsts]
    means: dict[str, Tensor] = {}
    for phase in phases:
        if step % phase.every:
            continue
        parameters = list(state.networks[phase.player].parameters())
        optimizer = state.optimizers[phase.player]
        optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            terms = {name: term.mean() / len(batches) for name, term in phase.terms(batch).items()}
            torch.autograd.backward(torch.stack(list(terms.values())).sum(), inputs=parameters)
            for name, term in terms.items():
                means[name] = means.get(name, torch.zeros_like(term)) + term.detach()
        optimizer.step()
    state.images_seen += run.batch
    update_ema(state.average, state.generator, ema_beta(run.ema, run.batch, state.images_seen))
    return means


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

    def wrote(self, path: Path) -> None:
        """A sample grid or checkpoint was written."""


@dataclass(frozen=True)
class Result:
    """How a call of `train` ended."""

    images_seen: int
    finished: bool  # the run's total is reached


def train(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    stop_after_seconds: float = math.inf,
    stop_requested: Callable[[], bool] = lambda: False,
    reporter: Reporter | None = None,
) -> Result:
    """Trains in the folder `out` until the run's total, a time limit, or a request to stop.

    Whatever ends it but a crash, the last act is a checkpoint, a model file and a sample grid, from which
    `resume` goes on exactly.

    Raises:
        UsageError: `out` holds a run already (without resume) or none (with it), or another config than
            the stored one (without force); no usable data.
        FloatingPointError: a loss is not finite any more.
    """
    folder = RunFolder(out)
    if resume:
        folder.accept(run, force=force)
    shape = (run.model.resolution, run.model.channels)
    progress = reporter.data if reporter else None
    dataset = open_dataset(run.data, resolution=shape[0], channels=shape[1], progress=progress)
    state = new_state(run)
    if resume:
        parts = folder.newest_checkpoint()
        if parts:
            state.load_parts(parts)
        folder.cut_log(state.images_seen)
    else:
        folder.start(run)
    if reporter:
        reporter.start(run, dataset, state.images_seen, stop_after_seconds)
    _Session(run, folder, dataset, state, reporter).train(stop_after_seconds, stop_requested)
    return Result(state.images_seen, state.images_seen >= run.total_images)


class _Session:
    """One stretch of a run: steps, and what is written along the way."""

    def __init__(
        self, run: Run, folder: RunFolder, dataset: Dataset, state: TrainState, reporter: Reporter | None
    ) -> None:
        self.run, self.folder, self.dataset, self.state, self.reporter = run, folder, dataset, state, reporter
        self.checkpointed_at = -1
        log = folder.read_log()
        self.seconds_before = float(log[-1]["seconds"]) if log else 0.0

    def train(self, stop_after_seconds: float, stop_requested: Callable[[], bool]) -> None:
        run, state, intervals = self.run, self.state, self.run.intervals
        phases = run.loss.phases()
        sums: dict[str, Tensor] = {}
        steps, began = 0, time.monotonic()
        since = began
        while state.images_seen < run.total_images:
            for name, mean in train_step(state, run, self.dataset, phases).items():
                sums[name] = sums.get(name, torch.zeros_like(mean)) + mean
            steps += 1
            if self.reporter:
                self.reporter.step(state.images_seen)
            if self._passed(intervals.log_images):
                terms = {name: float(total) / steps for name, total in sums.items()}
                now = time.monotonic()
                self._tick(Tick(state.images_seen, terms, steps * run.batch / (now - since)), now - began)
                sums, steps, since = {}, 0, now
            if self._passed(intervals.checkpoint_images):
                self._checkpoint()
            if self._passed(intervals.sample_images):
                self._sample(self._average_model())
            if stop_requested() or time.monotonic() - began >= stop_after_seconds:
                break
        if self.checkpointed_at != state.images_seen:
            self._checkpoint()
        self._sample(self._average_model())

    def _passed(self, interval: int) -> bool:
        """Whether the last batch reached or crossed a multiple of the interval."""
        images_seen, batch = self.state.images_seen, self.run.batch
        return images_seen // interval > (images_seen - batch) // interval

    def _tick(self, tick: Tick, seconds: float) -> None:
        bad = [name for name, value in tick.terms.items() if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(f"{', '.join(bad)} is not finite after {tick.images_seen:,} images")
        line = {"images_seen": tick.images_seen, "seconds": round(self.seconds_before + seconds, 3)}
        self.folder.append_log(line | {"images_per_second": round(tick.images_per_second, 2)} | tick.terms)
        if self.reporter:
            self.reporter.tick(tick)

    def _checkpoint(self) -> None:
        path = self.folder.save_checkpoint(self.state.parts(), self.run.intervals.keep_checkpoint_images)
        save_model(self.folder.model_path, self._average_model())
        self.checkpointed_at = self.state.images_seen
        if self.reporter:
            self.reporter.wrote(path)

    def _average_model(self) -> Model:
        """The EMA generator with BatchNorm statistics of its own, and what is known of it."""
        generator = calibrated(self.state.average, self.run.seed)
        generator.compute_dtype = torch.float32
        card = Card(data=self.dataset.name, images_seen=self.state.images_seen)
        return Model(generator, self.run.model, card, self.folder.path.name)

    def _sample(self, model: Model) -> None:
        sampler = Sampler(model, device=self.state.device.type)
        pixels = grid(sampler.sample(SAMPLE_SEEDS))
        path = self.folder.save_samples(
            pixels, self.state.images_seen, f"{SAMPLE_SEEDS[0]}-{SAMPLE_SEEDS[-1]}"
        )
        plot_losses(self.folder.read_log(), self.folder.losses_path)
        if self.reporter:
            self.reporter.wrote(path)
