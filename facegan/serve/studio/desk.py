"""What all tabs work with: the models, opened when first used, the gallery, and the folder of runs.

desk = Desk(["stylegan2-64-tiny", "dcgan-64"], gallery=Gallery(folder), runs=Path("runs"))
opened = desk.open("dcgan-64")
opened.pictures([face, ...])       uint8 [N, H, W, C]
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan import models
from facegan.config import UsageError, choose
from facegan.images import Pixels
from facegan.known import DEFAULT_MODEL
from facegan.latents.direction_file import fingerprint, read_beside
from facegan.latents.directions import Directions
from facegan.serve.served import SharedSampler
from facegan.serve.studio.faces import Face, from_png, to_png
from facegan.serve.studio.gallery import Gallery
from facegan.synthesis import Sampler


class Opened:
    """A model in use: its sampler, and its directions."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.path = name, models.find(name)
        self.sampler: Sampler = SharedSampler(models.load(name), device=device)

    @property
    def title(self) -> str:
        """The model's own name, which its pictures say."""
        return self.sampler.model.name

    @property
    def num_ws(self) -> int:
        """How many layers with a style it has."""
        return self.sampler.generator.num_ws

    @cached_property
    def fingerprint(self) -> str:
        """Of its weights."""
        return fingerprint(self.sampler.generator)

    @cached_property
    def directions(self) -> Directions:
        """Its directions, those of the file beside it among them.

        Raises:
            UsageError: a model without styles.
        """
        known = Directions(self.sampler)  # refuses models without, before their file is looked at
        if (found := read_beside(self.path, self.sampler.generator)) is not None:
            known.given = found.directions
        return known

    def tensor(self, faces: Sequence[Face]) -> Tensor:
        """w [N, num_ws, w_dim] of faces of this model."""
        w = torch.from_numpy(np.stack([face.w for face in faces]))
        return w.to(self.sampler.generator.w_avg.device)

    def pictures(self, w: Tensor | Sequence[Face]) -> Pixels:
        """uint8 [N, H, W, C] of w [N, num_ws, w_dim], or of faces of this model."""
        return self.sampler.pictures(w if isinstance(w, Tensor) else self.tensor(w))

    def png(self, face: Face, pixels: Pixels | None = None) -> bytes:
        """The face as a PNG that can be opened again."""
        picture = self.pictures([face])[0] if pixels is None else pixels
        return to_png(face, picture, self.title, self.fingerprint)


class Desk:
    """The models by the names they were given, each loaded when it is first asked for.

    Raises:
        UsageError: a name that is no model.
    """

    def __init__(
        self, names: Sequence[str] = (), *, gallery: Gallery, runs: Path = Path("runs"), device: str = "auto"
    ) -> None:
        shipped = sorted(models.shipped(), key=lambda name: name != DEFAULT_MODEL)
        self.names = list(dict.fromkeys(names)) or shipped
        for name in self.names:
            models.find(name)
        self.gallery, self.runs = gallery, runs
        self._device, self._lock = device, threading.Lock()
        self._opened: dict[str, Opened] = {}

    def open(self, name: str) -> Opened:
        """The model of that name.

        Raises:
            UsageError: not one of the studio's, or not usable.
        """
        choose("model", name, self.names)
        with self._lock:
            if name not in self._opened:
                self._opened[name] = Opened(name, self._device)
            return self._opened[name]

    def keep(self, face: Face) -> str:
        """Writes a face into the gallery and returns the name of its file."""
        return self.gallery.add(self.open(face.model).png(face))

    def read(self, data: bytes) -> Face:
        """The face of a saved PNG, of one of the studio's models.

        Raises:
            UsageError: not one that the studio saved, or of a model that is not here.
        """
        saved = from_png(data)
        versions = False
        for name in self.names:
            opened = self.open(name)
            if saved.fingerprint == opened.fingerprint:
                generator = opened.sampler.generator
                return saved.face(name, generator.num_ws, generator.w_dim)
            versions |= saved.model == opened.title
        if versions:
            raise UsageError(
                f"it was made by an earlier or another version of {saved.model!r}, whose weights differ; its "
                "picture stays, but only that version can go on with it"
            )
        raise UsageError(
            f"its model {saved.model[:60]!r} is not open here; start the studio with --model and its file"
        )
