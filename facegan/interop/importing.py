"""A model file of a foreign one: what kind it is, its tensors in facegan's names, and a report.

    convert(Path("official.pkl"), Path("model.safetensors"))     -> Report

Nothing of the file is executed, and on any error nothing is written.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facegan.card import Card
from facegan.config import UsageError, nearest, to_json
from facegan.interop.agreement import require_suffix
from facegan.interop.arrays import first_names
from facegan.interop.foreign import Foreign, Source
from facegan.interop.modules import describe
from facegan.interop.nvidia import from_official
from facegan.interop.rosinality import from_rosinality, is_rosinality
from facegan.interop.tensorflow import from_tensorflow, networks_of
from facegan.interop.torchfiles import read_torch
from facegan.known import KNOWN
from facegan.models import Model, save
from facegan.networks import Generator, build_discriminator, build_generator
from facegan.networks.mapping import MappedGenerator

MAX_BYTES = 2**32
W_SAMPLES = 10_000  # latents whose mean w is w_avg, where a file has none
W_SEED = 123
KINDS = (
    "StyleGAN2 in NVIDIA's pickles (stylegan2-ada-pytorch, stylegan3, TensorFlow), StyleGAN in TensorFlow's, "
    "and rosinality's stylegan2-pytorch"
)


@dataclass(frozen=True)
class Report:
    """What came of a file: each tensor's two names and shape, what was left out and why."""

    source: str
    sha256: str
    kind: str
    model: str
    config: dict[str, Any]
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]  # theirs, facegan's, shape
    left_out: dict[str, str]
    notes: tuple[str, ...]

    def as_text(self) -> str:
        """A few lines for people."""
        size = f"{self.config['resolution']} px, {len(self.tensors)} tensors"
        lines = [
            f"{self.source}: {self.kind}, {size} -> {self.model}",
            *(f"left out: {name}: {why}" for name, why in self.left_out.items()),
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def convert(path: Path, out: Path, *, data: str = "", licence: str = "") -> Report:
    """Writes the model file OUT of the foreign file, float32; D's tensors too where they fit.

    data, licence: what the card says of them.

    Raises:
        UsageError: not a file of a known kind, damaged, or not a model that facegan's networks can be; OUT is
            not a .safetensors file or cannot be written.
    """
    require_suffix(out, ".safetensors")
    view = _mapped(path)
    try:
        foreign = recognise(read_torch(view))
        generator, discriminator = _networks(foreign, len(view))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (OverflowError, MemoryError, RecursionError) as error:
        raise UsageError(f"{path}: {type(error).__name__} while reading it; it is damaged") from None
    sha256 = hashlib.sha256(view).hexdigest()
    card = Card(
        data=data or "unknown",
        licence=licence or "unknown",
        description=f"Imported from a file of {foreign.kind}, sha256 {sha256}.",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save(out, Model(generator, foreign.config, card, discriminator=discriminator), torch.float32)
    sources = [*foreign.generator.items(), *foreign.discriminator.items()]
    return Report(
        source=str(path),
        sha256=sha256,
        kind=foreign.kind,
        model=str(out),
        config=to_json(foreign.config),
        tensors=tuple((source.name, name, source.numbers.shape) for name, source in sources),
        left_out=foreign.left_out,
        notes=tuple(foreign.notes),
    )


def recognise(found: Any) -> Foreign:
    """What a file's content is a model of.

    Raises:
        UsageError: of nothing known; the message says what was found.
    """
    if isinstance(found, dict) and "G_ema" in found:
        return from_official(found)
    if isinstance(found, dict) and is_rosinality(found):
        return from_rosinality(found)
    networks = networks_of(found)
    if networks is not None:
        return from_tensorflow(networks)
    if isinstance(found, dict) and _is_lucidrains(found):
        raise UsageError(
            "lucidrains' stylegan2-pytorch, whose generator is another network than the paper's: styles "
            "scale weights by 1 + s, each channel has its own noise weight and bias, sizes double bilinearly "
            "before a convolution, 4x4 begins with a plain one; none of facegan's networks can hold it"
        )
    raise UsageError(f"no model of a known kind: it holds {describe(found)}; known are {KINDS}")


def _is_lucidrains(found: Mapping[Any, Any]) -> bool:
    """Whether it is a checkpoint of that code, or the state dict in it: S maps, G makes pictures."""
    state = found.get("GAN", found)
    return isinstance(state, dict) and {"S.net.0.weight", "G.blocks.0.to_style1.weight"} <= state.keys()


def _mapped(path: Path) -> memoryview:
    """The file as a view: of a large one only what is read gets into memory."""
    try:
        if not path.is_file():
            missing = "no such file" if not path.exists() else "not a file"
            raise UsageError(
                f"{path}: {missing}; name a .pkl or .pt file, its https address, or a public model that "
                f"`facegan models` lists{nearest(str(path), KNOWN)}"
            )
        size = path.stat().st_size
        if size == 0 or size > MAX_BYTES:
            raise UsageError(f"{path}: {size:,} bytes; expected 1 to {MAX_BYTES:,}")
        with open(path, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None  # a NUL in a path


def _networks(foreign: Foreign, size: int) -> tuple[Generator, dict[str, Tensor]]:
    """The generator with its weights, and D's tensors.

    A file can refer to the same numbers many times: more than it has are not read.

    Raises:
        UsageError: tensors are missing, unknown, of another shape or not finite; only G's are fatal.
    """
    declared = sum(
        s.numbers.nbytes for part in (foreign.generator, foreign.discriminator) for s in part.values()
    )
    if declared > size:
        raise UsageError(f"its networks have {declared:,} bytes, the file {size:,}: tensors are used twice")
    with torch.device("meta"):
        generator, d_shapes = build_generator(foreign.config), build_discriminator(foreign.config)
    unset = isinstance(generator, MappedGenerator) and "w_avg" not in foreign.generator
    if unset:
        wanted = {name: t for name, t in generator.state_dict().items() if name != "w_avg"}
        tensors = _read(foreign.generator, wanted) | {"w_avg": torch.zeros(generator.w_dim)}
    else:
        tensors = _read(foreign.generator, generator.state_dict())
    generator.load_state_dict(tensors, assign=True)
    generator.eval().requires_grad_(False)
    if unset and isinstance(generator, MappedGenerator):
        mean = _mean_w(generator)
        if not mean.isfinite().all():
            raise UsageError("its mapping makes w that are not finite")
        generator.w_avg.copy_(mean)
        foreign.notes.append(
            f"the file has no mean w, which truncation needs: it is that of {W_SAMPLES:,} latents of numpy's "
            f"RandomState({W_SEED})"
        )
    return generator, _discriminator(foreign, d_shapes)


def _discriminator(foreign: Foreign, network: nn.Module) -> dict[str, Tensor]:
    """D's tensors, or none where they do not fit."""
    if not foreign.discriminator:
        return {}
    try:
        return _read(foreign.discriminator, network.state_dict())
    except UsageError as error:
        foreign.discriminator = {}
        foreign.left_out["D"] = f"does not fit the same config as G: {error}"
        return {}


def _read(sources: Mapping[str, Source], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by facegan's names, float32; names are compared before anything is read."""
    missing = [name for name in wanted if name not in sources]
    unknown = [source.name for name, source in sources.items() if name not in wanted]
    if missing or unknown:
        problems = [f"without {first_names(missing)}"] * bool(missing)
        problems += [f"with {first_names(unknown)}, which has no place"] * bool(unknown)
        raise UsageError(f"a network {' and '.join(problems)}")
    tensors = {}
    for name, source in sources.items():
        numbers = source.change(source.numbers.read())
        expected = tuple(wanted[name].shape)
        if source.ones and [n for n in numbers.shape if n != 1] == [n for n in expected if n != 1]:
            numbers = numbers.reshape(expected)
        if numbers.shape != expected:
            given = f"{source.name} {list(source.numbers.shape)}"
            raise UsageError(f"{given} does not fit {name} {list(expected)}")
        if not np.isfinite(numbers).all():
            raise UsageError(f"{source.name} holds numbers that are not finite")
        tensors[name] = torch.from_numpy(np.array(numbers, order="C"))
    return tensors


def _mean_w(generator: MappedGenerator) -> Tensor:
    z = np.random.RandomState(W_SEED).randn(W_SAMPLES, generator.z_dim).astype(np.float32)
    total = torch.zeros(generator.w_dim, dtype=torch.float64)
    with torch.no_grad():
        for first in range(0, W_SAMPLES, 1000):
            w: Tensor = generator.map(torch.from_numpy(z[first : first + 1000]), None)
            total += w.double().sum(dim=0)
    return (total / W_SAMPLES).float()
