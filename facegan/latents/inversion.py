"""From a picture back to the w whose picture it is, and from a model to one that draws it still better.

    found = invert(sampler, targets)             w [N, num_ws, w_dim], and the pictures of it
    tuned = tune(sampler, found.w, targets)      a model whose pictures of that w are nearer (PTI)

    minimise over u:   d(G(w), target) + PRIOR mean(u^2),     w = mean + A u

u is w in the coordinates in which the model's own w have mean 0 and covariance 1: A A^T is their covariance
(after Zhu et al. 2020, arXiv 2012.09036, sec. 3.2, without its leaky ReLU). A step means the same in each of
them and for any model, and the prior keeps w where the model's faces are, so that it can be edited. Space
"w": one u for all layers; "w+": one for each (Abdal et al. 2019, arXiv 1904.03189).

The search is StyleGAN2's (Karras et al. 2020, arXiv 1912.04958, app. D). Differs: it begins at the nearest of
STARTS faces, not at the mean one; the noise maps stay as they are, so that w alone gives the picture; d is
`distance`, not that of a VGG16; no noise is added to w, which changed nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError, choose
from facegan.images import Pixels, require_pixels, to_float
from facegan.latents.directions import SAMPLES, own_w
from facegan.models import Model
from facegan.networks.base import exact_convolutions
from facegan.perception.attributes import SIZE, Attributes
from facegan.synthesis import Sampler

SPACES = ("w", "w+")
STEPS, MAX_STEPS = 300, 100_000
TUNING_STEPS = 200
STARTS = 500  # seeds 0, 1, ... whose faces the search may begin at
RATE, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.25  # of Adam; shares of the steps in which it rises and falls
PRIOR = 0.01
TUNING_RATE = 3e-4  # of pivotal tuning, Roich et al. 2021, arXiv 2106.05744, app. B
SMALLEST = 8  # pixels of a side below which pictures are not halved further

Advance = Callable[[str, int, int], None]  # what is done, steps done, steps in all


@dataclass(frozen=True)
class Inversion:
    """w float32 [N, num_ws, w_dim] on the CPU, the model's pictures of it, and `apart` from the targets."""

    w: Tensor
    pictures: Pixels
    apart: tuple[float, ...]  # root mean square, in grey levels
    apart_at_first: tuple[float, ...]  # of the faces that the search began at


def invert(
    sampler: Sampler,
    targets: Pixels,
    *,
    space: str = "w+",
    steps: int = STEPS,
    advance: Advance | None = None,
) -> Inversion:
    """The w of pictures uint8 [N, H, W, C] of the model's size, each by itself; nothing random is drawn.

    Raises:
        UsageError: an unknown space, no steps or too many, or pictures of another size.
    """
    choose("space", space, SPACES)
    _check(sampler, targets, steps)
    own, eye, found = _Own(sampler), _Eye(sampler), []
    for first in range(0, len(targets), sampler.batch):
        chosen = targets[first : first + sampler.batch]
        many = f" {first + 1} to {first + len(chosen)}" if len(targets) > len(chosen) else ""
        found.append(_search(sampler, own, eye, chosen, space, steps, f"inverting{many}", advance))
    starts, w = (torch.cat(parts) for parts in zip(*found, strict=True))
    pictures, at_first = sampler.pictures(w), sampler.pictures(starts)
    apart, apart_at_first = (grey_levels_apart(each, targets) for each in (pictures, at_first))
    return Inversion(w.cpu(), pictures, apart, apart_at_first)


def tune(
    sampler: Sampler, w: Tensor, targets: Pixels, *, steps: int = TUNING_STEPS, advance: Advance | None = None
) -> Model:
    """The model with all weights of its synthesis changed a little, for the sake of these w: pivotal tuning.

    w [N, num_ws, w_dim]; targets uint8 [N, H, W, C] (Roich et al. 2021, arXiv 2106.05744, sec. 3.2). The
    distance is that of `invert`, and the number of steps is fixed; theirs stops at a distance.

    Raises:
        UsageError: as `invert`.
    """
    _check(sampler, targets, steps)
    eye = _Eye(sampler)
    generator = copy.deepcopy(sampler.generator).requires_grad_(True)
    optimizer = torch.optim.Adam(generator.parameters(), lr=TUNING_RATE)
    chosen = torch.split(w.to(generator.w_avg.device), sampler.batch)
    wanted = [eye.views(images) for images in torch.split(eye.of_pixels(targets), sampler.batch)]
    with exact_convolutions():
        for step in range(steps):
            optimizer.zero_grad()
            for rows, views in zip(chosen, wanted, strict=True):
                apart = distance(eye.views(generator.synthesis(rows, "const")), views)
                torch.autograd.backward(apart.sum() / len(w))
            optimizer.step()  # the mapping has no gradient, and stays
            if advance is not None:
                advance("tuning", step + 1, steps)
    card = sampler.model.card
    many = f"{len(w)} pictures" if len(w) > 1 else "one picture"
    said = f"{sampler.model.name}, tuned to {many}. {card.description}".strip()
    tuned = generator.eval().requires_grad_(False).cpu()
    return Model(tuned, sampler.model.config, replace(card, description=said, metrics=()), sampler.model.name)


def grey_levels_apart(pictures: Pixels, targets: Pixels) -> tuple[float, ...]:
    """The root of the mean squared difference of each two pictures uint8 [N, H, W, C]."""
    squares = (pictures.astype(np.float64) - targets) ** 2
    return tuple(float(value) for value in np.sqrt(squares.mean(axis=(1, 2, 3))))


def _check(sampler: Sampler, targets: Pixels, steps: int) -> None:
    require_pixels("pictures", targets, "N, H, W, C")
    channels, height, width = sampler.generator.image_shape
    if targets.shape[1:] != (height, width, channels) or not len(targets):
        wanted = f"[N, {height}, {width}, {channels}]"
        raise UsageError(f"pictures of shape {list(targets.shape)}: this model's are {wanted}, at least one")
    if not 1 <= steps <= MAX_STEPS:
        raise UsageError(f"steps {steps}: 1 to {MAX_STEPS:,}")


# ---- the search


class _Own:
    """Where the model's own w live: their mean, A, and the first ones, of the faces to begin at."""

    def __init__(self, sampler: Sampler) -> None:
        rows = own_w(sampler, SAMPLES)
        values, vectors = torch.linalg.eigh(torch.cov(rows.double().T))
        rows = rows.to(sampler.generator.w_avg.device)
        deviations = values.clamp_min(1e-12).sqrt()
        self._root: Tensor = (vectors * deviations).to(rows)
        self._back: Tensor = (vectors / deviations).to(rows)
        self._mean: Tensor = rows.mean(dim=0)
        self.first: Tensor = rows[:STARTS]

    def w(self, u: Tensor, num_ws: int) -> Tensor:
        """u [N, 1 or num_ws, w_dim] -> w [N, num_ws, w_dim]."""
        w: Tensor = self._mean + u @ self._root.T
        return w.expand(-1, num_ws, -1)

    def u(self, w: Tensor) -> Tensor:
        """w [N, w_dim] -> u [N, w_dim]."""
        u: Tensor = (w - self._mean) @ self._back
        return u


def ramp(share: float) -> float:
    """The learning rate's factor after that share of the steps: up in a line, down as a cosine."""
    down = min(1.0, (1 - share) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, share / RAMP_UP)


def _search(
    sampler: Sampler, own: _Own, eye: _Eye, targets: Pixels, space: str, steps: int, said: str,
    advance: Advance | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The w that it begins at and those that it finds, [N, num_ws, w_dim] each."""
    generator = sampler.generator
    wanted = eye.views(eye.of_pixels(targets))
    with exact_convolutions():
        first = own.u(own.first[_nearest(sampler, own, eye, wanted)])[:, None]
        u = first.repeat(1, generator.num_ws if space == "w+" else 1, 1).requires_grad_(True)
        optimizer = torch.optim.Adam([u], lr=RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * ramp((step + 1) / (steps + 1))
            apart = distance(eye.views(generator.synthesis(own.w(u, generator.num_ws), "const")), wanted)
            optimizer.zero_grad()
            torch.autograd.backward((apart + PRIOR * u.square().mean(dim=(1, 2))).sum())
            optimizer.step()
            if advance is not None:
                advance(said, step + 1, steps)
    return own.w(first, generator.num_ws), own.w(u.detach(), generator.num_ws)


@torch.no_grad()
def _nearest(sampler: Sampler, own: _Own, eye: _Eye, wanted: Views) -> Tensor:
    """For each target the number of the nearest of the model's first faces."""
    apart = []
    for rows in torch.split(own.first, sampler.batch):
        w = rows[:, None].expand(-1, sampler.generator.num_ws, -1)
        views = eye.views(sampler.generator.synthesis(w, "const"))
        targets = ([view[number : number + 1] for view in wanted] for number in range(len(wanted[0])))
        apart.append(torch.stack([distance(views, target) for target in targets]))
    return torch.cat(apart, dim=1).argmin(dim=1)


# ---- how far pictures are from each other

Views = Sequence[Tensor]  # of the same pictures, [N, C, H, W] each


class _Eye:
    """What of pictures is compared: pixels at every scale, and what the network of attributes sees."""

    def __init__(self, sampler: Sampler) -> None:
        self._device = sampler.generator.w_avg.device
        self._network = Attributes.load(device=self._device).network

    def of_pixels(self, pictures: Pixels) -> Tensor:
        """uint8 [N, H, W, C] -> float [N, C, H, W] in [-1, 1]."""
        return to_float(torch.tensor(pictures).permute(0, 3, 1, 2).to(self._device))

    def views(self, images: Tensor) -> list[Tensor]:
        """images [N, C, H, W] -> what `distance` compares.

        As in LPIPS (Zhang et al. 2018, arXiv 1801.03924, eq. 1) a pixel's features are brought to length 1.
        """
        x = over_white(images)
        scales = [x]
        while min(scales[-1].shape[2:]) >= 2 * SMALLEST:
            scales.append(F.avg_pool2d(scales[-1], 2))
        features = self._network.features(F.interpolate(x, (SIZE, SIZE), mode="area"))
        units = [each * (each.square().sum(dim=1, keepdim=True) + 1e-6).rsqrt() for each in features]
        seen = [unit * math.sqrt(unit.shape[1] / len(units)) for unit in units]
        return [scale / math.sqrt(len(scales)) for scale in scales] + seen


def distance(views: Views, others: Views) -> Tensor:
    """d [N]: the mean squared difference of each view, added up."""
    apart = [(one - other).square().mean(dim=(1, 2, 3)) for one, other in zip(views, others, strict=True)]
    return torch.stack(apart).sum(dim=0)


def over_white(images: Tensor) -> Tensor:
    """images [N, C, H, W] in [-1, 1] -> [N, 3, H, W]: grey repeated, transparent parts over white."""
    if images.shape[1] == 4:
        alpha = (images[:, 3:] + 1) / 2
        return alpha * images[:, :3] + (1 - alpha)
    return images.expand(-1, 3, -1, -1)
