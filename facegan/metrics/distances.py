"""Distances between two sets of features, real and fake; with their errors.

    GaussianStatistics   mean and covariance of a stream of features, in constant memory
    frechet_distance     between two Gaussians (Heusel et al. 2017, arXiv 1706.08500)
    frechet_interval     the same with an interval, from blocks of fakes
    kernel_distance      unbiased MMD^2 with a cubic kernel, KID (Binkowski et al. 2018, arXiv 1801.01401)
    kernel_interval      the same with an interval
    bootstrap            an interval for a mean
    FirstFeatures        the first features of a stream, for what needs them all at once

The Frechet distance of N samples is too large by about a constant / N, and the constant depends on the
generator (Chong & Forsyth 2020, arXiv 1911.07023): compare only values of equal sample counts. The kernel
distance has no such bias, and may come out below zero.

Features are [N, D] of any floating type; all arithmetic is in float64 on the CPU (not every GPU has float64).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facegan.config import UsageError

NORMAL_95 = 1.96  # 97.5 % quantile of the standard normal


class GaussianStatistics:
    """Count, mean [D] and covariance [D, D] of features that arrive in chunks of any size.

    Chunks are merged by their means and scatters (Chan et al. 1979), never by raw sums of squares, which
    would cancel where the mean is large. Memory does not grow with the count.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise UsageError(f"features of dimension {dim}: need at least 1")
        self.dim = dim
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)  # sum of (x - mean)(x - mean)^T

    @classmethod
    def of(cls, features: Tensor) -> GaussianStatistics:
        """The statistics of features [N, D]."""
        features = checked(features)
        statistics = cls(features.shape[1])
        statistics.update(features)
        return statistics

    @classmethod
    def merged(cls, parts: Sequence[GaussianStatistics]) -> GaussianStatistics:
        """The statistics of all samples of the parts, which stay as they are.

        Raises:
            UsageError: no parts, or of unequal dimension.
        """
        dims = sorted({part.dim for part in parts})
        if len(dims) != 1:
            raise UsageError(f"statistics of dimensions {dims}: need one or more, of one dimension")
        total = cls(dims[0])
        for part in parts:
            total._merge(part.count, part.mean, part._scatter)
        return total

    def update(self, features: Tensor) -> None:
        """Takes in features [N, D].

        Raises:
            UsageError: another shape, no rows, or a number that is not finite.
        """
        x = checked(features, dim=self.dim)
        mean = x.mean(dim=0)
        deviation = x - mean
        self._merge(len(x), mean, deviation.T @ deviation)

    @property
    def covariance(self) -> Tensor:
        """Covariance [D, D] with 1/(N - 1).

        Raises:
            UsageError: fewer than two samples.
        """
        if self.count < 2:
            raise UsageError(f"covariance of {self.count} samples: need at least 2")
        return self._scatter / (self.count - 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The exact state, for numpy.savez: count [], mean [D], scatter [D, D]."""
        scatter, mean = self._scatter.numpy().copy(), self.mean.numpy().copy()
        return {"count": np.array(self.count), "mean": mean, "scatter": scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> GaussianStatistics:
        """The statistics that `to_arrays` gave.

        Raises:
            ValueError: an array is missing, of a wrong shape or kind, or holds what no features have.
        """
        try:
            count, mean, scatter = (np.asarray(arrays[name]) for name in ("count", "mean", "scatter"))
        except KeyError as error:
            raise ValueError(f"feature statistics: no {error}") from None
        dim = mean.size
        kinds = [array.dtype.kind for array in (count, mean, scatter)]
        shapes = [array.shape for array in (count, mean, scatter)]
        if kinds != ["i", "f", "f"] or shapes != [(), (dim,), (dim, dim)]:
            raise ValueError(
                f"feature statistics: {count.dtype}{[*count.shape]}, {mean.dtype}{[*mean.shape]}, "
                f"{scatter.dtype}{[*scatter.shape]}; need an integer, floats [D], floats [D, D]"
            )
        statistics = cls(dim)
        statistics.count = int(count)
        statistics.mean, statistics._scatter = (torch.tensor(x, dtype=torch.float64) for x in (mean, scatter))
        finite = np.isfinite(mean).all() and np.isfinite(scatter).all()
        if not finite or count < 0 or not np.allclose(scatter, scatter.T) or (scatter.diagonal() < 0).any():
            raise ValueError("feature statistics: not finite, not symmetric, or a count or variance below 0")
        return statistics

    def _merge(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = max(self.count + count, 1)  # 1: two empty parts
        shift = mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self._scatter = self._scatter + scatter + torch.outer(shift, shift) * (self.count * count / total)
        self.count += count


class FirstFeatures:
    """The first `limit` features of a stream [limit, D] as float32; the memory is taken at once."""

    def __init__(self, limit: int, dim: int) -> None:
        if limit < 1 or dim < 1:
            raise UsageError(f"{limit} features of dimension {dim}: need at least 1 of each")
        self.count = 0
        self._kept = torch.zeros(limit, dim)

    def update(self, features: Tensor) -> None:
        """Keeps what there is room for of features [N, D]; all of them must be finite."""
        room = self._kept[self.count :]
        first = checked(features, dim=self._kept.shape[1])[: len(room)]
        room[: len(first)] = first
        self.count += len(first)

    @property
    def features(self) -> Tensor:
        """What was kept [count, D], not a copy."""
        return self._kept[: self.count]


@dataclass(frozen=True)
class Interval:
    """A value and the interval it is reported with."""

    value: float
    low: float
    high: float


def student_95(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion around the normal's (Fisher & Cornish 1960).

    Within 1 % from 5 degrees of freedom on; too small below.
    """
    z, v = NORMAL_95, degrees
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """|mu - mu'|^2 + tr(S + S' - 2 (S S')^1/2), as FID (Dowson & Landau 1982; Heusel et al. 2017, eq. 6).

    A square: of the features' units squared. Zero where rounding would make it negative.

    Differs: 1/(N - 1) in the covariance, as numpy.cov; S S' is not formed, whose root may be complex.

    Raises:
        UsageError: unequal dimensions, or fewer than two samples.
    """
    # the root of the one with fewer samples: of the lower rank where N < D
    few, many = sorted((a, b), key=lambda statistics: statistics.count)
    return _frechet(few, _root(few.covariance), many)


def frechet_interval(real: GaussianStatistics, fake_blocks: Sequence[GaussianStatistics]) -> Interval:
    """The Frechet distance to all fakes together, with a 95 % interval from disjoint blocks of the fakes.

    Each block is left out in turn: the delete-one-group jackknife, in the form for blocks of unequal size
    (Busing et al. 1999, Statistics and Computing 9). About ten blocks will do. It covers the draw of the
    fakes only: not that of the real images, not the size bias, not the training of the generator. The bounds
    are not cut at zero.

    Raises:
        UsageError: fewer than two blocks, an empty one, unequal dimensions, or too few samples.
    """
    counts = [block.count for block in fake_blocks]
    if len(counts) < 2 or min(counts) < 1:
        raise UsageError(f"blocks of {counts} fakes: need at least 2 blocks, none of them empty")
    root = _root(real.covariance)
    fake = GaussianStatistics.merged(fake_blocks)
    value = _frechet(real, root, fake)
    others = [[*fake_blocks[:i], *fake_blocks[i + 1 :]] for i in range(len(counts))]
    without = np.array([_frechet(real, root, GaussianStatistics.merged(blocks)) for blocks in others])
    h = fake.count / np.array(counts)  # above 1
    pseudo = h * value - (h - 1) * without
    estimate = len(counts) * value - ((1 - 1 / h) * without).sum()
    error = float(np.sqrt((((pseudo - estimate) ** 2) / (h - 1)).mean()))
    reach = student_95(len(counts) - 1) * error
    return Interval(value, value - reach, value + reach)


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Unbiased MMD^2 with the kernel (x.y / D + 1)^3, mean over random subsets; and its standard error.

    real [N, D], fake [M, D]. Each subset is drawn without replacement from each set; its size is cut to the
    smaller set's. The standard error is the subsets' standard deviation / sqrt(subsets), that of drawing
    subsets from these sets. Subsets overlap, so it understates the error of drawing the sets themselves:
    little while subsets * subset_size is below N, by a factor of some sqrt(subsets * subset_size / N) above
    it, and it is zero where a subset is the whole of both sets (Binkowski et al. 2018, sec. 4; Gretton et
    al. 2012, eq. 3).

    Raises:
        UsageError: shapes, fewer than two samples or subsets, or features that are not finite.
    """
    real, fake = checked_pair(real, fake, least=2)
    at_least(2, subsets=subsets, subset_size=subset_size)
    size = min(subset_size, len(real), len(fake))
    random = _generator(seed)
    values = np.empty(subsets)
    for i in range(subsets):
        rows = [torch.from_numpy(random.choice(len(x), size, replace=False)) for x in (real, fake)]
        values[i] = _mmd(real[rows[0]], fake[rows[1]])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(subsets))


def kernel_interval(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Interval:
    """The kernel distance with a 95 % interval for the draw of both sets, from the spread of its subsets.

    real [N, D], fake [M, D]. Subsets of size m, drawn without replacement from sets of N, vary less than sets
    of size m would, by 1 - m / N, and sets of N vary m / N times as much as those: so the variance is that of
    the subsets times m / (N - m), the delete-d jackknife's (Shao & Wu 1989), plus that of their mean. Subsets
    are cut to a quarter of the smaller set. Wider than need be where the two distributions are equal.

    Raises:
        UsageError: shapes, fewer than eight samples, two subsets, or features that are not finite.
    """
    smaller = min(len(real), len(fake))
    at_least(8, samples=smaller)
    size = min(subset_size, smaller // 4)
    value, error = kernel_distance(real, fake, subsets=subsets, subset_size=size, seed=seed)
    reach = NORMAL_95 * error * math.sqrt(subsets * size / (smaller - size) + 1)
    return Interval(value, value - reach, value + reach)


def bootstrap(values: Tensor, *, draws: int = 1000, seed: int = 0) -> Interval:
    """The mean of values [N] and its 95 % percentile interval (Efron 1979): N drawn anew, with replacement.

    For means of samples only. The Frechet distance of resampled pictures is that of a smaller set, and too
    large: for it, see frechet_interval.

    Raises:
        UsageError: no values, fewer than two draws, or values that are not finite.
    """
    values = checked(values[:, None], name="values")[:, 0]
    at_least(2, draws=draws)
    random, count = _generator(seed), len(values)
    means = [float(values[torch.from_numpy(random.integers(count, size=count))].mean()) for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _frechet(a: GaussianStatistics, root: Tensor, b: GaussianStatistics) -> float:
    """The Frechet distance, with root [D, R] that of a's covariance."""
    if a.dim != b.dim:
        raise UsageError(f"statistics of dimensions {a.dim} and {b.dim}: need equal ones")
    # S S' and root^T S' root share their eigenvalues but for zeros; the second is symmetric
    eigenvalues = torch.linalg.eigvalsh(root.T @ b.covariance @ root)
    trace = (a.covariance + b.covariance).trace() - 2 * eigenvalues.clamp(min=0).sqrt().sum()
    return max(float((a.mean - b.mean).square().sum() + trace), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """F [D, R] with F F^T = covariance, R its rank: rounding of a zero would grow to 1e-8 under the root."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def _mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased MMD^2 between x [N, D] and y [N, D]: the pairs of a sample with itself are left out."""
    n, dim = x.shape
    xx, yy, xy = ((a @ b.T / dim + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return float(within / (n * (n - 1)) - 2 * xy.mean())


def checked_pair(real: Tensor, fake: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both sets [N, D] and [M, D] as float64 on the CPU.

    Raises:
        UsageError: shapes, fewer than `least` rows, or features that are not finite.
    """
    real = checked(real, least=least, name="real features")
    return real, checked(fake, dim=real.shape[1], least=least, name="fake features")


def checked(features: Tensor, *, dim: int | None = None, least: int = 1, name: str = "features") -> Tensor:
    """The features [N, D] as float64 on the CPU.

    Raises:
        UsageError: another shape, fewer than `least` rows, or features that are not finite.
    """
    shape = list(features.shape)
    if len(shape) != 2 or shape[0] < least or shape[1] < 1 or dim not in (None, shape[1]):
        raise UsageError(f"{name} {shape}: need [N, {dim or 'D'}] with N at least {least}")
    num_bad = int((~features.isfinite()).any(dim=1).sum())
    if num_bad:
        raise UsageError(f"{name}: {num_bad} of {shape[0]} rows hold NaN or infinity; need finite numbers")
    return features.detach().to("cpu", torch.float64)


def at_least(least: int, **numbers: int) -> None:
    """Raises UsageError where one of the numbers is smaller."""
    for name, number in numbers.items():
        if number < least:
            raise UsageError(f"{name} {number}: need at least {least}")


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed]))
