"""Measures a model, or a set of pictures, against real pictures.

subject  --pictures-->  features  --.
                                     }-- distances --> Evaluation: numbers with their protocol
data     --pictures-->  features  --'      (these are kept in the cache)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import facegan
from facegan.card import Evaluation, Value
from facegan.config import UsageError, choose
from facegan.data import Dataset
from facegan.data.dataset import default_cache
from facegan.metrics.distances import (
    NORMAL_95,
    density_coverage,
    frechet_interval,
    kernel_distance,
    precision_recall,
)
from facegan.metrics.feature_set import FeatureSet, Progress, features_of, real_features
from facegan.metrics.subjects import Subject, opened
from facegan.perception.features import FeatureExtractor, extractor
from facegan.presets import MIN_SAMPLES
from facegan.runtime import choose_device

METRICS = ("fd", "kid", "pr")
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1_000  # as published


def evaluate(
    subject: Subject,
    data: Dataset,
    network: FeatureExtractor,
    *,
    metrics: Iterable[str] = METRICS,
    samples: int = 10_000,
    cache: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """The subject's numbers against all pictures of `data` (give it unmirrored).

    fd: the Frechet distance, named after the features, with a 95 % interval; kid: with one too; pr:
    precision, recall, density and coverage. All compare only at equal numbers of samples: FD falls with them.

    Raises:
        UsageError: an unknown metric, too few samples, a subject without so many.
    """
    metrics = _checked(metrics, samples)
    if len(data.names) < MIN_SAMPLES:
        raise UsageError(f"{data.name}: {len(data.names):,} usable pictures; at least {MIN_SAMPLES}")
    pictures = subject.pictures(samples)
    real = real_features(data, network, cache or default_cache(), progress)
    fake = FeatureSet(network.dim, samples)
    for done, features in features_of(pictures, network):
        fake.update(features)
        progress(subject.name, done, samples)
    values: list[Value] = []
    for number, metric in enumerate(metrics):
        progress("distances", number, len(metrics))
        values += _MEASURES[metric](real, fake, network.distance.removeprefix("FD-"))
    progress("distances", len(metrics), len(metrics))
    return Evaluation(
        subject=subject.name,
        images_seen=subject.images_seen,
        samples=samples,
        seed=subject.seed,
        psi=subject.psi,
        precision=subject.precision,
        data=data.name,
        data_key=data.key,
        reals=len(data.names),
        resolution=data.resolution,
        features=network.protocol,
        version=facegan.__version__,
        values=tuple(values),
    )


def measure(
    subject: Subject,
    data: str,
    *,
    crop: str = "center",
    features: str = "efficientnet",
    features_file: Path | None = None,
    metrics: Iterable[str] = METRICS,
    samples: int = 10_000,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """`evaluate` against a folder or zip, cut to the subject's size, by the name of the features.

    Raises:
        UsageError: as `evaluate`; also no such data, crop, features or device.
    """
    metrics = _checked(metrics, samples)  # before the work begins
    network = extractor(features, file=features_file, device=choose_device(device))
    reals = opened(data, crop, resolution=subject.resolution, channels=subject.channels)
    return evaluate(subject, reals, network, metrics=metrics, samples=samples, progress=progress)


def _checked(metrics: Iterable[str], samples: int) -> list[str]:
    if samples < MIN_SAMPLES:
        raise UsageError(f"samples {samples:,}: at least {MIN_SAMPLES}")
    chosen = [choose("metric", metric, METRICS) for metric in metrics]
    if not chosen:
        raise UsageError(f"no metrics: some of {', '.join(METRICS)}")
    return chosen


# ---- the metrics


def _frechet(real: FeatureSet, fake: FeatureSet, features: str) -> list[Value]:
    name = features if features.startswith("FID") else f"FD-{features}"
    interval = frechet_interval(real.gaussian, [block for block in fake.blocks if block.count])
    return [Value(name, interval.value, interval.low, interval.high)]


def _kernel(real: FeatureSet, fake: FeatureSet, features: str) -> list[Value]:
    """With an interval that allows for the overlap of the subsets (see kernel_distance)."""
    value, error = kernel_distance(
        real.first.features, fake.first.features, subsets=KID_SUBSETS, subset_size=KID_SUBSET_SIZE
    )
    smaller = min(real.first.count, fake.first.count)
    overlap = KID_SUBSETS * min(KID_SUBSET_SIZE, smaller) / smaller
    reach = NORMAL_95 * error * max(1.0, overlap) ** 0.5
    return [Value(f"KID-{features}", value, value - reach, value + reach)]


def _neighbours(real: FeatureSet, fake: FeatureSet, features: str) -> list[Value]:
    precision, recall = precision_recall(real.first.features, fake.first.features)
    density, coverage = density_coverage(real.first.features, fake.first.features)
    return [
        Value(f"precision-{features}", precision),
        Value(f"recall-{features}", recall),
        Value(f"density-{features}", density),
        Value(f"coverage-{features}", coverage),
    ]


_MEASURES = {"fd": _frechet, "kid": _kernel, "pr": _neighbours}
