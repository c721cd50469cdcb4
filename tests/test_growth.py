"""The schedule of progressive growing: stages as a function of images seen, and what cannot grow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_growing import GROWTH, SMALL, growing_run

from facegan.augment import Ada, DiffAugment
from facegan.config import UsageError, from_json, to_json
from facegan.growth import Growth
from facegan.losses import NonSaturating, WassersteinGP
from facegan.networks.base import Stage
from facegan.networks.dcgan import DCGANConfig
from facegan.run import Run
from facegan.training import state as state_module
from facegan.training.growing import run_at, stage_of
from facegan.training.state import settled


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return growing_run(picture_folder)


@pytest.mark.parametrize(
    ("images_seen", "stage"),
    [
        (0, Stage(4)),
        (16, Stage(4)),
        (20, Stage(8, 0.25)),
        (28, Stage(8, 0.75)),
        (32, Stage(8)),
        (48, Stage(8)),
        (56, Stage(16, 0.5)),
        (64, Stage(16)),
        (10**9, Stage(16)),
    ],
)
def test_stages_follow_the_images_seen(images_seen: int, stage: Stage) -> None:
    assert GROWTH.stage(images_seen, 16) == stage


def test_the_default_is_the_published_schedule() -> None:
    """From 8 px on: lod = log2 R - 3 - phase - max(images in it - 600,000, 0) / 600,000."""
    for images_seen in range(0, 10_000_000, 137_000):
        phase, within = divmod(images_seen, 1_200_000)
        lod = max(10 - 3 - phase - max(within - 600_000, 0) / 600_000, 0)
        stage = Growth().stage(images_seen, 1024)
        assert 10 - np.log2(stage.resolution) + 1 - stage.alpha == pytest.approx(lod)
    assert Growth().images_to(1024) == 7 * 1_200_000
    assert Growth().stage(Growth().images_to(64), 64) == Stage(64)


def test_without_a_fade_the_next_resolution_is_there_at_once() -> None:
    growth = Growth(first_resolution=4, stable_images=16, fade_images=0)
    assert [growth.stage(images, 16) for images in (0, 15, 16, 32)] == [
        Stage(4),
        Stage(4),
        Stage(8),
        Stage(16),
    ]


def test_batch_and_learning_rate_are_the_stage_s(run: Run) -> None:
    found = [run_at(run, stage_of(run, images)) for images in (0, 20, 32, 56, 80)]
    assert [(each.batch, each.micro_batch) for each in found] == [(8, 4), (8, 4), (8, 4), (4, 4), (4, 4)]
    assert [each.optimizer.lr for each in found] == [0.002, 0.001, 0.001, 0.001, 0.001]
    plain = replace(run, growth=Growth(4, 16, 16))
    assert run_at(plain, Stage(8)) == plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"growth": Growth(first_resolution=32)}, "at most model.resolution, 16"),
        ({"growth": Growth(batches=(6, 4))}, "multiple of"),
        ({"growth": Growth(batches=(8,))}, "batch 4: growth.batches ends with 8, as it must be"),
        ({"growth": Growth(4), "model": replace(SMALL, base=(5, 4)), "augment": Ada()}, "needs even sides"),
        ({"growth": Growth(4), "model": replace(SMALL, base=(5, 4)), "augment": DiffAugment()}, "needs even"),
        (
            {"growth": None, "model": replace(SMALL, resolution=4, base=(5, 4)), "augment": Ada()},
            "needs even",
        ),
        ({"growth": Growth(lrs=(0.1, 0.2))}, r"optimizer.lr 0.001: growth.lrs ends with 0.2, as it must be"),
        ({"growth": None, "model": replace(SMALL, alpha=0.5)}, r"model.alpha: it is for models"),
        ({"init": "x", "freeze_d": 1}, "freeze_d with growth"),
        ({"growth": Growth(), "compile": "yes"}, "compile yes with growth"),
        ({"growth": Growth(batches=(4,)), "micro_batch": 0}, "micro_batch 0 with growth"),
        ({"model": DCGANConfig(), "loss": NonSaturating()}, "StyleGAN and StyleGAN2 grow, dcgan does not"),
    ],
)
def test_what_cannot_grow_is_refused(run: Run, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(run, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"first_resolution": 12}, {"stable_images": 0}, {"fade_images": -1}, {"batches": (0,)}, {"lrs": (0.0,)}],
)
def test_impossible_schedules_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"growth\."):
        Growth(**changes)


def test_a_growing_run_is_not_compiled_by_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "choose_device", lambda name: torch.device("cuda"))
    asked = replace(run, device="auto", precision="bf16")
    assert settled(replace(asked, growth=None)).compile == "yes"
    assert settled(asked).compile == "no"


def test_wgan_gp_mixes_as_often_as_asked() -> None:
    assert WassersteinGP(mixing_probability=0.9).mixing == 0.9
    with pytest.raises(UsageError, match="mixing_probability"):
        WassersteinGP(mixing_probability=1.1)


def test_a_schedule_makes_a_json_round_trip(run: Run) -> None:
    assert from_json(Run, to_json(run)) == run
