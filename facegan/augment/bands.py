"""Pictures whose frequency bands are amplified or damped.

The bank of 4 filters is made of the wavelet sym2 (Karras et al. 2020, arXiv 2006.06676, app. B). With its
low-pass h and high-pass g, L(z) = H(z) H(1/z) / 2 and G(z) likewise have no phase, and L + G = 1:

    [pi/2, pi]    G(z)
    [pi/4, pi/2]  L(z) G(z^2)
    [pi/8, pi/4]  L(z) L(z^2) G(z^4)
    [0, pi/8]     L(z) L(z^2) L(z^4)
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from torch import Tensor

from facegan.augment.pixels import by_image
from facegan.augment.resampling import Array, constant, reflection, separable, taps_at

SYM2: Array = np.array([-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025])
BANDS = 4
POWERS = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # how natural pictures share theirs among the bands


def amplify(x: Tensor, octaves: Tensor) -> Tensor:
    """x [N, C, H, W] with band b amplified by 2^octaves[:, b] (octaves [N, 4], lowest band first).

    After each band all are divided by what it does to the power of a picture that shares it out as POWERS.
    Lines and columns are filtered alike, reflected at the borders. Octaves of 0 leave a picture as it is.
    """
    gains = octaves.exp2()  # [N, 4]
    for band, power in enumerate(POWERS):
        gains = gains / (1 + power * (octaves[:, band : band + 1].exp2().square() - 1)).sqrt()
    rows, columns = (
        torch.tensordot(gains.to(x.dtype), constant(band_matrices, size, x), dims=1)[:, None]
        for size in x.shape[2:]
    )  # [N, 1, H, H], [N, 1, W, W]
    untouched = (octaves == 0).all(dim=1)
    return torch.where(by_image(untouched), x, separable(x, rows, columns))


def filter_bank() -> Array:
    """The 4 bands' filters [4, 43], lowest band first, each symmetric about its middle; together a delta."""
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    high = -low * (-1.0) ** np.arange(len(low))  # g[k] = (-1)^k h[3 - k]
    low2, low4, high2, high4 = (_stretched(taps, step) for taps in (low, high) for step in (2, 4))
    bands = (low, low2, low4), (low, low2, high4), (low, high2), (high,)
    filters = [reduce(np.convolve, band) for band in bands]
    length = len(filters[0])
    return np.stack([np.pad(taps, (length - len(taps)) // 2) for taps in filters])


def _stretched(taps: Array, step: int) -> Array:
    """Zeros between the taps: z^step for z."""
    stretched = np.zeros(step * (len(taps) - 1) + 1)
    stretched[::step] = taps
    return stretched


def band_matrices(size: int) -> Array:
    """The filters of the bank as matrices [4, size, size] on a reflected line."""
    bank = filter_bank()
    pad = bank.shape[1] // 2
    places = np.arange(size)[:, None] - np.arange(-pad, size + pad) + pad
    return np.stack([taps_at(taps, places) @ reflection(size, pad) for taps in bank])
