"""Distances have their closed forms, agree with slow references and torchmetrics, and state honest errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from normal_samples import normal
from slow_metrics import slow_kernel_distance
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.metrics.distances import (
    GaussianStatistics,
    bootstrap,
    frechet_distance,
    frechet_interval,
    kernel_distance,
    kernel_interval,
    student_95,
)
from facegan.metrics.neighbours import inside_manifolds, neighbourhoods

torchmetrics_warns_of_memory = pytest.mark.filterwarnings(
    "ignore:Metric `Kernel Inception Distance`:UserWarning"
)


def exact(mean: Tensor, covariance: Tensor) -> GaussianStatistics:
    """Statistics of exactly this mean and covariance."""
    count = 1001
    arrays = {"count": np.array(count), "mean": mean.numpy(), "scatter": (covariance * (count - 1)).numpy()}
    return GaussianStatistics.from_arrays(arrays)


def rotation(dim: int) -> Tensor:
    q: Tensor = torch.linalg.qr(normal(9, dim, dim)).Q
    return q


# Frechet distance


@pytest.mark.parametrize(
    "turn", [torch.eye(4, dtype=torch.float64), rotation(4)], ids=["diagonal", "rotated"]
)
def test_frechet_distance_of_commuting_covariances_is_the_closed_form(turn: Tensor) -> None:
    a, b = (
        torch.tensor([1.0, 4, 9, 0], dtype=torch.float64),
        torch.tensor([4.0, 1, 0, 16], dtype=torch.float64),
    )
    shift = torch.tensor([1.0, 0, -2, 0], dtype=torch.float64)
    first = exact(torch.zeros(4, dtype=torch.float64), turn @ a.diag() @ turn.T)
    second = exact(shift, turn @ b.diag() @ turn.T)
    # |shift|^2 + sum (sqrt a - sqrt b)^2 = 5 + 1 + 1 + 9 + 16; a zero eigenvalue may cost 1e-8 under the root
    assert frechet_distance(first, second) == pytest.approx(32, abs=1e-6)


def test_frechet_distance_of_covariances_that_do_not_commute_is_the_2x2_closed_form() -> None:
    # tr (S S')^1/2 = sqrt(tr(S S') + 2 sqrt(det S det S')) for 2x2: tr = 8, det = 3 and 4
    s = torch.tensor([[2.0, 1], [1, 2]], dtype=torch.float64)
    t = torch.tensor([[4.0, 0], [0, 1]], dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    expected = 4 + 5 - 2 * math.sqrt(10 + 2 * math.sqrt(12))  # tr(S T) = 2 * 4 + 2 * 1
    assert frechet_distance(exact(zero, s), exact(zero, t)) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_samples_is_near_that_of_their_gaussians() -> None:
    # shift 1 in each of 4 dimensions, deviations 1 and 2: 4 + 4 * (2 - 1)^2 = 8; the error is some 0.05
    real, fake = normal(0, 20_000, 4), normal(1, 20_000, 4) * 2 + 1
    value = frechet_distance(GaussianStatistics.of(real), GaussianStatistics.of(fake))
    assert value == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("num", [10, 500], ids=["fewer samples than dimensions", "more"])
def test_a_set_is_at_no_distance_from_itself(num: int) -> None:
    statistics = GaussianStatistics.of(normal(0, num, 64) * 10)
    assert 0 <= frechet_distance(statistics, statistics) < 1e-6


def test_frechet_distance_of_few_samples_is_that_by_singular_values() -> None:
    # tr (S S')^1/2 is the sum of the singular values of X X'^T, for centred X / sqrt(N - 1); no eigenvalues
    x, y = normal(0, 20, 64), normal(1, 300, 64) + 0.1
    scaled = [(z - z.mean(dim=0)) / math.sqrt(len(z) - 1) for z in (x, y)]
    trace = sum(z.square().sum() for z in scaled) - 2 * torch.linalg.svdvals(scaled[0] @ scaled[1].T).sum()
    expected = float((x.mean(dim=0) - y.mean(dim=0)).square().sum() + trace)
    first, second = GaussianStatistics.of(x), GaussianStatistics.of(y)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-11)  # float64 rounding
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-11)


def test_frechet_distance_is_symmetric() -> None:
    a, b = (
        GaussianStatistics.of(normal(0, 100, 8)),
        GaussianStatistics.of(normal(1, 100, 8) @ normal(2, 8, 8)),
    )
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_a_collapsed_generator_has_a_frechet_distance() -> None:
    real, fake = GaussianStatistics.of(normal(0, 100, 3)), GaussianStatistics.of(torch.ones(50, 3))
    expected = float((real.mean - 1).square().sum() + real.covariance.trace())  # S' = 0
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(fake, fake) == 0


class TinyFeatures(nn.Module):
    """Pictures as 6 features in float64: a fixed linear map."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 4 * 4, 6, dtype=torch.float64)
        nn.init.normal_(self.linear.weight, std=0.01, generator=torch.Generator().manual_seed(0))

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.linear(image.flatten(1).double())
        return features


def pictures(seed: int, low: int, high: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (60, 3, 4, 4), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def torchmetrics_image() -> Any:
    pytest.importorskip("torchmetrics.image.kid")
    pytest.importorskip("torchmetrics.image.fid")
    return pytest.importorskip("torchmetrics.image")


def test_frechet_distance_is_that_of_torchmetrics(torchmetrics_image: Any) -> None:
    network, real, fake = TinyFeatures(), pictures(0, 0, 200), pictures(1, 100, 255)
    reference = torchmetrics_image.fid.FrechetInceptionDistance(feature=network)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    value = frechet_distance(GaussianStatistics.of(network(real)), GaussianStatistics.of(network(fake)))
    # both in float64; theirs takes raw sums of squares and the eigenvalues of S S': some 1e-12 each
    assert value == pytest.approx(float(reference.compute()), rel=1e-9)


def frechet_spread(scale: float, blocks_of: Callable[[Tensor], list[Tensor]]) -> tuple[float, float]:
    """Standard deviation of the distance over repeated fakes, and the mean of the jackknife's error."""
    real = exact(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    values, errors = [], []
    for seed in range(60):
        fake = normal(seed, 400, 4) * scale
        interval = frechet_interval(real, [GaussianStatistics.of(block) for block in blocks_of(fake)])
        assert interval.value == pytest.approx(frechet_distance(real, GaussianStatistics.of(fake)), rel=1e-9)
        values.append(interval.value)
        errors.append((interval.high - interval.low) / (2 * student_95(9)))
    return float(np.std(values, ddof=1)), float(np.mean(errors))


@pytest.mark.parametrize(
    "blocks_of",
    [lambda x: list(x.tensor_split(10)), lambda x: list(x.split([20] * 5 + [60] * 5))],
    ids=["equal blocks", "unequal blocks"],
)
def test_the_jackknife_error_is_the_spread_over_repeated_fakes(
    blocks_of: Callable[[Tensor], list[Tensor]],
) -> None:
    spread, error = frechet_spread(1.3, blocks_of)
    # 60 repetitions know the spread to 9 %, ten blocks each error to some 25 %, their mean to 3 %
    assert spread / 1.35 < error < spread * 1.35


def test_the_jackknife_of_equal_blocks_is_the_textbook_one() -> None:
    real, fake = GaussianStatistics.of(normal(0, 200, 3)), normal(1, 100, 3) + 1
    blocks = fake.split(20)
    interval = frechet_interval(real, [GaussianStatistics.of(block) for block in blocks])
    without = [torch.cat([other for other in blocks if other is not block]) for block in blocks]
    values = np.array([frechet_distance(real, GaussianStatistics.of(rest)) for rest in without])
    error = math.sqrt(4 / 5 * np.square(values - values.mean()).sum())  # (g - 1) / g sum (x - mean)^2
    assert interval.high - interval.value == pytest.approx(student_95(4) * error, rel=1e-9)
    assert interval.value - interval.low == pytest.approx(student_95(4) * error, rel=1e-9)


# kernel distance


def test_kernel_distance_is_the_double_sum() -> None:
    real, fake = normal(0, 15, 4), normal(1, 15, 4) + 0.3
    value, error = kernel_distance(real, fake, subsets=3)  # 1000 is cut to 15: the whole sets
    assert value == pytest.approx(slow_kernel_distance(real, fake), rel=1e-12)
    assert error == pytest.approx(0, abs=1e-14)


@torchmetrics_warns_of_memory
def test_kernel_distance_is_that_of_torchmetrics(torchmetrics_image: Any) -> None:
    network, real, fake = TinyFeatures(), pictures(0, 0, 200), pictures(1, 100, 255)
    reference = torchmetrics_image.kid.KernelInceptionDistance(feature=network, subsets=2, subset_size=60)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    value, _ = kernel_distance(network(real), network(fake), subsets=2, subset_size=60)
    assert value == pytest.approx(float(reference.compute()[0]), rel=1e-11)  # both in float64


def test_kernel_distance_between_equal_distributions_is_zero_on_average() -> None:
    repeats = [
        kernel_distance(normal(2 * i, 40, 3), normal(2 * i + 1, 40, 3), subsets=2)[0] for i in range(200)
    ]
    values = np.array(repeats)
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    assert 40 < (values < 0).sum() < 190  # mostly a little below zero, at times well above


def test_the_kernel_distance_s_error_is_the_spread_over_draws_of_subsets() -> None:
    real, fake = normal(0, 300, 3), normal(1, 200, 3) + 0.5
    draws = [kernel_distance(real, fake, subsets=20, subset_size=30, seed=seed) for seed in range(60)]
    values, errors = np.array(draws).T
    # 60 draws know the spread to 9 %
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(ddof=1), rel=0.35)


def test_kernel_distance_of_all_subsets_is_that_of_the_whole_sets() -> None:
    # U-statistics: averaged over all subsets they are those of the whole; 500 subsets leave their error
    real, fake = normal(0, 100, 3), normal(1, 100, 3) + 0.5
    value, error = kernel_distance(real, fake, subsets=500, subset_size=10)
    assert abs(value - kernel_distance(real, fake, subsets=2)[0]) < 3 * error


def test_the_kernel_distance_s_subsets_follow_the_seed() -> None:
    real, fake = normal(0, 50, 3), normal(1, 50, 3)
    first, again, other = (kernel_distance(real, fake, subsets=5, subset_size=10, seed=s) for s in (0, 0, 1))
    assert first == again != other


# bootstrap


def test_the_bootstrap_of_a_mean_is_as_wide_as_its_formula() -> None:
    values = normal(0, 200, 1)[:, 0] * 2
    interval = bootstrap(values)
    half = 1.96 * math.sqrt(values.var(correction=0) / 200)
    assert interval.value == pytest.approx(float(values.mean()), rel=1e-12)
    # a 2.5 % quantile of 1000 draws is known to some 7 % of the half width
    assert interval.high - interval.value == pytest.approx(half, rel=0.2)
    assert interval.value - interval.low == pytest.approx(half, rel=0.2)


def test_the_bootstrap_follows_the_seed() -> None:
    values = normal(0, 20, 1)[:, 0]
    first, again, other = (bootstrap(values, draws=5, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.slow
def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        interval = bootstrap(normal(seed, 50, 1)[:, 0] + 1, draws=200, seed=seed)
        covered += interval.low <= 1 <= interval.high
    # 95 % less 1 or 2 for 50 samples and 200 draws; 300 repetitions know it to 1.3 %
    assert 0.90 < covered / 300 < 0.98


# the kernel distance's interval


@pytest.mark.slow
@pytest.mark.parametrize(("num_real", "num_fake"), [(40, 40), (200, 60), (400, 400)])
def test_the_kernel_interval_covers_the_truth(num_real: int, num_fake: int) -> None:
    """Sets smaller than, about and larger than the subsets; the truth is the mean over repetitions."""
    intervals = [
        kernel_interval(
            normal(2 * seed, num_real, 3), normal(2 * seed + 1, num_fake, 3) + 0.7, subset_size=50, seed=seed
        )
        for seed in range(100)
    ]
    truth = np.mean([interval.value for interval in intervals])
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    # 95 %, less for the skewness of small sets; 100 repetitions know it to 2 to 3 %
    assert 0.85 <= covered <= 1
    widths = np.array([interval.high - interval.low for interval in intervals]) / (2 * 1.96)
    spread = np.std([interval.value for interval in intervals], ddof=1)
    assert spread / 1.5 < np.sqrt(np.square(widths).mean()) < spread * 1.5


def test_the_kernel_interval_is_around_the_kernel_distance() -> None:
    real, fake = normal(0, 80, 3), normal(1, 60, 3)
    interval = kernel_interval(real, fake, subset_size=1000, seed=4)
    assert interval.value == kernel_distance(real, fake, subset_size=15, seed=4)[0]
    assert interval.low < interval.value < interval.high


# refusals

FEW, GOOD = torch.zeros(1, 3), torch.zeros(20, 3)


@pytest.mark.parametrize("metric", [kernel_distance, inside_manifolds, neighbourhoods])
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.zeros(20), GOOD, r"real features \[20\]: need \[N, D\]"),
        (GOOD, torch.zeros(20, 4), r"fake features \[20, 4\]: need \[N, 3\]"),
        (GOOD, FEW, r"fake features \[1, 3\]: need \[N, 3\] with N at least"),
        (FEW, GOOD, r"real features \[1, 3\]: need \[N, D\] with N at least"),
        (GOOD, GOOD.index_fill(0, torch.tensor([1, 2]), math.nan), "fake features: 2 of 20 rows hold NaN"),
        (GOOD + math.inf, GOOD, "real features: 20 of 20 rows hold NaN or infinity"),
        (torch.zeros(20, 0), torch.zeros(20, 0), r"real features \[20, 0\]"),
    ],
)
def test_metrics_refuse_wrong_features(
    metric: Callable[[Tensor, Tensor], object], real: Tensor, fake: Tensor, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        metric(real, fake)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: frechet_distance(GaussianStatistics.of(GOOD), GaussianStatistics.of(FEW)),
            "covariance of 1",
        ),
        (
            lambda: frechet_distance(GaussianStatistics.of(GOOD), GaussianStatistics.of(GOOD[:, :2])),
            "3 and 2|2 and 3",
        ),
        (
            lambda: frechet_interval(GaussianStatistics.of(GOOD), [GaussianStatistics.of(GOOD)]),
            r"blocks of \[20\]",
        ),
        (lambda: frechet_interval(GaussianStatistics.of(GOOD), [GaussianStatistics(3)] * 2), r"\[0, 0\]"),
        (lambda: kernel_distance(GOOD, GOOD, subsets=1), "subsets 1: need at least 2"),
        (lambda: kernel_distance(GOOD, GOOD, subset_size=1), "subset_size 1: need at least 2"),
        (lambda: bootstrap(GOOD[:, 0], draws=1), "draws 1: need at least 2"),
        (lambda: kernel_interval(GOOD[:7], GOOD), "samples 7: need at least 8"),
    ],
)
def test_wrong_settings_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(("degrees", "expected"), [(5, 2.5706), (9, 2.2622), (30, 2.0423), (1000, 1.9623)])
def test_student_s_quantile_is_the_tabulated_one(degrees: int, expected: float) -> None:
    assert student_95(degrees) == pytest.approx(expected, rel=1e-2)
