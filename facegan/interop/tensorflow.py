"""StyleGAN2 and StyleGAN of NVIDIA's TensorFlow code: pickles of (G, D, Gs), networks as lists of variables.

    StyleGAN2 (stylegan2, stylegan2-ada)                      facegan's
    mapping/Dense0/weight [I, O]                              map.fc0.weight [O, I]
    synthesis/8x8/Conv0_up/weight [3, 3, I, O]                net.b8.conv0.conv.weight [O, I, 3, 3], turned
    synthesis/8x8/Conv0_up/{mod_weight,mod_bias}              net.b8.conv0.affine.{weight, bias + 1}
    synthesis/4x4/Conv/weight, noise0                         net.b4.conv1.conv.weight, .noise_const
    synthesis/noise1, noise2                                  net.b8.conv0.noise_const, net.b8.conv1. ...
    dlatent_avg                                               w_avg

    StyleGAN
    synthesis/4x4/Const/{const,Noise,bias,StyleMod}           net.b4.const, net.b4.style0
    synthesis/8x8/Conv0_up, Conv1; 4x4/Conv                   net.b8.conv0, style0 ...; net.b4.conv1
    synthesis/ToRGB_lod{k}                                    net.b{R >> k}.torgb and rgb_bias

"Turned" is by 180 degrees. StyleGAN's gain of sqrt(2) is in its dense weights and not in the activation, so
those layers' biases are divided by it. Its up-convolutions of 128 px and more are one transposed convolution,
equal to facegan's with the kernel turned. Its discriminator is not read.

A network's `build_module_src`, the source text that the official reader runs, is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from facegan.config import UsageError
from facegan.interop.arrays import Array, Floats, Numbers, first_names, shape_of
from facegan.interop.foreign import Foreign, Source, plain, widths_to_channels
from facegan.interop.inert import MAX_NAME
from facegan.interop.modules import class_of
from facegan.networks.stylegan import StyleGANConfig
from facegan.networks.stylegan2 import Architecture, StyleGAN2Config

SG2_KIND, SG1_KIND = "stylegan2 (NVIDIA, TensorFlow)", "stylegan (NVIDIA, TensorFlow)"
NETWORK = ("dnnlib.tflib.network", "Network")
MAX_COMPONENTS = 8
FUSED_FROM = 128  # px: fused_scale "auto" of StyleGAN
# settings of which other values make other networks
_SETTINGS: dict[str, tuple[object, ...]] = {
    "label_size": (0,), "normalize_latents": (True,), "nonlinearity": ("lrelu",), "act": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",), "mapping_lrmul": (0.01,), "use_noise": (True,), "use_styles": (True,),
    "use_pixel_norm": (False,), "use_instance_norm": (True,), "use_wscale": (True,),
    "const_input_layer": (True,),
}  # fmt: skip


class Scalar:
    """A variable that is one number, which numpy pickles as such and not as an array."""

    shape: tuple[int, ...] = ()
    nbytes = 4

    def __init__(self, value: float) -> None:
        self.value = value

    def read(self) -> Floats:
        """The number."""
        return np.array(self.value, np.float32)


class Network:
    """One of the pickled networks: settings, and variables by name, those of its parts under theirs."""

    def __init__(self, state: Mapping[Any, Any]) -> None:
        settings = state.get("static_kwargs")
        self.settings: Mapping[Any, Any] = settings if isinstance(settings, dict) else {}
        self.version = state.get("version")
        self.variables: dict[str, Numbers] = {}
        self._take(state, "")
        components = state.get("components")
        for name, part in list(components.items() if isinstance(components, dict) else ())[:MAX_COMPONENTS]:
            described = class_of(part)
            if isinstance(name, str) and described is not None and isinstance(described[2], dict):
                self._take(described[2], f"{name}/")

    def _take(self, state: Mapping[Any, Any], prefix: str) -> None:
        variables = state.get("variables")
        for pair in variables if isinstance(variables, list) else ():
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
                continue
            name, value = pair
            if isinstance(value, (Array, float)) and len(name) <= MAX_NAME:
                self.variables[prefix + name] = Scalar(value) if isinstance(value, float) else value


def networks_of(found: object) -> tuple[Network, Network, Network] | None:
    """G, D and Gs where it is such a file, else nothing."""
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        return None
    networks = []
    for part in found:
        described = class_of(part)
        if described is None or described[:2] != NETWORK or not isinstance(described[2], dict):
            return None
        networks.append(Network(described[2]))
    return networks[0], networks[1], networks[2]


def from_tensorflow(networks: tuple[Network, Network, Network]) -> Foreign:
    """The model of (G, D, Gs).

    Raises:
        UsageError: Gs is neither StyleGAN2 nor StyleGAN, or one that facegan's cannot be.
    """
    _, d, g = networks
    for name, allowed in _SETTINGS.items():
        value = g.settings.get(name, allowed[0])
        if not isinstance(value, (int, float, str)) or value not in allowed:
            raise UsageError(f"Gs has {name} {plain(value)}; {allowed[0]!r} is what can be read")
    if "synthesis/4x4/Conv/mod_weight" in g.variables:
        foreign = _stylegan2(g)
        _add_discriminator(foreign, d)
    elif "synthesis/4x4/Conv/StyleMod/weight" in g.variables:
        foreign = _stylegan(g)
        foreign.left_out["D"] = "the layout of StyleGAN's discriminator is not read"
    else:
        raise UsageError(f"Gs is neither StyleGAN2 nor StyleGAN; it has {first_names(list(g.variables))}")
    foreign.left_out["G"] = "the generator as trained; its moving average Gs is what is taken"
    return foreign


def _channels(variables: Mapping[str, Numbers], sizes: list[int]) -> tuple[int, int]:
    """channel_base and channel_max of a synthesis network of these resolutions."""
    widths = {4: shape_of(variables, "synthesis/4x4/Conv/weight", 4)[3]}
    widths |= {r: shape_of(variables, f"synthesis/{r}x{r}/Conv1/weight", 4)[3] for r in sizes[1:]}
    return widths_to_channels(widths)


# ---- StyleGAN2


def _stylegan2(g: Network) -> Foreign:
    variables = dict(g.variables)
    _drop_lod(variables)
    resolution = _resolution(variables)
    sizes = [2**k for k in range(2, resolution.bit_length())]
    if not _same_line(g.settings.get("resample_kernel", [1, 3, 3, 1]), [1, 3, 3, 1]):
        raise UsageError("Gs has a resample_kernel other than [1, 3, 3, 1]")
    last = f"synthesis/{resolution}x{resolution}"
    base, most = _channels(variables, sizes)
    z_dim, w_dim, layers = _mapping_sizes(variables)
    config = StyleGAN2Config(
        resolution=resolution,
        channels=shape_of(variables, f"{last}/ToRGB/weight", 4)[3],
        channel_base=base,
        channel_max=most,
        g_architecture=_architecture(variables, "synthesis/", "ToRGB", resolution),
        conv_clamp=_clamp(g),
        w_avg_beta=0.995,
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=layers,
    )
    names = _mapping_names(config.mapping_layers)
    for name in list(variables):
        match = re.fullmatch(r"synthesis/(\d+)x\1/(Conv0_up|Conv1|Conv|ToRGB|Skip)/(\w+)", name)
        if match and int(match[1]) in sizes:
            layer = {"Conv0_up": "conv0", "ToRGB": "torgb", "Skip": "skip"}.get(match[2], "conv1")
            part = {"mod_weight": "affine.weight", "mod_bias": "affine.bias"}.get(match[3], match[3])
            part = "conv.weight" if part == "weight" and layer != "skip" else part
            names[name] = f"net.b{match[1]}.{layer}.{part}"
    names["synthesis/4x4/Const/const"] = "net.b4.const"
    for number, layer in enumerate(["b4.conv1", *(f"b{r}.conv{n}" for r in sizes[1:] for n in (0, 1))]):
        names[f"synthesis/noise{number}"] = f"net.{layer}.noise_const"
    foreign = Foreign(SG2_KIND, config, {})
    for name, numbers in variables.items():
        foreign.generator[names.get(name, f"?{name}")] = _source(name, numbers)
    if config.conv_clamp is not None:
        foreign.notes.append(f"conv_clamp {config.conv_clamp:g} is kept; float16 layers become float32")
    return foreign


def _source(name: str, numbers: Numbers) -> Source:
    """A variable of StyleGAN2, turned as facegan's tensor is."""
    last = name.rsplit("/", 1)[-1]
    if last == "mod_bias":
        return Source(name, numbers, lambda x: x + 1)
    if name.split("/")[-2:] in (["Conv0_up", "weight"], ["Skip", "weight"]) and name.startswith("synthesis"):
        return Source(name, numbers, _turned)
    if last in ("weight", "mod_weight"):
        return Source(name, numbers, _kernel if len(numbers.shape) == 4 else np.transpose)
    return Source(name, numbers, ones=True)


def _add_discriminator(foreign: Foreign, d: Network) -> None:
    config = foreign.config
    assert isinstance(config, StyleGAN2Config)
    variables = dict(d.variables)
    try:
        _drop_lod(variables)
        group = d.settings.get("mbstd_group_size", 4)
        kind = _architecture(variables, "", "FromRGB", config.resolution)
        if _clamp(d) != config.conv_clamp or type(group) is not int:
            raise UsageError("another conv_clamp, or no minibatch_std group")
        foreign.config = replace(config, d_architecture=kind, minibatch_std_group=group)
    except UsageError as error:
        foreign.left_out["D"] = f"does not fit the same config as G: {error}"
        return
    parts = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv",
             "Dense0": "fc"}  # fmt: skip
    for name, numbers in variables.items():
        match = re.fullmatch(r"(\d+)x\1/(\w+)/(weight|bias)", name)
        ours = f"b{match[1]}.{parts.get(match[2], '?')}.{match[3]}" if match else f"?{name}"
        ours = re.sub(r"^Output/", "b4.out.", name) if name.startswith("Output/") else ours
        source = _source(name, numbers)
        foreign.discriminator[ours] = replace(source, name=f"D/{name}")


def _architecture(variables: Mapping[str, Numbers], prefix: str, rgb: str, resolution: int) -> Architecture:
    """By where the network has layers of their own: beside the last block, to or from RGB at 4x4."""
    if f"{prefix}{resolution}x{resolution}/Skip/weight" in variables:
        return "resnet"
    return "skip" if f"{prefix}4x4/{rgb}/weight" in variables else "orig"


def _clamp(network: Network) -> float | None:
    value = network.settings.get("conv_clamp")
    if value is not None and type(value) not in (int, float):
        raise UsageError(f"conv_clamp is {plain(value)}, expected a number or None")
    return None if value is None else float(value)


# ---- StyleGAN


def _stylegan(g: Network) -> Foreign:
    variables = dict(g.variables)
    _drop_lod(variables)
    resolution = _resolution(variables)
    sizes = [2**k for k in range(2, resolution.bit_length())]
    fused = g.settings.get("fused_scale", "auto")
    if fused not in ("auto", True, False) or not _same_line(
        g.settings.get("blur_filter", [1, 2, 1]), [1, 2, 1]
    ):
        raise UsageError(
            "Gs has another fused_scale than auto, True or False, or another blur_filter than [1, 2, 1]"
        )
    base, most = _channels(variables, sizes)
    z_dim, w_dim, layers = _mapping_sizes(variables)
    config = StyleGANConfig(
        resolution=resolution,
        channels=shape_of(variables, "synthesis/ToRGB_lod0/weight", 4)[3],
        channel_base=base,
        channel_max=most,
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=layers,
    )
    styled = {"4x4/Const": ("b4", None, 0), "4x4/Conv": ("b4", "conv1", 1)}
    for r in sizes[1:]:
        styled |= {f"{r}x{r}/Conv0_up": (f"b{r}", "conv0", 0), f"{r}x{r}/Conv1": (f"b{r}", "conv1", 1)}
    names, changes = _mapping_names(config.mapping_layers), {}
    names["synthesis/4x4/Const/const"] = "net.b4.const"
    for number, (theirs, (block, conv, index)) in enumerate(styled.items()):
        style = f"net.{block}.style{index}"
        names |= {
            f"synthesis/{theirs}/Noise/weight": f"{style}.noise_strength",
            f"synthesis/{theirs}/bias": f"{style}.bias",
            f"synthesis/{theirs}/StyleMod/weight": f"{style}.affine.weight",
            f"synthesis/{theirs}/StyleMod/bias": f"{style}.affine.bias",
            f"synthesis/noise{number}": f"{style}.noise_const",
        }
        if conv is not None:
            names[f"synthesis/{theirs}/weight"] = f"net.{block}.{conv}.weight"
        size = int(theirs.split("x")[0])
        if conv == "conv0" and (fused is True or (fused == "auto" and size >= FUSED_FROM)):
            changes[f"synthesis/{theirs}/weight"] = _turned
    for number, r in enumerate(reversed(sizes)):
        names[f"synthesis/ToRGB_lod{number}/weight"] = f"net.b{r}.torgb.weight"
        names[f"synthesis/ToRGB_lod{number}/bias"] = f"net.b{r}.rgb_bias"
    foreign = Foreign(SG1_KIND, config, {})
    for name, numbers in variables.items():
        source = _source_of_stylegan(name, numbers)
        if name in changes:
            source = replace(source, change=changes[name])
        foreign.generator[names.get(name, f"?{name}")] = source
    return foreign


def _source_of_stylegan(name: str, numbers: Numbers) -> Source:
    if name.endswith("weight") and len(numbers.shape) in (2, 4):
        return Source(name, numbers, _kernel if len(numbers.shape) == 4 else np.transpose)
    if re.fullmatch(r"mapping/Dense\d+/bias", name):
        return Source(name, numbers, lambda x: x / np.float32(math.sqrt(2)))
    return Source(name, numbers, ones=True)


# ---- both


def _kernel(x: Floats) -> Floats:
    """[k, k, I, O] -> [O, I, k, k]"""
    return x.transpose(3, 2, 0, 1)


def _turned(x: Floats) -> Floats:
    """The same, turned by 180 degrees."""
    return x.transpose(3, 2, 0, 1)[:, :, ::-1, ::-1]


def _drop_lod(variables: dict[str, Numbers]) -> None:
    """Checks that the network has grown to the end, and forgets how far it has.

    Raises:
        UsageError: it has not.
    """
    for name in [name for name in variables if name.split("/")[-1] == "lod"]:
        numbers = variables.pop(name)
        if numbers.nbytes > 8 or numbers.shape not in ((), (1,)) or float(numbers.read().reshape(-1)[0]) != 0:
            raise UsageError(f"a network that was saved while it grew ({name} is not 0)")


def _resolution(variables: Mapping[str, Numbers]) -> int:
    found = [int(match[1]) for name in variables if (match := re.match(r"synthesis/(\d{1,4})x\1/", name))]
    largest = max(found, default=0)
    if largest not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise UsageError(f"Gs has layers of up to {largest} px; expected a power of two from 8 to 1024")
    return largest


def _mapping_sizes(variables: Mapping[str, Numbers]) -> tuple[int, int, int]:
    """z_dim, w_dim and mapping_layers."""
    layers = sum(1 for name in variables if re.fullmatch(r"mapping/Dense\d+/weight", name))
    if not layers:
        raise UsageError("Gs has no mapping/Dense0")
    z_dim = shape_of(variables, "mapping/Dense0/weight", 2)[0]
    w_dim = shape_of(variables, f"mapping/Dense{layers - 1}/weight", 2)[1]
    return z_dim, w_dim, layers


def _mapping_names(layers: int) -> dict[str, str]:
    names = {"dlatent_avg": "w_avg"}
    for number in range(layers):
        names |= {f"mapping/Dense{number}/{part}": f"map.fc{number}.{part}" for part in ("weight", "bias")}
    return names


def _same_line(given: object, wanted: list[int]) -> bool:
    return isinstance(given, (list, tuple)) and list(given) == wanted
