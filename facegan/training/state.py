"""Everything that changes while training, and its named parts for the checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from facegan.checkpoint import Parts
from facegan.config import UsageError, first_line
from facegan.losses import Player
from facegan.networks import Discriminator, Generator, build_discriminator, build_generator
from facegan.presets import Adam, Run
from facegan.randomness import Purpose, seeded
from facegan.runtime import choose_device, place, training_dtype


@dataclass
class TrainState:
    """G, D, the running mean of G, an optimiser for each player, and the clock."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    optimizers: dict[Player, torch.optim.Adam]
    images_seen: int = 0

    @property
    def networks(self) -> dict[Player, Generator | Discriminator]:
        """The two players."""
        return {"G": self.generator, "D": self.discriminator}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.average.w_avg.device

    def parts(self) -> Parts:
        """The named parts of a checkpoint."""
        parts: Parts = {player: network.state_dict() for player, network in self.networks.items()}
        parts |= {
            f"optimizer_{player}": optimizer.state_dict() for player, optimizer in self.optimizers.items()
        }
        return parts | {"G_ema": self.average.state_dict(), "images_seen": self.images_seen}

    def load_parts(self, parts: Parts) -> None:
        """Takes over what `parts` gave.

        Raises:
            UsageError: a part is missing or does not fit.
        """
        try:
            for player, network in self.networks.items():
                network.load_state_dict(parts[player])
                # an optimiser's load_state_dict keeps references into what it is given
                self.optimizers[player].load_state_dict(copy.deepcopy(parts[f"optimizer_{player}"]))
            self.average.load_state_dict(parts["G_ema"])
            self.images_seen = parts["images_seen"]
        except KeyError as error:
            raise UsageError(f"the checkpoint has no part {error}") from None
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"the checkpoint does not fit this run: {first_line(error)}") from None


def new_state(run: Run) -> TrainState:
    """Fresh networks and optimisers on the run's device, the weights a function of the run's seed."""
    device = choose_device(run.device)
    dtype = training_dtype(run.precision, device)
    with seeded(run.seed, 0, Purpose.WEIGHTS):
        generator = place(build_generator(run.model), device, dtype)
        discriminator = place(build_discriminator(run.model), device, dtype)
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    optimizers: dict[Player, torch.optim.Adam] = {
        "G": _adam(generator, run.optimizer, device),
        "D": _adam(discriminator, run.optimizer, device),
    }
    return TrainState(generator, discriminator, average, optimizers)


def _adam(network: nn.Module, config: Adam, device: torch.device) -> torch.optim.Adam:
    betas, fused = (config.beta1, config.beta2), device.type in ("cpu", "cuda")
    return torch.optim.Adam(network.parameters(), lr=config.lr, betas=betas, eps=config.eps, fused=fused)
