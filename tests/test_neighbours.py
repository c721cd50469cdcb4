"""Precision, recall, density and coverage: those by hand, by slow references, and their expectations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from normal_samples import normal
from slow_metrics import slow_neighbours
from torch import Tensor

from facegan.config import UsageError
from facegan.metrics import neighbours
from facegan.metrics.neighbours import inside_manifolds, neighbourhoods


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    fake_inside, real_inside = inside_manifolds(real, fake, k=k)
    return float(fake_inside.mean()), float(real_inside.mean())


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    densities, covered = neighbourhoods(real, fake, k=k)
    return float(densities.mean()), float(covered.mean())


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_precision_and_recall_of_four_points_on_a_line_are_those_by_hand() -> None:
    real, fake = column(0, 1, 2, 3), column(0.5, 0.9, 3.9, 10)
    # k = 1: reals reach 1, so 10 is outside; fakes reach 0.4, 0.4, 3, 6.1, so 0 is outside
    assert precision_recall(real, fake, k=1) == (3 / 4, 3 / 4)
    assert precision_recall(fake, real, k=1) == (3 / 4, 3 / 4)
    # k = 2: reals reach 2, 1, 1, 2; fakes reach 3.4, 3, 3.4, 9.1
    assert precision_recall(real, fake, k=2) == (3 / 4, 1)


def test_density_and_coverage_of_four_points_on_a_line_are_those_by_hand() -> None:
    real, fake = column(0, 1, 2, 3), column(0.5, 0.9, 3.9, 10)
    # k = 1: reals hold 2, 2, 0, 1 fakes
    assert density_coverage(real, fake, k=1) == (5 / 4, 3 / 4)
    # k = 2: they reach 2, 1, 1, 2 and hold 2, 2, 0, 1
    assert density_coverage(real, fake, k=2) == (5 / 8, 3 / 4)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1000.0])
def test_the_rim_of_a_ball_is_inside_for_precision_and_outside_for_density(offset: float) -> None:
    real = torch.arange(10, dtype=torch.float64)[:, None].expand(-1, 7) * 0.1 + offset
    fake = torch.stack([real[-1] + 0.1, real[-1] + 50])  # one on the rim of the last real
    assert precision_recall(real, fake, k=1)[0] == 1 / 2
    assert density_coverage(real, fake, k=1) == (0, 0)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_equal_sets_score_one(offset: float) -> None:
    real = normal(0, 150, 33).float() + offset
    fake = real[torch.randperm(150, generator=torch.Generator().manual_seed(0))]
    assert precision_recall(real, fake) == (1, 1)
    assert density_coverage(real, fake) == (1, 1)  # exactly: all k ties of every ball fall outside


def test_far_sets_score_zero() -> None:
    real, fake = normal(0, 50, 2), normal(1, 60, 2) + 100
    assert precision_recall(real, fake) == (0, 0)
    assert density_coverage(real, fake) == (0, 0)


def test_a_generator_of_one_mode_is_precise_and_recalls_that_mode() -> None:
    mode, others = normal(0, 60, 2), normal(1, 40, 2) + 100
    precision, recall = precision_recall(torch.cat([mode, others]), mode)
    assert (precision, recall) == (1, 0.6)
    assert density_coverage(torch.cat([mode, others]), mode)[1] == 0.6


def test_repeated_points_are_inside_balls_of_no_size() -> None:
    point = normal(0, 1, 50) * 10
    real, fake = point.repeat(6, 1), torch.cat([point.repeat(5, 1), point + 0.01])
    assert precision_recall(real, fake) == (5 / 6, 1)


@pytest.mark.parametrize("block_elements", [1, 7 * 80, 2**22])
def test_neighbours_are_those_of_all_differences_in_blocks_of_any_size(
    block_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", block_elements)
    real, fake = normal(0, 80, 3) + 1e6, normal(1, 70, 3) * 0.8 + 0.5 + 1e6  # far from the origin
    expected = slow_neighbours(real.numpy(), fake.numpy(), 3)  # no ties: < and <= are the same
    assert precision_recall(real, fake, k=3) + density_coverage(real, fake, k=3) == pytest.approx(
        expected, abs=1e-12
    )
    assert 0.1 < min(expected) <= max(expected) < 0.99  # a case that could go wrong


def test_blocks_are_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", 300)
    shapes = [
        tuple(block.shape) for _, block in neighbours._squared_distances(normal(0, 10, 2), normal(1, 100, 2))
    ]
    assert shapes == [(3, 100), (3, 100), (3, 100), (1, 100)]


def test_density_and_coverage_of_equal_distributions_are_their_expectations() -> None:
    # Naeem et al. 2020, Lemmas 1 and 2: 1, and 1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)), for any distribution
    n, m, k = 60, 50, 5
    values = np.array(
        [density_coverage(normal(2 * i, n, 2), normal(2 * i + 1, m, 2), k=k) for i in range(200)]
    )
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    expected = np.array([1, 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))])
    assert (np.abs(values.mean(axis=0) - expected) < 3 * error).all()


@pytest.mark.parametrize(
    ("num", "k", "message"),
    [
        (3, 3, r"fake features \[3, 3\]: need \[N, 3\] with N at least 4"),
        (20, 0, "k 0: need at least 1"),
    ],
)
def test_wrong_settings_are_refused(num: int, k: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        precision_recall(torch.zeros(20, 3), torch.zeros(num, 3), k=k)


# ---- nearness


@pytest.mark.parametrize("block_elements", [1, 7 * 80, 2**22])
def test_nearness_is_that_of_all_differences(block_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", block_elements)
    real, fake = normal(0, 80, 3) + 1e3, normal(1, 70, 3) * 0.8 + 1e3
    cross = (fake[:, None] - real[None]).norm(dim=-1)
    among = (real[:, None] - real[None]).norm(dim=-1).fill_diagonal_(np.inf)
    near, which = neighbours.nearness(real, fake)
    assert torch.equal(which, cross.argmin(dim=1))
    torch.testing.assert_close(
        near, cross.min(dim=1).values / among.min(dim=1).values[which], rtol=1e-6, atol=0
    )


def test_a_copy_is_at_0_and_also_of_one_that_is_there_twice() -> None:
    real = normal(0, 40, 5) * 1e3
    real[1] = real[0]
    near, which = neighbours.nearness(real, torch.cat([real[[0, 7]], real[[0]] + 1]))
    assert near[:2].tolist() == [0, 0]
    assert which[1] == 7
    once, _ = neighbours.nearness(real[1:], torch.cat([real[[7]], real[[1]] + 1]))
    assert 0 < near[2] < 0.1  # an inexact copy stays one
    assert near[2] == pytest.approx(float(once[1]))


def test_the_authenticity_of_equal_distributions_is_that_of_chance() -> None:
    """A fake is not authentic where it and a real are nearest to each other.

    In a plane 6 pi / (8 pi + 27^0.5) of the points are to their nearest (Pickard 1982, J. Appl. Probab. 19).
    """
    shares = [
        float((neighbours.nearness(*torch.rand(2, 200, 2).double().unbind())[0] > 1).double().mean())
        for _ in range(100)
    ]
    assert np.mean(shares) == pytest.approx(1 - 6 * np.pi / (8 * np.pi + 27**0.5), abs=0.015)
