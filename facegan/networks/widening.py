"""Weights of a narrower network in a wider one that does at first what the narrower one did.

The old channels keep their places, the new ones come after them. What a new channel computes is fresh; what
an old one takes from it starts at zero, and learns. So the function stays, as in Net2WiderNet (Chen et al.
2016, arXiv 1511.05641), whose copies of channels would not survive weight demodulation. One thing moves:
where the last map of D widens, minibatch std is a mean over more channels.

Only for weights with an equalised learning rate, that are multiplied by 1 / sqrt(fan-in) when they are used
(Karras et al. 2018, arXiv 1710.10196, sec. 4.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def widened(own: Tensor, narrow: Tensor, *, last_stays: bool = False) -> Tensor | None:
    """`own` (a bias [C], map [C, H, W], matrix [O, I] or kernel [O, I, H, W]) with `narrow` in its corner.

    last_stays: the last input is no channel, and stays the last. None: `narrow` is not a narrower `own`.
    """
    axes = 1 + (own.ndim in (2, 4))
    if own.ndim != narrow.ndim or own.shape[axes:] != narrow.shape[axes:]:
        return None
    if own.ndim == 0 or any(ours < theirs for ours, theirs in zip(own.shape, narrow.shape, strict=True)):
        return None
    narrow = narrow.to(own.dtype)  # a model file's is float16
    wide, rows = own.clone(), narrow.shape[0]
    if axes == 1:
        wide[:rows] = narrow
        return wide
    inputs = torch.arange(narrow.shape[1])
    if last_stays:
        inputs[-1] = own.shape[1] - 1
    wide[:rows] = 0
    wide[:rows, inputs] = narrow * math.sqrt(own.shape[1] / narrow.shape[1])
    return wide
