"""Stateless randomness: equal keys draw equal numbers, others other ones (facegan.randomness)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facegan.randomness import Purpose, numpy_generator, seeded, torch_generator, torch_seed

Key = tuple[int, int, Purpose]
WORD = st.integers(0, 2**32 - 1)
KEY = st.tuples(WORD, WORD, st.sampled_from(Purpose))


def drawn(key: Key) -> list[float]:
    """Eight numbers of numpy's and eight of torch's generator for the key."""
    with_torch = torch.rand(8, generator=torch_generator(*key), dtype=torch.float64)
    return [*numpy_generator(*key).random(8).tolist(), *with_torch.tolist()]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(KEY)
def test_equal_keys_draw_equal_numbers(key: Key) -> None:
    assert drawn(key) == drawn(key)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(KEY, KEY)
def test_different_keys_share_no_number(key: Key, other: Key) -> None:
    assert key == other or not set(drawn(key)) & set(drawn(other))


@pytest.mark.parametrize(
    "other",
    [(1, 5, Purpose.LATENT), (0, 6, Purpose.LATENT), (5, 0, Purpose.LATENT), (0, 5, Purpose.SHUFFLE)],
    ids=["seed", "index", "seed and index swapped", "purpose"],
)
def test_draws_differ_by(other: Key) -> None:
    assert not set(drawn((0, 5, Purpose.LATENT))) & set(drawn(other))


def test_numpy_generator_is_seeded_with_the_three_numbers_of_the_key() -> None:
    expected = np.random.default_rng([3, 7, 1]).random(4)
    np.testing.assert_array_equal(numpy_generator(3, 7, Purpose.SHUFFLE).random(4), expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(KEY)
def test_torch_seed_has_63_bits(key: Key) -> None:
    assert 0 <= torch_seed(*key) < 2**63


def test_purposes_keep_their_numbers() -> None:
    # they are part of the key: renumbering one would change what every finished run can reproduce
    numbers = {purpose.name: int(purpose) for purpose in Purpose}
    assert numbers.items() >= {"WEIGHTS": 0, "SHUFFLE": 1, "LATENT": 2, "CALIBRATION": 3}.items()


def test_seeded_sets_the_global_generator() -> None:
    with seeded(1, 2, Purpose.WEIGHTS):
        inside = torch.rand(4)
    assert torch.equal(inside, torch.rand(4, generator=torch_generator(1, 2, Purpose.WEIGHTS)))


def test_seeded_puts_the_global_generator_back() -> None:
    before = torch.get_rng_state()
    with seeded(1, 2, Purpose.WEIGHTS):
        torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_puts_the_global_generator_back_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(1, 2, Purpose.WEIGHTS):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
