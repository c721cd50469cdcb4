"""Adversarial losses as lists of phases: the second of the two seams.

A loss is a frozen dataclass (its settings are part of a run's configuration) with
`phases() -> [Phase]`. A phase belongs to one player and returns named per-sample terms [N]; their means
are added, and only the training loop calls backward. One loop trains every model.

    name           D minimises                                         G minimises
    nonsaturating  softplus(-D(x)) + softplus(D(y))                    softplus(-D(y))
    lsgan          (D(x) - 1)^2 + D(y)^2                               (D(y) - 1)^2
    hinge          relu(1 - D(x)) + relu(1 + D(y))                     -D(y)
    wgan-gp        -D(x) + D(y) + lambda (|grad D(v)| - 1)^2 + drift D(x)^2   -D(y)

with x real, y = G(z), v on the line between them, D the logit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError

Player = Literal["G", "D"]
Terms = dict[str, Tensor]


class MicroBatch(Protocol):
    """What a phase sees of one micro-batch."""

    real: Tensor  # [N, C, H, W] in [-1, 1]

    def fake(self) -> Tensor:
        """G's images for this micro-batch's latents [N, C, H, W]; the same ones until G has changed."""

    def logits(self, image: Tensor) -> Tensor:
        """D's logits [N] for images [N, C, H, W]."""

    def uniform(self) -> Tensor:
        """Numbers in [0, 1), one a sample [N]; the same ones at every call."""


@dataclass(frozen=True)
class Phase:
    """One player's update: its terms, and every how many steps it takes place."""

    player: Player
    terms: Callable[[MicroBatch], Terms]
    every: int = 1


class AdversarialLoss(ABC):
    """A loss of two phases, D first, then G on the same fakes; D sees real and fake images separately."""

    @abstractmethod
    def d_real(self, logits: Tensor) -> Tensor:
        """What D minimises on real images [N]."""

    @abstractmethod
    def d_fake(self, logits: Tensor) -> Tensor:
        """What D minimises on fake images [N]."""

    @abstractmethod
    def g_fake(self, logits: Tensor) -> Tensor:
        """What G minimises [N]."""

    def phases(self) -> list[Phase]:
        """D's phase and G's phase, both every step."""
        return [Phase("D", self.d_terms), Phase("G", self.g_terms)]

    def d_terms(self, batch: MicroBatch) -> Terms:
        """D_real and D_fake, each [N]."""
        return {
            "D_real": self.d_real(batch.logits(batch.real)),
            "D_fake": self.d_fake(batch.logits(batch.fake().detach())),
        }

    def g_terms(self, batch: MicroBatch) -> Terms:
        """G_fake [N]."""
        return {"G_fake": self.g_fake(batch.logits(batch.fake()))}


@dataclass(frozen=True)
class NonSaturating(AdversarialLoss):
    """The non-saturating logistic loss (Goodfellow et al. 2014, arXiv 1406.2661, sec. 3).

    D's part is binary cross-entropy on logits, with 1 for real and 0 for fake.
    """

    name: Literal["nonsaturating"] = "nonsaturating"

    def d_real(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits)

    def d_fake(self, logits: Tensor) -> Tensor:
        return F.softplus(logits)

    def g_fake(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits)


@dataclass(frozen=True)
class LeastSquares(AdversarialLoss):
    """LSGAN with targets 1 (real), 0 (fake) and 1 (G) (Mao et al. 2017, arXiv 1611.04076, eq. 9).

    Differs: without the factor 1/2, as is common.
    """

    name: Literal["lsgan"] = "lsgan"

    def d_real(self, logits: Tensor) -> Tensor:
        return (logits - 1).square()

    def d_fake(self, logits: Tensor) -> Tensor:
        return logits.square()

    def g_fake(self, logits: Tensor) -> Tensor:
        return (logits - 1).square()


@dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """The hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""

    name: Literal["hinge"] = "hinge"

    def d_real(self, logits: Tensor) -> Tensor:
        return F.relu(1 - logits)

    def d_fake(self, logits: Tensor) -> Tensor:
        return F.relu(1 + logits)

    def g_fake(self, logits: Tensor) -> Tensor:
        return -logits


@dataclass(frozen=True)
class WassersteinGP(AdversarialLoss):
    """WGAN-GP (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    The drift term keeps D's output near zero (Karras et al. 2018, arXiv 1710.10196, app. A).
    The penalty is defined for each sample on its own, so D must not have BatchNorm (sec. 4).
    Differs: one D step a G step, as in the progressive-growing paper, instead of five.
    """

    name: Literal["wgan-gp"] = "wgan-gp"
    penalty_weight: float = 10.0
    drift_weight: float = 0.001

    def __post_init__(self) -> None:
        if self.penalty_weight < 0 or self.drift_weight < 0:
            raise UsageError(
                f"loss.penalty_weight {self.penalty_weight}, drift_weight {self.drift_weight}: 0 or more"
            )

    def d_real(self, logits: Tensor) -> Tensor:
        return -logits + self.drift_weight * logits.square()

    def d_fake(self, logits: Tensor) -> Tensor:
        return logits

    def g_fake(self, logits: Tensor) -> Tensor:
        return -logits

    def d_terms(self, batch: MicroBatch) -> Terms:
        """D_real, D_fake and D_penalty, each [N]."""
        return super().d_terms(batch) | {"D_penalty": self.penalty_weight * gradient_penalty(batch)}


def gradient_penalty(batch: MicroBatch) -> Tensor:
    """(|grad D(v)| - 1)^2 at v = real + u (fake - real), u uniform in [0, 1) (arXiv 1704.00028, eq. 3).

    Returns [N], without the weight; differentiable again.
    """
    real, fake = batch.real, batch.fake().detach()
    between = (real + batch.uniform()[:, None, None, None] * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(batch.logits(between).sum(), between, create_graph=True)
    length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (length - 1).square()


Loss = NonSaturating | LeastSquares | Hinge | WassersteinGP
