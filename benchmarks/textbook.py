"""StyleGAN2 as the papers' own programs compute it in plain PyTorch: what facegan's form is measured against.

A kernel for every image in one grouped convolution, the filter as a pass of its own over padded pixels, all
in float32 and torch's default memory layout, G's and D's steps each with fakes of their own. Weights and
results are those of facegan.networks.stylegan2; only the way there differs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.networks.ops import ACTIVATION_GAIN, EPS, LEAKY_SLOPE, Conv, fir
from facegan.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    SynthesisBlock,
    SynthesisLayer,
    ToRGB,
)
from facegan.run import Run

Network = TypeVar("Network", bound=nn.Module)


def filtered(x: Tensor, up: int, down: int, pad: tuple[int, int, int, int], gain: float = 1.0) -> Tensor:
    """x [N, C, H, W] with zeros between its pixels, padded, filtered, every down-th pixel kept."""
    count, channels, height, width = x.shape
    x = F.pad(x.reshape(count, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(count, channels, height * up, width * up), pad)
    line = fir(x.device, x.dtype)
    taps = (torch.outer(line, line) * gain).expand(channels, 1, 4, 4)
    return F.conv2d(x, taps, groups=channels)[:, :, ::down, ::down]


def modulated(x: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    """A kernel for every image of x [N, I, H, W], as one convolution in N groups."""
    count, (outputs, inputs, size) = len(x), weight.shape[:3]
    kernels = weight[None] * styles[:, None, :, None, None]  # [N, O, I, k, k]
    if demodulate:
        kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + EPS).rsqrt()
    x = x.reshape(1, count * inputs, *x.shape[2:])
    if up:
        swapped = kernels.transpose(1, 2).reshape(count * inputs, outputs, size, size)
        x = F.conv_transpose2d(x, swapped, stride=2, groups=count)
        return filtered(x.reshape(count, outputs, *x.shape[2:]), 1, 1, (1, 1, 1, 1), gain=4)
    x = F.conv2d(x, kernels.reshape(-1, inputs, size, size), padding=size // 2, groups=count)
    return x.reshape(count, outputs, *x.shape[2:])


class _Layer(SynthesisLayer):
    def forward(self, x: Tensor, w: Tensor, noise: str | Tensor, gain: float = 1.0) -> Tensor:
        x = modulated(x, self.conv.weight, self.affine(w), demodulate=True, up=self.conv.up)
        if noise != "none":
            shape = x.shape[0], 1, *self.size
            x = x + (torch.randn(shape) if noise == "random" else self.noise_const) * self.noise_strength
        return F.leaky_relu(x + self.bias[:, None, None], LEAKY_SLOPE) * (ACTIVATION_GAIN * gain)


class _RGB(ToRGB):
    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        return modulated(x, self.conv.weight, styles, demodulate=False) + self.bias[:, None, None]


class _Block(SynthesisBlock):
    def forward(self, x, picture, ws, noise, dtype, alpha=1.0):  # type: ignore[no-untyped-def]
        before = None if picture is None else filtered(picture, 2, 1, (2, 1, 2, 1), gain=4)
        x, own = super().forward(x, None, ws, noise, dtype, alpha)
        return x, own if before is None else before if own is None else before + own


class _Conv(Conv):
    def forward(self, x: Tensor) -> Tensor:
        size, weight = self.weight.shape[2], self.weight * self.weight_gain
        if self.down and size == 1:
            x = F.conv2d(filtered(x, 1, 2, (1, 1, 1, 1)), weight)
        elif self.down:
            x = F.conv2d(filtered(x, 1, 1, (2, 2, 2, 2)), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=size // 2)
            x = filtered(x, 2, 1, (2, 1, 2, 1), gain=4) if self.up else x
        if self.bias is None:
            return x * self.gain
        return F.leaky_relu(x + self.bias[:, None, None], LEAKY_SLOPE) * (ACTIVATION_GAIN * self.gain)


_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    SynthesisLayer: _Layer, ToRGB: _RGB, SynthesisBlock: _Block, Conv: _Conv,
}  # fmt: skip


def textbook(network: Network) -> Network:
    """A copy of a StyleGAN2 network with the same weights that computes in the textbook's form."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in network.modules():
        if type(module) in _FORMS:
            module.__class__ = _FORMS[type(module)]
    return network


def textbook_step(run: Run) -> Callable[[], None]:
    """One step of G, then one of D, each with its own fakes; no penalties, as in facegan's main phases."""
    torch.manual_seed(0)
    assert run.model.architecture == "stylegan2"
    generator = textbook(StyleGAN2Generator(run.model))
    discriminator = textbook(StyleGAN2Discriminator(run.model))
    adam = run.optimizer
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=adam.lr, betas=(adam.beta1, adam.beta2))
        for network in (generator, discriminator)
    ]
    real = torch.rand(run.batch, *run.model.image_shape) * 2 - 1

    def fake() -> Tensor:
        return generator.synthesis(generator.mapping(torch.randn(run.batch, run.model.z_dim)), "random")

    def step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        discriminator.requires_grad_(False)
        torch.autograd.backward(F.softplus(-discriminator(fake())).mean())
        optimizers[0].step()
        discriminator.requires_grad_(True)
        with torch.no_grad():
            made = fake()
        loss = F.softplus(discriminator(made)).mean() + F.softplus(-discriminator(real)).mean()
        torch.autograd.backward(loss)
        optimizers[1].step()

    return step
