"""The losses equal their formulas, and their gradients the ones worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.losses import NonSaturating


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

    def logits(self, image: Tensor) -> Tensor:
        return (image * self.v).sum(dim=(1, 2, 3))


def test_d_terms_are_binary_cross_entropy_with_real_1_and_fake_0() -> None:
    game = LinearGame()
    terms = NonSaturating().d_terms(game)
    logits_real, logits_fake = game.logits(game.real), game.logits(game.fake())
    ones, zeros = torch.ones(5), torch.zeros(5)
    expected_real = F.binary_cross_entropy_with_logits(logits_real, ones, reduction="none")
    expected_fake = F.binary_cross_entropy_with_logits(logits_fake, zeros, reduction="none")
    torch.testing.assert_close(terms["D_real"], expected_real)
    torch.testing.assert_close(terms["D_fake"], expected_fake)


def test_g_term_is_binary_cross_entropy_with_fake_1() -> None:
    game = LinearGame()
    expected = F.binary_cross_entropy_with_logits(game.logits(game.fake()), torch.ones(5), reduction="none")
    torch.testing.assert_close(NonSaturating().g_terms(game)["G_fake"], expected)


def test_d_gradient_on_a_linear_d_is_the_one_by_hand() -> None:
    # d/dv of mean softplus(-v.x) + mean softplus(v.y) = mean(-sigmoid(-v.x) x) + mean(sigmoid(v.y) y)
    game = LinearGame()
    terms = NonSaturating().d_terms(game)
    torch.stack([term.mean() for term in terms.values()]).sum().backward()
    x, y = game.real, game.fake().detach()
    weight_x = torch.sigmoid(-game.logits(x)).detach()[:, None, None, None]
    weight_y = torch.sigmoid(game.logits(y)).detach()[:, None, None, None]
    torch.testing.assert_close(game.v.grad, (-weight_x * x).mean(dim=0) + (weight_y * y).mean(dim=0))


def test_g_gradient_on_a_linear_g_is_the_one_by_hand() -> None:
    # d/dg of mean softplus(-g v.z) = mean(-sigmoid(-g v.z) v.z)
    game = LinearGame()
    NonSaturating().g_terms(game)["G_fake"].mean().backward()
    vz = (game.latents * game.v.detach()).sum(dim=(1, 2, 3))
    expected = (-torch.sigmoid(-game.g.detach() * vz) * vz).mean()
    torch.testing.assert_close(game.g.grad, expected)


def test_the_d_phase_does_not_reach_g() -> None:
    game = LinearGame()
    terms = NonSaturating().d_terms(game)
    torch.stack([term.mean() for term in terms.values()]).sum().backward()
    assert game.g.grad is None


def test_d_plays_before_g_and_both_every_step() -> None:
    # recipe of the DCGAN paper's code: one D update, then one G update
    phases = NonSaturating().phases()
    assert [(phase.player, phase.every) for phase in phases] == [("D", 1), ("G", 1)]
