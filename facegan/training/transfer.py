"""Transfer: a run that starts from another model's weights, as far as they fit its networks.

A run folder gives G's running mean and D of its newest checkpoint; a model file what it holds. A tensor is
taken where name and shape agree, so a model of half the resolution gives all but the new blocks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.models import find, read_tensors
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState

Tensors = dict[str, Tensor]
_SHOWN = 8  # names in a message


def transfer(name: str, state: TrainState) -> str:
    """Gives both networks what fits of the model of that name; returns a line that says what did not.

    Raises:
        UsageError: no such model, or nothing of its generator fits.
    """
    generator, discriminator = weights_of(name)
    missed = [f"G.{key}" for key in _take(state.generator, generator)]
    if len(missed) == len(state.generator.state_dict()):
        raise UsageError(
            f"init {name!r}: none of its generator's weights has the name and shape of a new one's"
        )
    _take(state.average, generator)
    missed += [f"D.{key}" for key in _take(state.discriminator, discriminator)]
    if not missed:
        return f"all weights are those of {name}"
    if not discriminator:
        missed = [key for key in missed if key.startswith("G.")]
        missed.append("all of D, which that file does not hold")
    more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
    return f"weights are those of {name}; fresh are {', '.join(missed[:_SHOWN])}{more}"


def weights_of(name: str) -> tuple[Tensors, Tensors]:
    """The generator's and the discriminator's tensors; the latter may be none.

    Raises:
        UsageError: no such model, or it cannot be read.
    """
    folder = RunFolder(Path(name))
    parts = folder.newest_checkpoint(warn=lambda _: None) if folder.exists() else None
    if parts is not None:
        try:
            return dict(parts["G_ema"]), dict(parts["D"])
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"init {name!r}: its newest checkpoint is not one of facegan's") from None
    tensors = read_tensors(find(name))
    return _named("G.", tensors), _named("D.", tensors)


def _named(start: str, tensors: Tensors) -> Tensors:
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


@torch.no_grad()
def _take(network: nn.Module, tensors: Tensors) -> list[str]:
    """Copies what fits into the network's own tensors; returns the names of those that got nothing."""
    missed = []
    for key, own in network.state_dict().items():
        given = tensors.get(key)
        if given is None or given.shape != own.shape or given.is_floating_point() != own.is_floating_point():
            missed.append(key)
        else:
            own.copy_(given)
    return missed
