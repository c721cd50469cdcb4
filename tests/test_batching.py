"""Pictures of many requests made together: what shares a batch, what a full queue and a lost client do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from asking import SECONDS, Held, until
from small_stylegan2 import small_sampler

from facegan.config import UsageError
from facegan.images import Pixels
from facegan.latents.directions import Direction, moved
from facegan.latents.near import Near
from facegan.mixing import mixtures
from facegan.serve import settings
from facegan.serve.batching import Batcher, Closed, Item, Look, QueueFull
from facegan.serve.settings import Settings
from facegan.synthesis import Sampler, Seeds, latent

Start = Callable[..., Batcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes batchers, and ends their threads."""
    made: list[Batcher] = []

    def new(made_of: Any = lambda n, s: None, **limits: Any) -> Batcher:
        made.append(Batcher(small_sampler(), Settings(max_pictures=1, **limits), made_of))
        return made[-1]

    yield new
    for batcher in made:
        batcher.close()


def seeds(*numbers: int, noise: str = "const", **look: Any) -> list[Item]:
    same = Look(**look)
    return [Item(same, number, noise) for number in numbers]


def assert_same_pictures(made: Sequence[Pixels], expected: Sequence[Pixels]) -> None:
    """To one grey level, which is what a batch may change."""
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_orders_that_wait_share_one_synthesis_and_get_their_own_pictures(start: Start) -> None:
    batcher = start(max_wait_ms=0)
    held = Held(batcher)
    first = batcher.submit(seeds(9))
    assert held.reached.wait(SECONDS)
    a = batcher.submit(seeds(1, 2, psi=0.5))
    b = batcher.submit(seeds(2, psi=-1.0, cutoff=3))
    c = batcher.submit(seeds(3, 1, start=Near(7, 0.2)))
    d = batcher.submit(seeds(3))
    held.released.set()
    alone = small_sampler()
    assert_same_pictures(first.result(SECONDS), alone.sample([9]))
    assert_same_pictures(a.result(SECONDS), alone.sample([1, 2], psi=0.5))
    assert_same_pictures(b.result(SECONDS), alone.sample([2], psi=-1.0, cutoff=3))
    assert_same_pictures(c.result(SECONDS), alone.sample([3, 1], start=Near(7, 0.2)))
    assert_same_pictures(d.result(SECONDS), alone.sample([3]))
    assert held.batches == [1, 6]


def test_each_kind_of_noise_is_a_synthesis_of_its_own(start: Start) -> None:
    batcher = start(max_wait_ms=0)
    held = Held(batcher)
    batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    orders = {noise: batcher.submit(seeds(4, 5, noise=noise)) for noise in ("const", "random", "none")}
    held.released.set()
    for noise, order in orders.items():
        assert_same_pictures(order.result(SECONDS), small_sampler().sample([4, 5], noise=noise))
    assert held.batches == [1, 2, 2, 2]


def test_a_batch_has_max_batch_pictures_and_a_long_order_goes_on_in_the_next(start: Start) -> None:
    batcher = start(max_wait_ms=0, max_batch=4)
    held = Held(batcher)
    batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    long, short = batcher.submit(seeds(*range(6))), batcher.submit(seeds(8))
    held.released.set()
    assert_same_pictures(long.result(SECONDS), small_sampler().sample(range(6)))
    assert_same_pictures(short.result(SECONDS), small_sampler().sample([8]))
    assert held.batches == [1, 4, 3]


def test_a_full_batch_does_not_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings._RANGES, "max_wait_ms", (0, 1e9))  # one that no test sees the end of
    made: list[int] = []
    batcher = start(lambda pictures, seconds: made.append(pictures), max_wait_ms=1e9, max_batch=3)
    orders = [batcher.submit(seeds(number)) for number in range(3)]
    for order in orders:
        order.result(SECONDS)
    until(lambda: made == [3])


def test_a_full_queue_refuses_and_says_when_to_come_again(start: Start) -> None:
    batcher = start(max_wait_ms=0, max_queue=3)
    held = Held(batcher)
    batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    kept = batcher.submit(seeds(1, 2))
    with pytest.raises(QueueFull) as refused:
        batcher.submit(seeds(3, 4))
    assert 1 <= refused.value.retry_seconds <= 60
    fits = batcher.submit(seeds(5))
    held.released.set()
    assert_same_pictures(kept.result(SECONDS), small_sampler().sample([1, 2]))
    assert_same_pictures(fits.result(SECONDS), small_sampler().sample([5]))


@pytest.mark.parametrize(("rate", "seconds"), [(50.0, 1), (0.5, 6), (0.02, 30), (1e9, 1)])
def test_who_is_refused_comes_again_when_the_queue_is_made(
    rate: float, seconds: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pictures at so many a second, of which less than a tenth is not believed."""
    monkeypatch.setattr("facegan.serve.batching._FIRST_RATE", rate)
    batcher = start(max_wait_ms=0, max_queue=3)
    held = Held(batcher)
    batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    batcher.submit(seeds(1, 2, 3))
    with pytest.raises(QueueFull) as refused:
        batcher.submit(seeds(4))
    held.released.set()
    assert refused.value.retry_seconds == seconds


def test_a_cancelled_order_leaves_the_queue_and_nothing_stalls(start: Start) -> None:
    batcher = start(max_wait_ms=0, max_queue=3)
    held = Held(batcher)
    running = batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    lost = batcher.submit(seeds(1, 2, 3))
    assert batcher.waiting == 3
    assert lost.cancel()
    assert batcher.waiting == 0
    assert running.cancel()  # also one that is being made
    wanted = batcher.submit(seeds(4, 5, 6))
    held.released.set()
    assert_same_pictures(wanted.result(SECONDS), small_sampler().sample([4, 5, 6]))
    assert held.batches == [1, 3]


class Wrong(Seeds):
    """Numbers that stand for nothing."""

    def w(self, *_: Any) -> torch.Tensor:
        raise UsageError("stands for nothing")


class Huge(Seeds):
    """Numbers that stand for a w of which no picture can be made."""

    def w(self, sampler: Sampler, numbers: Sequence[int], *_: Any) -> torch.Tensor:
        return torch.full((len(numbers), sampler.generator.num_ws, sampler.generator.w_dim), torch.nan)


@pytest.mark.parametrize(("bad", "said"), [(Wrong(), "stands for nothing"), (Huge(), "not finite")])
def test_an_order_that_cannot_be_made_fails_alone(start: Start, bad: Seeds, said: str) -> None:
    batcher = start(max_wait_ms=0, max_batch=4)
    held = Held(batcher)
    batcher.submit(seeds(0))
    assert held.reached.wait(SECONDS)
    good, wrong, other = (batcher.submit(items) for items in (seeds(1), seeds(2, 3, 4, start=bad), seeds(5)))
    held.released.set()
    assert_same_pictures(good.result(SECONDS), small_sampler().sample([1]))
    with pytest.raises(UsageError, match=said):
        wrong.result(SECONDS)
    assert_same_pictures(other.result(SECONDS), small_sampler().sample([5]))


def test_closing_makes_what_waits_and_takes_no_more(start: Start) -> None:
    batcher = start(max_wait_ms=1000)
    order = batcher.submit(seeds(1))
    assert batcher.working
    batcher.close()
    assert not batcher.working
    assert_same_pictures(order.result(0), small_sampler().sample([1]))
    with pytest.raises(Closed):
        batcher.submit(seeds(2))


def test_mixed_items_are_the_mixtures_of_the_library(start: Start) -> None:
    look, layers = Look(psi=0.8), (0, 1)
    items = [Item(look, row, "random", (column, layers)) for row in (1, 2) for column in (3, 4, 5)]
    made = start().submit(items).result(SECONDS)
    expected = mixtures(small_sampler(), [1, 2], [3, 4, 5], layers, psi=0.8, noise="random")
    assert_same_pictures(made, list(expected))


def test_moved_items_are_the_edits_of_the_library(start: Start) -> None:
    direction = Direction("up", np.eye(6)[2], 1.5, (0, 3))
    made = start().submit([Item(Look(psi=0.7), 4, moves=[(direction, 2.0)])]).result(SECONDS)
    sampler = small_sampler()
    w = moved(sampler.w(latent(4, 7)[None], 0.7), [(direction, 2.0)])
    assert_same_pictures(made, sampler.images(w))
    assert np.abs(made[0].astype(int) - sampler.sample([4], 0.7)[0]).max() > 1
