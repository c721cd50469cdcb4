"""The running mean of G as a model, and its faces: made when first asked for, kept until G has changed."""

from __future__ import annotations

import torch
from torch import Tensor

from facegan.card import Card
from facegan.data import Dataset
from facegan.images import Pixels
from facegan.models import Model
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training import growing
from facegan.training.ema import calibrated
from facegan.training.state import TrainState
from facegan.training.watch import diversity

SAMPLE_SEEDS = range(64)


class AverageModel:
    """That of a run's state, as a model called `name`."""

    def __init__(self, run: Run, state: TrainState, dataset: Dataset, name: str) -> None:
        self._run, self._state, self._dataset, self._name = run, state, dataset, name
        self._model: Model | None = None
        self._faces: Pixels | None = None
        self._reals: Tensor | None = None  # pictures that the faces are compared with

    def invalidate(self) -> None:
        """G has changed: what was made of it is of another one."""
        self._model = self._faces = None

    def model(self) -> Model:
        """The EMA generator with BatchNorm statistics of its own, and what is known of it."""
        if self._model is None:
            state = self._state
            card = Card(data=self._dataset.name, images_seen=state.images_seen)
            average, config = growing.model_at(state.average, self._run.model, state.stage)
            generator = calibrated(average, self._run.seed, config.labels)
            discriminator = growing.so_far(state.discriminator.state_dict(), state.stage)
            self._model = Model(generator, config, card, self._name, discriminator)
        return self._model

    def faces(self) -> Pixels:
        """Its faces of SAMPLE_SEEDS [N, H, W, C]."""
        if self._faces is None:
            self._faces = Sampler(self.model(), device=self._state.device.type).sample(SAMPLE_SEEDS)
        return self._faces

    def diversity(self) -> float:
        """How different its faces are, in what as many training pictures are."""
        if self._reals is None:
            self._reals = self._dataset.batch(0, len(SAMPLE_SEEDS), self._run.seed)
        return diversity(torch.from_numpy(self.faces()).permute(0, 3, 1, 2), self._reals)
