"""Files of directions: NAME.directions.safetensors beside a model NAME.safetensors.

    path = beside(models.find("stylegan2-64-tiny"))
    found = read(path, sampler.generator)      -> DirectionFile: .directions by name, .card
    read_beside(model_path, generator)         the same of the file there; None where it does not fit
    write(path, found)
    carried_over(found, generator)             the same directions for a model tuned from that one
    leakage_table(found)                       Markdown: what moving along each direction changes

A direction means nothing to another model: a file holds a fingerprint of the weights that it fits.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from facegan import tensor_file
from facegan.config import UsageError, from_json, to_json
from facegan.latents.directions import Direction
from facegan.layers import layers_text
from facegan.networks.base import Generator

KIND, FORMAT = "directions", 1
SUFFIX = ".directions.safetensors"
MAX_DIRECTIONS, MAX_DEVIATION, MAX_WORDS = 1000, 1e6, 200
LENGTH_TOLERANCE = 1e-4  # vectors are stored in float32
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class DirectionCard:
    """What a file says of all its directions.

    fingerprint: of the model's weights; leakage [D, K]: the mean change of each attribute, in its standard
    deviations, over so many faces at psi, moved by `strength` along each direction.
    """

    model: str
    fingerprint: str
    source: str
    attributes: tuple[str, ...] = ()
    leakage: tuple[tuple[float, ...], ...] = ()
    strength: float = 0.0
    psi: float = 1.0
    faces: int = 0


@dataclass(frozen=True)
class DirectionFile:
    """Directions by name, with their card."""

    card: DirectionCard
    directions: dict[str, Direction]


@dataclass(frozen=True)
class _Entry:
    """A direction without its vector."""

    name: str
    deviation: float
    layers: tuple[int, ...]


@dataclass(frozen=True)
class _Header:
    card: DirectionCard
    entries: tuple[_Entry, ...] = field(default=())


def beside(model: Path) -> Path:
    """The file of directions of a model's file, whether it is there or not."""
    return model.with_suffix(SUFFIX)


def fingerprint(generator: Generator) -> str:
    """A hash over the weights as float16, in which models are stored: the same before and after saving."""
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.state_dict().items()):
        digest.update(f"{name}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def write(path: Path, found: DirectionFile) -> None:
    """Writes the file, atomically."""
    each = found.directions.values()
    entries = tuple(_Entry(found_.name, found_.deviation, found_.layers) for found_ in each)
    vectors = torch.stack([torch.from_numpy(found_.vector).float() for found_ in each])
    tensor_file.write(path, KIND, FORMAT, to_json(_Header(found.card, entries)), {"vectors": vectors})


def carried_over(found: DirectionFile, generator: Generator) -> DirectionFile:
    """A model's directions for one tuned from it, whose w mean the same.

    What they change was measured of the model: the new file does not say so.
    """
    card = replace(found.card, fingerprint=fingerprint(generator), attributes=(), leakage=(), faces=0)
    return replace(found, card=card)


def read(path: Path, generator: Generator) -> DirectionFile:
    """The directions of a file, for this model.

    Raises:
        UsageError: not such a file, damaged, or one of another model.
    """
    data = tensor_file.read_header(path, KIND, FORMAT)
    try:
        header = from_json(_Header, data)
        if header.card.fingerprint != fingerprint(generator):
            raise UsageError(
                f"directions of another model, {header.card.model[:40]!r}; each model needs its own"
            )
        _check(header, generator.num_ws)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    like = torch.empty(len(header.entries), generator.w_dim, device="meta")
    vectors = tensor_file.read_tensors(path, {"vectors": like})["vectors"].double().numpy()
    directions = {}
    for entry, vector in zip(header.entries, vectors, strict=True):
        length = math.sqrt(float(vector @ vector))
        if abs(length - 1) > LENGTH_TOLERANCE:
            raise UsageError(f"{path}: direction {entry.name!r} has length {length:.4g}, expected 1")
        directions[entry.name] = Direction(
            entry.name, vector / length, entry.deviation, entry.layers, header.card.source
        )
    return DirectionFile(header.card, directions)


def read_beside(model: Path, generator: Generator) -> DirectionFile | None:
    """The directions of the file beside a model's; None where there is none.

    Warns: of one that is not usable, as that of a run that has gone on since; nobody has named it, and
    components do without it, so it is left out.
    """
    path = beside(model)
    if not path.is_file():
        return None
    try:
        return read(path, generator)
    except UsageError as error:
        warnings.warn(f"{error}; it is left out", stacklevel=2)
        return None


def _check(header: _Header, num_ws: int) -> None:
    card, entries = header.card, header.entries
    names = [entry.name for entry in entries]
    if not 1 <= len(names) <= MAX_DIRECTIONS or len(set(names)) < len(names):
        raise UsageError(f"{len(names)} directions: 1 to {MAX_DIRECTIONS:,}, each once")
    for entry in entries:
        if not _NAME.fullmatch(entry.name):
            raise UsageError(f"direction {entry.name[:40]!r}: a name has small letters, digits and _")
        if not 0 < entry.deviation <= MAX_DEVIATION:
            raise UsageError(f"direction {entry.name!r}: deviation {entry.deviation}, not above 0")
        in_order = list(entry.layers) == sorted(set(entry.layers))
        if not entry.layers or not in_order or entry.layers[0] < 0 or entry.layers[-1] >= num_ws:
            layers = ", ".join(map(str, entry.layers[:20]))
            raise UsageError(f"direction {entry.name!r}: layers {layers}; this model has 0-{num_ws - 1}")
    words = [card.model, card.source, *card.attributes]
    if any(len(word) > MAX_WORDS or not word.isprintable() for word in words):
        raise UsageError("a word in its card is too long, or not printable")
    wide = all(len(row) == len(card.attributes) for row in card.leakage)
    if card.leakage and not (len(card.leakage) == len(entries) and wide):
        raise UsageError("its leakage does not have a row a direction and a column an attribute")


def leakage_table(found: DirectionFile) -> str:
    """The leakage as a Markdown table, each direction's own attribute in bold."""
    card = found.card
    lines = [
        "| direction | layers | " + " | ".join(card.attributes) + " |",
        "|" + "---|" * (2 + len(card.attributes)),
    ]
    for direction, row in zip(found.directions.values(), card.leakage, strict=True):
        cells = [f"{value:+.2f}" for value in row]
        cells = [
            f"**{cell}**" if name == direction.name else cell
            for name, cell in zip(card.attributes, cells, strict=True)
        ]
        lines.append(f"| {direction.name} | {layers_text(direction.layers)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
