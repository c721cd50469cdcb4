"""What is noticed while training: NaN and the way back, D too strong, ADA at its end, collapse, a plateau."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from states import differing
from torch import Tensor

from facegan import models
from facegan.augment import Ada
from facegan.card import Value
from facegan.checkpoint import Parts
from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.losses import Hinge, LeastSquares, Loss, NonSaturating, Phase, StyleGAN2Loss, WassersteinGP
from facegan.randomness import Purpose, torch_seed
from facegan.run import Measure, Run
from facegan.training.batch import TrainingBatch
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state
from facegan.training.step import train_step
from facegan.training.stretch import Stretch
from facegan.training.watch import (
    SEVERAL,
    Trouble,
    diversity,
    right_share,
    said_at_tick,
    said_of_diversity,
    trouble,
)


@pytest.fixture
def state(tiny_run_config: Run) -> TrainState:
    return new_state(tiny_run_config)


@pytest.fixture
def dataset(tiny_run_config: Run) -> Dataset:
    return open_dataset(tiny_run_config.data, resolution=8)


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def newest(folder: Path) -> Parts:
    parts = RunFolder(folder).newest_checkpoint(warn=pytest.fail)
    assert parts is not None
    return parts


# ---- not finite


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


class Warnings:
    """A reporter that keeps what it is warned of."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def test_a_run_goes_back_to_its_checkpoint_once_and_on_to_its_end(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, warnings = tmp_path / "run", Warnings()
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
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(100):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return replace(
        tiny_run_config,
        data=DataConfig(str(folder)),
        measure=Measure(every_images=80, features="pixels", samples=100),
        intervals=replace(tiny_run_config.intervals, sample_images=80),
        total_images=112,
    )


class Unbeatable(Warnings):
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


# ---- said at the tick


@pytest.mark.parametrize(
    ("loss", "boundary"),
    [(NonSaturating(), 0.0), (StyleGAN2Loss(), 0.0), (Hinge(), 0.0), (LeastSquares(), 0.5)],
)
def test_the_share_d_is_right_about_is_never_less_than_said(
    loss: Loss, boundary: float, tiny_run_config: Run
) -> None:
    run, found = replace(tiny_run_config, augment=tiny_run_config.augment), []
    object.__setattr__(run, "loss", loss)  # whatever else would not go with it
    for margin in (0.0, 1.0, 3.0, 9.0):
        real = margin * torch.rand(500) + torch.randn(500) + boundary
        fake = -margin * torch.rand(500) + torch.randn(500) + boundary
        if isinstance(loss, LeastSquares):
            real, fake = real.clamp(0.4, 1.4), fake.clamp(-0.4, 0.6)
        terms = {"D_real": float(loss.d_real(real).mean()), "D_fake": float(loss.d_fake(fake).mean())}
        right = (real >= boundary).float().mean() + (fake < boundary).float().mean()
        assert right_share(run, terms) <= float(right) / 2
        found.append(right_share(run, terms))
    sure = {"D_real": float(loss.d_real(torch.full([1], 1.0 if boundary else 9.0))),
            "D_fake": float(loss.d_fake(torch.full([1], 0.0 if boundary else -9.0)))}  # fmt: skip
    assert right_share(run, sure) > 0.999
    object.__setattr__(run, "loss", WassersteinGP())
    assert right_share(run, sure) == 0


def test_a_d_that_is_right_for_several_ticks_is_said_once_until_it_clears(
    state: TrainState, tiny_run_config: Run
) -> None:
    sure, unsure = {"D_real": 0.001, "D_fake": 0.001}, {"D_real": 0.3, "D_fake": 0.001}
    ticks = [sure] * (SEVERAL + 3) + [unsure] + [sure] * SEVERAL
    said = [list(said_at_tick(state, tiny_run_config, terms)) for terms in ticks]
    assert [number for number, events in enumerate(said) if events] == [SEVERAL - 1, 2 * SEVERAL + 3]
    assert said[SEVERAL - 1] == ["D overpowers G"]
    said_at_tick(state, tiny_run_config, unsure)
    assert state.memory == {}


@pytest.mark.parametrize(
    ("ada", "p", "is_said"),
    [
        (Ada(), 0.85, True),
        (Ada(), 0.7, False),
        (Ada(p_max=0.6), 0.6, True),
        (Ada(full_images=0, p_start=0.9), 0.9, False),
    ],
)
def test_ada_at_its_end_is_said(
    ada: Ada, p: float, is_said: bool, state: TrainState, tiny_run_config: Run
) -> None:
    run = replace(tiny_run_config, augment=ada)
    said = [list(said_at_tick(state, run, {"augment_p": p})) for _ in range(SEVERAL)]
    assert said == [[]] * (SEVERAL - 1) + [["ADA at its end"] if is_said else []]


# ---- collapse


def test_diversity_is_the_spread_in_that_of_the_reals() -> None:
    reals = torch.rand(20, 3, 32, 32)
    mean = reals.mean(dim=0, keepdim=True)
    assert diversity(reals, reals) == pytest.approx(1)
    assert diversity(mean + 0.25 * (reals - mean), reals) == pytest.approx(0.25, rel=1e-4)
    assert diversity(reals[:1].expand(20, -1, -1, -1), reals) == 0
    smaller = torch.nn.functional.avg_pool2d(reals, 4)  # of a network that has not grown
    assert diversity(smaller, reals) == pytest.approx(1, rel=1e-4)


def test_a_fall_of_diversity_is_said_once_until_it_clears(state: TrainState) -> None:
    """Faces that are not yet apart have not collapsed."""
    values = [0.1, 0.3, 0.7, 0.5, 0.3, 0.2, 0.5, 0.3, 0.65, 0.1]
    said = [list(said_of_diversity(state, value)) for value in values]
    assert [number for number, events in enumerate(said) if events] == [4, 9]
    assert said[4] == ["collapse"]


def test_a_collapse_is_told_in_a_line_and_an_event(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, warnings = iter([0.9, 0.1]), Warnings()
    monkeypatch.setattr(Stretch, "_diversity", lambda self: next(values))
    train(tiny_run_config, tmp_path / "run", reporter=warnings)
    (event,) = events_of(tmp_path / "run")
    assert (event["images_seen"], event["event"]) == (96, "collapse")
    assert warnings.messages == [event["text"]]


def test_a_run_s_samples_are_compared_with_its_pictures(tiny_run_config: Run, tmp_path: Path) -> None:
    """An untrained G's faces are nearly grey."""
    found: list[float] = []

    class Kept(Stretch):
        def _diversity(self) -> float:
            found.append(super()._diversity())
            return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facegan.training.loop.Stretch", Kept)
        train(tiny_run_config, tmp_path / "run")
    assert len(found) == 2
    assert all(0 < value < 0.2 for value in found)


# ---- plateau


def test_a_run_ends_when_its_best_distance_is_too_old(tiny_run_config: Run, tmp_path: Path) -> None:
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(100):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    measure = Measure(every_images=16, features="pixels", samples=100, stop_after_plateau_images=48)
    run = replace(tiny_run_config, data=DataConfig(str(folder)), measure=measure, total_images=960)
    out = tmp_path / "run"
    train(run, out, stop_after_seconds=0.0)  # one step
    best = out / "best.safetensors"
    _, card = models.read_header(best)
    unbeatable = replace(card.metrics[0], values=(Value("FD-pixels", 0.0),))
    models.rewrite_card(best, replace(card, metrics=(unbeatable,)))
    result = train(run, out, resume=True)
    assert (result.images_seen, result.finished) == (64, False)  # 16 + 48
    (event,) = events_of(out)
    assert event == {
        "images_seen": 64,
        "event": "plateau",
        "text": "the best distance is 48 images old: the run ends here",
    }
    assert newest(out)["images_seen"] == 64


@pytest.mark.parametrize("values", [{"stop_after_plateau_images": -1, "every_images": 16},
                                    {"stop_after_plateau_images": 16}])  # fmt: skip
def test_a_plateau_without_measurements_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"0 .never. or more, and only with measure\.every_images"):
        Measure(**values)  # type: ignore[arg-type]


# ---- events


def test_events_after_the_checkpoint_are_dropped_by_a_resume(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    folder = RunFolder(out)
    for images_seen in (48, 96):
        folder.append_event(images_seen, "collapse", "it did")
    (out / "checkpoints" / "000000096.pt").unlink()
    train(tiny_run_config, out, resume=True)
    assert [event["images_seen"] for event in events_of(out)] == [48]
