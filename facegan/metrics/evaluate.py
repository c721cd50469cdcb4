"""Measures a model, or a set of pictures, against real pictures.

subject  --pictures-->  features  --.
                                     }-- distances --> Evaluation: numbers with their protocol
data     --pictures-->  features  --'      (these are kept in the cache)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import facegan
from facegan.card import Evaluation, Value
from facegan.config import UsageError, choose
from facegan.data import Dataset
from facegan.data.dataset import default_cache
from facegan.images import Pixels
from facegan.metrics.closest import Pair, closest_pairs, sheet
from facegan.metrics.distances import Interval, bootstrap, frechet_interval, kernel_interval
from facegan.metrics.feature_set import FeatureSet, Progress, features_of, real_features
from facegan.metrics.neighbours import inside_manifolds, nearness, neighbourhoods
from facegan.metrics.subjects import Subject, opened
from facegan.perception.features import FeatureExtractor, check_extractor, extractor
from facegan.run import FEWER, MIN_SAMPLES
from facegan.runtime import choose_device

METRICS = ("fd", "kid", "pr")  # those taken where none are named
Closest = Callable[[Sequence[Pair], Pixels], None]
BLOCKS = 10  # of the subject's pictures, for the interval of FD


def evaluate(
    subject: Subject,
    data: Dataset,
    real: FeatureSet,
    network: FeatureExtractor,
    *,
    metrics: Iterable[str] = METRICS,
    samples: int = 10_000,
    closest: Closest | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """The subject's numbers against the pictures of `data`, whose features (real_features) are `real`.

    fd: the Frechet distance; kid: the kernel distance; pr: precision, recall, density and coverage; auth:
    authenticity; each with a 95 % interval. All compare only at equal numbers of samples: a Frechet distance
    falls with them. closest: gets the made pictures that are nearest to real ones, and a sheet of them.

    Raises:
        UsageError: an unknown metric, too few samples, a subject without so many.
    """
    metrics = _chosen(metrics, samples)
    pictures = subject.pictures(samples)
    fake = FeatureSet(network.dim, samples, blocks=BLOCKS)
    for done, features in features_of(pictures, network):
        fake.update(features)
        progress(f"samples of {subject.name}", done, samples)
    values: list[Value] = []
    for number, metric in enumerate(metrics):
        progress("distances", number, len(metrics))
        found = _MEASURES[metric](real, fake)
        values += [_named(name, interval, network) for name, interval in found.items()]
    progress("distances", len(metrics), len(metrics))
    if closest is not None:
        pairs = closest_pairs(subject, data, real, fake)
        closest(pairs, sheet(subject, data, pairs))
    return Evaluation(
        subject=subject.name,
        subject_key=subject.key,
        images_seen=subject.images_seen,
        samples=samples,
        seed=subject.seed,
        psi=subject.psi,
        precision=subject.precision,
        noise=subject.noise,
        data=data.name,
        data_key=data.key,
        reals=len(data.names),
        resolution=data.size[0],
        width=None if data.size[0] == data.size[1] else data.size[1],
        crop=data.crop,
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
    metrics: Sequence[str] = METRICS,
    samples: int = 10_000,
    device: str = "auto",
    cache: Path | None = None,
    closest: Closest | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """`evaluate` against a folder or zip, cut to the subject's size, by the name of the features.

    cache: of the cut pictures and of their features; None: default_cache().

    Raises:
        UsageError: as `evaluate`; also no such data, crop, features or device, or too few pictures.
    """
    check_request(metrics, samples, features, features_file)  # before the work begins
    subject.pictures(samples)
    network = extractor(features, file=features_file, device=choose_device(device))
    reals = opened(
        data,
        crop,
        size=subject.size,
        channels=subject.channels,
        cache=cache,
        progress=lambda done, total: progress(f"reading {data}", done, total),
    )
    real = real_features(reals, network, cache or default_cache(), progress)
    return evaluate(
        subject,
        reals,
        real,
        network,
        metrics=metrics,
        samples=samples,
        closest=closest,
        progress=progress,
    )


def check_request(
    metrics: Sequence[str], samples: int, features: str, features_file: Path | None = None
) -> None:
    """Checks before a picture is read or made what `measure` is asked for.

    Raises:
        UsageError: unknown metrics or features, too few samples, a file that is not there or has no effect.
    """
    _chosen(metrics, samples)
    check_extractor(features, features_file)


def _chosen(metrics: Iterable[str], samples: int) -> list[str]:
    if samples < MIN_SAMPLES:
        raise UsageError(f"samples {samples:,}: at least {MIN_SAMPLES}; {FEWER}")
    chosen = [choose("metric", metric.strip(), _MEASURES) for metric in metrics]
    if not chosen:
        raise UsageError(f"no metrics: some of {', '.join(_MEASURES)}")
    return list(dict.fromkeys(chosen))


# ---- the metrics


def _frechet(real: FeatureSet, fake: FeatureSet) -> dict[str, Interval]:
    return {"FD": frechet_interval(real.gaussian, fake.blocks)}


def _kernel(real: FeatureSet, fake: FeatureSet) -> dict[str, Interval]:
    return {"KID": kernel_interval(real.first.features, fake.first.features)}


def _neighbours(real: FeatureSet, fake: FeatureSet) -> dict[str, Interval]:
    """With intervals for the draw of the samples whose mean each is: of fakes, reals, fakes, reals."""
    fake_inside, real_inside = inside_manifolds(real.first.features, fake.first.features)
    densities, covered = neighbourhoods(real.first.features, fake.first.features)
    values = {"precision": fake_inside, "recall": real_inside, "density": densities, "coverage": covered}
    return {name: bootstrap(each) for name, each in values.items()}


def _authentic(real: FeatureSet, fake: FeatureSet) -> dict[str, Interval]:
    near, _ = nearness(real.first.features, fake.first.features)
    return {"authenticity": bootstrap((near > 1).double())}


_MEASURES = {"fd": _frechet, "kid": _kernel, "pr": _neighbours, "auth": _authentic}


def _named(metric: str, interval: Interval, network: FeatureExtractor) -> Value:
    """A number under its full name; a Frechet distance has the name that the network gives it."""
    name = network.distance if metric == "FD" else f"{metric}-{network.label}"
    return Value(name, interval.value, interval.low, interval.high)
