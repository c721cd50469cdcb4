"""Weights, gradients and losses that are not finite: noted, and a run goes back to its checkpoint once."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_data import noise_pictures
from small_growing import growing_run
from states import differing, events_of, newest
from torch import Tensor
from warned import Warned

from facegan import models
from facegan.card import Value
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.losses import Phase
from facegan.randomness import Purpose, torch_seed
from facegan.run import Measure, Run
from facegan.training.batch import TrainingBatch
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState
from facegan.training.step import train_step
from facegan.training.watch import Trouble, trouble


@pytest.fixture
def dataset(tiny_run_config: Run) -> Dataset:
    return open_dataset(tiny_run_config.data, resolution=8)


def with_gradient(value: float) -> list[Phase]:
    """A phase of D whose term is 0, and its gradient by every weight that value times something."""

    def terms(batch: Any) -> dict[str, Tensor]:
        logits = batch.logits(batch.real, "real")
        return {"logit": (logits - logits.detach()) * value}

    return [Phase("D", terms)]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_gradient_that_adam_cannot_square_is_noted_with_its_batch(
    value: float, state: TrainState, tiny_run_config: Run, dataset: Dataset
) -> None:
    """1e30 is finite, but its square is not: Adam would not move that weight any more."""
    train_step(state, tiny_run_config, dataset, with_gradient(1.0))
    assert trouble(state) is None
    train_step(state, tiny_run_config, dataset, with_gradient(value))
    with torch.no_grad():
        for parameter in state.discriminator.parameters():
            parameter.zero_()  # of finite weights only the note is left
    assert trouble(state) == Trouble("a gradient", 16)


def test_losses_and_weights_that_are_not_finite_are_named(state: TrainState) -> None:
    state.images_seen = 48
    state.log_sums = {"D_real": torch.tensor(1.0), "G_fake": torch.tensor(math.inf)}
    with torch.no_grad():
        next(state.generator.parameters())[0] = math.nan
    assert trouble(state) == Trouble("G_fake, a weight of G", 48)


def test_draws_of_another_try_are_others_and_those_of_the_first_as_ever(
    state: TrainState, tiny_run_config: Run, dataset: Dataset
) -> None:
    assert torch_seed(1, 2, Purpose.LATENT) == 170957431872039482  # recorded before there were retries
    assert torch_seed(1, 2, Purpose.LATENT, 0) == torch_seed(1, 2, Purpose.LATENT)
    assert torch_seed(1, 2, Purpose.LATENT, 1) != torch_seed(1, 2, Purpose.LATENT)
    one = TrainingBatch(state, tiny_run_config, dataset, 16)
    state.retry = 1
    other = TrainingBatch(state, tiny_run_config, dataset, 16)
    assert torch.equal(one.real, other.real)
    for draw in (Purpose.LATENT, Purpose.MIXING):
        assert not torch.equal(one._latents(draw), other._latents(draw))


@pytest.mark.parametrize("retry", [0, 1])
def test_another_try_takes_half_the_learning_rate(
    retry: int, state: TrainState, tiny_run_config: Run, dataset: Dataset
) -> None:
    """Adam's first step is the learning rate in every weight whose gradient is much larger than eps."""
    state.retry = retry
    before = [parameter.detach().clone() for parameter in state.discriminator.parameters()]
    train_step(state, tiny_run_config, dataset, tiny_run_config.loss.phases())
    after = [parameter.detach() for parameter in state.discriminator.parameters()]
    moved = [(a - b).abs().max() for a, b in zip(before, after, strict=True)]
    assert float(max(moved)) == pytest.approx(2e-4 / 2**retry, rel=1e-3)


def bad_step(tries: int, at: int = 64) -> Callable[..., dict[str, Tensor]]:
    """A step that makes D's weights NaN after so many images, in so many tries."""

    def step(state: TrainState, *arguments: Any) -> dict[str, Tensor]:
        terms = train_step(state, *arguments)
        if state.images_seen == at and state.retry < tries:
            with torch.no_grad():
                next(state.discriminator.parameters()).fill_(math.nan)
        return terms

    return step


def test_a_run_goes_back_to_its_checkpoint_once_and_on_to_its_end(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, warnings = tmp_path / "run", Warned()
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=1))
    assert train(tiny_run_config, out, reporter=warnings).finished
    (event,) = events_of(out)
    assert (event["images_seen"], event["event"]) == (48, "went back")
    assert event["text"] in warnings.messages
    assert "back to 48 images, with other random numbers and a learning rate of 0.0001" in event["text"]
    assert [line["images_seen"] for line in RunFolder(out).read_log()] == [32, 64, 96]
    parts = newest(out)
    assert parts["memory"]["retry"] == 1
    assert all(weight.isfinite().all() for weight in parts["D"].values())
    bad = json.loads((out / "events" / "000000064.json").read_text())
    assert (bad["images_seen"], bad["retry"], bad["lr"]) == (64, 0, 2e-4)
    assert "weight of D" in bad["not_finite"]
    assert bad["run"]["seed"] == 0


@pytest.mark.filterwarnings("ignore:16 px are there after", "ignore:not finite after")
def test_a_growing_run_says_the_learning_rates_of_its_stages(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.002 at 4 px, where the trouble is, and 0.001 at the end of growing."""
    run = growing_run(picture_folder)
    run = replace(run, intervals=replace(run.intervals, checkpoint_images=8), total_images=16)
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=1, at=16))
    train(run, tmp_path / "run")
    (event,) = events_of(tmp_path / "run")
    assert event["images_seen"] == 8
    assert event["text"].endswith("a learning rate of 0.001")
    bad = json.loads((tmp_path / "run" / "events" / "000000016.json").read_text())
    assert bad["lr"] == 0.002
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=2, at=16))
    with pytest.raises(
        FloatingPointError, match=r"optimizer\.lr and growth\.lrs \(now 0\.002, of which half"
    ):
        train(run, tmp_path / "other")


@pytest.mark.filterwarnings("ignore:not finite after")
def test_the_second_time_the_run_ends_and_its_checkpoint_is_good(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=2))
    with pytest.raises(FloatingPointError, match=r"for the second time; the last checkpoint .* lower --set"):
        train(tiny_run_config, out)
    parts = newest(out)
    assert (parts["images_seen"], int(parts["memory"]["retry"])) == (48, 1)
    with pytest.raises(FloatingPointError, match="for the second time"):  # a resume is no third try
        train(tiny_run_config, out, resume=True)


@pytest.mark.filterwarnings("ignore:not finite after")
def test_a_resumed_run_that_went_back_is_bit_equal_to_an_uninterrupted_one(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=1))
    train(tiny_run_config, tmp_path / "whole")
    stop = iter([False, False, False, False, True])  # after the way back, at 64 images
    train(tiny_run_config, tmp_path / "run", stop_requested=lambda: next(stop))
    assert newest(tmp_path / "run")["images_seen"] == 64
    train(tiny_run_config, tmp_path / "run", resume=True)
    assert differing(newest(tmp_path / "run"), newest(tmp_path / "whole")) == []


@pytest.fixture
def measured_config(tiny_run_config: Run, tmp_path: Path) -> Run:
    """The tiny run on 100 pictures, longer, with checkpoints at 48 and 96, grids and distances at 80."""
    return replace(
        tiny_run_config,
        data=DataConfig(str(noise_pictures(tmp_path / "pictures"))),
        measure=Measure(every_images=80, features="pixels", samples=100),
        intervals=replace(tiny_run_config.intervals, sample_images=80),
        total_images=112,
    )


class Unbeatable(Warned):
    """A reporter that makes the first best model's distance 0, and looks at the folder when warned."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.out = out
        self.told: list[tuple[int, bool]] = []
        self.seen: list[Any] = []

    def measured(self, result: Any, *, best: bool) -> None:
        self.told.append((result.images_seen, best))
        if len(self.told) == 1:
            path = self.out / "best.safetensors"
            _, card = models.read_header(path)
            metrics = (replace(card.metrics[0], values=(Value("FD-pixels", 0.0),)),)
            models.rewrite_card(path, replace(card, metrics=metrics))

    def warn(self, message: str) -> None:
        super().warn(message)
        self.seen.append(sorted(path.name for path in (self.out / "samples").iterdir()))
        self.seen.append((self.out / "best.safetensors").exists())


def test_the_best_model_and_the_grids_of_a_lost_stretch_go_with_it(
    measured_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best is measured at 80, trouble comes at 96, the checkpoint is at 48: 80 is another model then."""
    out = tmp_path / "run"
    reporter = Unbeatable(out)
    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step(tries=1, at=96))
    assert train(measured_config, out, reporter=reporter).finished
    assert [event["event"] for event in events_of(out)] == ["went back"]
    assert reporter.seen == [[], False]  # when it was said
    assert reporter.told == [(80, True), (80, True)]
    (line,) = RunFolder(out).read_metrics()
    card = models.read_header(out / "best.safetensors")[1]
    assert (line["images_seen"], card.images_seen) == (80, 80)
    assert card.metrics[0].values[0].value == line["FD-pixels"] > 0
    assert [moment for moment, _ in RunFolder(out).grids()] == [80, 112]


@pytest.mark.parametrize(("best_at", "stays"), [(48, True), (49, False)])
def test_a_way_back_leaves_what_came_before_and_what_is_not_the_run_s(
    best_at: int, stays: bool, tiny_run: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    shutil.copy(out / "model.safetensors", out / "best.safetensors")
    card = models.read_header(out / "best.safetensors")[1]
    models.rewrite_card(out / "best.safetensors", replace(card, images_seen=best_at))
    (out / "samples" / "000000049.png").touch()
    (out / "samples" / "mine.jpg").touch()
    RunFolder(out).abandon_after(48)
    assert (out / "best.safetensors").exists() == stays
    assert {path.name for path in (out / "samples").iterdir()} == {"000000048.jpg", "mine.jpg"}


def test_a_way_back_passes_over_a_best_model_that_cannot_be_read(tiny_run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (out / "best.safetensors").write_bytes(b"no model")
    RunFolder(out).abandon_after(48)
    assert [moment for moment, _ in RunFolder(out).grids()] == [48]
