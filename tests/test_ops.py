"""Resampling and modulated convolutions: every fast form against the definition, written out the slow way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.networks import ops
from facegan.networks.ops import (
    Conv,
    Dense,
    ModulatedConv,
    convolve_down,
    convolve_up,
    downsample,
    minibatch_std,
    normalize_second_moment,
    upsample,
)

Convolve = Callable[[Tensor, Tensor], Tensor]
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


def upfirdn(x: Tensor, up: int, down: int, pad: tuple[int, int, int, int], gain: float = 1.0) -> Tensor:
    """Zeros between, padding (left, right, top, bottom), convolution with FILTER, every down-th pixel."""
    count, channels, height, width = x.shape
    spread = x.new_zeros(count, channels, height, up, width, up)
    spread[:, :, :, 0, :, 0] = x
    padded = F.pad(spread.reshape(count, channels, height * up, width * up), pad)
    taps = (FILTER * gain).flip(0, 1).expand(channels, 1, 4, 4)  # a true convolution
    return F.conv2d(padded, taps, groups=channels)[:, :, ::down, ::down]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [4, 6])
def test_upsampling_is_zero_insertion_and_the_filter(size: int) -> None:
    x = images(2, 3, size, size + 2)
    assert torch.allclose(upsample(x), upfirdn(x, 2, 1, (2, 1, 2, 1), gain=4))


def test_downsampling_is_the_filter_and_every_second_pixel() -> None:
    x = images(2, 3, 8, 6)
    assert torch.allclose(downsample(x), upfirdn(x, 1, 2, (1, 1, 1, 1)))


def test_resampling_keeps_a_flat_picture_flat_inside() -> None:
    flat = torch.ones(1, 1, 8, 8)
    assert torch.allclose(upsample(flat)[..., 1:-1, 1:-1], torch.ones(14, 14))
    assert torch.allclose(downsample(flat)[..., 1:-1, 1:-1], torch.ones(2, 2))


def slow_up(x: Tensor, weight: Tensor) -> Tensor:
    """Filtered upsampling, then a correlation with the flipped kernel."""
    return F.conv2d(upfirdn(x, 2, 1, (3, 2, 3, 2), gain=4), weight.flip(2, 3))


def slow_down(x: Tensor, weight: Tensor) -> Tensor:
    """The filter, then a correlation at every second pixel."""
    return F.conv2d(upfirdn(x, 1, 1, (2, 2, 2, 2)), weight)[:, :, ::2, ::2]


def test_convolutions_that_resample_equal_their_definitions() -> None:
    weight = images(4, 3, 3, 3, seed=1)
    x = images(2, 3, 5, 7)
    assert torch.allclose(convolve_up(x, weight), slow_up(x, weight), atol=1e-10)
    x = images(2, 3, 8, 6)
    assert torch.allclose(convolve_down(x, weight), slow_down(x, weight), atol=1e-10)


@pytest.mark.parametrize("up", [False, True])
def test_scaling_in_and_out_equals_a_kernel_for_each_image(up: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(3, 5, 3, up=up).double()
    x, styles = images(4, 3, 6, 6), images(4, 3, seed=2) + 1
    fast = layer(x, styles) * layer.demodulation(styles)[:, :, None, None]
    kernels = layer.weight[None] * styles[:, None, :, None, None]  # [N, O, I, k, k]
    kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    one_by_one = [
        convolve_up(image[None], kernel) if up else F.conv2d(image[None], kernel, padding=1)
        for image, kernel in zip(x, kernels, strict=True)
    ]
    assert torch.allclose(fast, torch.cat(one_by_one))


def test_demodulated_weights_have_unit_norm() -> None:
    torch.manual_seed(0)
    layer, styles = ModulatedConv(7, 5, 3), torch.randn(4, 7)
    kernels = (
        layer.weight[None]
        * styles[:, None, :, None, None]
        * layer.demodulation(styles)[:, :, None, None, None]
    )
    assert torch.allclose(kernels.square().sum(dim=(2, 3, 4)), torch.ones(4, 5), atol=1e-5)


def test_a_dense_layer_scales_weights_and_bias_at_run_time() -> None:
    layer, x = Dense(6, 4, lrelu=True, lr_multiplier=0.01, bias=2.0), torch.randn(3, 6)
    line = x @ (layer.weight * 0.01 / math.sqrt(6)).t() + layer.bias * 0.01
    assert torch.allclose(layer(x), F.leaky_relu(line, 0.2) * math.sqrt(2), atol=1e-6)
    assert layer.weight.std() > 50  # stored 1 / lr_multiplier as large


def test_equalised_layers_keep_unit_variance_at_the_start() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 256)
    assert Dense(256, 256)(x).std().item() == pytest.approx(1, abs=0.05)
    maps = torch.randn(8, 128, 8, 8)
    inner = Conv(128, 128, 3, bias=False)(maps)[..., 1:-1, 1:-1]
    assert inner.std().item() == pytest.approx(1, abs=0.05)


def test_a_convolution_is_activated_scaled_then_clamped() -> None:
    """clamp gain bounds sqrt(2) gain lrelu(conv + bias)."""
    torch.manual_seed(0)
    x = images(2, 3, 8, 8).float() * 4
    for down in (False, True):
        layer = Conv(3, 5, 3, down=down, gain=0.5, clamp=0.4)
        with torch.no_grad():
            assert layer.bias is not None
            layer.bias.normal_()
            weight = layer.weight / math.sqrt(27)
            plain = convolve_down(x, weight) if down else F.conv2d(x, weight, padding=1)
            plain = F.leaky_relu(plain + layer.bias[:, None, None], 0.2) * math.sqrt(2) * 0.5
            assert torch.allclose(layer(x), plain.clamp(-0.2, 0.2), atol=1e-6)
            assert (plain.abs() > 0.2).any()


def test_normalised_latents_have_a_mean_square_of_one() -> None:
    assert torch.allclose(normalize_second_moment(torch.randn(5, 9) * 7).square().mean(dim=1), torch.ones(5))


def test_minibatch_std_is_the_mean_deviation_of_strided_groups() -> None:
    x = images(6, 3, 2, 2)
    channel = minibatch_std(x, 3)[:, 3]
    for first in (0, 1):  # images n, n + 2, n + 4
        group = x[[first, first + 2, first + 4]]
        expected = (group.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(channel[[first, first + 2, first + 4]], expected.expand(3, 2, 2), atol=1e-6)


def test_minibatch_std_takes_smaller_batches_whole_and_refuses_odd_ones() -> None:
    assert minibatch_std(torch.randn(2, 3, 4, 4), 4).shape == (2, 4, 4, 4)
    with pytest.raises(ValueError, match=r"batch 6: need a multiple of .* 4"):
        minibatch_std(torch.randn(6, 3, 4, 4), 4)


@pytest.mark.parametrize(("fast", "slow"), [(convolve_up, slow_up), (convolve_down, slow_down)])
def test_convolutions_that_resample_have_their_definitions_first_and_second_gradient(
    fast: Convolve, slow: Convolve
) -> None:
    x, weight = images(1, 2, 4, 4).requires_grad_(), images(2, 2, 3, 3, seed=1).requires_grad_()
    results = []
    for convolve in (fast, slow):
        (gradient,) = torch.autograd.grad(convolve(x, weight).square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), weight)
        results.append((gradient.detach(), second))
    for made, expected in zip(*results, strict=True):
        assert torch.allclose(made, expected, rtol=1e-9)


def test_sampling_first_does_not_spoil_training() -> None:
    ops._kept_fir.cache_clear()
    with torch.inference_mode():
        upsample(torch.zeros(1, 2, 4, 4))
        downsample(torch.zeros(1, 2, 4, 4))
    x = torch.zeros(1, 2, 4, 4, requires_grad=True)
    (upsample(x).sum() + downsample(x).sum()).backward()
    assert x.grad is not None


def test_what_is_kept_of_a_weight_follows_the_weight() -> None:
    torch.manual_seed(0)
    layer, x, styles = ModulatedConv(3, 4, 3), torch.randn(2, 3, 5, 5), torch.randn(2, 3)

    def run() -> Tensor:
        return layer(x, styles) * layer.demodulation(styles)[:, :, None, None]

    layer.requires_grad_(False)
    with torch.inference_mode():
        first = run()
        assert torch.equal(run(), first)
        layer.weight.mul_(torch.linspace(0.5, 2, 4)[:, None, None, None] + torch.rand(4, 3, 3, 3))
        changed = run()
        assert not torch.allclose(changed, first)
        layer.weight.data = layer.weight.data.clone().flip(0)  # other memory, the same version
        assert not torch.allclose(run(), changed)


def test_nothing_is_kept_of_a_weight_that_an_optimiser_changes() -> None:
    """Fused Adam leaves the version of what it changes as it was."""
    torch.manual_seed(0)
    layer, x, styles = ModulatedConv(3, 4, 3), torch.randn(2, 3, 5, 5), torch.randn(2, 3)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
    with torch.no_grad():
        before = layer.demodulation(styles)
    layer(x, styles).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(layer.demodulation(styles), before)


def test_a_round_trip_through_another_type_is_seen() -> None:
    torch.manual_seed(0)
    layer, styles = ModulatedConv(64, 64, 3).requires_grad_(False), torch.randn(2, 64)
    exact = layer.demodulation(styles)
    layer.to(torch.bfloat16).to(torch.float32)
    expected = (styles.square() @ layer.weight.square().sum(dim=(2, 3)).t() + 1e-8).rsqrt()
    assert torch.equal(layer.demodulation(styles), expected)
    assert not torch.equal(expected, exact)
