"""DCGAN equals its definition: counts, initial weights, and a reference in another form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError
from facegan.labels import Attribute, LabelSpace
from facegan.networks import dcgan
from facegan.networks.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator

TINY = DCGANConfig(resolution=16, z_dim=6, g_base_channels=3, d_base_channels=3)


def parameter_count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_at_64_px_are_the_published_ones() -> None:
    # the standard PyTorch form with ngf = ndf = 64: 3,576,704 and 2,765,568
    config = DCGANConfig(resolution=64)
    assert parameter_count(DCGANGenerator(config)) == 3_576_704
    assert parameter_count(DCGANDiscriminator(config)) == 2_765_568


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_have_the_config_s_shape_and_range(resolution: int, channels: int) -> None:
    config = DCGANConfig(
        resolution=resolution, channels=channels, z_dim=5, g_base_channels=2, d_base_channels=2
    )
    image = DCGANGenerator(config)(torch.randn(2, 5))
    assert image.shape == (2, channels, resolution, resolution)
    assert image.dtype == torch.float32
    assert image.abs().max() <= 1
    assert DCGANDiscriminator(config)(image).shape == (2,)


def test_weights_start_as_normal_0_002_and_gains_as_normal_1_002() -> None:
    torch.manual_seed(0)
    generator = DCGANGenerator(DCGANConfig(resolution=32))
    for name, parameter in generator.named_parameters():
        values = parameter.detach()
        if values.ndim == 4:
            # over 3,000 draws each: the standard error of the mean is below 0.0004
            assert abs(values.mean()) < 0.002, name
            assert values.std() == pytest.approx(0.02, rel=0.05), name
        elif name.endswith("weight"):
            assert values.mean() == pytest.approx(1.0, abs=0.02), name
            assert 0.01 < values.std() < 0.03, name
        else:
            assert not values.any(), name


def test_no_batchnorm_on_the_first_layer_of_d_and_the_last_of_g() -> None:
    # paper, sec. 3: every layer but these two; 16 px has 3 layers in each network
    generator, discriminator = DCGANGenerator(TINY), DCGANDiscriminator(TINY)
    assert [norm.num_features for norm in generator.norms] == [6, 3]
    assert [norm.num_features for norm in discriminator.norms] == [6]


def zero_inserted_transposed_convolution(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The textbook form: zeros between pixels, a border of 3 - padding, the flipped kernel."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, (h - 1) * stride + 1, (w - 1) * stride + 1, dtype=x.dtype)
    spread[:, :, ::stride, ::stride] = x
    return F.conv2d(F.pad(spread, [3 - padding] * 4), weight.flip(2, 3).transpose(0, 1))


def normalised(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * gain[:, None, None] + bias[:, None, None]


def test_generator_equals_the_zero_insertion_reference() -> None:
    torch.manual_seed(1)
    generator = DCGANGenerator(TINY).double()
    generator.compute_dtype = torch.float64
    z = torch.randn(4, 6, dtype=torch.float64)
    weights = dict(generator.named_parameters())
    x = z[:, :, None, None]
    for layer, norm, stride in (("first", "norms.0", 1), ("ups.0", "norms.1", 2)):
        x = zero_inserted_transposed_convolution(x, weights[f"{layer}.weight"], stride, stride - 1)
        x = normalised(x, weights[f"{norm}.weight"], weights[f"{norm}.bias"]).clamp(min=0)
    x = zero_inserted_transposed_convolution(x, weights["last.weight"], 2, 1)
    expected = torch.tanh(x.float())
    torch.testing.assert_close(generator(z), expected, rtol=0, atol=1e-6)  # one float32 rounding at the end


def patch_convolution(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution as a matrix product over unfolded patches."""
    size = (x.shape[2] + 2 * padding - 4) // stride + 1
    patches = F.unfold(x, 4, padding=padding, stride=stride)  # [N, C*16, size*size]
    return (weight.flatten(1) @ patches).reshape(len(x), -1, size, size)


def test_discriminator_equals_the_matrix_product_reference() -> None:
    torch.manual_seed(2)
    discriminator = DCGANDiscriminator(TINY).double()
    discriminator.compute_dtype = torch.float64
    image = torch.rand(5, 3, 16, 16, dtype=torch.float64) * 2 - 1
    weights = dict(discriminator.named_parameters())

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = leaky(patch_convolution(image, weights["first.weight"], 2, 1))
    x = patch_convolution(x, weights["downs.0.weight"], 2, 1)
    x = leaky(normalised(x, weights["norms.0.weight"], weights["norms.0.bias"]))
    expected = patch_convolution(x, weights["last.weight"], 1, 0).flatten()
    discriminator.last.double()
    got = discriminator(image)
    # the last layer runs in float32 by design
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("base", [(5, 4), (3, 4)])
def test_pictures_that_are_not_square_begin_with_their_base(base: tuple[int, int]) -> None:
    """The first layer is a dense one, the last of D an inner product; all between is convolution."""
    generator, discriminator = DCGANGenerator(config := replace(TINY, base=base)), DCGANDiscriminator(config)
    z, weight = torch.randn(3, 6), generator.first.weight
    dense = (z @ weight.flatten(1)).view(3, -1, *base)
    torch.testing.assert_close(generator.first(z[:, :, None, None]), dense)
    image = generator(z)
    assert image.shape == (3, 3, 4 * base[0], 4 * base[1])
    features = torch.randn(3, 6, *base)
    inner = (features * discriminator.last.weight).sum(dim=(1, 2, 3))
    torch.testing.assert_close(discriminator.last(features).flatten(), inner)
    assert discriminator(image).shape == (3,)


def test_labels_are_beside_z_in_g_and_a_product_with_d_s_features() -> None:
    space = LabelSpace((Attribute("hat", ("no", "yes")), Attribute("age", ("young", "adult", "old"))))
    config, label = replace(TINY, labels=space), torch.from_numpy(space.drawn({}, range(4)))
    generator, discriminator = DCGANGenerator(config), DCGANDiscriminator(config)
    z = torch.randn(4, 6)
    assert torch.equal(generator.mapping(z, label)[:, 0], torch.cat([z, label], dim=1))
    assert torch.equal(generator.centre(label)[:, 0], torch.cat([torch.zeros(4, 6), label], dim=1))
    image = torch.randn(4, 3, 16, 16)
    found: list[Tensor] = []
    hook = discriminator.last.register_forward_hook(lambda module, given, result: found.append(given[0]))
    logits = discriminator(image, label)
    hook.remove()
    weight = discriminator.last.weight  # [1 + 5, C, 4, 4]: of the image alone, and of each value of a label
    rows = torch.stack([weight[0] + sum(weight[1 + k] for k in row.nonzero().flatten()) for row in label])
    torch.testing.assert_close(logits, (found[0] * rows).sum(dim=(1, 2, 3)))


def test_bfloat16_stays_close_to_float32() -> None:
    torch.manual_seed(5)
    generator, z = DCGANGenerator(TINY), torch.randn(16, 6)
    exact = generator(z)
    generator.compute_dtype = torch.bfloat16
    rounded = generator(z)
    assert rounded.dtype == torch.float32
    # bfloat16 keeps 8 bits: a few of them per layer, relative to the pictures' own spread
    assert (rounded - exact).abs().mean() < 0.02 * exact.std()


def test_wrong_shapes_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"z has shape \[2, 7\], expected \[N, 6\]"):
        DCGANGenerator(TINY)(torch.randn(2, 7))
    with pytest.raises(ValueError, match=r"image has shape \[2, 3, 8, 8\], expected \[N, 3, 16, 16\]"):
        DCGANDiscriminator(TINY)(torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolution": 48},
        {"resolution": 256},
        {"channels": 2},
        {"z_dim": 0},
        {"g_base_channels": 5000},
        {"resolution": 128, "d_base_channels": 512},
        {"base": (1, 4)},
        {"base": (4, 9)},
        {"base": (8, 8), "z_dim": 1024, "g_base_channels": 256},
    ],
)
def test_impossible_configs_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        DCGANConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["down", "up"])
def test_the_convolutions_own_gradients_are_those_of_the_plain_ones(kind: str) -> None:
    """First and second order, in float64, against autograd's (torch.autograd.gradcheck takes differences)."""
    function = {"down": dcgan._Down.of, "up": dcgan._Up.of}[kind]
    random = torch.Generator().manual_seed(0)
    shape = (2, 3, 4, 4) if kind == "down" else (2, 3, 2, 2)
    weight_shape = (2, 3, 4, 4) if kind == "down" else (3, 2, 4, 4)
    x, weight = (
        torch.randn(size, generator=random, dtype=torch.float64, requires_grad=True)
        for size in (shape, weight_shape)
    )
    plain = F.conv2d if kind == "down" else F.conv_transpose2d
    torch.testing.assert_close(function(x, weight), plain(x, weight, stride=2, padding=1))
    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))


def test_bfloat16_gradients_on_small_maps_are_those_of_float32() -> None:
    """Every weight of a 16 px pair, whose inner layers are 4x4 to 8x8: the direction within 1 %."""
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        networks = DCGANGenerator(TINY), DCGANDiscriminator(TINY)
        for network in networks:
            network.compute_dtype = dtype
        generator, discriminator = networks
        discriminator(generator(torch.randn(16, 6))).sum().backward()
        gradients[dtype] = {
            f"{type(network).__name__}.{name}": parameter.grad
            for network in networks
            for name, parameter in network.named_parameters()
            if parameter.grad is not None
        }
    assert len(gradients[torch.bfloat16]) == len(gradients[torch.float32]) > 6
    for name, expected in gradients[torch.float32].items():
        got = gradients[torch.bfloat16][name]
        assert F.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.99, name
