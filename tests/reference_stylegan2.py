"""StyleGAN2 in the textbook's form: a kernel for each image, zeros between pixels, the paper's gains."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.networks.stylegan2 import (
    Architecture,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


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
