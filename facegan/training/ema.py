"""The exponential moving average of a generator's weights, which is what is sampled and shipped."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from facegan.labels import LabelSpace
from facegan.networks import Generator
from facegan.randomness import Purpose, torch_generator
from facegan.run import Ema

CALIBRATION_IMAGES = 2_048
_CALIBRATION_BATCH = 128


def ema_beta(ema: Ema, batch: int, images_seen: int) -> float:
    """How much of the old mean a step keeps: 0.5 ** (batch / half-life).

    The half-life is at most `rampup` of the images seen, so that the mean forgets the first weights
    (Karras et al. 2020, arXiv 2006.06676, app. C, with the ramp-up of their code).
    """
    halflife = ema.halflife_images
    if ema.rampup > 0:
        halflife = min(halflife, ema.rampup * images_seen)
    return float(0.5 ** (batch / max(halflife, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, beta: float) -> None:
    """average <- current + beta (average - current) for parameters; buffers are copied."""
    targets: list[Tensor] = list(average.parameters())
    sources: list[Tensor] = list(current.parameters())
    torch._foreach_lerp_(targets, sources, 1.0 - beta)
    for target, source in zip(average.buffers(), current.buffers(), strict=True):
        target.copy_(source)


@torch.no_grad()
def calibrated(average: Generator, seed: int, labels: LabelSpace) -> Generator:
    """A copy in float32 and eval mode whose BatchNorm statistics belong to its own weights.

    The training generator's running statistics do not fit averaged weights, so they are measured anew:
    the plain mean over CALIBRATION_IMAGES images of fixed latents and labels. Without BatchNorm, just a copy.
    """
    generator = copy.deepcopy(average).eval().requires_grad_(False)
    generator.compute_dtype = torch.float32  # as it will be sampled
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return generator
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    generator.train()
    for first in range(0, CALIBRATION_IMAGES, _CALIBRATION_BATCH):
        random = torch_generator(seed, first, Purpose.CALIBRATION)
        z = torch.randn(_CALIBRATION_BATCH, generator.z_dim, generator=random)
        seeds = range(first, first + _CALIBRATION_BATCH)
        label = torch.from_numpy(labels.drawn({}, seeds)) if generator.label_dim else None
        device = generator.w_avg.device
        generator(z.to(device), None if label is None else label.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return generator.eval()
