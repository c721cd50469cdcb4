"""One micro-batch of a training step: its reals, its fakes, and every random number of it.

All draws are functions of (seed, the micro-batch's first image, purpose): one process and several draw
the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facegan.data import Dataset
from facegan.images import to_float
from facegan.losses import Player
from facegan.presets import Run
from facegan.randomness import Purpose, torch_generator
from facegan.training.state import TrainState


class TrainingBatch:
    """losses.MicroBatch over the state; latents are a function of (seed, first image).

    With `keep_fake` G's images are made once, with their graph, for all phases of the step. Without it (the
    graphs of several micro-batches would pile up) every phase makes the same ones again, D's without a graph.
    """

    def __init__(self, state: TrainState, run: Run, dataset: Dataset, first: int) -> None:
        pixels = dataset.batch(first, run.micro_batch, run.seed)
        self.real = to_float(pixels.to(state.device)).contiguous(memory_format=torch.channels_last)
        self.player: Player = "D"  # whose phase it is
        self._state, self._seed, self._first = state, run.seed, first
        self._keep_fake = run.micro_batch == run.batch
        self._mixing = run.loss.mixing
        self.w_mean: Tensor | None = None  # of this micro-batch's latents
        self.memories: dict[str, Tensor] = {}
        self._fake: Tensor | None = None

    def fake(self) -> Tensor:
        """G's images [N, C, H, W]."""
        if self._fake is not None:
            return self._fake
        count, generator = len(self.real), self._state.generator
        with torch.set_grad_enabled(self._keep_fake or self.player == "G"):
            w = generator.mapping(self._latents(count, Purpose.LATENT))
            self.w_mean = w[:, 0].detach().mean(dim=0)
            fake = generator.synthesis(self._mixed(w), self._noise(count, Purpose.NOISE))
        if self._keep_fake:
            self._fake = fake
        return fake

    def _latents(self, count: int, purpose: Purpose) -> Tensor:
        """z [N, z_dim]."""
        return torch.randn(count, self._state.generator.z_dim, **self._random(purpose))

    def _noise(self, count: int, purpose: Purpose) -> list[Tensor]:
        """A map [N, 1, H, W] for each layer of G that has noise."""
        random = self._random(purpose)
        return [torch.randn(count, *shape, **random) for shape in self._state.generator.noise_shapes()]

    def _mixed(self, w: Tensor) -> Tensor:
        """w [N, L, W], by chance with the last layers' styles of second latents, from a drawn layer on."""
        if self._mixing <= 0 or w.shape[1] < 2:
            return w
        random = torch_generator(self._seed, self._first, Purpose.CUTOFF)  # on the CPU: it decides on shapes
        is_mixed = float(torch.rand((), generator=random)) < self._mixing
        cutoff = int(torch.randint(1, w.shape[1], (), generator=random))
        if not is_mixed:
            return w
        second = self._state.generator.mapping(self._latents(len(w), Purpose.MIXING))
        return torch.cat([w[:, :cutoff], second[:, cutoff:]], dim=1)

    def _random(self, purpose: Purpose) -> dict[str, Any]:
        """torch.randn's keywords: this micro-batch's generator for a purpose, and the device."""
        device = self._state.device
        return {"generator": torch_generator(self._seed, self._first, purpose, device), "device": device}

    def path(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """w [n, L, W] of fresh latents, their images [n, C, H, W], and normal noise like the images."""
        generator, random = self._state.generator, self._random(Purpose.PATH)
        w = generator.mapping(torch.randn(count, generator.z_dim, **random))
        noise = [torch.randn(count, *shape, **random) for shape in generator.noise_shapes()]
        image = generator.synthesis(w, noise)
        return w, image, torch.randn(image.shape, **random)

    def recall(self, name: str) -> Tensor:
        """The loss's number of that name."""
        return self._state.loss_memory.get(name, torch.zeros([], device=self._state.device))

    def remember(self, name: str, value: Tensor) -> None:
        """This micro-batch's new value of a number of the loss."""
        self.memories[name] = value

    def logits(self, image: Tensor) -> Tensor:
        """D's logits [N]."""
        logits: Tensor = self._state.discriminator(image)
        return logits

    def uniform(self) -> Tensor:
        """Numbers in [0, 1), one a sample [N]."""
        return torch.rand(len(self.real), **self._random(Purpose.PENALTY))

    def generator_changed(self) -> None:
        """Forgets the images of the generator that was."""
        self._fake = None
