"""What exports share: the file's name and metadata, and whether it makes the pictures that facegan makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan import __version__
from facegan.config import UsageError, to_json
from facegan.files import require_writable_file
from facegan.graphs import as_array
from facegan.images import to_uint8
from facegan.known import DEFAULT_PSI
from facegan.models import Model
from facegan.synthesis import Sampler, latent

BATCHES = (1, 3)
EXACT = 1e-4, 1  # what float_images and images may differ by: rounding, in another order
HALF = 5 / 127.5, 5  # with float16 weights, which differ by 2^-11 of themselves: as much as in bfloat16

Array = npt.NDArray[Any]
Run = Callable[[dict[str, Array]], Sequence[Array]]


def require_suffix(out: Path, suffix: str) -> None:
    """Checks that `out` is a file of that kind, at a place that can be written to.

    Raises:
        UsageError: it is not.
    """
    if out.suffix != suffix:
        raise UsageError(f"--out {str(out)!r}: the name of such a file ends in {suffix}")
    require_writable_file(out, "--out")


def metadata(model: Model) -> dict[str, str]:
    """What an exported file says of itself, by name; config and card are JSON."""
    return {
        "producer": f"facegan {__version__}",
        "model": model.name,
        "licence": model.card.licence,
        "data": model.card.data,
        "synthetic": "true: faces of people who do not exist",
        "config": json.dumps(to_json(model.config)),
        "card": json.dumps(to_json(model.card)),
    }


class Disagreement(RuntimeError):
    """An exported file makes other pictures."""


@dataclass(frozen=True)
class Agreement:
    """The largest differences that were found: in [-1, 1] before rounding, and in grey levels after it.

    The first is divided by the largest value of the pictures where that is above 1.
    """

    difference: float
    grey_levels: int


def require_same_faces(
    model: Model, inputs: Sequence[str], run: Run, allowed: tuple[float, int] = EXACT
) -> Agreement:
    """Compares what `run` makes of the first seeds' inputs with the model's own pictures, in each batch.

    run: of arrays by input name, as `graphs.Faces` names them, makes images and float_images.

    Raises:
        Disagreement: they differ by more than is allowed.
    """
    sampler = Sampler(model, device="cpu", precision="fp32")
    found = Agreement(0.0, 0)
    for count in BATCHES:
        seeds = range(count)
        z = np.stack([latent(seed, sampler.generator.z_dim) for seed in seeds])
        label = sampler.label_vectors(seeds)
        expected = _images(sampler, sampler.w(z, DEFAULT_PSI, label=label))
        offered = {"z": z.astype(np.float32), "w": as_array(sampler.w(z, label=label))}
        offered |= {"psi": np.array(DEFAULT_PSI, np.float32)}
        offered |= {} if label is None else {"label": as_array(label)}
        pixels, images = run({name: offered[name] for name in inputs})
        if images.shape != tuple(expected.shape) or not np.isfinite(images).all():
            raise Disagreement(
                f"its pictures {list(images.shape)} are not finite, or not of the model's shape"
            )
        largest = max(1.0, float(expected.abs().max()))  # a StyleGAN's are not bound to -1 .. 1
        difference = float(np.abs(images - expected.numpy()).max()) / largest
        levels = int(np.abs(pixels.astype(int) - to_uint8(expected).astype(int)).max())
        found = Agreement(max(found.difference, difference), max(found.grey_levels, levels))
    if found.difference > allowed[0] or found.grey_levels > allowed[1]:
        raise Disagreement(
            f"the exported file makes other pictures than the model: they differ by {found.difference:.2g} "
            f"in [-1, 1] (at most {allowed[0]:.2g}) and {found.grey_levels} grey levels (at most "
            f"{allowed[1]}); nothing was written"
        )
    return found


def result_of(path: Path, size: int, found: Agreement) -> dict[str, Any]:
    """What an export prints; the difference, which is rounding, with two digits."""
    rounded = replace(found, difference=float(f"{found.difference:.2g}"))
    return {"path": str(path), "bytes": size} | asdict(rounded)


@torch.inference_mode()
def _images(sampler: Sampler, w: Tensor) -> Tensor:
    return sampler.generator.synthesis(w)
