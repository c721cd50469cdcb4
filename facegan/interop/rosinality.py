"""StyleGAN2 of rosinality's stylegan2-pytorch: state dicts in, and facegan's networks out.

    style.1.weight                    map.fc0.weight            layer i + 1 of `style` is dense layer i
    input.input  [1, C, 4, 4]         net.b4.const [C, 4, 4]
    conv1.conv.weight [1, O, I, 3, 3] net.b4.conv1.conv.weight; .modulation: .affine, .activate.bias: .bias
    convs.0, convs.1, convs.2 ...     net.b8.conv0, net.b8.conv1, net.b16.conv0 ...
    to_rgb1, to_rgbs.0 ...            net.b4.torgb, net.b8.torgb ...
    noises.noise_0 [1, 1, 4, 4]       net.b4.conv1.noise_const [4, 4]; older files have none
    d: convs.0, convs.1 ...           b{R}.fromrgb, b{R} conv0, conv1, skip ...; final_conv, final_linear

A file is {"g_ema": ..., "d": ..., ...}, with the mean w as "latent_avg" where it was converted. Both scale
weights alike; its skip architecture has no clamp and no labels.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facegan.config import UsageError
from facegan.files import write_atomically
from facegan.interop.agreement import require_suffix
from facegan.interop.arrays import Array, Floats, Numbers, shape_of
from facegan.interop.arrays import Tensor as FileTensor
from facegan.interop.foreign import RESOLUTIONS, Foreign, Source, require_filter, widths_to_channels
from facegan.models import Model
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from facegan.randomness import Purpose, numpy_generator

KIND = "stylegan2-pytorch (rosinality)"
_LAYER = (  # theirs, facegan's, axes of length 1 in front that facegan's have not
    ("conv.weight", "conv.weight", 1),
    ("conv.modulation.weight", "affine.weight", 0),
    ("conv.modulation.bias", "affine.bias", 0),
)
_CONV = (*_LAYER, ("noise.weight", "noise_strength", 1), ("activate.bias", "bias", 0))
_RGB = (*_LAYER, ("bias", "bias", 1))


def is_rosinality(found: Mapping[Any, Any]) -> bool:
    """Whether a dictionary is such a file, or the state dict of its generator alone."""
    state = found.get("g_ema", found)
    return isinstance(state, dict) and {"style.1.weight", "input.input", "conv1.conv.weight"} <= state.keys()


def from_rosinality(found: Mapping[Any, Any]) -> Foreign:
    """The model in such a file.

    Raises:
        UsageError: its tensors are not those of a StyleGAN2.
    """
    whole = "g_ema" in found
    state = _tensors(found["g_ema"] if whole else found)
    filters = {name: numbers for name, numbers in state.items() if name.endswith(".kernel")}
    for name, numbers in filters.items():
        require_filter(name, numbers, gain=4.0)
    config = _config(state)
    names = {theirs: ours for theirs, ours, _ in _g_names(config)}
    generator = {
        names.get(name, f"?{name}"): Source(name, numbers, ones=True)
        for name, numbers in state.items()
        if name not in filters
    }
    foreign = Foreign(KIND, config, generator)
    foreign.left_out["*.kernel"] = f"{len(filters)} filters, all [1, 3, 3, 1], which is built in"
    if not any(name.startswith("noises.") for name in state):
        _draw_noise(foreign, config)
    if whole:
        average = found.get("latent_avg")
        if isinstance(average, (FileTensor, Array)):
            generator["w_avg"] = Source("latent_avg", average)
        _add_discriminator(foreign, config, found.get("d"))
        for key in found:
            if isinstance(key, str) and key not in ("g_ema", "d", "latent_avg"):
                foreign.left_out[key[:80]] = "part of the training"
    return foreign


def write_rosinality(model: Model, out: Path) -> dict[str, Any]:
    """Writes the file OUT for that code, and returns its path, size, and the arguments of its Generator.

    With D where the model holds it.

    Raises:
        UsageError: a network that it has no form for, or OUT is no .pt file or cannot be written.
    """
    require_suffix(out, ".pt")
    if not isinstance(model.generator, StyleGAN2Generator) or not isinstance(model.config, StyleGAN2Config):
        raise UsageError(f"rosinality's code is a StyleGAN2; {model.name} is a {model.config.architecture}")
    content = to_rosinality(model.generator, model.config, model.discriminator)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: torch.save(content, file))
    return {
        "path": str(out),
        "bytes": out.stat().st_size,
        "generator": _arguments(model.config),
        "discriminator": "d" in content,
    }


def to_rosinality(
    generator: StyleGAN2Generator,
    config: StyleGAN2Config,
    discriminator: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """What torch.save is to write for that code: {"g_ema": state dict, "latent_avg": the mean w, "d": ...}.

    discriminator: D's tensors; "d" is there where that code has a form for them.

    Raises:
        UsageError: a network that it has no form for.
    """
    fits = config.g_architecture == "skip" and config.base == (4, 4) and config.channels == 3
    fits = fits and config.z_dim == config.w_dim and config.mapping_lr_multiplier == 0.01
    if not fits or config.labels.dim or config.alpha != 1:
        raise UsageError(
            "rosinality's StyleGAN2 has square RGB pictures, the architecture skip, no labels, a z of w's "
            "length, a mapping learning rate multiplier of 0.01, and is fully grown"
        )
    if config.conv_clamp is not None:
        warnings.warn(f"conv_clamp {config.conv_clamp:g} has no place in that layout", stacklevel=2)
    ours = {name: tensor.detach().cpu() for name, tensor in generator.state_dict().items()}
    state: dict[str, Tensor] = {}
    for theirs, name, front in _g_names(config):
        tensor = ours[name]
        shape = (1,) * front + tuple(tensor.shape)
        if theirs.startswith("to_rgb") and name.endswith("torgb.bias"):
            shape = (1, *tensor.shape, 1, 1)
        state[theirs] = tensor.reshape(shape).clone()
    kernel = torch.from_numpy(_kernel())
    for number in range(len(config.resolutions) - 1):
        state[f"convs.{2 * number}.conv.blur.kernel"] = kernel * 4
        state[f"to_rgbs.{number}.upsample.kernel"] = kernel * 4
    content = {"g_ema": state, "latent_avg": ours["w_avg"].clone()}
    if not discriminator:
        return content
    if config.d_architecture != "resnet" or config.minibatch_std_group != 4:
        warnings.warn("D stays out: that code's is a resnet with a minibatch_std_group of 4", stacklevel=2)
        return content
    # what a grown D has besides are the fromRGBs of smaller pictures, which it no longer uses
    d = {
        theirs: discriminator[name].detach().to("cpu", torch.float32, copy=True)
        for theirs, name in _d_names(config)
    }
    for number in range(1, len(config.resolutions)):
        d[f"convs.{number}.conv2.0.kernel"] = kernel.clone()
        d[f"convs.{number}.skip.0.kernel"] = kernel.clone()
    return content | {"d": d}


def _arguments(config: StyleGAN2Config) -> str:
    """How that code's Generator is made for these tensors."""
    widths = {resolution: config.width(resolution) for resolution in config.resolutions}
    text = f"Generator({config.resolution}, {config.w_dim}, {config.mapping_layers}"
    for multiplier in (2, 1):  # its own table of channels
        if all(width == min(16384 * multiplier // r, 512) for r, width in widths.items()):
            return f"{text}, channel_multiplier={multiplier})"
    return f"{text}) with self.channels = {widths}"


def _g_names(config: StyleGAN2Config) -> Iterator[tuple[str, str, int]]:
    """(theirs, facegan's, axes in front) of every tensor of the generator but w_avg and the filters."""
    for number in range(config.mapping_layers):
        for part in ("weight", "bias"):
            yield f"style.{number + 1}.{part}", f"map.fc{number}.{part}", 0
    yield "input.input", "net.b4.const", 1
    layers = {"conv1": "net.b4.conv1"}
    pictures = {"to_rgb1": "net.b4.torgb"}
    for number, resolution in enumerate(config.resolutions[1:]):
        layers[f"convs.{2 * number}"] = f"net.b{resolution}.conv0"
        layers[f"convs.{2 * number + 1}"] = f"net.b{resolution}.conv1"
        pictures[f"to_rgbs.{number}"] = f"net.b{resolution}.torgb"
    for number, (theirs, ours) in enumerate(layers.items()):
        yield f"noises.noise_{number}", f"{ours}.noise_const", 2
        for foreign, own, front in _CONV:
            yield f"{theirs}.{foreign}", f"{ours}.{own}", front
    for theirs, ours in pictures.items():
        for foreign, own, front in _RGB:
            yield f"{theirs}.{foreign}", f"{ours}.{own}", front


def _d_names(config: StyleGAN2Config) -> Iterator[tuple[str, str]]:
    sizes = config.resolutions[:0:-1]
    yield "convs.0.0.weight", f"b{sizes[0]}.fromrgb.weight"
    yield "convs.0.1.bias", f"b{sizes[0]}.fromrgb.bias"
    for number, resolution in enumerate(sizes):
        theirs, ours = f"convs.{number + 1}", f"b{resolution}"
        yield f"{theirs}.conv1.0.weight", f"{ours}.conv0.weight"
        yield f"{theirs}.conv1.1.bias", f"{ours}.conv0.bias"
        yield f"{theirs}.conv2.1.weight", f"{ours}.conv1.weight"
        yield f"{theirs}.conv2.2.bias", f"{ours}.conv1.bias"
        yield f"{theirs}.skip.1.weight", f"{ours}.skip.weight"
    yield "final_conv.0.weight", "b4.conv.weight"
    yield "final_conv.1.bias", "b4.conv.bias"
    for number, layer in enumerate(("fc", "out")):
        for part in ("weight", "bias"):
            yield f"final_linear.{number}.{part}", f"b4.{layer}.{part}"


def _add_discriminator(foreign: Foreign, config: StyleGAN2Config, state: object) -> None:
    if not isinstance(state, dict):
        foreign.left_out["d"] = "not in the file"
        return
    try:
        tensors = _tensors(state)
        for name in [name for name in tensors if name.endswith(".kernel")]:
            require_filter(f"d.{name}", tensors.pop(name))
    except UsageError as error:
        foreign.left_out["d"] = str(error)
        return
    names = dict(_d_names(config))
    foreign.discriminator = {names.get(n, f"?{n}"): Source(f"d.{n}", t) for n, t in tensors.items()}


def _config(state: Mapping[str, Numbers]) -> StyleGAN2Config:
    """The config that fits the shapes."""
    layers = sum(1 for name in state if re.fullmatch(r"style\.\d+\.weight", name))
    convs = sum(1 for name in state if re.fullmatch(r"convs\.\d+\.conv\.weight", name))
    if not layers or convs % 2 or not 2 <= convs <= 16:
        raise UsageError(
            f"g_ema has {layers} dense layers and {convs} convolutions; expected 2 for every size"
        )
    sizes = RESOLUTIONS[: convs // 2 + 1]
    names = ["conv1", *(f"convs.{2 * number + 1}" for number in range(convs // 2))]
    widths = {r: shape_of(state, f"{name}.conv.weight", 5)[1] for r, name in zip(sizes, names, strict=True)}
    base, most = widths_to_channels(widths)
    return StyleGAN2Config(
        resolution=sizes[-1],
        channels=shape_of(state, "to_rgb1.conv.weight", 5)[1],
        z_dim=shape_of(state, "style.1.weight", 2)[1],
        w_dim=shape_of(state, "conv1.conv.modulation.weight", 2)[1],
        mapping_layers=layers,
        channel_base=base,
        channel_max=most,
    )


def _draw_noise(foreign: Foreign, config: StyleGAN2Config) -> None:
    """Constant noise for a file that has none, the same at every import."""
    for number, (name, resolution) in enumerate(
        (name, int(name.split(".")[1][1:]))
        for _, name, _ in _g_names(config)
        if name.endswith(".noise_const")
    ):
        maps = numpy_generator(0, number, Purpose.NOISE).standard_normal((resolution, resolution))
        foreign.generator[name] = Source("(drawn)", _Drawn(maps.astype(np.float32)))
    foreign.notes.append(
        "the file has no constant noise: --noise const is drawn anew, the same at every import"
    )


class _Drawn:
    """Numbers that are not of the file."""

    nbytes = 0

    def __init__(self, numbers: Floats) -> None:
        self.numbers, self.shape = numbers, numbers.shape

    def read(self) -> Floats:
        return self.numbers


def _tensors(state: Mapping[Any, Any]) -> dict[str, Numbers]:
    """A state dict's tensors.

    Raises:
        UsageError: it has something else.
    """
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, (FileTensor, Array)):
            raise UsageError(f"a state dict in which {str(name)[:40]!r} is not a tensor")
    return dict(state)


def _kernel() -> Floats:
    line = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    return np.outer(line, line).astype(np.float32)
