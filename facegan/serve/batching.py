"""Pictures of many requests made together: one queue and one thread a model.

    request -> Order(items) -\\                                  /-> pictures of that order
    request -> Order(items) ---> queue -> batch -> w -> synthesis --> pictures of that one
    request -> Order(items) -/   (bounded)                       \\-> ...

A batch is what waits, up to max_batch, once max_wait_ms have passed since its first order came; a busy thread
finds the next batch waiting. Within it, w is made for each kind of look (psi, cutoff, label) and the pictures
for each kind of noise, which is all that has to be the same.

An order that is cancelled leaves the queue; one that cannot be made fails alone.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor

from facegan.images import Pixels
from facegan.latents.directions import Direction, moved
from facegan.mixing import mixed
from facegan.serve.settings import Settings
from facegan.synthesis import SEEDS, Sampler, Start

MAX_RETRY_SECONDS = 60
_FIRST_RATE = 50.0  # pictures a second, before any was measured


class QueueFull(Exception):
    """No room for an order; there may be some after `retry_seconds`."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_seconds} s")
        self.retry_seconds = retry_seconds


class Closed(Exception):
    """The server is stopping and takes no new orders."""


@dataclass(frozen=True, eq=False)
class Look:
    """What the faces of an order have in common: what their numbers stand for, psi, cutoff, label."""

    start: Start = SEEDS
    psi: float = 1.0
    cutoff: int | None = None
    label: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for looks whose w can be made at once."""
        return ("seeds" if self.start is SEEDS else id(self.start), self.psi, self.cutoff, self.label)


@dataclass(frozen=True, eq=False)
class Item:
    """One picture: the w of a number, some layers of another's, moved along directions."""

    look: Look
    number: int
    noise: str = "const"
    styles: tuple[int, tuple[int, ...]] | None = None  # the number that these layers come from
    moves: Sequence[tuple[Direction, float]] = ()

    @property
    def numbers(self) -> list[int]:
        """Those whose w it needs."""
        return [self.number] if self.styles is None else [self.number, self.styles[0]]


@dataclass(eq=False)
class Order:
    """The pictures of one request, in its order."""

    items: Sequence[Item]
    arrived: float
    future: Future[list[Pixels]] = field(default_factory=Future)
    begun: int = 0  # items that were taken from the queue
    pictures: dict[int, Pixels] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many of its items are still in the queue."""
        return len(self.items) - self.begun

    def put(self, index: int, picture: Pixels) -> None:
        """Takes a picture in; with the last one the order is done."""
        self.pictures[index] = picture
        if len(self.pictures) == len(self.items) and not self.future.cancelled():
            self._end(lambda: self.future.set_result([self.pictures[i] for i in range(len(self.items))]))

    def fail(self, error: Exception) -> None:
        """Ends the order with an error."""
        self._end(lambda: self.future.set_exception(error))

    def _end(self, how: Callable[[], None]) -> None:
        with suppress(InvalidStateError):  # cancelled just now, or failed in an earlier batch
            how()


Places = list[tuple[Order, int]]  # an item is its order and its place there


class Batcher:
    """The queue and the thread of one model.

    made(pictures, seconds): called after each batch.
    """

    def __init__(self, sampler: Sampler, settings: Settings, made: Callable[[int, float], None]) -> None:
        self.sampler, self.settings, self._made = sampler, settings, made
        self._orders: deque[Order] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._waiting = 0
        self._rate = _FIRST_RATE
        self._thread = threading.Thread(
            target=self._work, name=f"batches of {sampler.model.name}", daemon=True
        )
        self._thread.start()

    # ---- from other threads

    def submit(self, items: Sequence[Item]) -> Future[list[Pixels]]:
        """The pictures [H, W, C] of the items, once they are made; to be cancelled where nobody waits.

        Raises:
            QueueFull: there is no room for all of them.
            Closed: the server is stopping.
        """
        order = Order(items, time.monotonic())
        with self._changed:
            if self._closing:
                raise Closed("the server is stopping")
            if self._waiting + len(items) > self.settings.max_queue:
                seconds = math.ceil(self._waiting / max(self._rate, 0.1))
                raise QueueFull(min(max(seconds, 1), MAX_RETRY_SECONDS))
            self._orders.append(order)
            self._waiting += len(items)
            self._changed.notify_all()
        order.future.add_done_callback(lambda _: self._forget(order))
        return order.future

    def _forget(self, order: Order) -> None:
        """Takes what is left of an order that was cancelled or failed out of the queue."""
        with self._changed:
            self._waiting -= order.waiting
            order.begun = len(order.items)

    @property
    def waiting(self) -> int:
        """Pictures in the queue, without those that nobody wants any more."""
        return self._waiting

    @property
    def working(self) -> bool:
        """Whether orders are made."""
        return self._thread.is_alive() and not self._closing

    def close(self) -> None:
        """Takes no more orders, makes those that wait, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    # ---- the thread

    def _work(self) -> None:
        while places := self._collect():
            began = time.monotonic()
            by_noise: dict[str, Places] = {}
            for order, index in places:
                by_noise.setdefault(order.items[index].noise, []).append((order, index))
            for group in by_noise.values():
                self._make(group)
            seconds = time.monotonic() - began
            self._rate += 0.2 * (len(places) / max(seconds, 1e-6) - self._rate)
            self._made(len(places), seconds)

    def _collect(self) -> Places:
        """The next batch, once it is full or has waited long enough; none: the queue is closed and empty."""
        with self._changed:
            while True:
                while self._orders and not self._orders[0].waiting:
                    self._orders.popleft()
                if self._orders:
                    left = self._orders[0].arrived + self.settings.max_wait_ms / 1000 - time.monotonic()
                    if self._waiting >= self.settings.max_batch or left <= 0 or self._closing:
                        return self._take()
                    self._changed.wait(left)
                elif self._closing:
                    return []
                else:
                    self._changed.wait()

    def _take(self) -> Places:
        places: Places = []
        while self._orders and len(places) < self.settings.max_batch:
            order = self._orders[0]
            end = min(len(order.items), order.begun + self.settings.max_batch - len(places))
            taken = range(order.begun, end)
            places += [(order, index) for index in taken]
            order.begun = end
            self._waiting -= len(taken)
            if not order.waiting:
                self._orders.popleft()
        return places

    def _make(self, places: Places) -> None:
        """Makes pictures of one kind of noise; if that fails, each order's by themselves."""
        try:
            pictures = self._pictures([order.items[index] for order, index in places])
        except Exception as error:  # whatever it is, the thread goes on with the next orders
            orders = {id(order): order for order, _ in places}
            if len(orders) == 1:
                next(iter(orders.values())).fail(error)
                return
            for each in orders.values():
                self._make([(order, index) for order, index in places if order is each])
            return
        for (order, index), picture in zip(places, pictures, strict=True):
            order.put(index, picture)

    def _pictures(self, items: Sequence[Item]) -> Pixels:
        """The pictures uint8 [N, H, W, C] of items of one kind of noise."""
        w = self._w(items)
        noise = items[0].noise
        maps = self.sampler.noise_of([item.look.start.noise_seeds([item.number])[0] for item in items], noise)
        return self.sampler.images(w, maps)

    def _w(self, items: Sequence[Item]) -> Tensor:
        """w [N, num_ws, w_dim] of the items, each face's once."""
        looks: dict[tuple[object, ...], tuple[Look, dict[int, None]]] = {}
        for item in items:
            _, numbers = looks.setdefault(item.look.key, (item.look, {}))
            numbers |= dict.fromkeys(item.numbers)
        faces: dict[tuple[object, ...], Tensor] = {}
        for key, (look, numbers) in looks.items():
            rows = look.start.w(self.sampler, list(numbers), look.psi, look.cutoff, look.label)
            faces |= {(key, number): row[None] for number, row in zip(numbers, rows, strict=True)}
        made = []
        for item in items:
            w = faces[item.look.key, item.number]
            if item.styles is not None:
                source, layers = item.styles
                w = mixed(w, faces[item.look.key, source], layers)
            made.append(moved(w, item.moves))
        return torch.cat(made)
