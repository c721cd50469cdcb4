"""One stretch of a run, from start or resume to stop: steps, and what is written along the way."""

from __future__ import annotations

import time
from collections.abc import Callable

from facegan.data import Dataset
from facegan.images import grid
from facegan.models import save as save_model
from facegan.run import Run
from facegan.training.average import SAMPLE_SEEDS, AverageModel
from facegan.training.distributed import World, fingerprint
from facegan.training.labels import data_identity
from facegan.training.moment import NOTHING, Moment, moment
from facegan.training.plot import plot_losses
from facegan.training.reporter import Reporter, Tick
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState
from facegan.training.step import add, train_step
from facegan.training.watch import Trouble, go_back, said_at_tick, said_of_diversity, trouble
from facegan.training.yardstick import Yardstick


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
        self._average = AverageModel(run, state, dataset, folder.path.name)
        log = folder.read_log()
        self._seconds_before = float(log[-1]["seconds"]) if log else 0.0
        self._began = time.monotonic()
        self._ticked = state.images_seen, self._began  # where the speed is measured from

    def train(self, stop_after_seconds: float, stop_requested: Callable[[], bool]) -> None:
        """Steps until the run's total, the time limit, or a request to stop; in the end all is saved."""
        run, state, world = self.run, self.state, self._world
        phases = run.loss.phases()
        last = state.images_seen >= run.total_images
        if last and world.rank == 0 and not self.folder.model_path.exists():
            self._sample()  # a resume has no step to take, and the model is gone
            self._checkpoint()
        while not last:
            before = state.images_seen
            add(state.log_sums, train_step(state, run, self.dataset, phases, world))
            state.log_steps += 1
            self._average.invalidate()
            self.reporter.step(state.images_seen)
            stops = state.images_seen >= run.total_images or world.agreed(
                stop_requested() or time.monotonic() - self._began >= stop_after_seconds
            )
            due = moment(run, before, state.images_seen, stops=stops)
            if due == NOTHING:
                continue
            self._require_in_step()
            if found := trouble(state):
                self._go_back(found)
            else:
                last = self._attend(due)
        world.wait()

    def _attend(self, due: Moment) -> bool:
        """Does what is due; whether the stretch ends here.

        The checkpoint comes after all else of its moment: what it leaves behind is not made again on resume.
        """
        state, world = self.state, self._world
        if due.ticks:
            self._tick()
        last = (due.measures and world.first(self._measure)) or due.last
        if (due.samples or last) and world.rank == 0:
            self._sample()
        if due.samples:
            self._say(said_of_diversity(state, world.first(self._average.diversity)))
        if (due.saves or last) and world.rank == 0:
            self._checkpoint()
        world.wait()
        return last

    def _require_in_step(self) -> None:
        """Raises ProcessError where the processes' networks or moments are not the same bits."""
        if self._world.size > 1:
            when = f"after {self.state.images_seen:,} images"
            self._world.require_equal(fingerprint(self.state.parts()), when)

    def _go_back(self, found: Trouble) -> None:
        """Back to the last good checkpoint, or raises FloatingPointError."""
        said = go_back(found, self.state, self.run, self.folder, self._world, self.reporter.warn)
        self._average.invalidate()
        if self._world.rank == 0:
            self._checkpoint()  # with its retry: a resume goes on like this
        self._say({"went back": said})
        self._world.wait()
        self._ticked = self.state.images_seen, time.monotonic()

    def _say(self, events: dict[str, str]) -> None:
        """Tells the reporter, and whoever reads events.jsonl."""
        if self._world.rank == 0:
            for event, text in events.items():
                self.folder.append_event(self.state.images_seen, event, text)
                self.reporter.warn(text)

    def _tick(self) -> None:
        state, now = self.state, time.monotonic()
        (images_before, before), self._ticked = self._ticked, (state.images_seen, now)
        images_per_second = (state.images_seen - images_before) / (now - before)
        terms = {name: float(total) / state.log_steps for name, total in state.log_sums.items()}
        state.log_sums, state.log_steps = {}, 0
        self._say(said_at_tick(state, self.run, terms))
        if self._world.rank:
            return
        seconds = round(self._seconds_before + now - self._began, 3)
        line = {"images_seen": state.images_seen, "seconds": seconds}
        if state.stage is not None:
            line |= {"resolution": state.stage.resolution, "alpha": state.stage.alpha}
        self.folder.append_log(line | {"images_per_second": round(images_per_second, 2)} | terms)
        self.reporter.tick(Tick(state.images_seen, terms, images_per_second))

    def _checkpoint(self) -> None:
        save_model(self.folder.model_path, self._average.model())
        parts = self.state.parts() | {"data": self._identity}
        self.reporter.wrote(self.folder.save_checkpoint(parts, self.run.intervals.keep_checkpoint_images))

    def _sample(self) -> None:
        seeds = f"{SAMPLE_SEEDS[0]}-{SAMPLE_SEEDS[-1]}"
        path = self.folder.save_samples(grid(self._average.faces()), self.state.images_seen, seeds)
        plot_losses(self.folder.read_log(), self.folder.losses_path)
        self.reporter.wrote(path)

    def _measure(self) -> bool:
        """Measures the EMA samples' distance to the training pictures; whether the best one is too old."""
        grown = self.state.stage is None or self.state.stage.resolution == self.run.model.resolution
        if self._yardstick is None or not grown:
            return False
        result, best = self._yardstick.measure(self._average.model())
        self.reporter.measured(result, best=best)
        limit = self.run.measure.stop_after_plateau_images
        age = 0 if best else self._yardstick.best_age(self.state.images_seen)
        if not limit or age < limit:
            return False
        self._say({"plateau": f"the best distance is {age:,} images old: the run ends here"})
        return True
