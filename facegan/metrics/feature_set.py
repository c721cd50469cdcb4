"""Features of many pictures in bounded memory; those of real pictures are kept in the cache.

Pictures go through the network in the same chunks whatever the sampler's batch, and nothing grows with their
number: Gaussians hold mean and covariance, and at most KEPT features are remembered for the metrics that
look at neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan.data import Dataset
from facegan.data.stores import found_or_built
from facegan.files import write_atomically
from facegan.metrics.distances import FirstFeatures, GaussianStatistics
from facegan.metrics.subjects import CHUNK, require_enough, shuffled
from facegan.perception.features import FeatureExtractor

KEPT = 10_000  # features for KID, precision and recall
CACHE_FORMAT = 1

Progress = Callable[[str, int, int], None]  # (what, done, total)


class FeatureSet:
    """What is kept of a stream of `count` features: Gaussians of equal parts of it, and the first KEPT."""

    def __init__(self, dim: int, count: int, *, blocks: int = 1) -> None:
        self.blocks = [GaussianStatistics(dim) for _ in range(blocks)]
        self.first = FirstFeatures(min(count, KEPT), dim)
        self._edges = [count * number // blocks for number in range(1, blocks + 1)]
        self._done = 0

    def update(self, features: Tensor) -> None:
        """Takes a chunk."""
        self.first.update(features)
        for block, edge in zip(self.blocks, self._edges, strict=True):
            part = features[: max(edge - self._done, 0)]
            if len(part):
                block.update(part)
                self._done += len(part)
                features = features[len(part) :]

    @property
    def gaussian(self) -> GaussianStatistics:
        """Of all of it."""
        return GaussianStatistics.merged(self.blocks)


def real_features(
    data: Dataset, extractor: FeatureExtractor, cache: Path, progress: Progress = lambda *_: None
) -> FeatureSet:
    """The features of all pictures of a data set, from the cache where they are there.

    Raises:
        UsageError: too few pictures, or a cache that cannot be written to.
    """
    count = len(data.names)
    require_enough(data)
    key = json.dumps([CACHE_FORMAT, data.key, extractor.protocol, CHUNK, KEPT])
    path = cache / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def build() -> FeatureSet:
        made = FeatureSet(extractor.dim, count)
        for done, features in features_of(shuffled(data, count, 0), extractor):
            made.update(features)
            progress(f"features of {data.name}", done, count)
        _write(path, made)
        return made

    return found_or_built(path.with_suffix(".lock"), lambda: _read(path, extractor.dim, count), build)


def features_of(batches: Iterable[Tensor], extractor: FeatureExtractor) -> Iterator[tuple[int, Tensor]]:
    """(pictures so far, features [CHUNK, D]) of batches of any size."""
    pictures = (picture for batch in batches for picture in batch)
    done = 0
    while chunk := list(islice(pictures, CHUNK)):
        done += len(chunk)
        yield done, extractor(torch.stack(chunk))


# ---- the cache


def _write(path: Path, features: FeatureSet) -> None:
    arrays = {"kept": features.first.features.numpy()} | features.gaussian.to_arrays()
    # savez wants to write into the middle of its file: into memory first
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def _read(path: Path, dim: int, count: int) -> FeatureSet | None:
    """What `_write` wrote, or None where it is not there or damaged."""
    features = FeatureSet(dim, count)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            features.first.update(torch.from_numpy(arrays["kept"]))
            features.blocks = [GaussianStatistics.from_arrays(arrays)]
    except Exception:  # a damaged zip ends in nearly any of them; the features can be made again
        return None
    complete = features.blocks[0].count == count and features.blocks[0].dim == dim
    return features if complete and features.first.count == min(count, KEPT) else None
