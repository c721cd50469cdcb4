"""Directions in w along which faces change: found here without labels, or given by name.

    sefa    what the styles of some layers amplify most (Shen and Zhou 2021, arXiv 2007.06600)
    pca     where w varies most (Harkonen et al. 2020, GANSpace, arXiv 2004.02546)
    smile   and other names: of a file (direction_file), fitted to attributes (attributes)

    w' = w + strength * deviation * vector      in the direction's layers, the others stay

One unit of strength is one standard deviation of w along the direction, over the model's own w.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan.config import UsageError, choose, is_whole, nearest
from facegan.synthesis import Sampler

SAMPLES = 10_000  # seeds 0, 1, ... whose w are measured
MAX_STRENGTH = 100.0
KINDS = ("pca", "sefa")

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Direction:
    """vector [w_dim], of length 1; deviation: the standard deviation of w along it; source: what found it."""

    name: str
    vector: Vectors
    deviation: float
    layers: tuple[int, ...]
    source: str = ""

    def shift(self, num_ws: int) -> Tensor:
        """What one unit of strength adds to w [num_ws, w_dim], float32."""
        step = torch.zeros(num_ws, len(self.vector))
        step[list(self.layers)] = torch.from_numpy(self.deviation * self.vector).float()
        return step


class Directions:
    """A model's directions by name: "pca:0", "sefa:3", and those that are given, such as a file's.

    Raises:
        UsageError: a model whose w is z itself, in which no direction is more than another.
    """

    def __init__(
        self, sampler: Sampler, samples: int | None = None, given: Mapping[str, Direction] | None = None
    ) -> None:
        generator = sampler.generator
        if not generator.style_weights():
            raise UsageError(
                f"model {sampler.model.name!r}: a {sampler.model.config.architecture} has no styles and no "
                "directions; those of a StyleGAN do"
            )
        self._sampler, self._samples, self.given = sampler, samples or SAMPLES, given or {}

    @cached_property
    def covariance(self) -> Vectors:
        """Of w [w_dim, w_dim], over the seeds 0, 1, ..., in float64."""
        rows = own_w(self._sampler, self._samples).double().numpy()
        covariance: Vectors = np.cov(rows, rowvar=False)
        return covariance

    def named(self, name: str, layers: Sequence[int] | None = None) -> Direction:
        """The direction of that name, in those layers; None: in its own if it is a given one, else in all.

        Raises:
            UsageError: no such name or kind, or a number beyond w's; sefa without a layer that has a style.
        """
        if name in self.given:
            given = self.given[name]
            return given if layers is None else replace(given, layers=tuple(layers))
        kind, colon, text = name.partition(":")
        if not (colon and is_whole(text)):
            if not (self.given or colon):
                raise UsageError(
                    f"direction {name!r}: this model has no attribute directions; "
                    "latents.attributes.fit_directions makes them (docs/editing.md), and pca:0, sefa:3 and "
                    "the like every StyleGAN has"
                )
            has = f"one of {', '.join(self.given)}, or " if self.given else ""
            hint = nearest(name, self.given)
            raise UsageError(f"direction {name!r}: {has}such as pca:0 or sefa:3{hint}")
        layers = range(self._sampler.generator.num_ws) if layers is None else layers
        choose("kind of direction", kind, KINDS)
        count = self._sampler.generator.w_dim
        if len(text) > 9 or int(text) >= count:
            raise UsageError(f"direction {name[:40]!r}: 0 to {count - 1}, as many as w has numbers")
        number = int(text)
        vectors = self._pca if kind == "pca" else self._sefa(layers)
        return self._measured(f"{kind}:{number}", vectors[number], layers)

    def first(self, kind: str, count: int, layers: Sequence[int] | None = None) -> Iterator[Direction]:
        """The strongest ones of a kind."""
        for number in range(min(count, self._sampler.generator.w_dim)):
            yield self.named(f"{kind}:{number}", layers)

    @cached_property
    def _pca(self) -> Vectors:
        return principal(self.covariance)

    def _sefa(self, layers: Sequence[int]) -> Vectors:
        weights = self._sampler.generator.style_weights()
        chosen = [weights[layer].detach().cpu().double().numpy() for layer in layers if layer < len(weights)]
        if not chosen:
            raise UsageError(f"sefa: none of the layers {', '.join(map(str, layers))} has a style of its own")
        return semantic(chosen)

    def _measured(self, name: str, vector: Vectors, layers: Sequence[int]) -> Direction:
        variance = float(vector @ self.covariance @ vector)
        source = "w" if name.startswith("pca") else "styles"
        return Direction(name, vector, math.sqrt(max(variance, 0.0)), tuple(layers), source)


def own_w(sampler: Sampler, samples: int) -> Tensor:
    """w [samples, w_dim] of the seeds 0, 1, ..., on the CPU."""
    return torch.cat([w[:, 0].cpu() for _, w in sampler.stream_w(range(samples))])


def principal(matrix: Vectors) -> Vectors:
    """Eigenvectors of a symmetric matrix [D, D], a row each, the largest eigenvalue first.

    Each has its largest number above 0, so that a sign is not the library's choice.
    """
    vectors = np.linalg.eigh(matrix)[1].T[::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    signed: Vectors = vectors * np.sign(largest)
    return signed


def semantic(weights: Sequence[Vectors]) -> Vectors:
    """SeFa of style weights, each [C, w_dim]: w's directions [w_dim, w_dim], those that change most first.

    Eigenvectors of A^T A, A the rows of all weights, each brought to length 1 (sec. 3.2).
    """
    rows = np.concatenate(weights)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return principal(rows.T @ rows)


def moved(w: Tensor, directions: Sequence[tuple[Direction, float]]) -> Tensor:
    """w [N, L, W] moved along directions, each by its strength; after truncation, so that a step is one.

    Raises:
        UsageError: a strength beyond all sense.
    """
    for direction, strength in directions:
        if not abs(strength) <= MAX_STRENGTH:
            raise UsageError(
                f"strength {strength:g} of {direction.name}: {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}, "
                "usually -3 to 3"
            )
        w = w + strength * direction.shift(w.shape[1]).to(w.device)
    return w
