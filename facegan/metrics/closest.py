"""Made pictures that are suspiciously near to real ones, to be looked at: does the model return its data?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facegan.data import Dataset
from facegan.data.source import on_one_line
from facegan.images import Pixels, grid
from facegan.metrics.feature_set import FeatureSet
from facegan.metrics.neighbours import nearness
from facegan.metrics.subjects import Subject, shuffled_numbers

PAIRS, COLUMNS = 16, 8


@dataclass(frozen=True)
class Pair:
    """A made picture and the real one nearest to it: numbers counted from 0, and what they are called."""

    made: int
    real: int
    made_name: str
    real_name: str
    nearness: float  # see metrics.neighbours.nearness


def closest_pairs(subject: Subject, data: Dataset, real: FeatureSet, made: FeatureSet) -> list[Pair]:
    """PAIRS of them, the nearest first, among the features that are remembered (FeatureSet.first)."""
    near, which = nearness(real.first.features, made.first.features)
    order, numbers = near.argsort(stable=True)[:PAIRS].tolist(), shuffled_numbers(data, 0)
    pairs = []
    for number in order:
        place = int(numbers[which[number]])
        name = on_one_line(data.names[place])
        pairs.append(Pair(number, place, subject.called(number), name, float(near[number])))
    return pairs


def sheet(subject: Subject, data: Dataset, pairs: Sequence[Pair]) -> Pixels:
    """The pairs side by side, each made picture above its real one [H, W, C]; COLUMNS pairs in a row."""
    made = subject.some([pair.made for pair in pairs])
    reals = data.pictures(np.array([pair.real for pair in pairs]))
    rows = []
    for first in range(0, len(pairs), COLUMNS):
        part = slice(first, first + COLUMNS)
        rows += [grid(each[part].permute(0, 2, 3, 1).numpy(), COLUMNS) for each in (made, reals)]
    return np.concatenate(rows)
