"""Films that are asked for and fetched later: one at a time, in a folder that ends with the server.

job = films.add(served, asked, seeds)      waiting -> working -> done | failed
films.named(job.id)                        its progress; kept for film_seconds after its end
films.delete(job.id)                       stops it, or frees its place
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from facegan.animation import Motion, deal, film_scale, frames_per_key, write_walks
from facegan.config import UsageError
from facegan.serve.batching import Closed, QueueFull
from facegan.serve.bodies import Animated, State
from facegan.serve.served import Served
from facegan.serve.settings import Settings
from facegan.video import check_film

RETRY_SECONDS = 10


class UnknownJob(UsageError):
    """A job that never was, or is no more."""


class _Stopped(Exception):
    """The film is not wanted any more."""


@dataclass(eq=False)
class Job:
    """One film, on its way or done."""

    id: str
    frames: int
    path: Path
    state: State = "waiting"
    made: int = 0
    error: str = ""
    ended: float | None = None  # by the monotonic clock
    unwanted: bool = False


class Films:
    """The films of a server: so many at most, waiting, being made and kept together."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._closing = False
        # on Windows a film that is being sent cannot be deleted
        self._folder = tempfile.TemporaryDirectory(prefix="facegan-films-", ignore_cleanup_errors=True)
        self._thread = ThreadPoolExecutor(1, "films")

    def add(self, served: Served, asked: Animated, seeds: Sequence[int]) -> Job:
        """A new job, after all that can be checked was.

        Raises:
            UsageError: a film that cannot be made, or beyond a limit.
            QueueFull: there are too many.
            Closed: the server is stopping.
        """
        motion = self._motion(served, asked, seeds)
        job_id = secrets.token_urlsafe(16)  # whoever knows it may fetch and delete the film
        path = Path(self._folder.name) / f"{job_id}.{asked.format}"
        job = Job(job_id, motion.frames(len(seeds)), path)
        with self._lock:
            self._forget_old()
            if self._closing:
                raise Closed("the server is stopping")
            if len(self._jobs) >= self.settings.max_films:
                raise QueueFull(RETRY_SECONDS)
            self._jobs[job_id] = job
            self._thread.submit(self._make, job, served, asked, seeds, motion)
        return job

    def named(self, job_id: str) -> Job:
        """The job of that id.

        Raises:
            UnknownJob: there is none, or it is too old.
        """
        with self._lock:
            self._forget_old()
            if job_id not in self._jobs:
                raise UnknownJob(f"job {job_id[:40]!r}: unknown, deleted, or done for too long")
            return self._jobs[job_id]

    def delete(self, job_id: str) -> None:
        """Stops a job, and deletes what it made.

        Raises:
            UnknownJob: there is none.
        """
        job = self.named(job_id)
        with self._lock:
            self._forget(job)

    def states(self) -> dict[str, float]:
        """How many films there are, by state."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return {state: float(states.count(state)) for state in get_args(State)}

    def close(self) -> None:
        """Stops all: a film that nobody can fetch any more is of no use."""
        with self._lock:
            self._closing = True
            for job in list(self._jobs.values()):
                self._forget(job)
        self._thread.shutdown(cancel_futures=True)
        self._folder.cleanup()

    # ---- inside

    def _motion(self, served: Served, asked: Animated, seeds: Sequence[int]) -> Motion:
        deal(seeds, 1)
        served.check(noise=asked.noise, label=asked.label)
        check_film(Path(f"film.{asked.format}"), asked.fps)
        motion = Motion(
            frames_per_key(asked.seconds_per_key, asked.fps), asked.path, asked.easing, asked.loop
        )
        if (frames := motion.frames(len(seeds))) > self.settings.max_frames:
            raise UsageError(
                f"a film of {frames:,} frames: at most {self.settings.max_frames:,}; try fewer seconds or fps"
            )
        _, height, width = served.sampler.generator.image_shape
        side = film_scale(asked.scale, height, width) * max(height, width)
        if side > self.settings.max_size:
            raise UsageError(f"a film of {side} pixels a side: at most {self.settings.max_size}")
        return motion

    def _make(self, job: Job, served: Served, asked: Animated, seeds: Sequence[int], motion: Motion) -> None:
        def wrote() -> None:
            job.made += 1
            if job.unwanted:
                raise _Stopped

        if job.unwanted:
            return
        job.state = "working"
        end: State = "failed"
        try:
            write_walks(
                job.path,
                served.sampler,
                seeds,
                motion,
                fps=asked.fps,
                scale=asked.scale,
                psi=asked.psi,
                noise=asked.noise,
                label=asked.label,
                wrote=wrote,
            )
            end = "done"
        except _Stopped:
            return
        except UsageError as error:
            job.error = str(error)
        except Exception as error:  # the thread goes on with the next film
            job.error = f"failed while working ({type(error).__name__})"
        with self._lock:
            job.state, job.ended = end, self._clock()
            if job.unwanted:  # deleted in the meantime
                self._forget(job)

    def _forget_old(self) -> None:
        oldest = self._clock() - self.settings.film_seconds
        for job in [job for job in self._jobs.values() if job.ended is not None and job.ended <= oldest]:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        job.unwanted = True
        self._jobs.pop(job.id, None)
        with suppress(OSError):  # then it goes with the folder
            job.path.unlink()
