"""All that the routes work with: models, queues, films, counts, and how long they wait for pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request

from facegan.config import UsageError
from facegan.cores import usable_cores
from facegan.images import Pixels
from facegan.serve.answers import sides
from facegan.serve.batching import Item
from facegan.serve.bodies import Seeds
from facegan.serve.counters import Counter, Gauge, Histogram, Metric
from facegan.serve.films import Films
from facegan.serve.keys import Keys, read_keys
from facegan.serve.served import Served, Table, load_models
from facegan.serve.settings import Settings
from facegan.synthesis import parse_seeds

T = TypeVar("T")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


class TooSlow(Exception):
    """An answer took longer than a request may."""


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class Counts:
    """What /metrics shows."""

    requests: Counter
    seconds: Histogram
    batches: Histogram
    synthesis: Histogram
    pictures: Counter
    more: Sequence[Metric]

    def all(self) -> list[Metric]:
        """All of them, in the order of the page."""
        return [self.requests, self.seconds, self.batches, self.synthesis, self.pictures, *self.more]


class Service:
    """A server's models and all around them; `close` ends its threads.

    Raises:
        UsageError: a model, a keys file or a device that is not what it should be.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.draining = settings, False
        self.keys: Keys | None = read_keys(Path(settings.api_keys)) if settings.api_keys else None
        self.counts = self._new_counts()
        self.table: Table = load_models(settings, self._made)
        self.films = Films(settings)
        self.pool = ThreadPoolExecutor(max(2, usable_cores()), "encoding")

    def _new_counts(self) -> Counts:
        queue = Gauge(
            "facegan_queue_pictures", "Pictures that wait to be made.", "model",
            lambda: {name: float(each.batcher.waiting) for name, each in self.table.models.items()},
        )  # fmt: skip
        films = Gauge("facegan_films", "Films, by what they are at.", "state", lambda: self.films.states())
        return Counts(
            Counter("facegan_requests_total", "Requests answered.", ("route", "method", "status")),
            Histogram("facegan_request_seconds", "From a request to its answer.", ("route",), _SECONDS),
            Histogram("facegan_batch_pictures", "Pictures made at once.", ("model",), _PICTURES),
            Histogram("facegan_batch_seconds", "How long a batch took.", ("model",), _SECONDS),
            Counter("facegan_pictures_total", "Pictures made.", ("model",)),
            (queue, films),
        )

    def _made(self, name: str, pictures: int, seconds: float) -> None:
        self.counts.batches.observe(pictures, name)
        self.counts.synthesis.observe(seconds, name)
        self.counts.pictures.add(name, by=pictures)

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return not self.draining and all(each.batcher.working for each in self.table.models.values())

    def close(self) -> None:
        """Ends films, makes what waits, ends the threads."""
        self.draining = True
        self.films.close()
        self.table.close()
        self.pool.shutdown()

    # ---- limits

    def seeds(self, given: Seeds, most: int | None = None) -> list[int]:
        """The seeds of a list or a text, at most so many, else those of one request.

        Raises:
            UsageError: not of this form, none, or too many.
        """
        most = self.settings.max_pictures if most is None else most
        found: list[int] = []
        for part in given.split(",") if isinstance(given, str) else [given]:
            more = parse_seeds(part) if isinstance(part, str) else part
            if len(found) + len(more) > most:
                raise UsageError(f"{len(found) + len(more):,} seeds: at most {most:,} in one request")
            found += more
        if not found:
            raise UsageError("no seeds: a list, or text such as 0-15")
        return found

    def require_size(self, served: Served, count: int, size: int | None) -> None:
        """Checks how large the pictures of a request become.

        Raises:
            UsageError: more pictures, larger ones, or more pixels in all than allowed.
        """
        limits = self.settings
        if count > limits.max_pictures:
            raise UsageError(f"{count:,} pictures: at most {limits.max_pictures:,} in one request")
        if size is not None and size > limits.max_size:
            raise UsageError(f"size {size}: at most {limits.max_size} pixels")
        _, *picture = served.sampler.generator.image_shape
        height, width = sides((picture[0], picture[1]), size)
        self.require_pixels(count * height * width)

    def require_pixels(self, pixels: int) -> None:
        """Checks how many pixels a request's pictures have in all.

        Raises:
            UsageError: too many.
        """
        if pixels > self.settings.max_pixels:
            raise UsageError(f"{pixels:,} pixels in all: at most {self.settings.max_pixels:,} in one request")

    # ---- waiting

    async def pictures(self, served: Served, items: Sequence[Item]) -> list[Pixels]:
        """The pictures of the items; an abandoned wait takes them out of the queue."""
        return await asyncio.wrap_future(served.batcher.submit(items))

    async def attended(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns, while the client waits and the time lasts; else it is cancelled.

        Raises:
            TooSlow: it took longer than request_seconds.
            ClientGone: the client has left.
        """
        task, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
        try:
            await asyncio.wait(
                {task, gone}, timeout=self.settings.request_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if gone.done():
                raise ClientGone
            raise TooSlow(f"not ready within {self.settings.request_seconds:g} s; ask for less at once")
        finally:
            gone.cancel()
            task.cancel()


async def _gone(request: Request) -> None:
    """Ends when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
