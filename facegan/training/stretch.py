"""One stretch of a run, from start or resume to stop: steps, and what is written along the way."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from facegan.card import Card
from facegan.checkpoint import Parts, checkpoints
from facegan.config import to_json
from facegan.data import Dataset
from facegan.images import Pixels, grid
from facegan.models import Model
from facegan.models import save as save_model
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training import growing
from facegan.training.distributed import World, fingerprint
from facegan.training.ema import calibrated
from facegan.training.labels import data_identity
from facegan.training.plot import plot_losses
from facegan.training.reporter import Reporter, Tick
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState
from facegan.training.step import add, train_step
from facegan.training.watch import Trouble, diversity, said_at_tick, said_of_diversity, trouble
from facegan.training.yardstick import Yardstick

SAMPLE_SEEDS = range(64)


class Stretch:
    """The steps of all processes; the first one writes, and the others wait for it."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        dataset: Dataset,
        state: TrainState,
        reporter: Reporter,
        yardstick: Yardstick | None,
        world: World,
    ) -> None:
        self.run, self.folder, self.dataset, self.state, self.reporter = run, folder, dataset, state, reporter
        self._yardstick, self._identity, self._world = yardstick, data_identity(dataset, run), world
        self._averaged_at, self._batch = -1, run.batch
        # what a checkpoint was written of has all else: a resume that takes no step writes nothing
        self._checkpointed_at = self._sampled_at = state.images_seen if folder.model_path.exists() else -1
        self._average: Model | None = None
        self._sampled: tuple[Model, Pixels] | None = None
        self._reals: Tensor | None = None  # pictures that the samples are compared with
        log = folder.read_log()
        self._seconds_before = float(log[-1]["seconds"]) if log else 0.0

    def train(self, stop_after_seconds: float, stop_requested: Callable[[], bool]) -> None:
        """Steps until the run's total, the time limit, or a request to stop; in the end all is saved."""
        run, state, world = self.run, self.state, self._world
        intervals, phases = run.intervals, run.loss.phases()
        began = tick_began = time.monotonic()
        images = 0  # since the last tick, in this stretch
        last = state.images_seen >= run.total_images
        while not last:
            before = state.images_seen
            add(state.log_sums, train_step(state, run, self.dataset, phases, world))
            self._batch = state.images_seen - before
            state.log_steps += 1
            images += self._batch
            self.reporter.step(state.images_seen)
            finished = state.images_seen >= run.total_images
            last = finished or world.agreed(
                stop_requested() or time.monotonic() - began >= stop_after_seconds
            )
            ticks = self._passed(intervals.log_images) or finished
            samples = self._passed(intervals.sample_images) or last
            measures = run.measure.every_images > 0 and self._passed(run.measure.every_images)
            saves = self._passed(intervals.checkpoint_images) or last
            if not (ticks or samples or measures or saves):
                continue
            self._require_in_step()
            found = trouble(state)
            if found:
                self._go_back(found)
                tick_began, images, last = time.monotonic(), 0, False
                continue
            if ticks:
                now = time.monotonic()
                self._tick(images_per_second=images / (now - tick_began), seconds=now - began)
                tick_began, images = now, 0
            if samples and world.rank == 0:
                self._sample()
            if self._passed(intervals.sample_images):
                self._say(said_of_diversity(state, world.first(self._diversity)))
            if measures:
                last |= world.first(self._measure)
            if saves and world.rank == 0:
                self._checkpoint()
            world.wait()
        if world.rank == 0:
            self._sample()  # where a resume had no step to take, and its model was gone
            self._checkpoint()
        world.wait()

    def _passed(self, interval: int) -> bool:
        """Whether the last batch reached or crossed a multiple of the interval."""
        images_seen = self.state.images_seen
        return images_seen // interval > (images_seen - self._batch) // interval

    def _require_in_step(self) -> None:
        """Raises ProcessError where the processes' networks or moments are not the same bits."""
        if self._world.size > 1:
            when = f"after {self.state.images_seen:,} images"
            self._world.require_equal(fingerprint(self.state.parts()), when)

    def _go_back(self, found: Trouble) -> None:
        """Back to the last good checkpoint, with other random numbers and a lower learning rate.

        Raises:
            FloatingPointError: there is none, or it is the second time.
        """
        state, run = self.state, self.run
        lr = run.optimizer.lr * 0.5**state.retry
        if self._world.rank == 0:
            terms = {name: repr(float(total)) for name, total in state.log_sums.items()}
            batch = {
                "images_seen": found.images_seen,
                "retry": state.retry,
                "lr": lr,
                "not_finite": found.what,
            }
            self.folder.write_bad_batch(batch | {"sums_since_tick": terms, "run": to_json(run)})
        good = self._world.first(lambda: bool(checkpoints(self.folder.checkpoints)))
        if state.retry or not good:
            how = (
                "the last checkpoint is good: go on from it with --resume --force and"
                if good
                else "start with"
            )
            raise FloatingPointError(
                f"{found.what} is not finite after {state.images_seen:,} images"
                f"{', for the second time' if state.retry else ''}; {how} a lower --set optimizer.lr (now "
                f"{run.optimizer.lr:g}{', of which half was taken' if state.retry else ''})"
            )
        seen_before = state.images_seen
        state.memory.clear()
        state.load_parts(self._world.first(self._newest))
        state.retry, state.bad_at = 1, torch.full_like(state.bad_at, torch.inf)
        state.stage = growing.stage_remembered(state.memory)
        self._averaged_at = self._sampled_at = self._checkpointed_at = -1
        if self._world.rank == 0:
            self.folder.abandon_after(state.images_seen)
            self._checkpoint()  # with its retry: a resume goes on like this
        self._say(
            {
                "went back": f"not finite after {seen_before:,} images: {found.what}; back to "
                f"{state.images_seen:,} images, with other random numbers and a learning rate of {lr / 2:g}"
            }
        )
        self._world.wait()

    def _newest(self) -> Parts:
        parts = self.folder.newest_checkpoint(warn=self.reporter.warn)
        assert parts is not None
        return parts

    def _say(self, events: dict[str, str]) -> None:
        """Tells the reporter, and whoever reads events.jsonl."""
        if self._world.rank == 0:
            for event, text in events.items():
                self.folder.append_event(self.state.images_seen, event, text)
                self.reporter.warn(text)

    def _tick(self, *, images_per_second: float, seconds: float) -> None:
        state = self.state
        terms = {name: float(total) / state.log_steps for name, total in state.log_sums.items()}
        state.log_sums, state.log_steps = {}, 0
        self._say(said_at_tick(state, self.run, terms))
        if self._world.rank:
            return
        line = {"images_seen": state.images_seen, "seconds": round(self._seconds_before + seconds, 3)}
        if state.stage is not None:
            line |= {"resolution": state.stage.resolution, "alpha": state.stage.alpha}
        self.folder.append_log(line | {"images_per_second": round(images_per_second, 2)} | terms)
        self.reporter.tick(Tick(state.images_seen, terms, images_per_second))

    def _checkpoint(self) -> None:
        """Comes after all else of its moment: what it leaves behind is not made again on resume."""
        if self._checkpointed_at == self.state.images_seen:
            return
        save_model(self.folder.model_path, self._average_model())
        parts = self.state.parts() | {"data": self._identity}
        path = self.folder.save_checkpoint(parts, self.run.intervals.keep_checkpoint_images)
        self._checkpointed_at = self.state.images_seen
        self.reporter.wrote(path)

    def _sample(self) -> None:
        if self._sampled_at == self.state.images_seen:
            return
        path = self.folder.save_samples(
            grid(self._faces()), self.state.images_seen, f"{SAMPLE_SEEDS[0]}-{SAMPLE_SEEDS[-1]}"
        )
        plot_losses(self.folder.read_log(), self.folder.losses_path)
        self._sampled_at = self.state.images_seen
        self.reporter.wrote(path)

    def _diversity(self) -> float:
        """How different the sample's faces are, in what as many training pictures are."""
        if self._reals is None:
            self._reals = self.dataset.batch(0, len(SAMPLE_SEEDS), self.run.seed)
        return diversity(torch.from_numpy(self._faces()).permute(0, 3, 1, 2), self._reals)

    def _faces(self) -> Pixels:
        """The EMA generator's faces of SAMPLE_SEEDS [N, H, W, C]."""
        model = self._average_model()
        if self._sampled is None or self._sampled[0] is not model:
            self._sampled = model, Sampler(model, device=self.state.device.type).sample(SAMPLE_SEEDS)
        return self._sampled[1]

    def _measure(self) -> bool:
        """Measures the EMA samples' distance to the training pictures; whether the best one is too old."""
        grown = self.state.stage is None or self.state.stage.resolution == self.run.model.resolution
        if self._yardstick is None or not grown:
            return False
        result, best = self._yardstick.measure(self._average_model())
        self.reporter.measured(result, best=best)
        limit = self.run.measure.stop_after_plateau_images
        age = 0 if best else self._yardstick.best_age(self.state.images_seen)
        if not limit or age < limit:
            return False
        self._say({"plateau": f"the best distance is {age:,} images old: the run ends here"})
        return True

    def _average_model(self) -> Model:
        """The EMA generator with BatchNorm statistics of its own, and what is known of it."""
        if self._average is None or self._averaged_at != self.state.images_seen:
            card = Card(data=self.dataset.name, images_seen=self.state.images_seen)
            average, config = growing.model_at(self.state.average, self.run.model, self.state.stage)
            generator = calibrated(average, self.run.seed, config.labels)
            discriminator = growing.so_far(self.state.discriminator.state_dict(), self.state.stage)
            self._average = Model(generator, config, card, self.folder.path.name, discriminator)
            self._averaged_at = self.state.images_seen
        return self._average
