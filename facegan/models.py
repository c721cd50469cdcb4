"""Model files, and what a model's name can be.

A model is NAME.safetensors: the EMA generator's tensors (names start with "G."), D's where they are kept for
transfer ("D."), and metadata with the format version, the network's config and the model's card as JSON.
Loading one never executes anything.

    find("dcgan-64")       a shipped name, a .safetensors file, a run folder, or hf://owner/name -> file
    load("dcgan-64")       -> Model(generator, config, card)
    save(path, model)      float16 or float32
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from facegan import hub
from facegan.card import Card
from facegan.config import UsageError, from_json, nearest, parse_json, to_json, union_from_json
from facegan.files import write_atomically
from facegan.networks import Generator, NetworkConfig, build_discriminator, build_generator

FORMAT = 1
ZOO = Path(__file__).parent / "zoo"
RUN_MODEL = "model.safetensors"  # the newest EMA in a run folder
_G, _D = "G.", "D."
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass
class Model:
    """A generator in eval mode with float32 weights, its config and its card; D's tensors where kept."""

    generator: Generator
    config: NetworkConfig
    card: Card = field(default_factory=Card)
    name: str = ""
    discriminator: dict[str, torch.Tensor] = field(default_factory=dict)


def shipped() -> dict[str, Path]:
    """The models that come with facegan, by name."""
    files = sorted(ZOO.glob("*.safetensors"))  # those of attributes and of directions are no models
    return {path.stem: path for path in files if path.stem != "attributes" and "." not in path.stem}


def find(name: str) -> Path:
    """The file behind a model name M: a shipped name, a file, a run folder, or hf://owner/name.

    Raises:
        UsageError: nothing of that name.
    """
    if name.startswith("hf://"):
        return hub.download(name)
    zoo, path = shipped(), Path(name)
    if name in zoo:
        return zoo[name]
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass  # a NUL in a path is a ValueError
    except OSError as error:
        raise UsageError(f"model {name!r}: {error.strerror}") from None
    if path.is_dir():
        if (path / RUN_MODEL).is_file():
            return path / RUN_MODEL
        raise UsageError(
            f"model {name!r}: a folder without {RUN_MODEL}; a run writes it with its first checkpoint"
        )
    if path.is_file():
        return path
    raise UsageError(
        f"model {name!r}: not a shipped name ({', '.join(zoo)}), not a file, not a run folder, "
        f"not hf://owner/name{nearest(name, zoo)}"
    )


def load(name: str, *, discriminator: bool = False) -> Model:
    """The model behind a name, on the CPU; `discriminator`: with D's tensors, where the file has them.

    Raises:
        UsageError: nothing of that name, or the file is not a facegan model this version can read.
    """
    path = find(name)
    config, card = read_header(path)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to draw
        generator = build_generator(config)
    try:
        with safe_open(path, "pt") as file:
            names = [key for key in file.keys() if key.startswith(_G)]  # noqa: SIM118
            shapes = {key[len(_G) :]: list(file.get_slice(key).get_shape()) for key in names}
            _require_fitting(path, shapes, generator)  # before anything is read
            tensors = {key[len(_G) :]: file.get_tensor(key) for key in names}
    except SafetensorError as error:
        raise UsageError(f"{path}: not a usable safetensors file ({error})") from None
    for key, expected in generator.state_dict().items():
        allowed = _FLOATS if expected.is_floating_point() else (expected.dtype,)
        if tensors[key].dtype not in allowed:
            raise UsageError(f"{path}: {key} holds {tensors[key].dtype} numbers, expected {expected.dtype}")
        if not tensors[key].to(expected.dtype).isfinite().all():
            raise UsageError(f"{path}: {key} holds numbers that are not finite")
    generator.load_state_dict(tensors)
    generator.eval().requires_grad_(False)
    called = name if name.startswith("hf://") else _name_of(path)
    return Model(generator, config, card, called, _discriminator(path, config) if discriminator else {})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model file: G's names start with "G.", D's with "D.".

    Raises:
        UsageError: not a facegan model, or one with numbers that are not finite.
    """
    read_header(path)
    tensors = from_safetensors(path.read_bytes())
    bad = [key for key, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if bad:
        raise UsageError(f"{path}: {bad[0]} holds numbers that are not finite")
    return tensors


def _discriminator(path: Path, config: NetworkConfig) -> dict[str, torch.Tensor]:
    """D's tensors, or none where the file has none."""
    tensors = {key[len(_D) :]: t for key, t in read_tensors(path).items() if key.startswith(_D)}
    if tensors:
        with torch.device("meta"):
            network = build_discriminator(config)
        _require_fitting(path, {key: list(tensor.shape) for key, tensor in tensors.items()}, network)
    return tensors


def _require_fitting(path: Path, shapes: dict[str, list[int]], network: torch.nn.Module) -> None:
    expected = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    problems = [f"{key} is missing" for key in expected if key not in shapes]
    problems += [f"{key} is unknown" for key in shapes if key not in expected]
    problems += [
        f"{key} has shape {shape}, expected {expected[key]}"
        for key, shape in shapes.items()
        if key in expected and shape != expected[key]
    ]
    if problems:
        raise UsageError(f"{path}: does not fit its own config: {problems[0]} (of {len(problems)} problems)")


def read_header(path: Path) -> tuple[NetworkConfig, Card]:
    """The config and card of a model file, without reading its tensors.

    Raises:
        UsageError: not a facegan model, or of a later format.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: not a usable safetensors file ({error})") from None
    if "facegan_format" not in metadata:
        raise UsageError(f"{path}: a safetensors file, but not one of facegan's models")
    if metadata["facegan_format"] != str(FORMAT):
        raise UsageError(
            f"{path}: model format {metadata['facegan_format']}; this version of facegan reads {FORMAT}"
        )
    try:
        config, card = parse_json(metadata["config"]), parse_json(metadata["card"])
    except (KeyError, ValueError):
        raise UsageError(f"{path}: the model's metadata is damaged") from None
    try:
        return union_from_json(NetworkConfig, config, "config"), from_json(Card, card, "card")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def save(path: Path, model: Model, dtype: torch.dtype = torch.float16) -> None:
    """Writes the model file, atomically; floating-point tensors are stored as `dtype`."""
    named = {_G + key: tensor for key, tensor in model.generator.state_dict().items()}
    named |= {_D + key: tensor for key, tensor in model.discriminator.items()}
    tensors = {
        key: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for key, tensor in named.items()
    }
    _write(path, tensors, model.config, model.card)


def rewrite_card(path: Path, card: Card) -> None:
    """Gives a model file another card; its tensors stay as they are.

    Raises:
        UsageError: not a facegan model.
        OSError: it could not be written; the old file is still there.
    """
    config, _ = read_header(path)
    # from bytes: a file that is mapped cannot be replaced on Windows
    _write(path, from_safetensors(path.read_bytes()), config, card)


def _write(path: Path, tensors: dict[str, torch.Tensor], config: NetworkConfig, card: Card) -> None:
    metadata = {
        "facegan_format": str(FORMAT),
        "config": json.dumps(to_json(config)),
        "card": json.dumps(to_json(card)),
    }
    data = to_safetensors(tensors, metadata)
    write_atomically(path, lambda file: file.write(data))


def _name_of(path: Path) -> str:
    return path.resolve().parent.name if path.name == RUN_MODEL else path.stem


def describe(config: NetworkConfig, card: Card) -> dict[str, Any]:
    """What `facegan models` shows of one model."""
    return {
        "architecture": config.architecture,
        "height": config.image_shape[1],
        "width": config.image_shape[2],
        "labels": {attribute.name: list(attribute.values) for attribute in config.labels.attributes},
        "images_seen": card.images_seen,
        "data": card.data,
        "licence": card.licence,
    }
