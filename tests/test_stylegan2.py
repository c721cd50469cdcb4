"""StyleGAN2 against a slow reference in the textbook's form, and the published parameter counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_stylegan2 import SHAPE, networks
from torch import Tensor
from torch.nn import functional as F

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
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


# ---- the slow reference: one kernel an image, zeros between pixels, every gain where the paper has it


def fir(x: Tensor, up: int, down: int, pad: tuple[int, int, int, int], gain: float = 1.0) -> Tensor:
    count, channels, height, width = x.shape
    spread = x.new_zeros(count, channels, height, up, width, up)
    spread[:, :, :, 0, :, 0] = x
    padded = F.pad(spread.reshape(count, channels, height * up, width * up), pad)
    taps = (FILTER * gain).to(x).expand(channels, 1, 4, 4)
    return F.conv2d(padded, taps, groups=channels)[:, :, ::down, ::down]


def lrelu(x: Tensor, gain: float = 1.0) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2) * gain


def clamped(x: Tensor, limit: float | None, gain: float = 1.0) -> Tensor:
    return x if limit is None else x.clamp(-limit * gain, limit * gain)


def dense(layer: Any, x: Tensor, lr_multiplier: float = 1.0) -> Tensor:
    weight = layer.weight * lr_multiplier / math.sqrt(layer.weight.shape[1])
    return F.linear(x, weight, layer.bias * lr_multiplier)


def grouped(x: Tensor, kernels: Tensor) -> Tensor:
    """x [N, I, H, W], a kernel for each image [N, O, I, k, k], as one convolution in N groups."""
    count, outputs, inputs, size = kernels.shape[:4]
    flat = x.reshape(1, count * inputs, *x.shape[2:])
    flat = F.conv2d(
        flat, kernels.reshape(count * outputs, inputs, size, size), padding=size // 2, groups=count
    )
    return flat.reshape(count, outputs, *flat.shape[2:])


def reference_layer(layer: Any, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
    styles = dense(layer.affine, w)
    kernels = layer.conv.weight[None] * styles[:, None, :, None, None]
    kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    if layer.conv.up:
        x = fir(x, 2, 1, (3, 2, 3, 2), gain=4)
        images = [F.conv2d(i[None], k.flip(2, 3)) for i, k in zip(x, kernels, strict=True)]
        x = torch.cat(images)
    else:
        x = grouped(x, kernels)
    x = x + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    return clamped(lrelu(x, gain), layer.clamp, gain)


def reference_rgb(layer: Any, x: Tensor, w: Tensor) -> Tensor:
    styles = dense(layer.affine, w) / math.sqrt(layer.conv.weight.shape[1])
    kernels = layer.conv.weight[None] * styles[:, None, :, None, None]
    return clamped(grouped(x, kernels) + layer.bias[:, None, None], layer.clamp)


def reference_synthesis(g: StyleGAN2Generator, ws: Tensor, kind: Architecture) -> Tensor:
    picture: Tensor | None = None
    index, residual = 0, math.sqrt(0.5)
    x = torch.empty(0)
    for resolution in (4, 8, 16):
        block: Any = getattr(g.net, f"b{resolution}")
        if resolution == 4:
            x = reference_layer(block.conv1, block.const.expand(len(ws), -1, -1, -1), ws[:, 0])
            index = 1
        else:
            beside = None
            if kind == "resnet":
                weight = block.skip.weight / math.sqrt(block.skip.weight.shape[1])
                beside = fir(F.conv2d(x, weight), 2, 1, (2, 1, 2, 1), gain=4) * residual
            x = reference_layer(block.conv0, x, ws[:, index])
            x = reference_layer(block.conv1, x, ws[:, index + 1], residual if kind == "resnet" else 1.0)
            x = x if beside is None else x + beside
            index += 2
        if picture is not None:
            picture = fir(picture, 2, 1, (2, 1, 2, 1), gain=4)
        if kind == "skip" or resolution == 16:
            own = reference_rgb(block.torgb, x, ws[:, index])
            picture = own if picture is None else picture + own
    assert picture is not None
    return picture


def reference_conv(layer: Any, x: Tensor, gain: float = 1.0) -> Tensor:
    inputs, size = layer.weight.shape[1:3]
    weight = layer.weight / math.sqrt(inputs * size * size)
    if layer.down and size == 1:
        x = F.conv2d(fir(x, 1, 2, (1, 1, 1, 1)), weight)
    elif layer.down:
        x = F.conv2d(fir(x, 1, 1, (2, 2, 2, 2)), weight, stride=2)
    else:
        x = F.conv2d(x, weight, padding=size // 2)
    if layer.bias is None:
        return x * gain
    return clamped(lrelu(x + layer.bias[:, None, None], gain), layer.clamp, gain)


def reference_discriminator(d: StyleGAN2Discriminator, image: Tensor, kind: Architecture) -> Tensor:
    residual = math.sqrt(0.5) if kind == "resnet" else 1.0
    x: Tensor | None = None
    for resolution in (16, 8):
        block: Any = getattr(d, f"b{resolution}")
        if kind == "skip" or resolution == 16:
            seen = reference_conv(block.fromrgb, image)
            x = seen if x is None else x + seen
        assert x is not None
        y = reference_conv(block.conv1, reference_conv(block.conv0, x), residual)
        x = y + reference_conv(block.skip, x, residual) if kind == "resnet" else y
        image = fir(image, 1, 2, (1, 1, 1, 1))
    assert x is not None
    last: Any = d.b4
    if kind == "skip":
        x = x + reference_conv(last.fromrgb, image)
    groups = x.reshape(4, len(x) // 4, *x.shape[1:])
    deviation = (groups - groups.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(4).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    x = reference_conv(last.conv, torch.cat([x, channel], dim=1))
    return dense(last.out, lrelu(dense(last.fc, x.flatten(1))))


def normalized(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


# ---- tests


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


@pytest.mark.parametrize("form", ["composite", "polyphase"])
def test_the_other_forms_of_resampling_give_the_same_networks(form: str) -> None:
    generator, discriminator = networks()
    z, image = torch.randn(4, generator.z_dim), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        before = generator(z), discriminator(image)
        for network in (generator, discriminator):
            for module in network.modules():
                if hasattr(module, "form"):
                    module.form = form if getattr(module, "up", False) else "composite"
        after = generator(z), discriminator(image)
    for a, b in zip(after, before, strict=True):
        assert relative(a, b) < 1e-5


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


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_a_seed_is_one_picture_in_any_batch_and_noise_mode(sampler: Sampler, noise: str) -> None:
    together = sampler.sample(range(5), noise=noise).astype(int)
    for seed in range(5):
        alone = sampler.sample([seed], noise=noise)[0].astype(int)
        assert abs(together[seed] - alone).max() <= 1


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
