"""Features of many pictures in bounded memory; those of real pictures are kept in the cache.

Pictures go through the network in the same chunks whatever the sampler's batch, and nothing grows with their
number: Gaussians hold mean and covariance, and at most KEPT features are remembered for the metrics that
look at neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from facegan.data import Dataset
from facegan.files import require_writable, write_atomically
from facegan.metrics.distances import FirstFeatures, GaussianStatistics
from facegan.metrics.subjects import CHUNK, shuffled
from facegan.perception.features import FeatureExtractor

BLOCKS = 10  # for the interval of FD
KEPT = 10_000  # features for KID, precision and recall
CACHE_FORMAT = 1

Progress = Callable[[str, int, int], None]  # (what, done, total)


class FeatureSet:
    """What is kept of a stream of features [n, D]: Gaussians of its blocks, and the first KEPT."""

    def __init__(self, dim: int, count: int) -> None:
        self.blocks = [GaussianStatistics(dim) for _ in range(BLOCKS)]
        self.first = FirstFeatures(min(count, KEPT), dim)
        self._chunks = 0

    def update(self, features: Tensor) -> None:
        """Takes a chunk; chunks go to the blocks in turn."""
        self.blocks[self._chunks % BLOCKS].update(features)
        self._chunks += 1
        self.first.update(features)

    @property
    def gaussian(self) -> GaussianStatistics:
        """Of all of it."""
        return GaussianStatistics.merged(self.blocks)


def real_features(
    data: Dataset, extractor: FeatureExtractor, cache: Path, progress: Progress = lambda *_: None
) -> FeatureSet:
    """The features of all pictures of a data set, from the cache where they are there.

    Raises:
        UsageError: the cache cannot be written to.
    """
    key = json.dumps([CACHE_FORMAT, data.key, extractor.protocol, BLOCKS, CHUNK, KEPT])
    path = cache / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    count = len(data.names)
    found = _read(path, extractor.dim, count)
    if found is None:
        require_writable(path.parent, "data cache (FACEGAN_CACHE names another)")
        found = FeatureSet(extractor.dim, count)
        for done, features in features_of(shuffled(data, count, 0), extractor):
            found.update(features)
            progress(data.name, done, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, found)
    return found


def features_of(batches: Iterable[Tensor], extractor: FeatureExtractor) -> Iterator[tuple[int, Tensor]]:
    """(pictures so far, features [CHUNK, D]) of batches of any size."""
    pictures = (picture for batch in batches for picture in batch)
    done = 0
    while chunk := list(islice(pictures, CHUNK)):
        done += len(chunk)
        yield done, extractor(torch.stack(chunk))


# ---- the cache


def _write(path: Path, features: FeatureSet) -> None:
    arrays = {"kept": features.first.features.numpy()}
    for number, block in enumerate(features.blocks):
        arrays |= {f"{number}.{name}": array for name, array in block.to_arrays().items()}

    def write(file: IO[bytes]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        file.write(buffer.getbuffer())

    write_atomically(path, write)


def _read(path: Path, dim: int, count: int) -> FeatureSet | None:
    """What `_write` wrote, or None where it is not there or damaged."""
    features = FeatureSet(dim, count)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            features.first.update(torch.from_numpy(arrays["kept"]))
            for number in range(BLOCKS):
                names = [name for name in arrays.files if name.startswith(f"{number}.")]
                block = {name.split(".", 1)[1]: arrays[name] for name in names}
                features.blocks[number] = GaussianStatistics.from_arrays(block)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    complete = sum(block.count for block in features.blocks) == count
    return features if complete and features.first.count == min(count, KEPT) else None
