"""Transfer: which weights of another model a run starts from, and which layers of D stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_stylegan2 import small_run

from facegan import models
from facegan.config import UsageError
from facegan.data import open_dataset
from facegan.labels import Attribute, LabelSpace
from facegan.models import read_tensors
from facegan.presets import Run
from facegan.synthesis import Sampler
from facegan.training.loop import train, train_step
from facegan.training.run_folder import RunFolder
from facegan.training.state import new_state
from facegan.training.transfer import transfer


@pytest.fixture(scope="module")
def source(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small StyleGAN2 run; not to be changed."""
    folder = tmp_path_factory.mktemp("source") / "run"
    train(replace(small_run(picture_folder), total_images=16), folder)
    return folder


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return replace(small_run(picture_folder), seed=5)


def test_a_run_folder_gives_the_running_mean_and_d(source: Path, run: Run) -> None:
    state = new_state(run)
    assert transfer(str(source), state) == f"all weights are those of {source}"
    parts = RunFolder(source).newest_checkpoint(warn=pytest.fail)
    assert parts is not None
    for network, name in ((state.generator, "G_ema"), (state.average, "G_ema"), (state.discriminator, "D")):
        for key, value in network.state_dict().items():
            assert torch.equal(value, parts[name][key]), key


def test_a_model_file_gives_what_it_holds(source: Path, run: Run, tmp_path: Path) -> None:
    state = new_state(run)
    assert transfer(str(source / "model.safetensors"), state).startswith("all weights")
    bare = tmp_path / "bare.safetensors"
    models.save(bare, models.load(str(source)))  # D is not loaded
    assert {key[:2] for key in read_tensors(bare)} == {"G."}
    fresh = new_state(run)
    before = {key: value.clone() for key, value in fresh.discriminator.state_dict().items()}
    assert "all of D, which that file does not hold" in transfer(str(bare), fresh)
    assert all(torch.equal(before[key], value) for key, value in fresh.discriminator.state_dict().items())


def test_of_another_resolution_all_but_the_new_blocks_is_taken(source: Path, run: Run) -> None:
    state = new_state(replace(run, model=replace(run.model, resolution=16, channel_base=128)))  # type: ignore[type-var]
    taken = RunFolder(source).newest_checkpoint(warn=pytest.fail)
    assert taken is not None
    line = transfer(str(source), state)
    assert "fresh are G.net.b16." in line
    assert "G.net.b8" not in line
    assert torch.equal(
        state.generator.state_dict()["net.b8.conv1.conv.weight"], taken["G_ema"]["net.b8.conv1.conv.weight"]
    )


def test_with_labels_the_first_layer_of_the_mapping_is_fresh(source: Path, run: Run) -> None:
    space = LabelSpace((Attribute("hat", ("no", "yes")),))
    line = transfer(str(source), new_state(replace(run, model=replace(run.model, labels=space))))  # type: ignore[type-var]
    assert "G.map.embed.weight" in line
    assert "G.map.fc0.weight" in line
    assert "G.map.fc1" not in line


def test_nothing_that_fits_is_an_error(source: Path, tiny_run_config: Run) -> None:
    with pytest.raises(UsageError, match="none of its generator's weights"):
        transfer(str(source), new_state(tiny_run_config))
    with pytest.raises(UsageError, match="not a shipped name"):
        transfer("nowhere", new_state(tiny_run_config))


def test_a_run_starts_from_the_model_once(source: Path, run: Run, tmp_path: Path) -> None:
    """Its first picture is the other's; a resume goes on from its own checkpoint."""
    run = replace(run, init=str(source), optimizer=replace(run.optimizer, lr=1e-12), total_images=8)
    train(run, tmp_path / "run")
    expected = Sampler(models.load(str(source))).sample(range(2))
    assert (
        np.abs(Sampler(models.load(str(tmp_path / "run"))).sample(range(2)).astype(int) - expected).max() <= 1
    )
    longer = replace(run, init="gone", total_images=16)
    train(longer, tmp_path / "run", resume=True, force=True)


def test_frozen_layers_of_d_stay_and_the_rest_learns(source: Path, run: Run) -> None:
    run = replace(run, init=str(source), freeze_d=2)
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    transfer(str(source), state)
    before = {key: value.clone() for key, value in state.discriminator.state_dict().items()}
    for _ in range(2):
        train_step(state, run, dataset, run.loss.phases())
    same = {key for key, value in state.discriminator.state_dict().items() if torch.equal(value, before[key])}
    assert same == {f"b8.{layer}.{kind}" for layer in ("fromrgb", "conv0") for kind in ("weight", "bias")}
    resumed = new_state(run)
    resumed.load_parts(state.parts())  # Adam's moments are of the weights that learn


def test_more_layers_than_there_are_cannot_be_frozen(source: Path, run: Run) -> None:
    with pytest.raises(UsageError, match="freeze_d 5: this D has 4 layers"):
        new_state(replace(run, init=str(source), freeze_d=5))
    with pytest.raises(UsageError, match="only of a D that came with --init"):
        replace(run, freeze_d=1)
