"""Adversarial losses as lists of phases: the second of the two seams.

A loss is a frozen dataclass (its settings are part of a run's configuration) with
`phases() -> [Phase]`. A phase belongs to one player and returns named per-sample terms [N]; their means
are added, and only the training loop calls backward. One loop trains every model.

    name           D minimises                                         G minimises
    nonsaturating  softplus(-D(x)) + softplus(D(y))                    softplus(-D(y))
    lsgan          (D(x) - 1)^2 + D(y)^2                               (D(y) - 1)^2
    hinge          relu(1 - D(x)) + relu(1 + D(y))                     -D(y)
    wgan-gp        -D(x) + D(y) + lambda (|grad D(v)| - 1)^2 + drift D(x)^2   -D(y)
    stylegan2      nonsaturating + gamma/2 |grad D(x)|^2               softplus(-D(y)) + path length
      relativistic softplus(D(y) - D(x)) + gamma/2 |grad D|^2          softplus(D(x) - D(y)) + path length

with x real, y = G(z), v on the line between them, D the logit.

Lazy regularisation (Karras et al. 2020, sec. 3.1): a penalty that is taken every k-th step only is a phase
of its own, its terms times k, and its player's Adam is slowed to match: `lazy_interval`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError

Player = Literal["G", "D"]
Kind = Literal["real", "fake"]
Terms = dict[str, Tensor]


class MicroBatch(Protocol):
    """What a phase sees of one micro-batch."""

    real: Tensor  # [N, C, H, W] in [-1, 1]

    def fake(self) -> Tensor:
        """G's images for this micro-batch's latents [N, C, H, W]; the same ones until G has changed."""

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        """D's logits [N] for images [N, C, H, W] that have the labels of the reals or of the fakes.

        D sees them augmented, where the run augments. twice: the gradient can be differentiated again.
        """

    def uniform(self) -> Tensor:
        """Numbers in [0, 1), one a sample [N]; the same ones at every call."""

    def path(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """w [n, L, W] of `count` fresh latents, their images [n, C, H, W], and normal noise like those.

        L: the layers that the images are made of; while a network grows, those that are there.
        """

    def recall(self, name: str) -> Tensor:
        """A number that the loss keeps from step to step, 0 at first."""

    def remember(self, name: str, value: Tensor) -> None:
        """The number's new value, of this micro-batch; the next step recalls the mean over them."""


@dataclass(frozen=True)
class Phase:
    """One player's update: its terms, and every how many steps it takes place."""

    player: Player
    terms: Callable[[MicroBatch], Terms]
    every: int = 1


class AdversarialLoss(ABC):
    """A loss of two phases, D first, then G on the same fakes; D sees real and fake images separately."""

    @property
    def mixing(self) -> float:
        """The chance that a batch's images take their last layers' styles from second latents."""
        return 0.0

    @property
    def zero_divides(self) -> bool:
        """Whether D's logit is to be above 0 for real images and below it for fakes."""
        return True

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
            "D_real": self.d_real(batch.logits(batch.real, "real")),
            "D_fake": self.d_fake(batch.logits(batch.fake().detach(), "fake")),
        }

    def g_terms(self, batch: MicroBatch) -> Terms:
        """G_fake [N]."""
        return {"G_fake": self.g_fake(batch.logits(batch.fake(), "fake"))}


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

    @property
    def zero_divides(self) -> bool:
        return False

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
    mixing_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.penalty_weight < 0 or self.drift_weight < 0:
            raise UsageError(
                f"loss.penalty_weight {self.penalty_weight}, drift_weight {self.drift_weight}: 0 or more"
            )
        if not 0 <= self.mixing_probability <= 1:
            raise UsageError(f"loss.mixing_probability {self.mixing_probability}: 0 to 1")

    @property
    def mixing(self) -> float:
        return self.mixing_probability

    @property
    def zero_divides(self) -> bool:
        return False

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

    Returns [N], without the weight; differentiable again. With labels, v has the real image's.
    """
    real, fake = batch.real, batch.fake().detach()
    between = (real + batch.uniform()[:, None, None, None] * (fake - real)).requires_grad_()
    logits = batch.logits(between, "real", twice=True)
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (length - 1).square()


# ---- StyleGAN2


@dataclass(frozen=True)
class StyleGAN2Loss(NonSaturating):
    """StyleGAN2's loss (Karras et al. 2020, arXiv 1912.04958, sec. 3 and app. B), R2 on fakes added.

    r1_gamma 0, r2_gamma 0, path_length_weight 0 or mixing_probability 0 leave the part out. An interval of 1
    takes a penalty with the main terms; a longer one makes it a lazy phase. The path length penalty uses a
    batch `path_length_shrink` times smaller.

    relativistic: D and G see pairs of a real and a fake image, of which D is to score the real one higher
    (Jolicoeur-Martineau 2018, arXiv 1807.00734). With R1 and R2 at every step, no path length and no mixing
    it is R3GAN's loss (Huang et al. 2024, arXiv 2501.05441, sec. 2). Differs from theirs: G's reals are those
    of D's step, and with labels the two of a pair have each its own.

    Differs: D comes before G, and both use the same fakes, which saves a pass of G; path lengths are of
    unmixed styles; a gradient that is not finite sends the run back instead of becoming 0 or 1e5.
    """

    name: Literal["stylegan2"] = "stylegan2"  # type: ignore[assignment]  # it is another member of the union
    r1_gamma: float = 1.0
    r2_gamma: float = 0.0
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 4
    path_length_decay: float = 0.01
    path_length_shrink: int = 2
    mixing_probability: float = 0.9
    relativistic: bool = False

    def __post_init__(self) -> None:
        for name in ("r1_gamma", "r2_gamma", "path_length_weight"):
            if getattr(self, name) < 0:
                raise UsageError(f"loss.{name} {getattr(self, name)}: 0 (none) or more")
        for name in ("r1_interval", "path_length_interval", "path_length_shrink"):
            if getattr(self, name) < 1:
                raise UsageError(f"loss.{name} {getattr(self, name)}: 1 or more")
        for name in ("path_length_decay", "mixing_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"loss.{name} {getattr(self, name)}: 0 to 1")

    @property
    def mixing(self) -> float:
        return self.mixing_probability

    @property
    def zero_divides(self) -> bool:
        return not self.relativistic

    def phases(self) -> list[Phase]:
        """D, then its gradient penalty, G, then its path length; penalties only where they are lazy."""
        d, d_penalty = Phase("D", self.d_terms), Phase("D", self.d_penalty, self.r1_interval)
        g, g_penalty = Phase("G", self.g_terms), Phase("G", self.g_penalty, self.path_length_interval)
        has_d_penalty = (self.r1_gamma > 0 or self.r2_gamma > 0) and self.r1_interval > 1
        has_g_penalty = self.path_length_weight > 0 and self.path_length_interval > 1
        return [d, *[d_penalty] * has_d_penalty, g, *[g_penalty] * has_g_penalty]

    def d_terms(self, batch: MicroBatch) -> Terms:
        """D_real and D_fake, or D_pair, and the penalties where they are taken every step."""
        if self.relativistic:
            real = batch.logits(batch.real, "real")
            fake = batch.logits(batch.fake().detach(), "fake")
            terms = {"D_pair": F.softplus(fake - real)}
        else:
            terms = super().d_terms(batch)
        return terms | (self.d_penalty(batch) if self.r1_interval == 1 else {})

    def g_terms(self, batch: MicroBatch) -> Terms:
        """G_fake or G_pair, and the path length penalty where it is taken every step."""
        if self.relativistic:
            with torch.no_grad():
                real = batch.logits(batch.real, "real")
            terms = {"G_pair": F.softplus(real - batch.logits(batch.fake(), "fake"))}
        else:
            terms = super().g_terms(batch)
        every_step = self.path_length_weight > 0 and self.path_length_interval == 1
        return terms | (self.g_penalty(batch) if every_step else {})

    def d_penalty(self, batch: MicroBatch) -> Terms:
        """D_r1 = interval gamma/2 |grad D(real)|^2 [N] (Mescheder et al. 2018), D_r2 the same at fakes."""
        terms: Terms = {}
        if self.r1_gamma > 0:
            terms["D_r1"] = self.r1_interval * self.r1_gamma / 2 * squared_gradient(batch, "real")
        if self.r2_gamma > 0:
            terms["D_r2"] = self.r1_interval * self.r2_gamma / 2 * squared_gradient(batch, "fake")
        return terms

    def g_penalty(self, batch: MicroBatch) -> Terms:
        """G_path = interval weight (|J^T y| - a)^2 [n], a the lengths' running mean (sec. 3.2, eq. 4)."""
        w, image, noise = batch.path(max(1, len(batch.real) // self.path_length_shrink))
        lengths = path_lengths(w, image, noise)
        mean = torch.lerp(batch.recall("path_length"), lengths.mean(), self.path_length_decay)
        batch.remember("path_length", mean.detach())
        return {"G_path": self.path_length_interval * self.path_length_weight * (lengths - mean).square()}


def squared_gradient(batch: MicroBatch, of: Kind) -> Tensor:
    """|grad D(image)|^2 [N] at the reals or the fakes, summed over the pixels; differentiable again."""
    image = (batch.real if of == "real" else batch.fake()).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(batch.logits(image, of, twice=True).sum(), image, create_graph=True)
    squares: Tensor = gradient.float().square().sum(dim=(1, 2, 3))
    return squares


def path_lengths(w: Tensor, image: Tensor, noise: Tensor) -> Tensor:
    """|J^T y| [n]: how far pictures move with w [n, L, W] along y / sqrt(pixels); differentiable again.

    image [n, C, H, W] made of w, normal noise y like it. A root of the mean over layers of the squares.
    """
    pixels = image.shape[2] * image.shape[3]
    along = (image * noise).sum() / math.sqrt(pixels)
    (gradient,) = torch.autograd.grad(along, w, create_graph=True)
    lengths: Tensor = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    return lengths


def lazy_interval(phases: list[Phase], player: Player) -> int:
    """Every how many steps this player's lazy phase comes; 1 where it has none."""
    return max((phase.every for phase in phases if phase.player == player), default=1)


Loss = NonSaturating | LeastSquares | Hinge | WassersteinGP | StyleGAN2Loss
