"""Pickles like those of NVIDIA's TensorFlow code, and what their networks compute, in its own terms.

Variables have TensorFlow's layout: dense weights [I, O], kernels [k, k, I, O]. The reference below uses them
as they are named there: modulation is mod_bias + 1, an up-convolution is the natural one of StyleGAN2 (zeros
between the pixels, filter, correlation) and StyleGAN's fused one (transposed, with a 4x4 kernel).
"""

from __future__ import annotations

import math
import pickle
import sys
import types
from typing import Any

import numpy as np
import torch
from reference_stylegan2 import clamped, fir, lrelu, normalized
from torch import Tensor
from torch.nn import functional as F

SOURCE = "open('canary', 'w').write('executed')"


class Network:
    """A network as it is pickled."""

    def __init__(
        self,
        name: str,
        variables: dict[str, Any],
        kwargs: dict[str, Any],
        version: int,
        **components: Network,
    ) -> None:
        self.state: dict[str, Any] = {
            "version": version,
            "name": name,
            "static_kwargs": kwargs,
            "components": components,
            "build_module_src": SOURCE,
            "build_func_name": f"{name}_main",
            # what a session gives of a variable without axes is a number of numpy's, not an array
            "variables": [(key, np.asarray(value, np.float32)[()]) for key, value in variables.items()],
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("a file's network was made")

    def tensor(self, name: str) -> Tensor:
        """A variable."""
        return torch.from_numpy(np.asarray(dict(self.state["variables"])[name]))


def pickled_networks(*networks: Network, protocol: int = 4) -> bytes:
    """The bytes of an official pickle of (G, D, Gs)."""
    names = ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[2]].Network = Network  # type: ignore[attr-defined]
    before = Network.__module__
    Network.__module__ = names[2]
    sys.modules.update(modules)
    try:
        return pickle.dumps(networks, protocol)
    finally:
        Network.__module__ = before
        for name in names:
            del sys.modules[name]


def mapping_variables(z_dim: int, w_dim: int, layers: int, random: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(layers):
        shape = (w_dim if number else z_dim, w_dim)
        found[f"Dense{number}/weight"] = random.standard_normal(shape) / 0.01
        found[f"Dense{number}/bias"] = 0.3 * random.standard_normal(w_dim) / 0.01
    return found


WIDTHS = {4: 12, 8: 12, 16: 8}


def stylegan2(kind: str = "skip", *, version: int = 4, **kwargs: Any) -> tuple[Network, Network, Network]:
    """(G, D, Gs) of 16 px."""
    random = np.random.default_rng(0)
    normal = random.standard_normal
    last = max(WIDTHS)

    def layer(name: str, size: int, inputs: int, outputs: int, *, noise: bool) -> dict[str, Any]:
        found = {
            f"{name}/weight": normal((size, size, inputs, outputs)),
            f"{name}/bias": 0.3 * normal(outputs),
            f"{name}/mod_weight": normal((6, inputs)),
            f"{name}/mod_bias": 0.3 * normal(inputs),
        }
        return found | ({f"{name}/noise_strength": 0.5 * normal()} if noise else {})

    synthesis: dict[str, Any] = {"4x4/Const/const": normal((1, 12, 4, 4))}
    discriminator: dict[str, Any] = {}
    number, below = 0, 12
    for r, width in WIDTHS.items():
        size = f"{r}x{r}"
        for name in ["4x4/Conv"] if r == 4 else [f"{size}/Conv0_up", f"{size}/Conv1"]:
            synthesis[f"noise{number}"] = normal((1, 1, r, r))
            number += 1
            synthesis |= layer(name, 3, below if "up" in name else width, width, noise=True)
        if kind == "skip" or r == last:
            synthesis |= layer(f"{size}/ToRGB", 1, width, 3, noise=False)
        if kind == "resnet" and r > 4:
            synthesis[f"{size}/Skip/weight"] = normal((1, 1, below, width))
        if r > 4:
            discriminator |= {
                f"{size}/Conv0/weight": normal((3, 3, width, width)),
                f"{size}/Conv0/bias": 0.3 * normal(width),
                f"{size}/Conv1_down/weight": normal((3, 3, width, below)),
                f"{size}/Conv1_down/bias": 0.3 * normal(below),
                f"{size}/Skip/weight": normal((1, 1, width, below)),
            }
        below = width
    discriminator |= {
        "16x16/FromRGB/weight": normal((1, 1, 3, 8)), "16x16/FromRGB/bias": 0.3 * normal(8),
        "4x4/Conv/weight": normal((3, 3, 13, 12)), "4x4/Conv/bias": 0.3 * normal(12),
        "4x4/Dense0/weight": normal((192, 12)), "4x4/Dense0/bias": 0.3 * normal(12),
        "Output/weight": normal((12, 1)), "Output/bias": normal(1),
    }  # fmt: skip
    parts = {
        "synthesis": Network("G_synthesis", synthesis, {}, version),
        "mapping": Network("G_mapping", mapping_variables(7, 6, 2, random), {}, version),
    }
    kwargs = {"num_channels": 3, "resolution": 16, "label_size": 0, "fmap_base": 64} | kwargs
    made = Network("G", {"dlatent_avg": 0.3 * normal(6)}, kwargs, version, **parts)
    d_kwargs = {name: value for name, value in kwargs.items() if name == "conv_clamp"}
    return made, Network("D", discriminator, {"mbstd_group_size": 4} | d_kwargs, version), made


def tensorflow_pickle(kind: str = "skip", **kwargs: Any) -> bytes:
    """The bytes of a StyleGAN2 of TensorFlow."""
    return pickled_networks(*stylegan2(kind, **kwargs))


# ---- the references


def parts(network: Network) -> tuple[Network, Network]:
    found: dict[str, Network] = network.state["components"]
    return found["mapping"], found["synthesis"]


def reference_w(network: Network, z: Tensor, gain: float) -> Tensor:
    """w of z; gain: what each layer's weights are multiplied with beside the activation's."""
    mapping, _ = parts(network)
    x = normalized(z)
    for number in range(len(mapping.state["variables"]) // 2):
        weight, bias = mapping.tensor(f"Dense{number}/weight"), mapping.tensor(f"Dense{number}/bias")
        x = x @ (weight * (gain * 0.01 / math.sqrt(len(weight)))) + bias * 0.01
        x = F.leaky_relu(x, 0.2) * (math.sqrt(2) / gain)
    return x


def reference_stylegan2(network: Network, w: Tensor, kind: str, clamp: float | None = None) -> Tensor:
    """The picture of one w for all layers."""
    _, net = parts(network)

    def layer(name: str, x: Tensor, number: int | None, *, up: bool = False, gain: float = 1.0) -> Tensor:
        weight = net.tensor(f"{name}/weight").permute(3, 2, 0, 1)
        weight = weight / math.sqrt(weight[0].numel())
        styles = (
            w @ (net.tensor(f"{name}/mod_weight") / math.sqrt(w.shape[1]))
            + net.tensor(f"{name}/mod_bias")
            + 1
        )
        kernels = weight[None] * styles[:, None, :, None, None]
        if number is not None:
            kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = fir(x, 2, 1, (3, 2, 3, 2), gain=4) if up else F.pad(x, [weight.shape[2] // 2] * 4)
        x = torch.cat([F.conv2d(i[None], k) for i, k in zip(x, kernels, strict=True)])
        bias = net.tensor(f"{name}/bias")[:, None, None]
        if number is None:
            return clamped(x + bias, clamp)
        x = x + net.tensor(f"noise{number}") * net.tensor(f"{name}/noise_strength") + bias
        return clamped(lrelu(x, gain), clamp, gain)

    x = net.tensor("4x4/Const/const").expand(len(w), -1, -1, -1)
    x = layer("4x4/Conv", x, 0)
    picture = layer("4x4/ToRGB", x, None) if kind == "skip" else torch.zeros(len(w), 3, 4, 4)
    number, residual = 1, math.sqrt(0.5) if kind == "resnet" else 1.0
    for r in list(WIDTHS)[1:]:
        size, below = f"{r}x{r}", x
        x = layer(f"{size}/Conv0_up", x, number, up=True)
        x = layer(f"{size}/Conv1", x, number + 1, gain=residual)
        number += 2
        if kind == "resnet":
            skip = net.tensor(f"{size}/Skip/weight").permute(3, 2, 0, 1)
            x = (
                x
                + fir(F.conv2d(below, skip / math.sqrt(skip.shape[1])), 2, 1, (2, 1, 2, 1), gain=4) * residual
            )
        picture = fir(picture, 2, 1, (2, 1, 2, 1), gain=4)
        if kind == "skip" or r == max(WIDTHS):
            picture = picture + layer(f"{size}/ToRGB", x, None)
    return picture


def reference_d(network: Network, image: Tensor) -> Tensor:
    """Logits of the residual D in groups of 4."""

    def kernel(name: str) -> Tensor:
        weight = network.tensor(f"{name}/weight").permute(3, 2, 0, 1)
        return weight / math.sqrt(weight[0].numel())

    def act(x: Tensor, name: str) -> Tensor:
        return lrelu(x + network.tensor(f"{name}/bias")[:, None, None])

    x = act(F.conv2d(image, kernel("16x16/FromRGB")), "16x16/FromRGB")
    for r in (16, 8):
        size = f"{r}x{r}"
        y = act(F.conv2d(x, kernel(f"{size}/Conv0"), padding=1), f"{size}/Conv0")
        y = act(
            F.conv2d(fir(y, 1, 1, (2, 2, 2, 2)), kernel(f"{size}/Conv1_down"), stride=2), f"{size}/Conv1_down"
        )
        x = (y + F.conv2d(fir(x, 1, 2, (1, 1, 1, 1)), kernel(f"{size}/Skip"))) * math.sqrt(0.5)
    groups = x.reshape(4, len(x) // 4, *x.shape[1:])
    deviation = (groups - groups.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(4).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    x = act(F.conv2d(torch.cat([x, channel], dim=1), kernel("4x4/Conv"), padding=1), "4x4/Conv").flatten(1)
    for name in ("4x4/Dense0", "Output"):
        weight = network.tensor(f"{name}/weight")
        x = x @ (weight / math.sqrt(len(weight))) + network.tensor(f"{name}/bias")
        x = lrelu(x) if name != "Output" else x
    return x[:, 0]


# ---- StyleGAN


def stylegan(
    fused: object = "auto", lod: float = 0.0, resolution: int = 16, **kwargs: Any
) -> tuple[Network, Network, Network]:
    """(G, D, Gs)."""
    random = np.random.default_rng(1)
    widths = stylegan_widths(resolution)
    normal = random.standard_normal

    def epilogue(name: str, width: int) -> dict[str, Any]:
        return {
            f"{name}/Noise/weight": 0.5 * normal(width),
            f"{name}/bias": 0.3 * normal(width),
            f"{name}/StyleMod/weight": normal((6, 2 * width)),
            f"{name}/StyleMod/bias": 0.3 * normal(2 * width),
        }

    found: dict[str, Any] = {"lod": lod, "4x4/Const/const": normal((1, 12, 4, 4))}
    found |= (
        epilogue("4x4/Const", 12) | {"4x4/Conv/weight": normal((3, 3, 12, 12))} | epilogue("4x4/Conv", 12)
    )
    below = 12
    for r, width in list(widths.items())[1:]:
        for name, inputs in ((f"{r}x{r}/Conv0_up", below), (f"{r}x{r}/Conv1", width)):
            found |= {f"{name}/weight": normal((3, 3, inputs, width))} | epilogue(name, width)
        below = width
    for lod_number, (_, width) in enumerate(reversed(widths.items())):
        found[f"ToRGB_lod{lod_number}/weight"] = normal((1, 1, width, 3))
        found[f"ToRGB_lod{lod_number}/bias"] = 0.3 * normal(3)
    for number in range(2 * len(widths)):
        side = 4 * 2 ** (number // 2)
        found[f"noise{number}"] = normal((1, 1, side, side))
    inside = {
        "synthesis": Network("G_synthesis", found, {}, 3),
        "mapping": Network("G_mapping", mapping_variables(7, 6, 2, random), {}, 3),
    }
    kwargs = {"num_channels": 3, "resolution": resolution, "label_size": 0, "fused_scale": fused} | kwargs
    made = Network("G", {"dlatent_avg": 0.3 * normal(6)}, kwargs, 3, **inside)
    return made, Network("D", {}, {}, 3), made


def stylegan_widths(resolution: int) -> dict[int, int]:
    """Channels of each resolution."""
    return {2**k: min(8 * resolution // 2**k, 12) for k in range(2, resolution.bit_length())}


def reference_stylegan(network: Network, w: Tensor, *, resolution: int = 16, fused_from: int = 128) -> Tensor:
    """The picture of one w for all layers; fused_from: the resolution from which its doubling is fused."""
    _, net = parts(network)

    def epilogue(x: Tensor, name: str, number: int) -> Tensor:
        x = x + net.tensor(f"noise{number}") * net.tensor(f"{name}/Noise/weight")[:, None, None]
        x = F.leaky_relu(x + net.tensor(f"{name}/bias")[:, None, None], 0.2)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x / (x.square().mean(dim=(2, 3), keepdim=True) + 1e-8).sqrt()
        style = w @ (net.tensor(f"{name}/StyleMod/weight") / math.sqrt(w.shape[1])) + net.tensor(
            f"{name}/StyleMod/bias"
        )
        style = style.reshape(len(w), 2, -1, 1, 1)
        return x * (style[:, 0] + 1) + style[:, 1]

    def kernel(name: str, gain: float) -> Tensor:
        weight = net.tensor(f"{name}/weight").permute(3, 2, 0, 1)
        return weight * (gain / math.sqrt(weight[0].numel()))

    def doubled(x: Tensor, weight: Tensor) -> Tensor:
        if 2 * x.shape[2] < fused_from:
            return F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, padding=1)
        wide = F.pad(weight, [1, 1, 1, 1])
        four = wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]
        return F.conv_transpose2d(x, four.transpose(0, 1), stride=2, padding=1)

    x = epilogue(net.tensor("4x4/Const/const").expand(len(w), -1, -1, -1), "4x4/Const", 0)
    x = epilogue(F.conv2d(x, kernel("4x4/Conv", math.sqrt(2)), padding=1), "4x4/Conv", 1)
    line = torch.tensor([1.0, 2, 1]) / 4
    for place, r in enumerate(list(stylegan_widths(resolution))[1:]):
        x = doubled(x, kernel(f"{r}x{r}/Conv0_up", math.sqrt(2)))
        taps = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
        x = epilogue(F.conv2d(x, taps, padding=1, groups=x.shape[1]), f"{r}x{r}/Conv0_up", 2 * place + 2)
        x = F.conv2d(x, kernel(f"{r}x{r}/Conv1", math.sqrt(2)), padding=1)
        x = epilogue(x, f"{r}x{r}/Conv1", 2 * place + 3)
    return F.conv2d(x, kernel("ToRGB_lod0", 1.0)) + net.tensor("ToRGB_lod0/bias")[:, None, None]
