"""One micro-batch of a training step: its reals, its fakes, and every random number of it.

All draws are made for the whole batch, as functions of (seed, the batch's first image, purpose), of which a
micro-batch takes its part: a step in several parts is the step in one. BatchNorm's statistics and the path
length's mean are of the part, and minibatch std is computed within one micro-batch, in smaller groups where
the batch's would be larger than that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facegan.data import Dataset
from facegan.images import to_float
from facegan.losses import Kind, Player
from facegan.randomness import Purpose, torch_generator
from facegan.run import Run
from facegan.training.growing import reals_at
from facegan.training.state import TrainState


class TrainingBatch:
    """losses.MicroBatch over the state: part `part` of the batch that begins with image `first`.

    With `keep_fake` G's images are made once, with their graph, for all phases of the step. Without it (the
    graphs of several micro-batches would pile up) every phase makes the same ones again, D's without a graph.
    """

    def __init__(
        self,
        state: TrainState,
        run: Run,
        dataset: Dataset,
        first: int,
        part: int = 0,
        *,
        keep_fake: bool = True,
    ) -> None:
        self._state, self._first, self._part = state, first, part
        self._seed, self._retry = run.seed, state.retry
        places = rows(run, part)
        self._of, self._rows = run.batch, places.to(state.device)
        numbers = dataset.stream(first, run.batch, run.seed)[places.numpy()]
        pixels = dataset.pictures(numbers).to(state.device)
        dataset.ahead(first + run.batch, run.batch, run.seed, places)
        self._stage = state.stage
        real = reals_at(to_float(pixels), state.stage, run.model)
        self.real = real.contiguous(memory_format=torch.channels_last)
        self._labels: dict[Kind, Tensor | None] = {"real": None, "fake": None}
        if run.model.labels.dim:
            random = self._generator(Purpose.LABEL, "cpu")  # where labels are
            drawn = torch.randint(len(dataset.names), [run.batch], generator=random)
            self._all_fake_labels = dataset.label_vectors(run.model.labels, drawn).to(state.device)
            self._labels["real"] = dataset.label_vectors(run.model.labels, numbers).to(state.device)
            self._labels["fake"] = self._mine(self._all_fake_labels)
        self.player: Player = "D"  # whose phase it is
        self._keep_fake = keep_fake
        self._mixing = run.loss.mixing
        self._augment, self._draws = run.augment, _Draws(self)
        self.sign: Tensor | None = None  # the mean sign of D's logits of the reals
        self.w_mean: Tensor | None = None  # of this micro-batch's latents
        self.memories: dict[str, Tensor] = {}
        self._fake: Tensor | None = None

    def fake(self) -> Tensor:
        """G's images [N, C, H, W]."""
        if self._fake is not None:
            return self._fake
        generator = self._state.generator
        with torch.set_grad_enabled(self._keep_fake or self.player == "G"):
            w = generator.mapping(self._latents(Purpose.LATENT), self._labels["fake"])
            self.w_mean = w[:, 0].detach().mean(dim=0)
            draw = self._random(Purpose.NOISE)
            noise = [self._mine(torch.randn(self._of, *shape, **draw)) for shape in self._noise_shapes()]
            fake = self._state.forms.synthesis(self._mixed(w), noise, self._stage)
        if self._keep_fake:
            self._fake = fake
        return fake

    def _latents(self, purpose: Purpose) -> Tensor:
        """z [N, z_dim]."""
        shape = self._of, self._state.generator.z_dim
        return self._mine(torch.randn(shape, **self._random(purpose)))

    def _mixed(self, w: Tensor) -> Tensor:
        """w [N, L, W], by chance with the last layers' styles of second latents, from a drawn layer on."""
        layers = self._state.generator.layers_at(self._stage)
        if self._mixing <= 0 or layers < 2:
            return w
        random = self._generator(Purpose.CUTOFF, "cpu")  # it decides on shapes
        is_mixed = float(torch.rand((), generator=random)) < self._mixing
        cutoff = int(torch.randint(1, layers, (), generator=random))
        if not is_mixed:
            return w
        second = self._state.generator.mapping(self._latents(Purpose.MIXING), self._labels["fake"])
        return torch.cat([w[:, :cutoff], second[:, cutoff:]], dim=1)

    def _noise_shapes(self) -> list[tuple[int, int, int]]:
        """Of the layers that are there: the first ones, so that later ones change no number."""
        generator = self._state.generator
        shapes = generator.noise_shapes()
        return shapes[: len(shapes) - generator.num_ws + generator.layers_at(self._stage)]

    def _random(self, purpose: Purpose) -> dict[str, Any]:
        """torch.randn's keywords: this batch's generator for a purpose, and the device."""
        device = self._state.device
        return {"generator": self._generator(purpose, device), "device": device}

    def _generator(self, purpose: Purpose, device: torch.device | str) -> torch.Generator:
        return torch_generator(self._seed, self._first, purpose, device, self._retry)

    def _mine(self, drawn: Tensor) -> Tensor:
        """This part of what was drawn for the whole batch."""
        return drawn if len(self._rows) == len(drawn) else drawn[self._rows]

    def path(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """w [n, L, W] of fresh latents, their images [n, C, H, W], and normal noise like the images.

        L: the layers that are there at the stage. With labels, those of the batch's first fakes.
        """
        generator, random = self._state.generator, self._random(Purpose.PATH)
        parts = self._of // len(self._rows)
        mine = slice(self._part * count, (self._part + 1) * count)

        def drawn(*shape: int) -> Tensor:
            """This part's of what is drawn for all; a copy, so that the rest is not kept with the graph."""
            numbers = torch.randn(count * parts, *shape, **random)
            return numbers if parts == 1 else numbers[mine].clone()

        label = self._all_fake_labels[mine] if generator.label_dim else None
        w = every = generator.mapping(drawn(generator.z_dim), label)
        layers = generator.layers_at(self._stage)
        if layers < generator.num_ws:  # of the others the gradient would be 0
            w = every[:, :layers]
            every = torch.cat([w, every[:, layers:]], dim=1)
        image = generator.synthesis(every, [drawn(*shape) for shape in self._noise_shapes()], self._stage)
        return w, image, drawn(*image.shape[1:])

    def recall(self, name: str) -> Tensor:
        """The loss's number of that name."""
        return self._state.memory.get(name, torch.zeros([], device=self._state.device))

    def remember(self, name: str, value: Tensor) -> None:
        """This micro-batch's new value of a number of the loss."""
        self.memories[name] = value

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        """D's logits [N] for augmented images; twice: the gradient can be differentiated again."""
        state = self._state
        forms = state.forms
        in_main = forms.judge if self.player == "G" else forms.discriminate
        image = self._augment(image, self._draws, state.augment_p)
        image = image.contiguous(memory_format=torch.channels_last)
        logits: Tensor = (state.discriminator if twice else in_main)(image, self._labels[of], self._stage)
        if of == "real" and not twice:
            self.sign = logits.detach().sign().mean()
        return logits

    def uniform(self) -> Tensor:
        """Numbers in [0, 1), one a sample [N]."""
        return self._mine(torch.rand(self._of, **self._random(Purpose.PENALTY)))

    def generator_changed(self) -> None:
        """Forgets the images of the generator that was."""
        self._fake = None


class _Draws:
    """augment.Draws of one part: each is made for the whole batch, in the order of D's calls."""

    def __init__(self, batch: TrainingBatch) -> None:
        self._batch, self._random = batch, batch._random(Purpose.AUGMENT)

    def uniform(self, *shape: int) -> Tensor:
        """[N, *shape] in [0, 1)."""
        return self._batch._mine(torch.rand(self._batch._of, *shape, **self._random))

    def normal(self, *shape: int) -> Tensor:
        """[N, *shape], of a normal distribution."""
        return self._batch._mine(torch.randn(self._batch._of, *shape, **self._random))


def rows(run: Run, part: int) -> Tensor:
    """The places in the batch [micro_batch] that a part takes: whole groups of minibatch std.

    A batch's groups are n, n + N/G, n + 2N/G ... (ops.minibatch_std), and the part's own are the same ones.
    """
    group = min(run.model.minibatch_std_group, run.micro_batch)
    share = run.micro_batch // group
    places = torch.arange(run.batch).view(group, -1)[:, part * share : (part + 1) * share]
    return places.reshape(-1)
