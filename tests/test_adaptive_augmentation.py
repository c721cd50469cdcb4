"""Adaptive augmentation in training: p follows D's signs and is resumed, and both players see the same."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled_runs import ALWAYS, run_of, write_labelled
from states import differing, newest

from facegan.augment import Ada, NoAugment
from facegan.config import UsageError
from facegan.data import open_dataset
from facegan.losses import LeastSquares, WassersteinGP
from facegan.presets import preset
from facegan.run import Run
from facegan.training.batch import TrainingBatch
from facegan.training.loop import train
from facegan.training.state import new_state
from facegan.training.step import train_step


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


def test_p_follows_d_s_signs_and_both_are_logged(
    labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    ada = Ada(p_start=0.5, interval=2, full_images=160, target=0.1)
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), ada)
    run = replace(run, intervals=replace(run.intervals, log_images=8), total_images=64)
    train(run, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    p = 0.5
    for step, line in enumerate(lines):
        assert line["augment_p"] == pytest.approx(p)
        if step % 2:
            above = line["augment_sign"] + lines[step - 1]["augment_sign"] > 2 * 0.1
            p += 16 / 160 if above else -16 / 160
    assert len({line["augment_p"] for line in lines}) > 1


def test_without_p_or_the_collected_signs_a_resumed_run_differs(labelled: Path, tiny_run_config: Run) -> None:
    ada = Ada(p_start=0.5, interval=4, full_images=160, target=0.1)
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), ada)
    dataset, phases, state = open_dataset(run.data, resolution=8), run.loss.phases(), new_state(run)
    for _ in range(5):
        train_step(state, run, dataset, phases)
    parts = copy.deepcopy(state.parts())
    for _ in range(3):
        train_step(state, run, dataset, phases)
    for change in (
        {"augment_p": torch.tensor(0.0)},
        {"augment_signs": torch.tensor(9.0)},
    ):
        fresh = new_state(run)
        fresh.load_parts(parts | {"memory": parts["memory"] | change})
        for _ in range(3):
            train_step(fresh, run, dataset, phases)
        assert differing(fresh.parts(), state.parts()) != []


def test_a_fixed_p_stays_what_the_run_says(labelled: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), Ada(p_start=0.5))
    train(run, tmp_path / "run", stop_after_seconds=0)
    fixed = replace(run, augment=Ada(p_start=0.2, full_images=0))
    train(fixed, tmp_path / "run", resume=True, force=True)
    assert float(newest(tmp_path / "run")["memory"]["augment_p"]) == pytest.approx(0.2)


def test_p_cannot_follow_the_logits_of_a_relativistic_loss() -> None:
    run = preset("stylegan2-64").run
    assert replace(run, augment=Ada()).augment == Ada()
    with pytest.raises(UsageError, match=r"ada with loss\.relativistic=true: .*which means nothing there"):
        replace(run, augment=Ada(), loss=replace(run.loss, relativistic=True))  # type: ignore[type-var]


@pytest.mark.parametrize("loss", [LeastSquares(), WassersteinGP()])
def test_p_cannot_follow_logits_whose_sign_means_nothing(loss: Any, tiny_run_config: Run) -> None:
    tiny = replace(tiny_run_config, model=replace(tiny_run_config.model, d_norm="none"), loss=loss)  # type: ignore[type-var]
    with pytest.raises(UsageError, match="which means nothing there"):
        replace(tiny, augment=Ada())
    assert replace(tiny, augment=Ada(p_start=0.2, full_images=0)).loss == loss


def test_the_mean_sign_is_that_of_d_s_logits_of_the_reals(labelled: Path, tiny_run_config: Run) -> None:
    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), Ada())
    state = new_state(run)
    dataset = open_dataset(run.data, resolution=8)
    batches = [TrainingBatch(state, run, dataset, 0, part) for part in (0, 1)]
    with torch.no_grad():
        logits = torch.cat([state.discriminator(batch.real) for batch in batches])  # p is 0
    terms = train_step(state, run, dataset, run.loss.phases())
    assert float(terms["augment_sign"]) == pytest.approx(float(logits.sign().mean()))


def test_both_players_see_augmented_images(labelled: Path, tiny_run_config: Run) -> None:
    """With all moved out of sight by a fixed augmentation, D's logits of reals and fakes are the same."""

    class Grey:
        name = "none"

        def __call__(self, images: torch.Tensor, draws: Any, p: torch.Tensor) -> torch.Tensor:
            return images * 0 + draws.uniform(1, 1, 1) * 0

    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), NoAugment())
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    batch = TrainingBatch(state, run, dataset, 0)
    batch._augment = Grey()  # type: ignore[assignment]
    real = batch.logits(batch.real, "real")
    assert torch.equal(real, batch.logits(batch.fake(), "fake"))
    batch.player = "G"
    assert torch.equal(real, batch.logits(batch.fake(), "fake"))
    assert torch.equal(real, batch.logits(batch.real, "real", twice=True))


def test_the_draws_of_a_step_in_parts_are_those_of_the_step_in_one(
    labelled: Path, tiny_run_config: Run
) -> None:
    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), ALWAYS)
    whole = replace(run, micro_batch=8)
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    one = TrainingBatch(state, whole, dataset, 0)._draws
    rows = {}
    for part in (0, 1):
        batch = TrainingBatch(state, run, dataset, 0, part)
        for row, *values in zip(
            batch._rows.tolist(), batch._draws.uniform(2), batch._draws.normal(3), strict=True
        ):
            rows[row] = torch.cat(values)
    expected = torch.cat([one.uniform(2), one.normal(3)], dim=1)
    assert torch.equal(torch.stack([rows[row] for row in range(8)]), expected)
