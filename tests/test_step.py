"""One training step: what the mean of G's weights takes of it, and whose latents styles are mixed of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_stylegan2 import small_run

from facegan.data import open_dataset
from facegan.losses import StyleGAN2Loss
from facegan.randomness import Purpose, torch_generator
from facegan.run import Ema, Run
from facegan.training.batch import TrainingBatch
from facegan.training.state import new_state
from facegan.training.step import train_step


@pytest.mark.parametrize(
    ("ema", "beta"),
    [
        (Ema(32, 0), 0.5**0.5),  # a batch of 16 is half a half-life
        (Ema(1e9, 0.5), 0.25),  # the half-life is half of the 16 images seen by then
    ],
)
def test_the_mean_of_g_s_weights_keeps_of_the_old_what_its_half_life_says(
    ema: Ema, beta: float, tiny_run_config: Run
) -> None:
    run = replace(tiny_run_config, ema=ema)
    assert (run.batch, run.micro_batch) == (16, 8)
    state = new_state(run)
    with torch.no_grad():
        for parameter in state.average.parameters():
            parameter.normal_()  # far from G's
    before = [parameter.clone() for parameter in state.average.parameters()]
    train_step(state, run, open_dataset(run.data, resolution=8), run.loss.phases())
    now = state.average.parameters(), before, state.generator.parameters()
    for mean, old, new in zip(*now, strict=True):
        torch.testing.assert_close(mean, beta * old + (1 - beta) * new, rtol=1e-5, atol=1e-6)


def test_mixed_styles_are_of_latents_that_are_drawn_for_mixing(picture_folder: Path) -> None:
    """Not of the same ones again: then mixing would change nothing."""
    run = replace(small_run(picture_folder), seed=3, loss=StyleGAN2Loss(mixing_probability=1.0))
    state, first = new_state(run), 16
    batch = TrainingBatch(state, run, open_dataset(run.data, resolution=8), first)

    def w_of(purpose: Purpose) -> torch.Tensor:
        z = torch.randn(8, 6, generator=torch_generator(3, first, purpose))
        return state.generator.mapping(z)

    given: list[torch.Tensor] = []
    state.compiled = replace(state.forms, synthesis=lambda w, *_: given.append(w))
    batch.fake()
    (mixed,) = given
    torch.testing.assert_close(mixed[:, 0], w_of(Purpose.LATENT)[:, 0])
    torch.testing.assert_close(mixed[:, -1], w_of(Purpose.MIXING)[:, -1])
    assert not torch.allclose(mixed[:, -1], w_of(Purpose.LATENT)[:, -1])
