"""Adversarial losses as lists of phases: the second of the two seams.

A loss is a frozen dataclass (its settings are part of a run's configuration) with
`phases() -> [Phase]`. A phase belongs to one player and returns named per-sample terms [N]; their means
are added, and only the training loop calls backward. One loop trains every model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor
from torch.nn import functional as F

Player = Literal["G", "D"]
Terms = dict[str, Tensor]


class MicroBatch(Protocol):
    """What a phase sees of one micro-batch."""

    real: Tensor  # [N, C, H, W] in [-1, 1]

    def fake(self) -> Tensor:
        """G's images for this micro-batch's latents [N, C, H, W]; every phase gets the same ones."""

    def logits(self, image: Tensor) -> Tensor:
        """D's logits [N] for images [N, C, H, W]."""


@dataclass(frozen=True)
class Phase:
    """One player's update: its terms, and every how many steps it takes place."""

    player: Player
    terms: Callable[[MicroBatch], Terms]
    every: int = 1


@dataclass(frozen=True)
class NonSaturating:
    """The non-saturating logistic loss (Goodfellow et al. 2014, arXiv 1406.2661, sec. 3).

    D minimises softplus(-D(x)) + softplus(D(G(z))), which is binary cross-entropy on logits;
    then G minimises softplus(-D(G(z))) on the same fakes.
    """

    name: Literal["nonsaturating"] = "nonsaturating"

    def phases(self) -> list[Phase]:
        return [Phase("D", self.d_terms), Phase("G", self.g_terms)]

    def d_terms(self, batch: MicroBatch) -> Terms:
        """-log sigmoid(D(x)) and -log(1 - sigmoid(D(G(z)))), each [N]; separate passes through D."""
        return {
            "D_real": F.softplus(-batch.logits(batch.real)),
            "D_fake": F.softplus(batch.logits(batch.fake().detach())),
        }

    def g_terms(self, batch: MicroBatch) -> Terms:
        """-log sigmoid(D(G(z))) [N]."""
        return {"G_fake": F.softplus(-batch.logits(batch.fake()))}


Loss = NonSaturating  # a union as soon as there is a second one
