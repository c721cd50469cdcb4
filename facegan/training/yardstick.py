"""Distances while training: EMA samples against the training pictures, and the best model kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from facegan.card import Evaluation
from facegan.config import UsageError
from facegan.data import Dataset
from facegan.data.dataset import default_cache
from facegan.metrics.evaluate import evaluate
from facegan.metrics.feature_set import real_features
from facegan.metrics.subjects import model_subject
from facegan.models import Model, read_header
from facegan.models import save as save_model
from facegan.perception.features import FeatureExtractor
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training.run_folder import RunFolder


class Yardstick:
    """The Frechet distance of a run's models, into metrics.jsonl; the best one into best.safetensors.

    The real pictures' features are made, or read from the cache, when it is.

    Raises:
        UsageError: too few pictures, or a cache that cannot be written to.
    """

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        dataset: Dataset,
        network: FeatureExtractor,
        progress: Callable[[int, int], None],
    ) -> None:
        self._run, self._folder, self._dataset, self._network = run, folder, dataset, network
        self._real = real_features(
            dataset, network, default_cache(), lambda what, done, total: progress(done, total)
        )

    def measure(self, model: Model) -> tuple[Evaluation, bool]:
        """The distance of this model, and whether it is the best so far by the same protocol."""
        sampler = Sampler(model, device=self._run.device)
        samples = self._run.measure.samples
        result = evaluate(
            model_subject(sampler), self._dataset, self._real, self._network, metrics=("fd",), samples=samples
        )
        (distance,) = result.values
        line = {"images_seen": result.images_seen, distance.name: distance.value, "samples": samples}
        self._folder.append_metrics(line | {"low": distance.low, "high": distance.high})
        best = distance.value < self._best_so_far(result)
        if best:
            save_model(self._folder.best_path, replace(model, card=replace(model.card, metrics=(result,))))
        return result, best

    def best_age(self, images_seen: int) -> int:
        """How many images ago the model that is kept was measured; 0 where there is none."""
        try:
            return images_seen - read_header(self._folder.best_path)[1].metrics[0].images_seen
        except (UsageError, IndexError):
            return 0

    def _best_so_far(self, result: Evaluation) -> float:
        """The distance of the model that is kept, if it was measured in the same way."""
        try:
            kept = read_header(self._folder.best_path)[1].metrics[0]
        except (UsageError, IndexError):  # there is none yet, or it is damaged
            return math.inf
        same = replace(kept, images_seen=result.images_seen, values=result.values) == result
        return kept.values[0].value if same else math.inf
