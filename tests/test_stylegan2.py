"""StyleGAN2 against a slow reference in the textbook's form, and the published parameter counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from reference_stylegan2 import (
    dense,
    lrelu,
    normalized,
    reference_discriminator,
    reference_synthesis,
    relative,
)
from small_stylegan2 import SHAPE, networks
from torch import Tensor

from facegan.config import UsageError, to_json, union_from_json
from facegan.labels import Attribute, LabelSpace
from facegan.models import Model
from facegan.networks import NetworkConfig, build_discriminator, build_generator
from facegan.networks.stylegan2 import (
    Architecture,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from facegan.synthesis import Sampler

ARCHITECTURES: tuple[Architecture, ...] = ("skip", "resnet", "orig")
TWO = LabelSpace((Attribute("glasses", ("no", "yes")), Attribute("age", ("young", "adult", "old"))))


@pytest.mark.parametrize("clamp", [None, 0.4])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_synthesis_equals_the_slow_reference(kind: Architecture, clamp: float | None) -> None:
    generator, _ = networks(g_architecture=kind, conv_clamp=clamp)
    ws = torch.randn(3, generator.num_ws, generator.w_dim)
    with torch.no_grad():
        assert relative(generator.synthesis(ws), reference_synthesis(generator, ws, kind)) < 1e-5


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("base", [(5, 4), (3, 4)])
def test_pictures_that_are_not_square_equal_the_slow_reference(
    kind: Architecture, base: tuple[int, int]
) -> None:
    generator, discriminator = networks(g_architecture=kind, d_architecture=kind, base=base)
    ws, shape = torch.randn(3, generator.num_ws, generator.w_dim), (3, 4 * base[0], 4 * base[1])
    image = torch.randn(8, *shape)
    with torch.no_grad():
        made = generator.synthesis(ws)
        assert made.shape[1:] == shape
        assert relative(made, reference_synthesis(generator, ws, kind)) < 1e-5
        expected = reference_discriminator(discriminator, image, kind)[:, 0]
        assert relative(discriminator(image), expected) < 1e-5


def test_mapping_equals_the_slow_reference() -> None:
    generator, _ = networks()
    z = torch.randn(3, generator.z_dim)
    x = normalized(z)
    for layer in generator.map.children():
        x = lrelu(dense(layer, x, 0.01))
    w = generator.mapping(z)
    assert w.shape == (3, generator.num_ws, generator.w_dim)
    assert torch.allclose(w, x[:, None].expand_as(w), atol=1e-6)


def test_labels_enter_the_mapping_beside_z_and_d_as_a_product() -> None:
    """Karras et al. 2020 (arXiv 2006.06676) in their code's form: z and the embedding are normalised."""
    generator, discriminator = networks(labels=TWO)
    z, image = torch.randn(8, generator.z_dim), torch.randn(8, 3, 16, 16)
    label = torch.from_numpy(TWO.drawn({}, range(8)))
    with torch.no_grad():
        x = torch.cat([normalized(z), normalized(dense(generator.map.embed, label))], dim=1)
        for index in range(2):
            x = lrelu(dense(getattr(generator.map, f"fc{index}"), x, 0.01))
        assert torch.allclose(generator.mapping(z, label)[:, -1], x, atol=1e-6)
        y = normalized(dense(discriminator.map.embed, label))
        for index in range(8):
            y = lrelu(dense(getattr(discriminator.map, f"fc{index}"), y, 0.01))
        out = reference_discriminator(discriminator, image, "resnet")
        assert out.shape == y.shape == (8, 12)
        assert relative(discriminator(image, label), (out * y).sum(dim=1) / math.sqrt(12)) < 1e-5


def test_a_label_that_is_missing_or_idle_is_named() -> None:
    generator, discriminator = networks(labels=TWO)
    with pytest.raises(ValueError, match=r"label is missing: this network was trained with labels \[N, 5\]"):
        generator.mapping(torch.randn(2, 7))
    with pytest.raises(ValueError, match=r"label has shape \[2, 4\], expected \[N, 5\]"):
        discriminator(torch.randn(2, 3, 16, 16), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="label is given: this network knows no labels"):
        networks()[0].mapping(torch.randn(2, 7), torch.zeros(2, 5))


def test_layers_are_frozen_in_the_published_order() -> None:
    discriminator = networks()[1]
    names = {id(module): name for name, module in discriminator.named_modules()}
    assert [names[id(layer)] for layer in discriminator.layers_from_image()] == [
        "b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip", "b8.conv0", "b8.conv1", "b8.skip"
    ]  # fmt: skip


@pytest.mark.parametrize("clamp", [None, 0.4])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_discriminator_equals_the_slow_reference(kind: Architecture, clamp: float | None) -> None:
    _, discriminator = networks(d_architecture=kind, conv_clamp=clamp)
    image = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        expected = reference_discriminator(discriminator, image, kind)[:, 0]
        assert relative(discriminator(image), expected) < 1e-5


# counted on the official networks: millions of parameters of G and D
@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "g_millions", "d_millions"),
    [
        ({"resolution": 1024, "channel_base": 32_768}, 30.37, 29.01),
        ({"resolution": 256}, 24.77, 24.00),
        ({"resolution": 64}, 23.8, 23.4),
        ({"resolution": 64, "channel_base": 8192}, 19.0, 18.9),
    ],
)
def test_published_shapes_have_the_published_parameter_counts(
    shape: dict[str, int], g_millions: float, d_millions: float
) -> None:
    config = StyleGAN2Config(**shape)  # type: ignore[arg-type]
    for network, expected in (
        (StyleGAN2Generator(config), g_millions),
        (StyleGAN2Discriminator(config), d_millions),
    ):
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        assert millions == pytest.approx(expected, abs=0.051 if expected * 10 % 1 < 1e-6 else 0.0051)


@pytest.mark.parametrize(("resolution", "num_ws"), [(8, 4), (64, 10), (256, 14)])
def test_every_resolution_has_two_styles(resolution: int, num_ws: int) -> None:
    config = StyleGAN2Config(resolution=resolution, channel_base=resolution, channel_max=4, w_dim=4, z_dim=4)
    assert StyleGAN2Generator(config).num_ws == num_ws


def test_noise_is_constant_none_given_or_random() -> None:
    generator, _ = networks()
    w = generator.mapping(torch.randn(2, generator.z_dim))
    with torch.no_grad():
        const, none = generator.synthesis(w), generator.synthesis(w, "none")
        assert torch.equal(const, generator.synthesis(w, "const"))
        assert not torch.allclose(const, none)
        torch.manual_seed(1)
        first = generator.synthesis(w, "random")
        torch.manual_seed(1)
        assert torch.equal(first, generator.synthesis(w, "random"))
        assert not torch.equal(first, generator.synthesis(w, "random"))
        zeros = [torch.zeros(2, *shape) for shape in generator.noise_shapes()]
        assert torch.equal(generator.synthesis(w, zeros), none)
    assert generator.noise_shapes() == [(1, r, r) for r in (4, 8, 8, 16, 16)]


@pytest.mark.parametrize("name", ["noise_const", "noise_strength", "bias", "conv.weight", "affine.weight"])
def test_a_frozen_generator_follows_a_change_of_its_weights(name: str) -> None:
    """What it keeps of them from picture to picture is made anew; a fresh network is the reference."""
    generator, _ = networks()
    w = torch.randn(2, generator.num_ws, generator.w_dim)
    generator.requires_grad_(False)
    with torch.inference_mode():
        before = generator.synthesis(w)
        for block in generator.net.blocks():
            for layer in (block.conv1, getattr(block, "conv0", block.conv1)):
                tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
                tensors[name].mul_(1.5).add_(0.1)
        after = generator.synthesis(w)
        fresh, _ = networks()
        fresh.load_state_dict(generator.state_dict())
        assert torch.equal(after, fresh.requires_grad_(False).synthesis(w))
    assert not torch.allclose(after, before, atol=1e-3)


def test_the_mean_of_w_moves_by_its_beta() -> None:
    generator, _ = networks(w_avg_beta=0.9)
    before, mean = generator.w_avg.clone(), torch.randn(generator.w_dim)
    generator.track(mean)
    assert torch.allclose(generator.w_avg, 0.9 * before + 0.1 * mean, atol=1e-6)


def test_bfloat16_convolutions_stay_close_to_float32() -> None:
    generator, discriminator = networks()
    z, image = torch.randn(4, generator.z_dim), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        exact = generator(z), discriminator(image)
        generator.compute_dtype = discriminator.compute_dtype = torch.bfloat16
        rough = generator(z), discriminator(image)
    for a, b in zip(rough, exact, strict=True):
        assert a.dtype == torch.float32
        assert relative(a, b) < 0.05  # 8 bits of mantissa through six layers


def test_config_makes_a_json_round_trip_and_builds_its_networks() -> None:
    config = StyleGAN2Config(**SHAPE, base=(5, 4), labels=TWO)
    assert union_from_json(NetworkConfig, to_json(config), "config") == config
    assert isinstance(build_generator(config), StyleGAN2Generator)
    assert isinstance(build_discriminator(config), StyleGAN2Discriminator)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resolution": 48}, "48: one of 8, 16"),
        ({"channels": 2}, "channels 2"),
        ({"w_dim": 0}, "w_dim 0: 1 to 1024"),
        ({"channel_base": 8}, "channel_base 8: at least the resolution"),
        ({"channel_max": 4096}, "channel_max 4096"),
        ({"conv_clamp": -1.0}, "conv_clamp -1"),
        ({"conv_clamp": math.inf}, "conv_clamp inf"),
        ({"w_avg_beta": 1.0}, "w_avg_beta 1"),
        ({"base": (0, 4)}, "base 0x4"),
        ({"base": (4, 4, 4)}, "base 4x4x4"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StyleGAN2Config(**(SHAPE | changes))


def test_a_wrong_shape_is_named() -> None:
    generator, discriminator = networks()
    with pytest.raises(ValueError, match="expected"):
        generator.mapping(torch.randn(2, 3))
    with pytest.raises(ValueError, match="expected"):
        discriminator(torch.randn(2, 3, 8, 8))


# ---- sampling


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    generator, _ = networks()
    return Sampler(Model(generator, StyleGAN2Config(**SHAPE)), device="cpu", batch=3)


def test_random_noise_differs_from_seed_to_seed(sampler: Sampler) -> None:
    first, second = (maps[0] for maps in (sampler.noise_maps([1]), sampler.noise_maps([2])))
    assert not torch.equal(first, second)
    layers = sampler.noise_maps([1])
    assert not torch.equal(layers[1], layers[2])


def test_truncation_stops_at_the_cutoff(sampler: Sampler) -> None:
    z = torch.randn(2, 7, dtype=torch.float64).numpy()
    whole, cut = sampler.w(z), sampler.w(z, 0.3, cutoff=2)
    assert torch.equal(cut[:, 2:], whole[:, 2:])
    assert torch.allclose(
        cut[:, :2], sampler.generator.w_avg + 0.3 * (whole[:, :2] - sampler.generator.w_avg)
    )
    with pytest.raises(UsageError, match="cutoff 7: 0 to 6"):
        sampler.w(z, 0.3, cutoff=7)


def test_an_unknown_noise_mode_and_a_wrong_number_of_maps_are_named() -> None:
    generator, _ = networks()
    w = generator.mapping(torch.randn(2, 7))
    with pytest.raises(ValueError, match="'cosnt': one of const, random, none"):
        generator.synthesis(w, "cosnt")
    with pytest.raises(ValueError, match="3 noise maps: this network has 5"):
        generator.synthesis(w, [torch.zeros(2, 1, 4, 4)] * 3)


@pytest.mark.slow
def test_the_generator_exports_with_a_free_batch_and_works_on_afterwards() -> None:
    generator, _ = networks()
    generator.requires_grad_(False)
    z = torch.randn(3, 7)
    program = torch.export.export(generator, (z,), dynamic_shapes=({0: torch.export.Dim("n")},), strict=False)
    more = torch.randn(7, 7)
    assert relative(program.module()(more), generator(more)) < 1e-5
    assert type(generator(more)) is Tensor
