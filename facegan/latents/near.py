"""More like this: the faces around a seed's.

    z' = sqrt(1 - r^2) z_like + r z_seed

Both are standard normal and independent, so z' is standard normal too: a face as likely as any other. r = 0
is the face itself, r = 1 knows nothing of it; the correlation of z' with z_like is sqrt(1 - r^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from facegan.config import UsageError
from facegan.synthesis import Sampler, check_seed, latent

DEFAULT_RADIUS = 0.3


@dataclass(frozen=True)
class Near:
    """Numbers are seeds of faces near that of the seed `like`, which keep its labels and its noise.

    Raises:
        UsageError: the seed is out of range, or the radius not in 0 .. 1.
    """

    like: int
    radius: float = DEFAULT_RADIUS

    def __post_init__(self) -> None:
        check_seed(self.like)
        if not 0 <= self.radius <= 1:
            raise UsageError(f"radius {self.radius:g}: 0 (the face itself) to 1 (any other)")

    def z(self, seed: int, z_dim: int) -> npt.NDArray[np.float64]:
        """z' [z_dim] of a seed."""
        kept = np.sqrt(1 - self.radius**2)
        z: npt.NDArray[np.float64] = kept * latent(self.like, z_dim) + self.radius * latent(seed, z_dim)
        return z

    def w(
        self, sampler: Sampler, numbers: Sequence[int], psi: float, cutoff: int | None, label: str
    ) -> Tensor:
        """w [N, num_ws, w_dim] of the seeds' z', truncated."""
        z = np.stack([self.z(seed, sampler.generator.z_dim) for seed in numbers])
        vector = sampler.label_vectors([self.like], label)
        return sampler.w(z, psi, cutoff, None if vector is None else vector.expand(len(numbers), -1))

    def noise_seeds(self, numbers: Sequence[int]) -> Sequence[int]:
        """That of the face itself, for each."""
        return [self.like] * len(numbers)

    def stem(self, number: int) -> str:
        """like0007_seed0000"""
        return f"like{self.like:04d}_seed{number:04d}"

    def text(self, numbers: str) -> str:
        """like 7, radius 0.3, seeds 0-15"""
        return f"like {self.like}, radius {self.radius:g}, seeds {numbers}"
