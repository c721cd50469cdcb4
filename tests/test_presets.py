"""The presets hold the published numbers: StyleGAN2's config F and StyleGAN2-ADA's configurations."""

from __future__ import annotations

import dataclasses

import pytest

from facegan.losses import StyleGAN2Loss, WassersteinGP
from facegan.networks.base import Stage
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.presets import PRESETS
from facegan.run import Run


def stylegan2_run(name: str) -> tuple[Run, StyleGAN2Config, StyleGAN2Loss]:
    run = PRESETS[name].run
    assert isinstance(run.model, StyleGAN2Config)
    assert isinstance(run.loss, StyleGAN2Loss)
    return run, run.model, run.loss


@pytest.mark.parametrize(
    ("name", "resolution", "batch", "lr", "gamma", "ema_images", "base", "group"),
    [
        # arXiv 2006.06676, app. C: paper256, paper512, paper1024; arXiv 1912.04958, app. B: config F
        ("stylegan2-ffhq-256", 256, 64, 0.0025, 1.0, 20_000, 16_384, 8),
        ("stylegan2-ffhq-512", 512, 64, 0.0025, 0.5, 20_000, 32_768, 8),
        ("stylegan2-ffhq-1024", 1024, 32, 0.002, 2.0, 10_000, 32_768, 4),
        ("stylegan2-config-f", 1024, 32, 0.002, 10.0, 10_000, 32_768, 4),
    ],
)
def test_published_configurations(
    name: str, resolution: int, batch: int, lr: float, gamma: float, ema_images: int, base: int, group: int
) -> None:
    run, model, loss = stylegan2_run(name)
    assert (model.resolution, run.batch, run.optimizer.lr, loss.r1_gamma) == (resolution, batch, lr, gamma)
    assert (run.ema.halflife_images, run.ema.rampup) == (ema_images, 0.0)
    assert (model.channel_base, model.channel_max, model.minibatch_std_group) == (base, 512, group)
    assert (model.z_dim, model.w_dim, model.mapping_layers) == (512, 512, 8)
    assert model.w_avg_beta == 0.995  # both official codes; StyleGAN3's has 0.998
    assert (model.g_architecture, model.d_architecture) == ("skip", "resnet")
    assert (loss.path_length_weight, loss.path_length_interval, loss.path_length_decay) == (2.0, 4, 0.01)
    assert (loss.path_length_shrink, loss.r1_interval, loss.mixing_probability) == (2, 16, 0.9)
    assert run.total_images == 25_000_000


@pytest.mark.parametrize(
    "name", [name for name in PRESETS if PRESETS[name].run.model.architecture == "stylegan2"]
)
def test_all_stylegan2_presets_have_the_published_adam(name: str) -> None:
    adam = stylegan2_run(name)[0].optimizer
    assert dataclasses.astuple(adam)[1:] == (0.0, 0.99, 1e-8)


@pytest.mark.parametrize(("name", "gamma"), [("stylegan2-64", 0.0256), ("stylegan2-128", 0.1024)])
def test_the_smaller_presets_follow_the_auto_rule(name: str, gamma: float) -> None:
    """gamma = 0.0002 size^2 / batch; EMA of batch 10 / 32 thousand images, at most 5 % of those seen."""
    run, _, loss = stylegan2_run(name)
    assert loss.r1_gamma == pytest.approx(gamma)
    assert (run.ema.halflife_images, run.ema.rampup) == (10_000, 0.05)
    assert (run.optimizer.lr, loss.path_length_weight) == (0.0025, 0.0)


@pytest.mark.parametrize(
    ("name", "last_lr"), [("stylegan-ffhq-1024", 0.003), ("stylegan-celebahq-1024", 0.002)]
)
def test_the_published_stylegans_grow_as_published(name: str, last_lr: float) -> None:
    """Karras et al. 2019's code with 8 GPUs: batches and learning rates of 8, 16, ... 1024 px."""
    run = PRESETS[name].run
    growth, loss = run.growth, run.loss
    assert growth is not None
    stages = [Stage(2**k) for k in range(3, 11)]
    assert [growth.batch(stage, run.batch) for stage in stages] == [256, 128, 64, 32, 32, 32, 32, 32]
    lrs = [growth.lr(stage, run.optimizer.lr) for stage in stages]
    assert lrs == [0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, last_lr, last_lr]
    assert (growth.first_resolution, growth.stable_images, growth.fade_images) == (8, 600_000, 600_000)
    assert (run.ema.halflife_images, run.ema.rampup, run.total_images) == (10_000, 0.0, 25_000_000)
    assert loss.mixing == 0.9
    if isinstance(loss, StyleGAN2Loss):
        assert (loss.r1_gamma, loss.r1_interval, loss.path_length_weight) == (10.0, 1, 0.0)
    else:
        assert isinstance(loss, WassersteinGP)
        assert (loss.penalty_weight, loss.drift_weight) == (10.0, 0.001)
