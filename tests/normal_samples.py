"""Normally distributed features, for tests of distances."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(seed: int, num: int, dim: int) -> Tensor:
    """float64 [num, dim] of mean 0 and deviation 1."""
    return torch.randn(num, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
