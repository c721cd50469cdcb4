"""One file per architecture; here only the table that finds them by their config."""

from __future__ import annotations

from facegan.networks.base import Discriminator, Generator
from facegan.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator
from facegan.networks.stylegan import StyleGANConfig, StyleGANDiscriminator, StyleGANGenerator
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator

__all__ = ["Discriminator", "Generator", "NetworkConfig", "build_discriminator", "build_generator"]

NetworkConfig = DCGANConfig | StyleGANConfig | StyleGAN2Config


def build_generator(config: NetworkConfig) -> Generator:
    """A generator with fresh weights (drawn from torch's global generator)."""
    if isinstance(config, StyleGAN2Config):
        return StyleGAN2Generator(config)
    if isinstance(config, StyleGANConfig):
        return StyleGANGenerator(config)
    return DCGANGenerator(config)


def build_discriminator(config: NetworkConfig) -> Discriminator:
    """A discriminator with fresh weights (drawn from torch's global generator)."""
    if isinstance(config, StyleGAN2Config):
        return StyleGAN2Discriminator(config)
    if isinstance(config, StyleGANConfig):
        return StyleGANDiscriminator(config)
    return DCGANDiscriminator(config)
