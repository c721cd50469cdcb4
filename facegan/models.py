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
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from facegan import hub, tensor_file
from facegan.card import Card
from facegan.config import UsageError, from_json, nearest, parse_json, to_json, union_from_json
from facegan.networks import Generator, NetworkConfig, build_discriminator, build_generator

FORMAT = 1
ZOO = Path(__file__).parent / "zoo"
RUN_MODEL = "model.safetensors"  # the newest EMA in a run folder
_G, _D = "G.", "D."


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


def find(name: str | os.PathLike[str]) -> Path:
    """The file behind a model name M: a shipped name, a file, a run folder, or hf://owner/name.

    Raises:
        UsageError: nothing of that name.
    """
    name = os.fspath(name)
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


def load(name: str | os.PathLike[str], *, discriminator: bool = False) -> Model:
    """The model behind a name, on the CPU; `discriminator`: with D's tensors, where the file has them.

    Raises:
        UsageError: nothing of that name, or the file is not a facegan model this version can read.
    """
    name = os.fspath(name)
    path = find(name)
    config, card = read_header(path)
    with torch.device("meta"):  # shapes only: a header may promise a network that the file does not hold
        expected = build_generator(config).state_dict()
    tensors = tensor_file.read_tensors(path, expected, prefix=_G)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to draw
        generator = build_generator(config)
    generator.load_state_dict(tensors)
    generator.eval().requires_grad_(False)
    called = name if name.startswith("hf://") else name_of(path)
    return Model(generator, config, card, called, _discriminator(path, config) if discriminator else {})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model file: G's names start with "G.", D's with "D.".

    Raises:
        UsageError: not a facegan model, or one with numbers that are not finite.
    """
    read_header(path)
    return tensor_file.read_all(path)


def _discriminator(path: Path, config: NetworkConfig) -> dict[str, torch.Tensor]:
    """D's tensors, or none where the file has none."""
    with torch.device("meta"):
        network = build_discriminator(config)
    tensors = tensor_file.read_tensors(path, network.state_dict(), prefix=_D, optional=True)
    return {name: tensor.clone() for name, tensor in tensors.items()}  # not mapped, as G's are not


def read_header(path: Path) -> tuple[NetworkConfig, Card]:
    """The config and card of a model file, without reading its tensors.

    Raises:
        UsageError: not a facegan model, or of a later format.
    """
    metadata = tensor_file.read_metadata(path, "facegan_format", "models", FORMAT)
    try:
        config, card = parse_json(metadata["config"]), parse_json(metadata["card"])
    except (KeyError, ValueError):
        raise UsageError(f"{path}: the model's metadata is damaged") from None
    try:
        return union_from_json(NetworkConfig, config, "config"), from_json(Card, card, "card")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def save(path: str | os.PathLike[str], model: Model, dtype: torch.dtype = torch.float16) -> None:
    """Writes the model file, atomically; floating-point tensors are stored as `dtype`.

    One with numbers too large for that stays as it is.
    """
    named = {_G + key: tensor for key, tensor in model.generator.state_dict().items()}
    named |= {_D + key: tensor for key, tensor in model.discriminator.items()}
    tensors = {key: _stored(tensor, dtype).contiguous() for key, tensor in named.items()}
    _write(Path(path), tensors, model.config, model.card)


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    cast = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return cast if cast.isfinite().all() else tensor


def rewrite_card(path: Path, card: Card, *, instead_of: Card | None = None) -> None:
    """Gives a model file another card; its tensors stay as they are.

    instead_of: the only card in whose place it is put, as a training run may put another model there.

    Raises:
        UsageError: not a facegan model, or with another card than `instead_of`.
        OSError: it could not be written; the old file is still there.
    """
    config, _ = read_header(path)
    tensors = tensor_file.read_all(path)
    if instead_of is not None and read_header(path)[1] != instead_of:  # after its tensors were read
        raise UsageError(f"{path}: was replaced by another model meanwhile; its card stays as it is")
    _write(path, tensors, config, card)


def _write(path: Path, tensors: dict[str, torch.Tensor], config: NetworkConfig, card: Card) -> None:
    metadata = {
        "facegan_format": str(FORMAT),
        "config": json.dumps(to_json(config)),
        "card": json.dumps(to_json(card)),
    }
    tensor_file.write_tensors(path, tensors, metadata)


def name_of(path: Path) -> str:
    """What the model of that file is called: a run's by its folder."""
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
