"""From seeds to pictures: seed -> z -> w -> image, for every model, on the first seam.

    sampler = Sampler(models.load("dcgan-64"))
    sampler.sample(range(64), psi=0.7)        uint8 [64, H, W, C]
    sampler.sample(range(64), label="glasses=yes")
    sampler.sample(range(64), start=...)      numbers that stand for something else than seeds: latents/
    for seed, picture in sampler.stream(...)  the same, one by one, in constant memory

A seed is z = RandomState(seed).randn(1, z_dim), the field's convention, so a published seed gives the
published face. A picture is the same in any batch, to one grey level (bf16: five): sums round.
"""

from __future__ import annotations

import copy
import numbers
import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan.config import UsageError, choose, is_whole
from facegan.images import Pixels, to_uint8
from facegan.models import Model
from facegan.networks.base import NOISE_MODES, exact_convolutions
from facegan.randomness import Purpose, torch_generator
from facegan.runtime import choose_device, place, sampling_dtype
from facegan.runtimes import prepare

MAX_SEED = 2**32 - 1
MAX_LISTED_SEEDS = 10_000_000  # held in memory, unlike those of a single range
MAX_PSI = 10.0  # far beyond any use; what overflows is not the model's fault
DEFAULT_BATCH, MAX_BATCH = 32, 65_536


def parse_seeds(text: str, most: int | None = None) -> Sequence[int]:
    """Seeds from ranges and lists: "0-63", "1,5,9-12"; at most so many, counted before they are listed.

    Raises:
        UsageError: not of this form, a range that runs backwards, a seed above 2**32 - 1, too long a list.
    """
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (is_whole(first) and (is_whole(last) if dash else not last)):
            raise UsageError(
                f"seeds {text!r}: expected ranges and lists of whole numbers, such as 0-63 or 1,5,9-12"
            )
        if max(len(first), len(last)) > len(str(MAX_SEED)):
            raise UsageError(f"seeds {part.strip()[:40]!r}: each 0 to {MAX_SEED}")
        start, stop = int(first), int(last or first)
        if stop < start:
            raise UsageError(f"seeds {part.strip()!r}: runs backwards; write {stop}-{start}")
        check_seed(stop)
        ranges.append(range(start, stop + 1))
    count = sum(len(seeds) for seeds in ranges)
    if most is not None and count > most:
        raise UsageError(f"seeds {text[:40]!r}: {count:,}; at most {most:,} at a time")
    if len(ranges) == 1:
        return ranges[0]
    if count > MAX_LISTED_SEEDS:
        raise UsageError(
            f"seeds {text[:40]!r}: {count:,} in a list; at most {MAX_LISTED_SEEDS:,}, or one range"
        )
    return [seed for seeds in ranges for seed in seeds]


def check_seed(seed: int) -> int:
    """The seed when it is a whole number in 0 .. 2**32 - 1.

    Raises:
        UsageError: it is not.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        raise UsageError(f"seed {seed!r}: a whole number, 0 to {MAX_SEED}") from None
    if not 0 <= number <= MAX_SEED:
        raise UsageError(f"seed {seed}: 0 to {MAX_SEED}")
    return number


def check_psi(psi: float) -> None:
    """Raises UsageError where psi is not a number in -MAX_PSI .. MAX_PSI."""
    if not (isinstance(psi, numbers.Real) and abs(psi) <= MAX_PSI):
        raise UsageError(f"psi {psi!r}: {-MAX_PSI:g} to {MAX_PSI:g}, usually 0.5 to 1")


def check_cutoff(cutoff: int | None, num_ws: int) -> None:
    """Raises UsageError where a model of so many layers has not as many as the cutoff; None: all."""
    if cutoff is not None and not (isinstance(cutoff, SupportsIndex) and 0 <= int(cutoff) <= num_ws):
        raise UsageError(f"cutoff {cutoff}: 0 to {num_ws}, the number of this model's layers")


def latent(seed: int, z_dim: int) -> npt.NDArray[np.float64]:
    """z [z_dim] of a seed: numpy's RandomState(seed).randn(1, z_dim), float64.

    Raises:
        UsageError: the seed is not in 0 .. 2**32 - 1.
    """
    z: npt.NDArray[np.float64] = np.random.RandomState(check_seed(seed)).randn(1, z_dim)[0]
    return z


class Start(Protocol):
    """What the numbers that a Sampler is given stand for: seeds, or something of latents/."""

    def w(
        self, sampler: Sampler, numbers: Sequence[int], psi: float, cutoff: int | None, label: str
    ) -> Tensor:
        """w [N, num_ws, w_dim] of the numbers, truncated, on the sampler's device."""

    def noise_seeds(self, numbers: Sequence[int]) -> Sequence[int]:
        """The seeds whose noise they get with noise "random"."""

    def stem(self, number: int) -> str:
        """What the file of that picture is called, without its suffix."""

    def text(self, numbers: str) -> str:
        """What the pictures of these numbers say in their files, under "seeds"."""


class Seeds:
    """Numbers are seeds: each its own z, noise and labels."""

    def w(
        self, sampler: Sampler, numbers: Sequence[int], psi: float, cutoff: int | None, label: str
    ) -> Tensor:
        """w [N, num_ws, w_dim] of seeds, truncated."""
        z = np.stack([latent(seed, sampler.generator.z_dim) for seed in numbers])
        return sampler.w(z, psi, cutoff, sampler.label_vectors(numbers, label))

    def noise_seeds(self, numbers: Sequence[int]) -> Sequence[int]:
        """The seeds themselves."""
        return numbers

    def stem(self, number: int) -> str:
        """seed0007"""
        return f"seed{number:04d}"

    def text(self, numbers: str) -> str:
        """The seeds."""
        return numbers


SEEDS = Seeds()


class Sampler:
    """A model made ready to sample: on a device, in a precision, `batch` pictures at a time.

    The model's own generator stays where and as it is; another device or precision gets a copy, and so does
    one that is being trained.
    runtime: how the synthesis is run with constant noise (facegan.runtimes); other noise runs eagerly.
    pictures: about how many will be made, which the runtime "auto" goes by.
    """

    def __init__(
        self, model: Model, *, device: str = "auto", precision: str = "auto", batch: int = DEFAULT_BATCH,
        runtime: str = "eager", pictures: int = 0,
    ) -> None:  # fmt: skip
        if not 1 <= batch <= MAX_BATCH:
            raise UsageError(f"batch {batch}: 1 to {MAX_BATCH:,}")
        self.model = model
        self.batch = batch
        self.labels = model.config.labels
        generator, dtype = model.generator, sampling_dtype(precision)
        where = choose_device(device)
        moves = (generator.w_avg.device.type, generator.compute_dtype) != (where.type, dtype)
        learns = generator.training or any(parameter.requires_grad for parameter in generator.parameters())
        if moves or learns:
            generator = copy.deepcopy(generator)  # the model's own may be another sampler's
            generator.eval().requires_grad_(False)
        self.generator = place(generator, where, dtype)
        self.runtime = runtime
        self._fast = prepare(self.generator, runtime, batch=batch, pictures=pictures)

    def sample(
        self, seeds: Iterable[int], psi: float = 1.0, noise: str = "const", cutoff: int | None = None,
        label: str = "", start: Start = SEEDS,
    ) -> Pixels:  # fmt: skip
        """Pictures of the seeds, uint8 [N, H, W, C].

        psi 1 is the whole variety, towards 0 every face nears the average one (Karras et al. 2019,
        arXiv 1812.04948, app. B); cutoff: in the first so many layers only. noise: const, random (each
        seed's own) or none, for models that have noise inputs. label: what is asked of a model with labels,
        "glasses=yes,age=old"; each seed draws the rest. start: what the numbers stand for.

        Raises:
            UsageError: a seed out of range, an unknown noise mode, or a label that the model does not know.
        """
        pictures = [picture for _, picture in self.stream(seeds, psi, noise, cutoff, label, start)]
        channels, height, width = self.generator.image_shape
        return np.stack(pictures) if pictures else np.empty((0, height, width, channels), np.uint8)

    def stream(
        self, seeds: Iterable[int], psi: float = 1.0, noise: str = "const", cutoff: int | None = None,
        label: str = "", start: Start = SEEDS,
    ) -> Iterator[tuple[int, Pixels]]:  # fmt: skip
        """(seed, picture uint8 [H, W, C]) one after the other; holds one batch at a time."""
        for chunk, w in self.stream_w(seeds, psi, cutoff, label, start):
            maps = self.noise_of(start.noise_seeds(chunk), noise)
            yield from zip(chunk, self.images(w, maps), strict=True)

    def stream_w(
        self, seeds: Iterable[int], psi: float = 1.0, cutoff: int | None = None, label: str = "",
        start: Start = SEEDS,
    ) -> Iterator[tuple[list[int], Tensor]]:  # fmt: skip
        """(seeds, their w [N, num_ws, w_dim]) a batch at a time: what `stream` makes its pictures of."""
        self.labels.parse(label)  # before the first seed is asked for
        if not isinstance(seeds, Iterable):
            raise UsageError(f"seeds {seeds!r}: several, such as range(64) or [{seeds!r}]")
        remaining = iter(seeds)
        while chunk := list(islice(remaining, self.batch)):
            yield chunk, start.w(self, chunk, psi, cutoff, label)

    def label_vectors(self, seeds: Sequence[int], label: str = "") -> Tensor | None:
        """The labels [N, label_dim] of seeds: what is asked for, the rest each seed's own; or None."""
        wanted = self.labels.parse(label)
        if not self.generator.label_dim:
            return None
        vectors = self.labels.drawn(wanted, seeds)
        return torch.from_numpy(vectors).to(self.generator.w_avg.device)

    def noise_of(self, seeds: Sequence[int], noise: str) -> str | list[Tensor]:
        """What `images` takes for a noise mode: "random" becomes the seeds' own maps."""
        return self.noise_maps(seeds) if noise == "random" and self.generator.has_noise else noise

    def noise_maps(self, seeds: Sequence[int], first: int = 0) -> list[Tensor]:
        """A map [N, 1, H, W] for each layer, each seed's own: a seed is one picture, whatever its batch.

        first: the number of the first layer's draw; other numbers are other maps.
        """
        maps = []
        for layer, shape in enumerate(self.generator.noise_shapes(), first):
            generators = (torch_generator(seed, layer, Purpose.NOISE) for seed in seeds)  # on the CPU
            drawn = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
            maps.append(drawn.to(self.generator.w_avg.device))
        return maps

    @torch.no_grad()
    def w(
        self, z: npt.NDArray[np.float64] | Tensor, psi: float = 1.0, cutoff: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """z [N, z_dim] -> w [N, num_ws, w_dim], truncated: w_avg + psi (w - w_avg).

        label [N, label_dim]: `label_vectors`, for a model with labels. cutoff: only the first so many layers
        are, None: all.

        Raises:
            UsageError: psi is not in -MAX_PSI .. MAX_PSI, or the cutoff not a number of layers.
        """
        g = self.generator
        check_psi(psi)
        check_cutoff(cutoff, g.num_ws)
        w = g.mapping(torch.as_tensor(z, dtype=torch.float32, device=g.w_avg.device), label)
        centre = g.centre(label)
        truncated = w if psi == 1 else centre + psi * (w - centre)
        return truncated if cutoff is None else torch.cat([truncated[:, :cutoff], w[:, cutoff:]], dim=1)

    def pictures(self, w: Tensor, noise: str | list[Tensor] = "const") -> Pixels:
        """As `images`, of any number of w, a batch at a time; maps may be one for all, [1, 1, H, W]."""
        parts = torch.split(w, self.batch)
        if isinstance(noise, str):
            return np.concatenate([self.images(part, noise) for part in parts])
        maps = zip(*(torch.split(each.expand(len(w), -1, -1, -1), self.batch) for each in noise), strict=True)
        return np.concatenate([self.images(part, list(own)) for part, own in zip(parts, maps, strict=True)])

    @torch.inference_mode()
    def images(self, w: Tensor, noise: str | list[Tensor] = "const") -> Pixels:
        """w [N, num_ws, w_dim] -> pictures uint8 [N, H, W, C].

        noise: const, none, or `noise_maps`; "random" draws from torch's global generator.

        Raises:
            UsageError: an unknown noise mode, or a model whose pictures are not finite.
        """
        if isinstance(noise, str):
            choose("noise", noise, NOISE_MODES)
        if noise != "const" and not self.generator.has_noise:
            warnings.warn(f"noise {noise!r} has no effect: this model has no noise inputs", stacklevel=2)
        constant = noise == "const" or not self.generator.has_noise
        if self.runtime in ("compiled", "onnx") and not constant:
            warnings.warn(
                f"runtime {self.runtime!r} has no effect with this noise: it runs eagerly", stacklevel=2
            )
        w = w.contiguous()  # the same sums for every way to w
        with exact_convolutions():
            if self._fast is not None and constant:
                images = self._fast(w)
            else:
                images = self.generator.synthesis(w, noise)
        if not images.isfinite().all():
            raise UsageError(f"model {self.model.name!r}: its pictures are not finite numbers; it is damaged")
        return to_uint8(images)
