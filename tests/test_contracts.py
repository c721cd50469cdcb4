"""What every network promises, over every architecture and its variants; a new one joins the table."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan import models
from facegan.config import to_json, union_from_json
from facegan.labels import Attribute, LabelSpace
from facegan.networks import (
    Discriminator,
    Generator,
    NetworkConfig,
    build_discriminator,
    build_generator,
)
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan import StyleGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.synthesis import Sampler

GLASSES = LabelSpace((Attribute("glasses", ("no", "yes")),), ((0,), (1,)), (3, 1))
DCGAN = DCGANConfig(resolution=16, z_dim=6, g_base_channels=4, d_base_channels=4)
STYLE: dict[str, Any] = {
    "resolution": 16, "z_dim": 7, "w_dim": 6, "mapping_layers": 2, "channel_base": 128, "channel_max": 12,
}  # fmt: skip
STYLEGAN, STYLEGAN2 = StyleGANConfig(**STYLE), StyleGAN2Config(**STYLE)

TABLE: dict[str, NetworkConfig] = {
    "dcgan": DCGAN,
    "dcgan, labels": replace(DCGAN, labels=GLASSES),
    "dcgan, layer norm": replace(DCGAN, d_norm="layer"),
    "stylegan": STYLEGAN,
    "stylegan, labels, 5x4": replace(STYLEGAN, labels=GLASSES, base=(5, 4)),
    "stylegan2, skip": replace(STYLEGAN2, g_architecture="skip", d_architecture="resnet"),
    "stylegan2, orig": replace(STYLEGAN2, g_architecture="orig", d_architecture="orig"),
    "stylegan2, resnet and skip": replace(STYLEGAN2, g_architecture="resnet", d_architecture="skip"),
    "stylegan2, labels, grey": replace(STYLEGAN2, labels=GLASSES, channels=1),
}
every_network = pytest.mark.parametrize("config", TABLE.values(), ids=TABLE)


def built(config: NetworkConfig) -> tuple[Generator, Discriminator]:
    """Both, with biases and noise away from their initial zeros, where gradients vanish."""
    torch.manual_seed(0)
    generator, discriminator = build_generator(config), build_discriminator(config)
    with torch.no_grad():
        for network in (generator, discriminator):
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return generator, discriminator


def label_of(config: NetworkConfig, count: int) -> Tensor | None:
    """Alternating labels [N, label_dim], of networks that know some."""
    dim = config.labels.dim
    return torch.eye(dim)[torch.arange(count) % dim] if dim else None


def images_of(generator: Generator, config: NetworkConfig, count: int) -> Tensor:
    z = torch.randn(count, generator.z_dim)
    return generator.synthesis(generator.mapping(z, label_of(config, count)), "random")


def is_active(name: str, config: NetworkConfig) -> bool:
    """All but a StyleGAN's colours of lower resolutions, which are used at other stages."""
    colours = isinstance(config, StyleGANConfig) and "rgb" in name
    return not colours or f"b{config.resolution}." in name


def test_the_table_has_every_architecture() -> None:
    assert {type(config) for config in TABLE.values()} == set(get_args(NetworkConfig))
    assert {config.architecture for config in TABLE.values()} == {"dcgan", "stylegan", "stylegan2"}


@every_network
def test_every_active_parameter_gets_a_gradient_and_moves_in_a_step(config: NetworkConfig) -> None:
    networks = built(config)
    generator, discriminator = networks
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.01) for network in networks]
    logits = discriminator(images_of(generator, config, 4), label_of(config, 4))
    F.softplus(-logits).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    for network, old in zip(networks, before, strict=True):
        for (name, parameter), was in zip(network.named_parameters(), old, strict=True):
            if is_active(name, config):
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
            assert torch.equal(parameter, was) != is_active(name, config), name


@every_network
def test_d_s_gradient_at_images_can_be_differentiated(config: NetworkConfig) -> None:
    """R1, whose gradient must say how a short step of the weights changes it."""
    _, discriminator = built(config)
    image = torch.randn(4, *discriminator.image_shape, requires_grad=True)
    label = label_of(config, 4)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(discriminator(image, label).sum(), image, create_graph=True)
        return slope.square().sum()

    assert changes_as_its_gradient_says(penalty, discriminator)


@every_network
def test_g_s_gradient_at_w_can_be_differentiated(config: NetworkConfig) -> None:
    """The same of the path length."""
    generator, _ = built(config)
    generator.eval()
    w = generator.mapping(torch.randn(2, generator.z_dim), label_of(config, 2)).detach().requires_grad_()
    direction = torch.randn(2, *generator.image_shape)

    def penalty() -> Tensor:
        image = generator.synthesis(w, "const")
        (slope,) = torch.autograd.grad((image * direction).sum(), w, create_graph=True)
        return slope.square().sum()

    assert changes_as_its_gradient_says(penalty, generator)


def changes_as_its_gradient_says(penalty: Any, network: nn.Module) -> bool:
    """Whether a short step of the weights changes the penalty so; shorter ones drown in rounding."""
    # longer ones meet kinks of the activations, where the penalty jumps
    value = penalty()
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    length = sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5
    step = 1e-4 * float(value.detach()) / length**2
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(step * gradient)
    change = float(penalty().detach() - value.detach())
    return length > 0 and change == pytest.approx(-step * length**2, rel=0.05)


@every_network
def test_a_picture_does_not_depend_on_its_batch_mates(config: NetworkConfig) -> None:
    generator, _ = built(config)
    generator.eval()
    z, label = torch.randn(5, generator.z_dim), label_of(config, 5)
    with torch.no_grad():
        together = generator(z, label)
        alone = [generator(z[i : i + 1], None if label is None else label[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


@every_network
@pytest.mark.parametrize("noise", ["const", "random", "none"])
@pytest.mark.filterwarnings("ignore:noise:UserWarning")  # a DCGAN has none
def test_the_same_seed_is_the_same_picture(config: NetworkConfig, noise: str) -> None:
    generator, _ = built(config)
    sampler = Sampler(models.Model(generator.eval(), config), device="cpu")
    pictures = sampler.sample([3, 4, 3], noise=noise)
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[:1].astype(int) - sampler.sample([3], noise=noise)).max() <= 1


@every_network
def test_config_and_weights_come_back_from_their_files(config: NetworkConfig, tmp_path: Path) -> None:
    assert union_from_json(NetworkConfig, to_json(config), "config") == config
    assert {field.name for field in fields(config)} == set(to_json(config))
    generator, discriminator = built(config)
    path = tmp_path / "model.safetensors"
    kept = models.Model(generator.eval(), config, discriminator=discriminator.state_dict())
    models.save(path, kept, torch.float32)
    loaded = models.load(str(path))
    assert loaded.config == config
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.generator.state_dict()[name], tensor), name
    fresh = build_discriminator(config)
    fresh.load_state_dict({k[2:]: v for k, v in models.read_tensors(path).items() if k.startswith("D.")})
    for name, tensor in discriminator.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
