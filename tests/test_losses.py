"""The losses equal their formulas, their gradients the ones worked out by hand, and each one learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.config import UsageError, override
from facegan.losses import (
    AdversarialLoss,
    Hinge,
    Kind,
    LeastSquares,
    MicroBatch,
    NonSaturating,
    Phase,
    StyleGAN2Loss,
    Terms,
    WassersteinGP,
)
from facegan.losses import gradient_penalty as penalty_of
from facegan.networks.dcgan import DCGANConfig
from facegan.presets import preset
from facegan.run import Run

LOSSES = [NonSaturating(), LeastSquares(), Hinge(), WassersteinGP()]
PAIRS = StyleGAN2Loss(
    relativistic=True, r1_gamma=1.0, r2_gamma=1.0, r1_interval=1, path_length_weight=0, mixing_probability=0
)


class LinearGame:
    """A losses.MicroBatch with D(x) = sum(v x) and G(z) = g z, so that gradients can be written down."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.real = torch.randn(5, 3, 2, 2, generator=generator)
        self.latents = torch.randn(5, 3, 2, 2, generator=generator)
        self.v = torch.randn(3, 2, 2, generator=generator).requires_grad_()
        self.g = torch.tensor(0.7, requires_grad=True)

    def fake(self) -> Tensor:
        return self.g * self.latents

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        return (image * self.v).sum(dim=(1, 2, 3))

    def uniform(self) -> Tensor:
        return torch.linspace(0, 1, 5)


class HeardGame(LinearGame):
    """Remembers whose labels D was asked to hear."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Kind] = []

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        self.heard.append(of)
        return super().logits(image, of, twice=twice)


def descend(phase: Phase, game: LinearGame) -> None:
    torch.stack([term.mean() for term in phase.terms(game).values()]).sum().backward()


def test_nonsaturating_terms_are_binary_cross_entropy() -> None:
    game, loss = LinearGame(), NonSaturating()
    logits_real, logits_fake = game.logits(game.real, "real"), game.logits(game.fake(), "fake")
    ones, zeros = torch.ones(5), torch.zeros(5)
    bce = F.binary_cross_entropy_with_logits
    terms = loss.d_terms(game) | loss.g_terms(game)
    torch.testing.assert_close(terms["D_real"], bce(logits_real, ones, reduction="none"))
    torch.testing.assert_close(terms["D_fake"], bce(logits_fake, zeros, reduction="none"))
    torch.testing.assert_close(terms["G_fake"], bce(logits_fake, ones, reduction="none"))


# Derivatives by the logit of what D minimises on real, on fake, and of what G minimises.
Derivative = Callable[[Tensor], Tensor]
DERIVATIVES: list[tuple[AdversarialLoss, Derivative, Derivative, Derivative]] = [
    (NonSaturating(), lambda r: -torch.sigmoid(-r), torch.sigmoid, lambda f: -torch.sigmoid(-f)),
    (LeastSquares(), lambda r: 2 * (r - 1), lambda f: 2 * f, lambda f: 2 * (f - 1)),
    (Hinge(), lambda r: -(r < 1).float(), lambda f: (f > -1).float(), lambda f: -torch.ones_like(f)),
]


@pytest.mark.parametrize(("loss", "by_real", "by_fake", "by_g"), DERIVATIVES, ids=["ns", "lsgan", "hinge"])
def test_gradients_on_a_linear_d_and_g_are_those_by_hand(
    loss: AdversarialLoss, by_real: Derivative, by_fake: Derivative, by_g: Derivative
) -> None:
    game = LinearGame()
    d_phase, g_phase = loss.phases()
    descend(d_phase, game)
    x, y = game.real, game.fake().detach()
    logits_x, logits_y = game.logits(x, "real").detach(), game.logits(y, "fake").detach()
    # chain rule: d logit / d v = x
    weights_x, weights_y = by_real(logits_x)[:, None, None, None], by_fake(logits_y)[:, None, None, None]
    torch.testing.assert_close(game.v.grad, (weights_x * x).mean(dim=0) + (weights_y * y).mean(dim=0))
    assert game.g.grad is None  # D's phase does not reach G
    descend(g_phase, game)
    # d logit / d g = v . z
    vz = (game.latents * game.v.detach()).sum(dim=(1, 2, 3))
    torch.testing.assert_close(game.g.grad, (by_g(logits_y) * vz).mean())


def test_a_relativistic_loss_is_of_pairs_and_so_are_its_gradients() -> None:
    """softplus(D(y) - D(x)) for D, softplus(D(x) - D(y)) for G; D(x) moves G's weights, if not itself."""
    game, loss = LinearGame(), replace(PAIRS, r1_gamma=0.0, r2_gamma=0.0)
    d_phase, g_phase = loss.phases()
    x, y = game.real, game.fake().detach()
    gap = (game.logits(y, "fake") - game.logits(x, "real")).detach()
    torch.testing.assert_close(d_phase.terms(game), {"D_pair": torch.log1p(gap.exp())})
    torch.testing.assert_close(g_phase.terms(game), {"G_pair": torch.log1p((-gap).exp())})
    descend(d_phase, game)
    weights = torch.sigmoid(gap)[:, None, None, None]
    torch.testing.assert_close(game.v.grad, (weights * (y - x)).mean(dim=0))
    assert game.g.grad is None
    descend(g_phase, game)
    vz = (game.latents * game.v.detach()).sum(dim=(1, 2, 3))
    torch.testing.assert_close(game.g.grad, (-torch.sigmoid(-gap) * vz).mean())


def test_what_d_calls_every_image_by_changes_nothing_in_a_relativistic_loss() -> None:
    game, raised = LinearGame(), LinearGame()
    plain = raised.logits
    raised.logits = lambda image, of, **given: plain(image, of) + 7.0  # type: ignore[method-assign]
    for terms in (PAIRS.d_terms, PAIRS.g_terms):
        torch.testing.assert_close(terms(game), terms(raised))
    assert not torch.allclose(
        NonSaturating().g_terms(game)["G_fake"], NonSaturating().g_terms(raised)["G_fake"]
    )


def test_the_gradient_penalty_of_a_linear_d_is_that_of_its_weights() -> None:
    # grad D = v everywhere: (|v| - 1)^2 for every sample, with gradient 2 (|v| - 1) v / |v|
    game = LinearGame()
    length = game.v.detach().square().sum().sqrt()
    penalty = penalty_of(game)
    torch.testing.assert_close(penalty.detach(), ((length - 1) ** 2).expand(5))
    penalty.mean().backward()
    torch.testing.assert_close(game.v.grad, 2 * (length - 1) * game.v.detach() / length)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    """D(x) = |x|^2 / 2 has the gradient x: the penalty shows where it was taken."""
    game = LinearGame()
    game.logits = lambda image, of, **given: image.square().sum(dim=(1, 2, 3)) / 2  # type: ignore[method-assign]
    u = game.uniform()[:, None, None, None]
    between = (1 - u) * game.real + u * game.fake().detach()
    expected = (between.flatten(1).square().sum(dim=1).sqrt() - 1) ** 2
    torch.testing.assert_close(penalty_of(game).detach(), expected)


def test_wgan_gp_terms_are_the_papers() -> None:
    game, loss = LinearGame(), WassersteinGP(penalty_weight=7.0, drift_weight=0.5)
    real, fake = game.logits(game.real, "real"), game.logits(game.fake(), "fake")
    terms = loss.d_terms(game) | loss.g_terms(game)
    torch.testing.assert_close(terms["D_real"], -real + 0.5 * real**2)
    torch.testing.assert_close(terms["D_fake"], fake)
    torch.testing.assert_close(terms["D_penalty"], 7.0 * penalty_of(game))
    torch.testing.assert_close(terms["G_fake"], -fake)


@pytest.mark.parametrize(
    ("terms", "heard"),
    [
        (NonSaturating().d_terms, ["real", "fake"]),
        (NonSaturating().g_terms, ["fake"]),
        (StyleGAN2Loss(r1_gamma=1.0, r2_gamma=1.0).d_penalty, ["real", "fake"]),
        (StyleGAN2Loss(r1_gamma=0.0, r2_gamma=1.0).d_penalty, ["fake"]),
        (StyleGAN2Loss(r1_gamma=1.0).d_penalty, ["real"]),
        (PAIRS.d_terms, ["real", "fake", "real", "fake"]),
        (PAIRS.g_terms, ["real", "fake"]),
        (WassersteinGP().d_terms, ["real", "fake", "real"]),  # between the two with the real one's
    ],
)
def test_each_term_gives_d_the_labels_of_its_images(
    terms: Callable[[MicroBatch], Terms], heard: list[Kind]
) -> None:
    game = HeardGame()
    terms(game)
    assert game.heard == heard


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_d_plays_before_g_and_both_every_step(loss: AdversarialLoss) -> None:
    assert [(phase.player, phase.every) for phase in loss.phases()] == [("D", 1), ("G", 1)]


@pytest.mark.parametrize("name", ["lsgan", "hinge", "wgan-gp", "nonsaturating"])
def test_a_loss_is_chosen_by_its_name(name: str) -> None:
    run = override(preset("dcgan-64").run, ["model.d_norm=layer", f"loss.name={name}"])
    assert run.loss.name == name


def test_a_loss_s_own_settings_can_be_set_with_its_name_and_go_with_it() -> None:
    chosen = override(
        preset("dcgan-64").run, ["model.d_norm=none", "loss.name=wgan-gp", "loss.penalty_weight=5"]
    )
    assert chosen.loss == WassersteinGP(penalty_weight=5.0)
    assert override(chosen, ["loss.name=hinge"]).loss == Hinge()
    with pytest.raises(UsageError, match="did you mean 'hinge'"):
        override(chosen, ["loss.name=hing"])


def test_wgan_gp_refuses_batchnorm_in_d() -> None:
    with pytest.raises(UsageError, match=r"model\.d_norm=layer"):
        Run(model=DCGANConfig(), loss=WassersteinGP())
    assert Run(model=DCGANConfig(d_norm="layer"), loss=WassersteinGP()).loss.name == "wgan-gp"


class ToyGame:
    """G(z) = a z + b in the plane against a small D; the real distribution is N((2, -1), 0.5^2).

    Not on a line: there a D with slope 1 meets a barrier of WGAN-GP's penalty where it must turn to slope -1.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.mean = torch.tensor([2.0, -1.0])[:, None, None]
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(2, 1, 1))
        self.d = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
        self.out = nn.Linear(64, 1)
        self.new_batch()

    def new_batch(self) -> None:
        self.real = self.mean + 0.5 * torch.randn(128, 2, 1, 1)
        self._z, self._u = torch.randn(128, 2, 1, 1), torch.rand(128)

    def fake(self) -> Tensor:
        return self.scale * self._z + self.shift

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        logits: Tensor = self.out(self.d(image.flatten(1)))
        return logits[:, 0]

    def uniform(self) -> Tensor:
        return self._u


@pytest.mark.slow
@pytest.mark.parametrize("loss", [*LOSSES, PAIRS], ids=lambda loss: loss.name)
def test_each_loss_learns_a_toy_distribution(loss: AdversarialLoss) -> None:
    game = ToyGame()
    adam_d = torch.optim.Adam([*game.d.parameters(), *game.out.parameters()], lr=1e-2, betas=(0.0, 0.9))
    adam_g = torch.optim.Adam([game.scale, game.shift], lr=2e-3, betas=(0.0, 0.9))
    shifts, scales = [], []
    for step in range(3000):
        game.new_batch()
        for phase in loss.phases():
            optimizer = adam_d if phase.player == "D" else adam_g
            optimizer.zero_grad()
            torch.stack([term.mean() for term in phase.terms(game).values()]).sum().backward()
            optimizer.step()
        if step >= 2000:  # players circle around the solution: the middle of their path is what they learned
            shifts.append(game.shift.detach().clone())
            scales.append(game.scale.detach().abs())
    middle = torch.stack(shifts).mean(dim=0)
    assert (middle - game.mean).norm() < 0.15  # at the start: sqrt(5)
    assert torch.stack(scales).mean() == pytest.approx(0.5, abs=0.1)  # at the start: 1


def test_a_tiny_run_trains_a_step_with_every_loss(tiny_run_config: Run) -> None:
    from facegan.data import open_dataset
    from facegan.training.state import new_state
    from facegan.training.step import train_step

    for loss in LOSSES:
        run = replace(tiny_run_config, model=replace(tiny_run_config.model, d_norm="layer"), loss=loss)
        state = new_state(run)
        means = train_step(state, run, open_dataset(run.data, resolution=8), run.loss.phases())
        assert all(mean.isfinite() for mean in means.values())
        assert ("D_penalty" in means) == (loss.name == "wgan-gp")
