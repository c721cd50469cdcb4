"""Pickles like those of stylegan2-ada-pytorch and stylegan3, and what their networks compute, slowly.

The modules are stand-ins with the official names, tensors and settings; while they are pickled, the names
that the official files refer to (torch_utils.persistence, dnnlib, training.networks) are in sys.modules, and
whatever would call one of them fails. The forward pass is the textbook's, on the stand-ins' own tensors.
"""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from reference_stylegan2 import FILTER, clamped, dense, fir, grouped, lrelu, normalized, reference_conv
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.images import Pixels

SOURCE = "open('canary', 'w').write('executed')"  # what a reader that executes module_src would do


class EasyDict(dict[str, Any]):
    """The dictionary that the official code keeps arguments in."""


def reconstruct(meta: dict[str, Any]) -> None:
    raise AssertionError("a file's class was made")


class Persistent(nn.Module):
    """A module that pickles as the official decorator makes it: its class as text, its state beside."""

    as_class = False  # pickled by reference, as code does that dropped the decorator

    def __reduce__(self) -> Any:
        if self.as_class:
            return object.__new__, (type(self),), self.__dict__
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": type(self).__name__}
        return reconstruct, (meta | {"state": self.__dict__},), None


class FullyConnectedLayer(Persistent):
    def __init__(self, inputs: int, outputs: int, activation: str = "linear", lr: float = 1.0) -> None:
        super().__init__()
        self.activation, self.weight_gain, self.bias_gain = activation, lr / math.sqrt(inputs), lr
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(0.3 * torch.randn(outputs) / lr)


class Conv2dLayer(Persistent):
    def __init__(
        self, inputs: int, outputs: int, size: int, *, bias: bool = True, down: int = 1, up: int = 1,
        clamp: float | None = None, activation: str = "lrelu",
    ) -> None:  # fmt: skip
        super().__init__()
        self.up, self.down, self.conv_clamp, self.activation = up, down, clamp, activation
        self.register_buffer("resample_filter", FILTER.clone())
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(0.3 * torch.randn(outputs)) if bias else None


class SynthesisLayer(Persistent):
    def __init__(self, inputs: int, outputs: int, w_dim: int, r: int, up: int, clamp: float | None) -> None:
        super().__init__()
        self.resolution, self.up, self.use_noise, self.activation = r, up, True, "lrelu"
        self.conv_clamp, self.padding, self.act_gain = clamp, 1, math.sqrt(2)
        self.register_buffer("resample_filter", FILTER.clone())
        self.affine = FullyConnectedLayer(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.register_buffer("noise_const", torch.randn(r, r))
        self.noise_strength = nn.Parameter(0.5 * torch.randn([]))
        self.bias = nn.Parameter(0.3 * torch.randn(outputs))
        nn.init.constant_(self.affine.bias, 1.2)


class ToRGBLayer(Persistent):
    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.conv_clamp, self.weight_gain = clamp, 1 / math.sqrt(inputs)
        self.affine = FullyConnectedLayer(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(0.3 * torch.randn(channels))


class SynthesisBlock(Persistent):
    def __init__(
        self, below: int, width: int, w_dim: int, r: int, last: int, kind: str, clamp: float | None
    ) -> None:
        super().__init__()
        self.resolution, self.architecture, self.is_last, self.use_fp16 = r, kind, r == last, r >= 8
        self.register_buffer("resample_filter", FILTER.clone())
        if below == 0:
            self.const = nn.Parameter(torch.randn(width, 4, 4))
        else:
            self.conv0 = SynthesisLayer(below, width, w_dim, r, 2, clamp)
        self.conv1 = SynthesisLayer(width, width, w_dim, r, 1, clamp)
        if kind == "skip" or r == last:
            self.torgb = ToRGBLayer(width, 3, w_dim, clamp)
        if kind == "resnet" and below:
            self.skip = Conv2dLayer(below, width, 1, bias=False, up=2, activation="linear")


class SynthesisNetwork(Persistent):
    def __init__(self, w_dim: int, widths: dict[int, int], kind: str, clamp: float | None) -> None:
        super().__init__()
        below = 0
        for r, width in widths.items():
            self.add_module(f"b{r}", SynthesisBlock(below, width, w_dim, r, max(widths), kind, clamp))
            below = width


class MappingNetwork(Persistent):
    def __init__(self, z_dim: int, c_dim: int, w_dim: int, layers: int, *, w_avg: bool) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_layers = z_dim, c_dim, w_dim, layers
        self.w_avg_beta = 0.998
        if c_dim:
            self.embed = FullyConnectedLayer(c_dim, w_dim)
        inputs = z_dim + (w_dim if c_dim else 0)
        for number in range(layers):
            layer = FullyConnectedLayer(w_dim if number else inputs, w_dim, "lrelu", 0.01)
            self.add_module(f"fc{number}", layer)
        if w_avg:
            self.register_buffer("w_avg", 0.3 * torch.randn(w_dim))


class Generator(Persistent):
    def __init__(
        self, z_dim: int, c_dim: int, w_dim: int, widths: dict[int, int], kind: str, clamp: float | None,
        layers: int, flat: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = max(widths), 3
        synthesis = {"channel_base": 1, "conv_clamp": clamp}  # wrong on purpose: the tensors say
        mapping = EasyDict(num_layers=layers)
        self._init_args = ()
        self._init_kwargs = EasyDict(
            synthesis if flat else {"synthesis_kwargs": EasyDict(synthesis)}, mapping_kwargs=mapping
        )
        self.synthesis = SynthesisNetwork(w_dim, widths, kind, clamp)
        self.num_ws = 2 * len(widths)
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, layers, w_avg=True)


class DiscriminatorBlock(Persistent):
    def __init__(
        self, width: int, narrow: int, r: int, kind: str, clamp: float | None, *, first: bool
    ) -> None:
        super().__init__()
        self.resolution, self.architecture, self.use_fp16 = r, kind, True
        self.register_buffer("resample_filter", FILTER.clone())
        if first or kind == "skip":
            self.fromrgb = Conv2dLayer(3, width, 1, clamp=clamp)
        self.conv0 = Conv2dLayer(width, width, 3, clamp=clamp)
        self.conv1 = Conv2dLayer(width, narrow, 3, down=2, clamp=clamp)
        if kind == "resnet":
            self.skip = Conv2dLayer(width, narrow, 1, bias=False, down=2, activation="linear")


class MinibatchStdLayer(Persistent):
    def __init__(self, group: int) -> None:
        super().__init__()
        self.group_size, self.num_channels = group, 1


class DiscriminatorEpilogue(Persistent):
    def __init__(self, width: int, cmap_dim: int, kind: str, clamp: float | None) -> None:
        super().__init__()
        self.cmap_dim, self.resolution, self.architecture = cmap_dim, 4, kind
        if kind == "skip":
            self.fromrgb = Conv2dLayer(3, width, 1)
        self.mbstd = MinibatchStdLayer(4)
        self.conv = Conv2dLayer(width + 1, width, 3, clamp=clamp)
        self.fc = FullyConnectedLayer(16 * width, width, "lrelu")
        self.out = FullyConnectedLayer(width, cmap_dim or 1)


class Discriminator(Persistent):
    def __init__(self, c_dim: int, widths: dict[int, int], kind: str, clamp: float | None) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, max(widths), 3
        for r in sorted(widths, reverse=True)[:-1]:
            first = r == max(widths)
            block = DiscriminatorBlock(widths[r], widths[r // 2], r, kind, clamp, first=first)
            self.add_module(f"b{r}", block)
        if c_dim:
            self.mapping = MappingNetwork(0, c_dim, widths[4], 8, w_avg=False)
        self.b4 = DiscriminatorEpilogue(widths[4], widths[4] if c_dim else 0, kind, clamp)


# ---- pickles


@contextmanager
def stand_ins() -> Iterator[None]:
    """The names of the official code, for as long as something is pickled."""
    names: dict[str, dict[str, Any]] = {
        "torch_utils.persistence": {"_reconstruct_persistent_obj": reconstruct},
        "dnnlib.util": {"EasyDict": EasyDict},
        "training.networks": {cls.__name__: cls for cls in Persistent.__subclasses__()},
    }
    before = {
        (thing, attribute): getattr(thing, attribute)
        for content in names.values()
        for thing in content.values()
        for attribute in ("__module__", "__name__", "__qualname__")
    }
    modules = {name: types.ModuleType(name) for name in (*names, "torch_utils", "dnnlib", "training")}
    for module, content in names.items():
        for name, thing in content.items():
            setattr(modules[module], name, thing)
            thing.__module__, thing.__name__, thing.__qualname__ = module, name, name
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        for (thing, attribute), value in before.items():
            setattr(thing, attribute, value)


def official(
    *, z_dim: int = 7, c_dim: int = 0, w_dim: int = 6, kind: str = "skip", d_kind: str = "resnet",
    clamp: float | None = 256.0, layers: int = 2, flat: bool = False, resolution: int = 16,
) -> dict[str, Any]:  # fmt: skip
    """What the official code pickles: small networks in which nothing is at its initial zero."""
    torch.manual_seed(0)
    widths = {2**k: min(128 // 2**k, 12) for k in range(2, resolution.bit_length())}
    made = [
        Generator(z_dim, c_dim, w_dim, widths, kind, clamp, layers, flat).requires_grad_(False)
        for _ in range(2)
    ]
    return {
        "G": made[0],
        "D": Discriminator(c_dim, widths, d_kind, clamp).requires_grad_(False),
        "G_ema": made[1].eval(),
        "training_set_kwargs": EasyDict(path="faces.zip", use_labels=bool(c_dim)),
        "augment_pipe": None,
    }


def pickled(snapshot: Any, protocol: int = 4) -> bytes:
    """The bytes of an official pickle."""
    with stand_ins():
        return pickle.dumps(snapshot, protocol=protocol)


# ---- the slow reference


def reference_layer(layer: Any, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
    styles = dense(layer.affine, w)
    kernels = layer.weight[None] * styles[:, None, :, None, None]
    kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    if layer.up == 2:
        # a transposed convolution is one of the pixels with zeros between them: the kernel is turned
        x = fir(x, 2, 1, (3, 2, 3, 2), gain=4)
        x = torch.cat([F.conv2d(i[None], k.flip(2, 3)) for i, k in zip(x, kernels, strict=True)])
    else:
        x = grouped(x, kernels)
    x = x + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    return clamped(lrelu(x, gain), layer.conv_clamp, gain)


def reference_rgb(layer: Any, x: Tensor, w: Tensor) -> Tensor:
    styles = dense(layer.affine, w) / math.sqrt(layer.weight.shape[1])
    kernels = layer.weight[None] * styles[:, None, :, None, None]
    return clamped(grouped(x, kernels) + layer.bias[:, None, None], layer.conv_clamp)


def reference_w(generator: Any, z: Tensor, label: Tensor | None = None) -> Tensor:
    mapping = generator.mapping
    x = normalized(z)
    if label is not None:
        x = torch.cat([x, normalized(dense(mapping.embed, label))], dim=1)
    for number in range(mapping.num_layers):
        x = lrelu(dense(getattr(mapping, f"fc{number}"), x, 0.01))
    return x


def reference_picture(generator: Any, w: Tensor) -> Tensor:
    """One w [N, w_dim] for all layers -> picture, float32."""
    picture: Tensor | None = None
    x = torch.empty(0)
    for block in generator.synthesis.children():
        if block.resolution == 4:
            x = reference_layer(block.conv1, block.const.expand(len(w), -1, -1, -1), w)
        else:
            beside, gain = None, 1.0
            if block.architecture == "resnet":
                gain = math.sqrt(0.5)
                weight = block.skip.weight / math.sqrt(block.skip.weight.shape[1])
                beside = fir(F.conv2d(x, weight), 2, 1, (2, 1, 2, 1), gain=4) * gain
            x = reference_layer(block.conv1, reference_layer(block.conv0, x, w), w, gain)
            x = x if beside is None else x + beside
        picture = None if picture is None else fir(picture, 2, 1, (2, 1, 2, 1), gain=4)
        if hasattr(block, "torgb"):
            own = reference_rgb(block.torgb, x, w)
            picture = own if picture is None else picture + own
    assert picture is not None
    return picture


def reference_logits(discriminator: Any, image: Tensor) -> Tensor:
    """What D's last layer gives [N, 1 or cmap_dim], groups of 4."""
    convs: list[Any] = [layer for layer in discriminator.modules() if isinstance(layer, Conv2dLayer)]
    for layer in convs:
        layer.clamp = layer.conv_clamp
    down = {id(layer): layer.down for layer in convs}
    for layer in convs:
        layer.down = layer.down == 2  # as reference_conv asks
    x: Tensor | None = None
    for block in list(discriminator.children()):
        if not isinstance(block, DiscriminatorBlock):
            continue
        gain = math.sqrt(0.5) if block.architecture == "resnet" else 1.0
        if hasattr(block, "fromrgb"):
            seen = reference_conv(block.fromrgb, image)
            x = seen if x is None else x + seen
        assert x is not None
        y = reference_conv(block.conv1, reference_conv(block.conv0, x), gain)
        x = y + reference_conv(block.skip, x, gain) if block.architecture == "resnet" else y
        image = fir(image, 1, 2, (1, 1, 1, 1))
    assert x is not None
    last = discriminator.b4
    if last.architecture == "skip":
        x = x + reference_conv(last.fromrgb, image)
    for layer in convs:
        layer.down = down[id(layer)]
        del layer.clamp
    groups = x.reshape(4, len(x) // 4, *x.shape[1:])
    deviation = (groups - groups.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(4).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    kernel = last.conv.weight / math.sqrt(9 * last.conv.weight.shape[1])
    x = F.conv2d(torch.cat([x, channel], dim=1), kernel, padding=1) + last.conv.bias[:, None, None]
    x = clamped(lrelu(x), last.conv.conv_clamp)
    return dense(last.out, lrelu(dense(last.fc, x.flatten(1))))


def seeds_z(seeds: range, z_dim: int) -> Tensor:
    """The official script's z: a RandomState for each seed."""
    rows = [np.random.RandomState(seed).randn(1, z_dim) for seed in seeds]
    return torch.from_numpy(np.concatenate(rows)).float()


def pixels(picture: Tensor) -> Pixels:
    """The official script's pixels [N, H, W, C]."""
    whole = (picture * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).numpy()
