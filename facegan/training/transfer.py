"""Transfer: a run that starts from another model's weights, as far as they fit its networks.

A run folder gives G's running mean and D of its newest checkpoint, a model file what it holds. A tensor is
taken where name and shape agree: a model of half the resolution, as wide at every resolution, gives all but
the new blocks. A narrower StyleGAN or StyleGAN2 gives a wider one all it has (networks.widening). Weights
that belong to values of labels go by the names of attribute and value.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facegan.config import UsageError
from facegan.labels import LabelSpace
from facegan.models import find, read_header, read_tensors, shipped
from facegan.networks import Discriminator, Generator, NetworkConfig
from facegan.training.growing import so_far, stage_remembered
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState

MIN_SHARE = 0.05  # of G's weights: below it, nothing of the other model is left
_SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Weights:
    """Another model's: tensors by name, and what it is."""

    name: str
    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor]  # empty where a file does not hold it
    model: NetworkConfig


@dataclass(frozen=True)
class Transfer:
    """What came of it: the shares of G's and D's numbers that were taken, and the names of what is fresh.

    widened: weights of fewer channels than the new ones have; only the new channels are fresh.
    """

    init: str
    g_share: float
    d_share: float
    fresh: list[str]
    widened: int = 0

    def as_text(self) -> str:
        """One line."""
        taken = f"{self.init} gives {self.g_share:.0%} of G's weights and {self.d_share:.0%} of D's"
        if self.widened:
            taken += f", {self.widened} of them narrower: their new channels add nothing at first"
        if not self.fresh:
            return taken
        more = f" and {len(self.fresh) - _SHOWN} more" if len(self.fresh) > _SHOWN else ""
        return f"{taken}; fresh are {', '.join(self.fresh[:_SHOWN])}{more}"


def weights_of(name: str) -> Weights:
    """The weights behind a model's name.

    Raises:
        UsageError: no such model, or it cannot be read.
    """
    folder = RunFolder(Path(name))
    if name not in shipped() and os.path.isdir(folder.checkpoints):
        parts = folder.newest_checkpoint(warn=lambda _: None)
        if parts is not None:
            stage = stage_remembered(parts.get("memory", {}))
            generator, discriminator = (
                so_far(_checked(name, parts.get(part)), stage) for part in ("G_ema", "D")
            )
            return Weights(name, generator, discriminator, folder.read_config().model)
    path = find(name)
    tensors, (config, _) = read_tensors(path), read_header(path)
    return Weights(name, _named("G.", tensors), _named("D.", tensors), config)


def transfer(weights: Weights, state: TrainState, model: NetworkConfig) -> Transfer:
    """Gives both networks and G's running mean, built from `model`, what fits.

    Raises:
        UsageError: hardly anything of the generator fits, or a layer of D that is to stay as it came is new.
    """
    columns = _columns(weights.model.labels, model.labels)
    alike = (weights.model.architecture, weights.model.base) == (model.architecture, model.base)
    g_share, fresh_g, wider_g = _take(state.generator, weights.generator, columns, alike)
    _take(state.average, weights.generator, columns, alike)
    d_share, fresh_d, wider_d = _take(state.discriminator, weights.discriminator, columns, alike)
    if g_share < MIN_SHARE:
        raise UsageError(
            f"init {weights.name!r}: {g_share:.1%} of its generator has the new one's names and shapes, "
            f"less than {MIN_SHARE:.0%}: use the same architecture and widths"
        )
    for name, parameter in state.discriminator.named_parameters():
        if name in fresh_d and not parameter.requires_grad:
            raise UsageError(
                f"freeze_d: {weights.name!r} has no D.{name} to be kept; freeze fewer layers, or none with a "
                "file that holds no D or another resolution"
            )
    fresh = [*(f"G.{name}" for name in fresh_g), *(f"D.{name}" for name in fresh_d)]
    return Transfer(weights.name, g_share, d_share, fresh, wider_g + wider_d)


def _columns(given: LabelSpace, own: LabelSpace) -> list[int | None]:
    """For each value of the new labels, the number of the same attribute's value of that name in the old."""
    names = {pair: number for number, pair in enumerate(_pairs(given))}
    return [names.get(pair) for pair in _pairs(own)]


def _pairs(space: LabelSpace) -> list[tuple[str, str]]:
    return [(attribute.name, value) for attribute in space.attributes for value in attribute.values]


@torch.no_grad()
def _take(
    network: Generator | Discriminator,
    tensors: dict[str, Tensor],
    columns: Sequence[int | None],
    can_widen: bool,
) -> tuple[float, list[str], int]:
    """Copies what fits; returns the share of the network's numbers, the names that got nothing or not all of
    their labels, and how many got a narrower one's."""
    fresh, taken, total, wider = [], 0, 0, 0
    for name, own in network.state_dict().items():
        total += own.numel()
        given = tensors.get(name)
        if given is None or given.is_floating_point() != own.is_floating_point() or given.ndim != own.ndim:
            fresh.append(name)
            continue
        axis, offset = network.label_axes().get(name, (None, 0))
        fits, count = given.to(own.device), given.numel()
        # what `fits` has to be like: of weights of labels, each side has its own number
        like = own if axis is None else own.index_select(axis, own.new_zeros(given.shape[axis]).long())
        if fits.shape != like.shape:
            wide = network.widened(name, like, fits) if can_widen else None
            if wide is None:
                fresh.append(name)
                continue
            fits, wider = wide, wider + 1
        if axis is None:
            own.copy_(fits)
            taken += count
            continue
        parts = [*((n, n) for n in range(offset)), *((offset + n, c) for n, c in enumerate(columns))]
        rows = [(n, c if n < offset else offset + c) for n, c in parts if c is not None]
        for number, column in rows:
            own.select(axis, number).copy_(fits.select(axis, column))
        taken += len(rows) * own.select(axis, 0).numel()
        fresh += [name] * (len(rows) < own.shape[axis])
    return taken / total, fresh, wider


def _named(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _checked(name: str, part: Any) -> dict[str, Tensor]:
    """A checkpoint's part as tensors by name."""
    good = isinstance(part, dict) and all(
        isinstance(value, Tensor) and value.isfinite().all() for value in part.values()
    )
    if not good:
        raise UsageError(f"init {name!r}: its newest checkpoint holds no usable weights")
    return dict(part)
