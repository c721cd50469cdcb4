"""A model that is served: loaded once, with all that its answers need.

table = load_models(settings, made)      by name, the first is the default; made: after each batch
table.named("dcgan-64").batcher.submit(items)
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from facegan import models
from facegan.config import UsageError, nearest
from facegan.images import Pixels
from facegan.latents.direction_file import read_beside
from facegan.latents.directions import Direction, Directions
from facegan.networks.base import NOISE_MODES
from facegan.serve.batching import Batcher
from facegan.serve.settings import Settings
from facegan.synthesis import Sampler, check_cutoff

KEPT_DIRECTIONS = 256  # of pca and sefa, whose eigenvectors take their time


class UnknownModel(UsageError):
    """A name that no model here has."""


class SharedSampler(Sampler):
    """A sampler that several threads may use: they take turns at w and pictures, whichever model's they are.

    So a film holds up others for one batch only, and batches of two models do not slow each other down. What
    goes to the generator itself, as the search for a picture's nearest face does, runs beside them.
    """

    _turn = threading.Lock()

    def w(
        self, z: npt.NDArray[np.float64] | Tensor, psi: float = 1.0, cutoff: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """As `Sampler.w`."""
        with self._turn:
            return super().w(z, psi, cutoff, label)

    def images(self, w: Tensor, noise: str | list[Tensor] = "const") -> Pixels:
        """As `Sampler.images`."""
        with self._turn:
            return super().images(w, noise)


class Served:
    """One model: its sampler, its queue, its directions, and what it says of itself."""

    def __init__(
        self, sampler: Sampler, path: Path, settings: Settings, made: Callable[[int, float], None]
    ) -> None:
        self.sampler, self.name = sampler, sampler.model.name
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.batcher = Batcher(sampler, settings, made)
        found = read_beside(path, sampler.generator)
        self._given = {} if found is None else found.directions
        self.searching = ThreadPoolExecutor(1, "directions")  # of `direction`, one after the other
        self._direction = lru_cache(KEPT_DIRECTIONS)(self._found)
        self._directions: Directions | None = None

    def facts(self) -> dict[str, Any]:
        """What `GET /v1/models` says of it."""
        g, model = self.sampler.generator, self.sampler.model
        said = models.describe(model.config, model.card)
        return {
            "name": self.name,
            **said,
            "description": model.card.description,
            "sha256": self.digest,
            "layers": g.num_ws,
            "z_dim": g.z_dim,
            "w_dim": g.w_dim,
            "noise": list(NOISE_MODES) if g.has_noise else ["const"],
            "directions": {name: list(each.layers) for name, each in self._given.items()},
        }

    def check(self, *, noise: str, label: str, cutoff: int | None = None) -> None:
        """Checks before it waits in a queue what a request asks of this model.

        Raises:
            UsageError: a cutoff or label that it does not know, or noise other than "const" without inputs.
        """
        check_cutoff(cutoff, self.sampler.generator.num_ws)
        if noise != "const" and not self.sampler.generator.has_noise:
            raise UsageError(f"noise {noise!r}: model {self.name!r} has no noise inputs; leave it out")
        self.sampler.labels.parse(label)

    def direction(self, name: str, layers: Sequence[int] | None) -> Direction:
        """The direction of that name; the first pca or sefa measures w for a while. For one thread.

        Raises:
            UsageError: none, or a model without directions.
        """
        return self._direction(name, None if layers is None else tuple(layers))

    def close(self) -> None:
        """Makes what waits, and ends the threads."""
        self.searching.shutdown()
        self.batcher.close()

    def _found(self, name: str, layers: tuple[int, ...] | None) -> Direction:
        if self._directions is None:
            self._directions = Directions(self.sampler, given=self._given)
        return self._directions.named(name, layers)


@dataclass(frozen=True)
class Table:
    """The models that are served, by name; the first is the default."""

    models: dict[str, Served]

    def named(self, name: str) -> Served:
        """The model of that name; "" is the default.

        Raises:
            UnknownModel: none is called so.
        """
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            has = ", ".join(self.models)
            raise UnknownModel(f"model {name[:80]!r}: one of {has}{nearest(name, self.models)}")
        return self.models[name]

    def close(self) -> None:
        """Makes what waits, and ends the threads."""
        for each in self.models.values():
            each.close()


def load_models(
    settings: Settings, made: Callable[[str, int, float], None] = lambda name, pictures, seconds: None
) -> Table:
    """The models of the settings, each ready: it has made one picture.

    made(name, pictures, seconds): called after each batch.

    Raises:
        UsageError: nothing of that name, damaged, or two of one name.
    """
    table = Table({})
    try:
        for name in settings.models:
            path = models.find(name)
            sampler = SharedSampler(
                models.load(name),
                device=settings.device,
                precision=settings.precision,
                batch=settings.max_batch,
            )
            called = sampler.model.name
            if called in table.models:
                raise UsageError(f"--model {name!r}: a model called {called!r} is served already; rename one")
            sampler.images(sampler.generator.w_avg.expand(1, sampler.generator.num_ws, -1))
            table.models[called] = Served(sampler, path, settings, partial(made, called))
    except BaseException:
        table.close()
        raise
    return table
