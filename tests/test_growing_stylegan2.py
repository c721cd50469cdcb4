"""StyleGAN2's skip generator as it grows: stages against the formulas, and runs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_stylegan2 import SHAPE, networks
from states import differing

from facegan import models
from facegan.config import UsageError
from facegan.data import DataConfig, open_dataset
from facegan.growth import Growth
from facegan.losses import StyleGAN2Loss, path_lengths
from facegan.networks.base import Stage
from facegan.networks.ops import downsample, upsample
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from facegan.run import Adam, Intervals, Run
from facegan.synthesis import Sampler
from facegan.training.batch import TrainingBatch
from facegan.training.growing import model_at, reals_at, so_far
from facegan.training.loop import train
from facegan.training.state import new_state
from facegan.training.step import train_step
from facegan.training.transfer import transfer, weights_of

MODEL = StyleGAN2Config(
    resolution=32, z_dim=6, w_dim=6, mapping_layers=2, channel_base=128, channel_max=8, grows=True
)


@pytest.fixture
def run(picture_folder: Path) -> Run:
    """8 px for 16 images, 16 px fades in for 16 and is there for 16, then 32 px; every phase in two steps."""
    return Run(
        model=MODEL,
        loss=StyleGAN2Loss(r1_interval=2, path_length_interval=2),
        data=DataConfig(str(picture_folder)),
        optimizer=Adam(lr=0.002, beta1=0.0, beta2=0.99),
        intervals=Intervals(log_images=16, sample_images=32, checkpoint_images=32),
        growth=Growth(8, 16, 16),
        batch=8,
        micro_batch=8,
        total_images=80,
        device="cpu",
        precision="fp32",
    )


def smaller(resolution: int) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator]:
    """Networks of half the size or less with the weights that the whole ones have."""
    config = StyleGAN2Config(**(SHAPE | {"grows": True, "resolution": resolution}))
    small = StyleGAN2Generator(config), StyleGAN2Discriminator(config)
    for network, whole in zip(small, networks(grows=True), strict=True):
        network.load_state_dict(so_far(whole.state_dict(), Stage(resolution)))
    return small


@torch.no_grad()
def test_what_has_not_begun_to_fade_in_is_not_there() -> None:
    generator, discriminator = networks(grows=True)
    small_g, small_d = smaller(8)
    w, image = torch.randn(4, generator.num_ws, generator.w_dim), torch.randn(4, 3, 8, 8)
    assert torch.equal(generator.synthesis(w, stage=Stage(8)), small_g.synthesis(w[:, :4]))
    assert torch.equal(discriminator(image, stage=Stage(8)), small_d(image))
    assert not torch.equal(
        generator.synthesis(w, stage=Stage(16)), generator.synthesis(w, stage=Stage(16, 0.9))
    )
    assert torch.equal(generator.synthesis(w, stage=Stage(16)), generator.synthesis(w))


@torch.no_grad()
def test_a_fade_adds_a_share_of_the_new_picture_to_the_doubled_one() -> None:
    generator, _ = networks(grows=True)
    small, _ = smaller(8)
    w = torch.randn(4, generator.num_ws, generator.w_dim)
    below = upsample(small.synthesis(w[:, :4]))  # its last picture has the style that the next layer has
    whole = generator.synthesis(w)
    for alpha in (0.0, 0.25, 1.0):
        expected = below + alpha * (whole - below)
        found = generator.synthesis(w, stage=Stage(16, alpha))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["resnet", "orig"])
def test_a_fade_mixes_d_s_maps_of_the_image_and_of_half_of_it(kind: str) -> None:
    _, discriminator = networks(grows=True, d_architecture=kind)
    image, alpha = torch.randn(4, 3, 16, 16), 0.25
    b16, b8 = discriminator.b16, discriminator.b8
    high, _ = b16(None, image)
    mixed = alpha * high + (1 - alpha) * b8.fromrgb(downsample(image))
    x, _ = b8(mixed, None)
    torch.testing.assert_close(discriminator(image, stage=Stage(16, alpha)), discriminator.b4(x, None, None))


def test_path_lengths_of_a_stage_are_those_of_the_network_so_far(run: Run) -> None:
    """Not also of layers that are not there yet, whose gradient is 0: they would make the mean smaller."""
    state, dataset = new_state(run), open_dataset(run.data, resolution=32)
    state.stage = Stage(8)
    w, image, noise = TrainingBatch(state, run, dataset, 0).path(3)
    found = path_lengths(w, image, noise)
    small, _ = model_at(state.generator, run.model, Stage(8))
    w = w.detach().requires_grad_()
    assert w.shape[1] == small.num_ws == 4
    maps = [torch.zeros(3, *shape) for shape in small.noise_shapes()]  # its strength is 0 at the start
    torch.testing.assert_close(found, path_lengths(w, small.synthesis(w, maps), noise))


def test_reals_fade_in_with_the_filter_of_the_network() -> None:
    images = torch.randn(2, 3, 32, 32)
    means = images.view(2, 3, 16, 2, 16, 2).mean(dim=(3, 5))
    below = upsample(means.view(2, 3, 8, 2, 8, 2).mean(dim=(3, 5)))
    torch.testing.assert_close(reals_at(images, Stage(16, 0.25), MODEL), 0.25 * means + 0.75 * below)


def test_only_a_network_that_grows_has_more_weights_than_published() -> None:
    names = [set(networks(grows=grows)[1].state_dict()) for grows in (True, False)]
    assert names[0] - names[1] == {"b8.fromrgb.weight", "b8.fromrgb.bias"}
    assert not names[1] - names[0]
    assert set(networks(grows=True)[0].state_dict()) == set(networks()[0].state_dict())


@pytest.mark.parametrize(
    ("model", "growth", "words"),
    [
        ({"grows": False}, Growth(8, 16, 16), "growth without model.grows"),
        ({}, None, "model.grows without growth"),
        ({}, Growth(4, 16, 16), "StyleGAN2 begins with 8"),
        ({"g_architecture": "resnet"}, Growth(8, 16, 16), "grows: a skip generator"),
        ({"d_architecture": "skip"}, Growth(8, 16, 16), "grows: a skip generator"),
        ({"alpha": 0.5}, Growth(8, 16, 16), "model.alpha"),
    ],
)
def test_what_cannot_grow_is_refused(
    run: Run, model: dict[str, Any], growth: Growth | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        replace(run, model=replace(MODEL, **model), growth=growth)


@pytest.mark.parametrize("resolution", [4, 64])
def test_a_stage_that_the_network_does_not_have_is_refused(resolution: int) -> None:
    generator, discriminator = networks(grows=True)
    with pytest.raises(ValueError, match=f"stage of {resolution} pixels"):
        generator.synthesis(torch.zeros(1, generator.num_ws, generator.w_dim), stage=Stage(resolution))
    with pytest.raises(ValueError, match=f"stage of {resolution} pixels"):
        discriminator(torch.zeros(1, 3, resolution, resolution), stage=Stage(resolution))


def test_weights_that_are_not_there_yet_stay_as_they_were(run: Run) -> None:
    dataset, state = open_dataset(run.data, resolution=32), new_state(run)
    start = copy.deepcopy({player: network.state_dict() for player, network in state.networks.items()})
    while state.images_seen < 48:
        train_step(state, run, dataset, run.loss.phases())
    for player, network in state.networks.items():
        for name, value in network.named_parameters():
            assert torch.equal(value, start[player][name]) == ("b32" in name), name


@pytest.mark.parametrize("stopped_at", [16, 24, 48])
def test_resume_is_bit_equal_through_a_growth_step(run: Run, stopped_at: int) -> None:
    dataset, whole, fresh = open_dataset(run.data, resolution=32), new_state(run), new_state(run)
    while whole.images_seen < stopped_at + 16:
        if whole.images_seen == stopped_at:
            fresh.load_parts(copy.deepcopy(whole.parts()))
        train_step(whole, run, dataset, run.loss.phases())
    while fresh.images_seen < whole.images_seen:
        train_step(fresh, run, dataset, run.loss.phases())
    assert differing(fresh.parts(), whole.parts()) == []


@torch.no_grad()
def test_a_model_saved_on_the_way_is_the_network_so_far() -> None:
    generator, _ = networks(grows=True)
    config = StyleGAN2Config(**(SHAPE | {"grows": True}))
    w = torch.randn(2, generator.num_ws, generator.w_dim)
    for stage in (Stage(8), Stage(16, 0.5), Stage(16)):
        small, small_config = model_at(generator, config, stage)
        assert (small_config.resolution, small_config.alpha) == (stage.resolution, stage.alpha)  # type: ignore[union-attr]
        assert torch.equal(small.synthesis(w[:, : small.num_ws]), generator.synthesis(w, stage=stage))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:32 px are there after")
def test_a_run_that_grew_gives_a_model_and_the_start_of_another(run: Run, tmp_path: Path) -> None:
    train(replace(run, total_images=40), tmp_path / "run")
    model = models.load(str(tmp_path / "run"))
    assert Sampler(model).sample([1]).shape == (1, 16, 16, 3)
    train(run, tmp_path / "run", resume=True, force=True)
    assert Sampler(models.load(str(tmp_path / "run"))).sample([1]).shape == (1, 32, 32, 3)
    plain = replace(run, model=replace(MODEL, grows=False), growth=None)
    for name in ("run", "run/model.safetensors"):
        weights = weights_of(str(tmp_path / name))
        assert transfer(weights, new_state(plain), plain.model).fresh == []
