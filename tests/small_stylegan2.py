"""A small StyleGAN2 for tests: both networks, a model, a sampler and a run of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from facegan.data import DataConfig
from facegan.losses import StyleGAN2Loss
from facegan.models import Model
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from facegan.run import Adam, Intervals, Run
from facegan.synthesis import Sampler

SHAPE: dict[str, Any] = {
    "resolution": 16, "z_dim": 7, "w_dim": 6, "mapping_layers": 2, "channel_base": 128, "channel_max": 12,
}  # fmt: skip


def networks(**changes: Any) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator]:
    """Small networks in which noise, biases and w_avg are not at their initial zeros."""
    torch.manual_seed(0)
    config = StyleGAN2Config(**(SHAPE | changes))
    generator, discriminator = StyleGAN2Generator(config), StyleGAN2Discriminator(config)
    with torch.no_grad():
        for network in (generator, discriminator):
            for name, parameter in network.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        generator.w_avg.normal_()
    return generator.eval(), discriminator.eval()


def small_model(**changes: Any) -> Model:
    """The small generator as a model called small: of 16 px, 6 layers, unless told."""
    return Model(
        networks(**changes)[0].requires_grad_(False), StyleGAN2Config(**(SHAPE | changes)), name="small"
    )


def small_sampler(batch: int = 4, **changes: Any) -> Sampler:
    """Makes the pictures of the small model."""
    return Sampler(small_model(**changes), device="cpu", batch=batch)


def small_run(pictures: Path) -> Run:
    """An 8 px StyleGAN2 in batches of 8, every phase within two steps."""
    return Run(
        model=StyleGAN2Config(
            resolution=8, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8
        ),
        loss=StyleGAN2Loss(r1_interval=2, path_length_interval=2),
        data=DataConfig(str(pictures)),
        optimizer=Adam(lr=0.002, beta1=0.0, beta2=0.99),
        intervals=Intervals(log_images=16, sample_images=64, checkpoint_images=64),
        batch=8,
        micro_batch=8,
        total_images=64,
        device="cpu",
        precision="fp32",
    )
