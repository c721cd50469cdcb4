"""Statistics of features: whatever the chunks and parts, in bounded memory, and refused when damaged."""

from __future__ import annotations

import io
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from normal_samples import normal
from torch import Tensor

from facegan.config import UsageError
from facegan.metrics.distances import FirstFeatures, GaussianStatistics


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_statistics_do_not_depend_on_the_chunks(chunk: int, offset: float) -> None:
    x = normal(0, 100, 5) + offset
    statistics = GaussianStatistics(5)
    for part in x.split(chunk):
        statistics.update(part)
    assert statistics.count == 100
    # a mean of 1e6 holds 1e-10 of the deviations; raw sums of squares would hold 1e-4
    np.testing.assert_allclose(statistics.mean.numpy(), x.numpy().mean(axis=0), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(statistics.covariance.numpy(), np.cov(x.numpy().T), rtol=0, atol=1e-9)


def test_merged_statistics_are_those_of_all_samples_and_leave_the_parts() -> None:
    x = normal(0, 90, 4) * 3 + 50
    parts = [GaussianStatistics.of(part) for part in (x[:10], x[10:11], x[11:])]
    total = GaussianStatistics.merged([GaussianStatistics(4), *parts, GaussianStatistics(4)])
    assert (total.count, [part.count for part in parts]) == (90, [10, 1, 79])
    torch.testing.assert_close(total.mean, x.mean(dim=0), rtol=1e-13, atol=0)
    torch.testing.assert_close(total.covariance, torch.cov(x.T), rtol=0, atol=1e-12)
    torch.testing.assert_close(parts[0].covariance, torch.cov(x[:10].T), rtol=0, atol=1e-12)


def test_statistics_survive_a_file_exactly() -> None:
    statistics = GaussianStatistics.of(normal(0, 20, 3))
    file = io.BytesIO()
    np.savez(file, **statistics.to_arrays())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as arrays:
        read = GaussianStatistics.from_arrays(arrays)
    assert read.count == 20
    assert torch.equal(read.mean, statistics.mean)
    assert torch.equal(read.covariance, statistics.covariance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": np.array(2.0)}, "need an integer"),
        ({"count": np.array([2])}, "need an integer"),
        ({"count": np.array(-1)}, "below 0"),
        ({"mean": np.zeros((3, 1))}, "need an integer"),
        ({"mean": np.array(["a", "b", "c"])}, "need an integer"),
        ({"mean": np.array([0, np.nan, 0])}, "not finite"),
        ({"mean": np.zeros(0), "scatter": np.zeros((0, 0))}, "dimension 0"),
        ({"scatter": np.zeros((3, 2))}, "need an integer"),
        ({"scatter": np.diag([1.0, np.inf, 1.0])}, "not finite"),
        ({"scatter": np.diag([1.0, -1.0, 1.0])}, "below 0"),
        ({"scatter": np.triu(np.ones((3, 3)))}, "not symmetric"),
    ],
)
def test_damaged_statistics_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = GaussianStatistics.of(normal(0, 20, 3)).to_arrays()
    with pytest.raises(ValueError, match=message):
        GaussianStatistics.from_arrays(arrays | change)
    del arrays["mean"]
    with pytest.raises(ValueError, match="no 'mean'"):
        GaussianStatistics.from_arrays(arrays)


def test_a_long_stream_takes_the_memory_of_a_short_one() -> None:
    statistics, first = GaussianStatistics(16), FirstFeatures(100, 16)
    chunk = normal(0, 500, 16)
    statistics.update(chunk)
    first.update(chunk)
    tracemalloc.start()
    for _ in range(99):
        statistics.update(chunk)
        first.update(chunk)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert statistics.count == 50_000
    tensors = [
        *vars(statistics).values(),
        *vars(first).values(),
    ]  # torch's memory, which tracemalloc does not see
    bytes_held = [value.untyped_storage().nbytes() for value in tensors if isinstance(value, Tensor)]
    assert sorted(bytes_held) == [16 * 8, 16 * 16 * 8, 100 * 16 * 4]
    assert all(isinstance(value, (Tensor, int)) for value in tensors)  # no lists that could grow
    assert kept < 20_000  # a list of the chunks would hold 99 tensors of some 500 bytes


def test_the_first_features_of_a_stream_are_kept() -> None:
    x = normal(0, 25, 3).float()
    first = FirstFeatures(10, 3)
    for part in x[:8].split(4):
        first.update(part)
    assert torch.equal(first.features, x[:8])
    for part in x[8:].split(4):
        first.update(part)
    assert torch.equal(first.features, x[:10])


# refusals


GOOD = torch.zeros(20, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianStatistics(0), "dimension 0"),
        (lambda: FirstFeatures(0, 3), "0 features of dimension 3"),
        (lambda: GaussianStatistics(4).update(GOOD), r"\[20, 3\]: need \[N, 4\]"),
        (lambda: GaussianStatistics(3).update(GOOD[:0]), r"\[0, 3\]"),
        (lambda: GaussianStatistics(3).update(GOOD + math.nan), "NaN"),
        (lambda: FirstFeatures(5, 3).update(GOOD + math.nan), "NaN"),
        (lambda: GaussianStatistics.of(GOOD[:1]).covariance, "covariance of 1 samples"),
        (lambda: GaussianStatistics.merged([]), "need one or more"),
        (lambda: GaussianStatistics.merged([GaussianStatistics(3), GaussianStatistics(4)]), r"\[3, 4\]"),
    ],
)
def test_wrong_settings_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
