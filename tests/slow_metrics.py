"""Distances between sets of features as their papers write them, slowly: what tests compare with."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def slow_neighbours(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density, coverage from all differences at once."""

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - y[None], axis=-1)

    real_radii = np.sort(distance(real, real), axis=1)[:, k]
    fake_radii = np.sort(distance(fake, fake), axis=1)[:, k]
    cross = distance(fake, real)  # [M, N]
    inside = cross < real_radii
    precision, recall = inside.any(axis=1).mean(), (cross < fake_radii[:, None]).any(axis=0).mean()
    return precision, recall, inside.sum() / (k * len(fake)), inside.any(axis=0).mean()


def slow_kernel_distance(real: Tensor, fake: Tensor) -> float:
    """The sums of Binkowski et al. 2018, eq. 4, pair by pair."""
    (n, dim), x, y = real.shape, real.numpy(), fake.numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / dim + 1) ** 3

    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j)
    return within / (n * (n - 1)) - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / n**2
