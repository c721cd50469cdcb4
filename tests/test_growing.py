"""Progressive growing: reals that fade, Adam afresh, exact resume, and what is saved on the way."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_data import noise_pictures
from small_growing import GROWTH, SMALL, growing_run
from states import differing, newest
from warned import Warned

from facegan import models
from facegan.augment import Ada
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.growth import Growth
from facegan.losses import WassersteinGP
from facegan.networks.base import Stage
from facegan.networks.stylegan import StyleGANConfig
from facegan.run import Measure, Run
from facegan.synthesis import Sampler
from facegan.training.batch import TrainingBatch
from facegan.training.growing import model_at, reals_at, run_at, stage_of, stage_remembered
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state
from facegan.training.step import adapted, train_step
from facegan.training.transfer import Weights, transfer, weights_of


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return growing_run(picture_folder)


@pytest.fixture
def dataset(run: Run) -> Dataset:
    return open_dataset(run.data, resolution=16)


# ---- steps


def test_reals_are_made_smaller_and_fade_in_as_the_network_does() -> None:
    images = torch.arange(2 * 3 * 16 * 16, dtype=torch.float32).view(2, 3, 16, 16)
    means = images.view(2, 3, 8, 2, 8, 2).mean(dim=(3, 5))
    assert torch.equal(reals_at(images, Stage(16), SMALL), images)
    assert torch.allclose(reals_at(images, Stage(8), SMALL), means)
    below = (
        means.view(2, 3, 4, 2, 4, 2).mean(dim=(3, 5)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    )
    assert torch.allclose(reals_at(images, Stage(8, 0.25), SMALL), 0.25 * means + 0.75 * below)
    assert reals_at(images, None, SMALL) is images


def test_fakes_and_reals_have_the_stage_s_size(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    for stage in (Stage(4), Stage(8, 0.5), Stage(16)):
        state.stage = stage
        batch = TrainingBatch(state, run, dataset, 0)
        assert batch.real.shape[2:] == batch.fake().shape[2:] == (stage.resolution, stage.resolution)
        assert batch.logits(batch.fake(), "fake").shape == (4,)


def test_styles_are_mixed_among_the_layers_that_are_there(run: Run, dataset: Dataset) -> None:
    run = replace(run, loss=replace(run.loss, mixing_probability=1.0))  # type: ignore[type-var]
    state, w = new_state(run), torch.zeros(4, 6, 6)
    state.stage = Stage(8, 0.5)  # of its four layers
    for first in range(0, 160, 8):
        mixed = TrainingBatch(state, run, dataset, first)._mixed(w)
        changed = [bool((mixed[:, layer] != 0).any()) for layer in range(4)]
        assert not changed[0]
        assert changed[3]


def test_adam_starts_afresh_where_a_fade_begins_and_ends(run: Run, dataset: Dataset) -> None:
    state, taken = new_state(run), []
    while state.images_seen < 80:
        first = state.images_seen
        train_step(state, run, dataset, run.loss.phases())
        steps = {
            player: max(float(moments["step"]) for moments in optimizer.state.values())
            for player, optimizer in state.optimizers.items()
        }
        assert steps["D"] == steps["G"]
        taken.append((first, steps["G"]))
    # batches of 8 from 0 to 56 (16 px fades in from 48 on, but batch 48 is the last at 8 px), then of 4
    assert taken == [
        (0, 1), (8, 2), (16, 3), (24, 1), (32, 1), (40, 2), (48, 3), (56, 1), (60, 2), (64, 1), (68, 2),
        (72, 3), (76, 4),
    ]  # fmt: skip


def test_the_optimisers_get_the_stage_s_learning_rate_times_their_share(run: Run, dataset: Dataset) -> None:
    lazy = replace(run, loss=replace(run.loss, r1_interval=4))  # type: ignore[type-var]
    state = new_state(lazy)
    for lr in (0.002, 0.002, 0.002, 0.001):
        train_step(state, lazy, dataset, lazy.loss.phases())
        assert state.optimizers["G"].param_groups[0]["lr"] == lr
        assert state.optimizers["D"].param_groups[0]["lr"] == pytest.approx(lr * 4 / 5)


def test_the_mean_of_w_is_followed(run: Run, dataset: Dataset) -> None:
    state = new_state(replace(run, model=replace(SMALL, w_avg_beta=0.0)))
    train_step(state, run, dataset, run.loss.phases())
    assert state.generator.w_avg.any()


def test_growing_switched_on_or_off_starts_adam_afresh(run: Run, dataset: Dataset) -> None:
    flat, state = replace(run, growth=None), new_state(run)
    for each, steps in ((flat, 1), (flat, 2), (run, 1), (flat, 1), (flat, 2)):
        train_step(state, each, dataset, each.loss.phases())
        assert {float(m["step"]) for o in state.optimizers.values() for m in o.state.values()} == {steps}
    assert "stage_resolution" not in state.memory


def test_ada_s_signs_are_a_mean_also_where_the_batch_changes(run: Run, dataset: Dataset) -> None:
    """p goes down at every turn: a sum of six signs over four steps would be above the target."""
    ada = Ada(p_start=0.9, interval=4, full_images=1000, target=0.6)
    run = replace(run, augment=ada, growth=Growth(4, 24, 0, batches=(8, 4)), total_images=96)
    state = new_state(run)
    while state.images_seen < 96:
        adapted(state, run_at(run, stage_of(run, state.images_seen)), torch.tensor(0.5))
        state.images_seen += 8 if state.images_seen < 24 else 4
        assert float(state.memory["augment_signs"]) <= 0.5 * float(state.memory["augment_steps"]) + 1e-6
    turns = [16 / 1000] * ((96 - 24) // 16 + 1)
    assert float(state.augment_p) == pytest.approx(0.9 - sum(turns[:-1]) - turns[-1], abs=0.02)


def test_weights_that_are_not_there_yet_stay_as_they_were(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    start = copy.deepcopy({player: network.state_dict() for player, network in state.networks.items()})
    while state.images_seen < 48:
        train_step(state, run, dataset, run.loss.phases())
    for player, network in state.networks.items():
        for name, value in network.named_parameters():
            assert torch.equal(value, start[player][name]) == ("b16" in name), name


@pytest.mark.parametrize("stopped_at", [16, 24, 28, 56])
def test_resume_is_bit_equal_through_a_growth_step(run: Run, dataset: Dataset, stopped_at: int) -> None:
    run = replace(run, growth=replace(GROWTH, batches=(4,)))  # type: ignore[type-var]
    whole = new_state(run)
    parts: Any = None
    while whole.images_seen < stopped_at + 12:
        if whole.images_seen == stopped_at:
            parts = copy.deepcopy(whole.parts())
        train_step(whole, run, dataset, run.loss.phases())
    fresh = new_state(run)
    fresh.load_parts(parts)
    while fresh.images_seen < stopped_at + 12:
        train_step(fresh, run, dataset, run.loss.phases())
    assert differing(fresh.parts(), whole.parts()) == []


def test_without_its_memory_of_the_stage_a_resumed_run_differs(run: Run, dataset: Dataset) -> None:
    whole = new_state(run)
    for _ in range(3):
        train_step(whole, run, dataset, run.loss.phases())
    parts = copy.deepcopy(whole.parts())  # the next step begins a fade
    train_step(whole, run, dataset, run.loss.phases())
    fresh = new_state(run)
    fresh.load_parts(
        parts
        | {
            "memory": parts["memory"]
            | {"stage_resolution": torch.tensor(8.0), "stage_alpha": torch.tensor(0.1)}
        }
    )
    train_step(fresh, run, dataset, run.loss.phases())
    assert differing(fresh.parts(), whole.parts()) != []


def test_a_stage_stays_on_the_host_of_a_device_that_lacks_its_type(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apple's MPS has no float64; of the device that stands in for it nothing can be read at all."""
    state = new_state(replace(run, augment=Ada()))
    for _ in range(4):
        train_step(state, run, dataset, run.loss.phases())
    parts = copy.deepcopy(state.parts())
    fresh = new_state(run)
    monkeypatch.setattr(TrainState, "device", torch.device("meta"))
    fresh.load_parts(parts)
    assert stage_remembered(fresh.memory) == stage_remembered(parts["memory"]) == Stage(8, 0.5)
    assert fresh.memory["augment_p"].device.type == "meta"


def test_the_wgan_gp_recipe_grows_as_well(run: Run, dataset: Dataset) -> None:
    run = replace(run, loss=WassersteinGP(mixing_probability=0.9))
    state = new_state(run)
    while state.images_seen < 80:
        terms = train_step(state, run, dataset, run.loss.phases())
        assert all(value.isfinite() for value in terms.values())
    assert "D_penalty" in terms


def test_a_step_draws_noise_of_the_layers_that_are_there(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    state.stage = Stage(8, 0.5)
    assert TrainingBatch(state, run, dataset, 0)._noise_shapes() == [(1, r, r) for r in (4, 4, 8, 8)]


# ---- what is saved


def test_a_model_saved_on_the_way_is_the_network_so_far(run: Run) -> None:
    average = new_state(run).average
    w = torch.randn(2, 6, 6)
    for stage in (Stage(8, 0.5), Stage(16)):
        small, config = model_at(average, run.model, stage)
        assert isinstance(config, StyleGANConfig)
        assert (config.resolution, config.alpha) == (stage.resolution, stage.alpha)
        with torch.no_grad():
            expected = average.synthesis(w, stage=stage)  # another memory layout, so another rounding
            assert torch.allclose(small.synthesis(w[:, : small.num_ws]), expected, atol=1e-5)


def test_weights_not_yet_reached_are_not_passed_on(run: Run, tmp_path: Path) -> None:
    short = replace(run, total_images=24)
    warned = Warned()
    train(short, tmp_path / "run", reporter=warned)
    assert warned.messages == ["16 px are there after 64 images; this run ends after 24, at 8 px at most"]
    for name in ("run", "run/model.safetensors"):
        weights = weights_of(str(tmp_path / name))
        for tensors in (weights.generator, weights.discriminator):
            assert {key.split(".")[1] for key in tensors if key.startswith("net.b")} == {"b4"}
        taken = transfer(weights, new_state(run), run.model)
        assert {key.split(".")[2] for key in taken.fresh} == {"b8", "b16"}


def test_all_of_a_grown_model_is_taken(run: Run) -> None:
    old = new_state(run)
    weights = Weights("it", old.generator.state_dict(), old.discriminator.state_dict(), run.model)
    assert transfer(weights, new_state(replace(run, seed=1)), run.model).fresh == []


def test_nothing_is_measured_before_the_full_size_is_there(run: Run, tmp_path: Path) -> None:
    measure = Measure(every_images=8, features="pixels", samples=100)
    data = DataConfig(str(noise_pictures(tmp_path / "pictures")))
    run = replace(run, data=data, measure=measure, total_images=72)
    train(run, tmp_path / "run")
    seen = [line["images_seen"] for line in RunFolder(tmp_path / "run").read_metrics()]
    assert seen == [64, 72]  # at 56 the last step was at 8 px; 60 and 68 are no multiples


@pytest.mark.slow
def test_a_run_grows_stops_goes_on_and_ends_as_one_left_alone(run: Run, tmp_path: Path) -> None:
    train(run, tmp_path / "whole")
    sizes = {}
    for _ in range(20):
        result = train(
            run, tmp_path / "stopped", resume=(tmp_path / "stopped").exists(), stop_after_seconds=0
        )
        model = models.load(str(tmp_path / "stopped"))
        pictures = Sampler(model).sample([1])
        assert pictures.shape[1:3] == model.config.image_shape[1:]
        sizes[result.images_seen] = model.config.resolution
        if result.finished:
            break
    assert sizes == {
        8: 4, 16: 4, 24: 4, 32: 8, 40: 8, 48: 8, 56: 8, 60: 16, 64: 16, 68: 16, 72: 16, 76: 16, 80: 16
    }  # fmt: skip
    assert differing(newest(tmp_path / "stopped"), newest(tmp_path / "whole")) == []
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    logged = [(line["images_seen"], line["resolution"], line["alpha"]) for line in lines]
    assert logged == [
        (seen, stage.resolution, stage.alpha)
        for seen, before in (
            (8, 0),
            (16, 8),
            (24, 16),
            (32, 24),
            (40, 32),
            (48, 40),
            (56, 48),
            (64, 60),
            (72, 68),
            (80, 76),
        )
        for stage in [GROWTH.stage(before, 16)]
    ]
