"""Stateless randomness: every draw is a function of (seed, index, purpose), so resuming needs no state.

The index is the position on the one clock, images seen (the first image of a batch), or an epoch. `retry`
counts how often training went back to try again: with the same numbers the same would come again.
Never the rank of a process: one process and several draw the same numbers.
torch is imported only where it is needed: the workers that draw people do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Purpose(IntEnum):
    """What a draw is for; part of the key, so that two purposes never share numbers."""

    WEIGHTS = 0
    SHUFFLE = 1
    LATENT = 2
    CALIBRATION = 3
    PENALTY = 4
    PERSON = 5
    MIXING = 6
    NOISE = 7
    PATH = 8
    CUTOFF = 9
    LABEL = 10
    AUGMENT = 11


def numpy_generator(seed: int, index: int, purpose: Purpose) -> np.random.Generator:
    """numpy's generator for this key."""
    return np.random.default_rng(np.random.SeedSequence([seed, index, int(purpose)]))


def torch_seed(seed: int, index: int, purpose: Purpose, retry: int = 0) -> int:
    """A 63-bit seed for torch's generators, a function of the key alone."""
    key = [seed, index, int(purpose), *([retry] if retry else [])]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return int(state[0]) & (2**63 - 1)


def torch_generator(
    seed: int, index: int, purpose: Purpose, device: torch.device | str = "cpu", retry: int = 0
) -> torch.Generator:
    """torch's generator for this key, on the device where the numbers are needed."""
    import torch

    return torch.Generator(device).manual_seed(torch_seed(seed, index, purpose, retry))


@contextmanager
def seeded(seed: int, index: int, purpose: Purpose) -> Iterator[None]:
    """torch's global CPU generator set for the block, and put back after it: for weight initialisation."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, index, purpose))
        yield
