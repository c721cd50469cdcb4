"""StyleGAN2 of NVIDIA's PyTorch code (stylegan2-ada-pytorch, stylegan3): its pickles' networks to facegan's.

    mapping.fc0.weight              -> map.fc0.weight
    synthesis.b8.conv0.weight       -> net.b8.conv0.conv.weight        (torgb alike)
    synthesis.b8.conv0.affine.bias  -> net.b8.conv0.affine.bias
    D: b8.conv0.weight, mapping.*   -> b8.conv0.weight, map.*

Both store the same numbers: weights of variance 1 with the gains in the layers. The config is read from the
layers, since the two repositories' arguments and defaults differ, and its sizes from the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facegan.config import UsageError, choose
from facegan.interop.arrays import Numbers, first_names, shape_of
from facegan.interop.foreign import (
    RESOLUTIONS,
    Foreign,
    Source,
    plain,
    require_filter,
    whole,
    widths_to_channels,
)
from facegan.interop.modules import Module, describe, module_of
from facegan.labels import CLASS, Attribute, LabelSpace
from facegan.networks.stylegan2 import StyleGAN2Config

KIND = "stylegan2 (NVIDIA, PyTorch)"
ARCHITECTURES = ("orig", "skip", "resnet")
_OTHERS = {
    "G": "the generator as trained; its moving average G_ema is what is taken",
    "augment_pipe": "augmentation, which is part of the training",
    "training_set_kwargs": "settings of the training",
}
_UNCLAMPED = re.compile(r"(skip|^b4\.fromrgb)\.$")
_LRELU = re.compile(r"^(mapping\.fc\d+|(synthesis\.)?b\d+\.(conv|conv0|conv1|fc|fromrgb))\.$")


def from_official(found: dict[Any, Any]) -> Foreign:
    """The model in an official pickle, a dictionary with G_ema and D.

    Raises:
        UsageError: G_ema is no StyleGAN2, or one that facegan's cannot be.
    """
    generator = module_of(found.get("G_ema"))
    if generator is None:
        raise UsageError(f"G_ema is not a network; the file holds {describe(found)}")
    config, fp16 = _generator_config(generator)
    names = _without_filters(generator)
    foreign = Foreign(KIND, config, {_g_name(name): Source(name, t) for name, t in names.items()})
    filters = len(generator.flat()) - len(names)
    foreign.left_out["*.resample_filter"] = f"{filters} filters, all [1, 3, 3, 1], which is built in"
    _add_discriminator(foreign, config, module_of(found.get("D")))
    for key in found:
        if isinstance(key, str) and key not in ("G_ema", "D"):
            foreign.left_out[key[:80]] = _OTHERS.get(key, "no part of a model")
    if fp16:
        foreign.notes.append(
            f"trained with float16 at {', '.join(map(str, fp16))} px; the weights are float32, and so is the "
            "arithmetic with --precision fp32"
        )
    if config.conv_clamp is not None:
        foreign.notes.append(f"conv_clamp {config.conv_clamp:g} is kept")
    if config.labels.dim:
        foreign.notes.append(
            f"its labels have no names in the file: class=0 to class={config.labels.dim - 1}"
        )
    return foreign


def _g_name(name: str) -> str:
    """facegan's name of a tensor of the generator."""
    if name == "mapping.w_avg":
        return "w_avg"
    name = re.sub(r"^mapping\.", "map.", name)
    name = re.sub(r"^synthesis\.", "net.", name)
    return re.sub(r"\.(conv[01]|torgb)\.weight$", r".\1.conv.weight", name)


def _d_name(name: str) -> str:
    return re.sub(r"^mapping\.", "map.", name)


def _without_filters(module: Module) -> dict[str, Numbers]:
    """The tensors but for the resampling filters, which are checked."""
    tensors = module.flat()
    kept = {}
    for name, numbers in tensors.items():
        if name.split(".")[-1] == "resample_filter":
            require_filter(name, numbers)
        else:
            kept[name] = numbers
    return kept


def _generator_config(generator: Module) -> tuple[StyleGAN2Config, list[int]]:
    """The config, and the resolutions that were computed in float16."""
    parts = generator.children
    if not {"mapping", "synthesis"} <= parts.keys():
        raise UsageError(
            f"G_ema ({generator.class_name}) has {_named(parts)}, expected mapping and synthesis"
        )
    mapping, synthesis = parts["mapping"], parts["synthesis"]
    if "input" in synthesis.children:
        raise UsageError(
            f"G_ema ({generator.class_name}) is a StyleGAN3, whose layers are {_named(synthesis.children)}; "
            "StyleGAN2 is what can be read"
        )
    blocks = {r: synthesis.children[f"b{r}"] for r in RESOLUTIONS if f"b{r}" in synthesis.children}
    resolution = whole(generator.settings, "img_resolution")
    if list(blocks) != [r for r in RESOLUTIONS if r <= resolution] or len(blocks) < 2:
        raise UsageError(
            f"G_ema ({generator.class_name}) of {resolution} px has {_named(synthesis.children)}; "
            "expected blocks b4, b8, ... up to its resolution"
        )
    channels = whole(generator.settings, "img_channels")
    tensors = generator.flat()
    widths = {r: shape_of(tensors, f"synthesis.b{r}.conv1.weight", 4)[0] for r in blocks}
    base, most = widths_to_channels(widths)
    layers = [name for name in mapping.children if re.fullmatch(r"fc\d+", name)]
    architecture = blocks[resolution].settings.get("architecture")
    _require_lrelu(generator)
    config = StyleGAN2Config(
        resolution=resolution,
        channels=channels,
        labels=_labels(whole(generator.settings, "c_dim")),
        z_dim=whole(generator.settings, "z_dim"),
        w_dim=whole(generator.settings, "w_dim"),
        mapping_layers=len(layers),
        mapping_lr_multiplier=_one_setting(mapping, "bias_gain", layers),
        channel_base=base,
        channel_max=most,
        w_avg_beta=_beta(mapping.settings.get("w_avg_beta")),
        g_architecture=choose("architecture of G", str(architecture)[:40], ARCHITECTURES),  # type: ignore[arg-type]
        conv_clamp=_clamp(synthesis),
    )
    return config, [r for r, block in blocks.items() if block.settings.get("use_fp16") is True]


def _add_discriminator(foreign: Foreign, config: StyleGAN2Config, module: Module | None) -> None:
    """Takes D along where it fits the same config; the generator does without."""
    if module is None:
        foreign.left_out["D"] = "not a network"
        return
    try:
        foreign.config = _with_discriminator(config, module)
        names = _without_filters(module)
        foreign.discriminator = {_d_name(name): Source(f"D.{name}", t) for name, t in names.items()}
    except UsageError as error:
        foreign.left_out["D"] = f"does not fit the same config as G: {error}"


def _with_discriminator(config: StyleGAN2Config, module: Module) -> StyleGAN2Config:
    """The config with what D says of itself.

    Raises:
        UsageError: what they share differs.
    """
    tensors = module.flat()
    blocks = {r: module.children[f"b{r}"] for r in config.resolutions[1:] if f"b{r}" in module.children}
    if list(blocks) != config.resolutions[1:] or "b4" not in module.children:
        raise UsageError(f"it has {_named(module.children)}")
    shared: dict[str, tuple[object, object]] = {
        "img_channels": (module.settings.get("img_channels"), config.channels),
        "c_dim": (module.settings.get("c_dim"), config.labels.dim),
        "conv_clamp": (_clamp(module), config.conv_clamp),
    }
    for r in blocks:
        width = shape_of(tensors, f"b{r}.conv0.weight", 4)[0]
        shared[f"channels at {r} px"] = width, config.width(r)
    if config.labels.dim:
        mapping = module.children.get("mapping")
        layers = [name for name in mapping.children if name.startswith("fc")] if mapping else []
        shared["mapping layers"] = len(layers), 8
        if mapping and layers:
            shared["mapping lr multiplier"] = _one_setting(mapping, "bias_gain", layers), 0.01
    for name, (given, wanted) in shared.items():
        if given != wanted:
            raise UsageError(f"{name} {plain(given)}, expected {plain(wanted)}")
    _require_lrelu(module)
    spread = module.children["b4"].children.get("mbstd")
    group = 4 if spread is None else whole(spread.settings, "group_size")
    architecture = blocks[config.resolution].settings.get("architecture")
    kind = choose("architecture", str(architecture)[:40], ARCHITECTURES)
    return replace(config, d_architecture=kind, minibatch_std_group=group)  # type: ignore[arg-type]


def _labels(c_dim: int) -> LabelSpace:
    if c_dim == 0:
        return LabelSpace()
    return LabelSpace((Attribute(CLASS, tuple(map(str, range(min(c_dim, 10_000))))),))


def _clamp(module: Module) -> float | None:
    """The one conv_clamp of all its layers; those beside them, which have no activation, have none."""
    found: list[Any] = []
    beside: list[Any] = []
    for prefix, part in module.walk():
        if "conv_clamp" in part.settings:
            (beside if _UNCLAMPED.search(prefix) else found).append(part.settings["conv_clamp"])
    numbers = all(value is None or type(value) in (int, float) for value in found)
    if not numbers or len(set(found)) != 1 or any(value is not None for value in beside):
        raise UsageError("conv_clamp is not one number or None for all layers")
    return None if found[0] is None else float(found[0])


def _beta(value: object) -> float:
    if not isinstance(value, (int, float)):
        raise UsageError(f"w_avg_beta is {plain(value)}, expected a number")
    return float(value)


def _one_setting(module: Module, name: str, children: list[str]) -> float:
    """A number that all these children share."""
    found = [module.children[child].settings.get(name) for child in children]
    first = found[0] if found else None
    if not isinstance(first, (int, float)) or any(type(v) is not type(first) or v != first for v in found):
        raise UsageError(f"{name} of {first_names(children)} is not one number")
    return float(first)


def _require_lrelu(module: Module) -> None:
    """Checks every layer that has an activation."""
    for prefix, part in module.walk():
        found = part.settings.get("activation", "lrelu")
        if _LRELU.match(prefix) and (not isinstance(found, str) or found != "lrelu"):
            raise UsageError(f"{prefix}activation {plain(found)}, expected 'lrelu'")


def _named(parts: Mapping[str, Module]) -> str:
    return first_names(list(parts)) or "no parts"
