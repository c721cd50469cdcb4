"""One file per architecture; here only the table that finds them by their config."""

from __future__ import annotations

from facegan.networks.base import Discriminator, Generator
from facegan.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator

__all__ = ["Discriminator", "Generator", "NetworkConfig", "build_discriminator", "build_generator"]

NetworkConfig = DCGANConfig  # a union as soon as there is a second architecture

_NETWORKS: dict[str, tuple[type[DCGANGenerator], type[DCGANDiscriminator]]] = {
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
}


def build_generator(config: NetworkConfig) -> Generator:
    """A generator with fresh weights (drawn from torch's global generator)."""
    return _NETWORKS[config.architecture][0](config)


def build_discriminator(config: NetworkConfig) -> Discriminator:
    """A discriminator with fresh weights (drawn from torch's global generator)."""
    return _NETWORKS[config.architecture][1](config)
