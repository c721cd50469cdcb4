"""What of a batch fits into memory at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from facegan.cli import app
from facegan.config import UsageError, override
from facegan.data import Dataset, open_dataset
from facegan.losses import Phase
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.run import Run
from facegan.training import loop, memory
from facegan.training.memory import fitted, free_memory, micro_batches, step_need
from facegan.training.run_folder import RunFolder
from facegan.training.state import new_state


@pytest.fixture
def run(tiny_run_config: Run) -> Run:
    """The tiny DCGAN's, its micro-batch to be chosen."""
    return replace(tiny_run_config, micro_batch=0)


@pytest.fixture
def dataset(run: Run) -> Dataset:
    return open_dataset(run.data, resolution=8, channels=3)


def test_parts_are_divisors_of_the_batch(run: Run) -> None:
    assert micro_batches(replace(run, batch=12)) == [12, 6, 4, 3, 2, 1]


def test_parts_hold_whole_groups_of_minibatch_std(run: Run) -> None:
    model = StyleGAN2Config(resolution=8, channel_base=64, channel_max=8, minibatch_std_group=4)
    assert micro_batches(replace(run, model=model, batch=32)) == [32, 16, 8, 4]


def test_the_largest_part_that_fits_is_taken(run: Run, dataset: Dataset) -> None:
    need, said = step_need(run, new_state(run), dataset), []
    assert fitted(run, dataset, pytest.fail, 10**12).micro_batch == 16
    for images in (16, 8, 2):
        just_enough = int(need.bytes(images) / memory.SHARE) + 1
        assert fitted(run, dataset, said.append, just_enough).micro_batch == images
        assert fitted(run, dataset, said.append, just_enough - 2).micro_batch == images // 2


def test_where_nothing_fits_one_group_is_tried(run: Run, dataset: Dataset) -> None:
    said: list[str] = []
    assert fitted(run, dataset, said.append, 0).micro_batch == 1
    assert "even with 1 images at a time; 0.0 are free" in said[0]
    assert "BatchNorm sees 1 images at a time, not the batch of 16" in said[1]


def test_a_micro_batch_that_was_given_is_kept(run: Run, dataset: Dataset) -> None:
    given = replace(run, micro_batch=4)
    assert fitted(given, dataset, pytest.fail, 0) is given


def test_what_autograd_keeps_is_counted_by_hand(run: Run, dataset: Dataset) -> None:
    """D = sum of exp(image): exp keeps its result, 3 x 8 x 8 numbers of 4 bytes for each image."""

    class Exponential(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, image: Tensor, label: object, stage: object) -> Tensor:
            return (image + self.scale).exp().sum(dim=(1, 2, 3))

    state = new_state(run)
    state.discriminator = Exponential()  # type: ignore[assignment]
    only_d = replace(run, loss=OneTerm())  # type: ignore[arg-type]
    need = step_need(only_d, state, dataset)
    assert need.per_image == memory.BACKWARD * 3 * 8 * 8 * 4


class OneTerm:
    """A loss whose one phase is the logits of real images."""

    mixing = 0.0

    def phases(self) -> list[Phase]:
        return [Phase("D", lambda batch: {"logit": batch.logits(batch.real, "real")})]


@pytest.mark.filterwarnings("ignore:a step needs", "ignore:BatchNorm sees 1")
def test_training_writes_what_was_chosen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    loop.train(replace(run, total_images=16), tmp_path / "run")
    assert RunFolder(tmp_path / "run").read_config().micro_batch == 1


@pytest.mark.filterwarnings("ignore:a step needs", "ignore:BatchNorm sees 1")
def test_resume_keeps_what_was_chosen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    loop.train(replace(run, total_images=16), tmp_path / "run")
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**12)
    loop.train(replace(run, total_images=16), tmp_path / "run", resume=True)
    assert RunFolder(tmp_path / "run").read_config().micro_batch == 1


def test_batch_auto_asks_for_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture_folder: Path
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    words = ["train", "--preset", "dcgan-32", "--data", str(picture_folder), "--out", str(tmp_path / "run")]
    small = [
        "--set",
        "total_images=2",
        "--set",
        "model.g_base_channels=4",
        "--set",
        "model.d_base_channels=4",
    ]
    result = CliRunner().invoke(app, [*words, "--batch", "auto", "--set", "batch=2", *small])
    assert result.exit_code == 0, result.output
    stored = RunFolder(tmp_path / "run").read_config()
    assert (stored.batch, stored.micro_batch) == (2, 1)


def test_free_memory_is_some_of_the_machine_s() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


def test_a_system_that_does_not_tell_its_free_memory_wants_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no /proc and no sysconf."""

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(memory, "Path", lambda path: Path("nowhere") / path.lstrip("/"))
    monkeypatch.setattr("os.sysconf", unknown)
    with pytest.raises(UsageError, match="say --batch N"):
        free_memory(torch.device("cpu"))
    monkeypatch.delattr("os.sysconf")
    with pytest.raises(UsageError, match="say --batch N"):
        free_memory(torch.device("cpu"))


def test_a_micro_batch_below_zero_is_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="micro_batch -1"):
        override(run, ["micro_batch=-1"])
