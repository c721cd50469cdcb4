"""Transfer: which weights of another model a run starts from, and which layers of D stay."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_stylegan2 import small_run
from states import newest

from facegan import checkpoint, models
from facegan.config import UsageError
from facegan.data import open_dataset
from facegan.labels import Attribute, LabelSpace
from facegan.models import read_tensors
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state
from facegan.training.step import train_step
from facegan.training.transfer import Weights, transfer, weights_of


@pytest.fixture(scope="module")
def source(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small StyleGAN2 run; not to be changed."""
    folder = tmp_path_factory.mktemp("source") / "run"
    train(replace(small_run(picture_folder), total_images=16), folder)
    return folder


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return replace(small_run(picture_folder), seed=5)


def reshaped(run: Run, **changes: Any) -> Run:
    return replace(run, model=replace(run.model, **changes))  # type: ignore[type-var]


def given_by(state: TrainState, run: Run) -> Weights:
    return Weights("it", state.generator.state_dict(), state.discriminator.state_dict(), run.model)


def test_a_run_folder_gives_the_running_mean_and_d(source: Path, run: Run) -> None:
    state = new_state(run)
    taken = transfer(weights_of(str(source)), state, run.model)
    assert (taken.g_share, taken.d_share, taken.fresh) == (1.0, 1.0, [])
    assert taken.as_text() == f"{source} gives 100% of G's weights and 100% of D's"
    for network, name in ((state.generator, "G_ema"), (state.average, "G_ema"), (state.discriminator, "D")):
        for key, value in network.state_dict().items():
            assert torch.equal(value, newest(source)[name][key]), key


def test_a_model_file_gives_what_it_holds(source: Path, run: Run, tmp_path: Path) -> None:
    assert transfer(weights_of(str(source / "model.safetensors")), new_state(run), run.model).fresh == []
    bare = tmp_path / "bare.safetensors"
    models.save(bare, models.load(str(source)))  # D is not loaded
    assert {key[:2] for key in read_tensors(bare)} == {"G."}
    fresh = new_state(run)
    before = {key: value.clone() for key, value in fresh.discriminator.state_dict().items()}
    taken = transfer(weights_of(str(bare)), fresh, run.model)
    assert (taken.g_share, taken.d_share) == (1.0, 0.0)
    assert taken.fresh == [f"D.{key}" for key in before]
    assert all(torch.equal(before[key], value) for key, value in fresh.discriminator.state_dict().items())
    assert taken.as_text().endswith(f"and {len(before) - 8} more")


def test_of_another_resolution_all_but_the_new_blocks_is_taken(source: Path, run: Run) -> None:
    larger = reshaped(run, resolution=16, channel_base=128, channel_max=8)
    state = new_state(larger)
    taken = transfer(weights_of(str(source)), state, larger.model)
    assert {name.split(".")[2] for name in taken.fresh if name.startswith("G.")} == {"b16"}
    assert {name.split(".")[1] for name in taken.fresh if name.startswith("D.")} == {"b16"}
    key = "net.b8.conv1.conv.weight"
    assert torch.equal(state.generator.state_dict()[key], newest(source)["G_ema"][key])
    fresh = {name.removeprefix("G.") for name in taken.fresh}
    sizes = {name: value.numel() for name, value in state.generator.state_dict().items()}
    expected = sum(size for name, size in sizes.items() if name not in fresh) / sum(sizes.values())
    assert taken.g_share == pytest.approx(expected)


HATS = LabelSpace((Attribute("hat", ("cap", "fez", "none")),))


@pytest.mark.parametrize("architecture", ["dcgan", "stylegan2"])
def test_labels_go_by_their_names(architecture: str, run: Run, tiny_run_config: Run, tmp_path: Path) -> None:
    """cap and none are known from before, in other places; fez is no more, and bowler is new."""
    tiny = run if architecture == "stylegan2" else tiny_run_config
    old = new_state(reshaped(tiny, labels=HATS))
    others = LabelSpace((Attribute("age", ("old", "young")), Attribute("hat", ("bowler", "none", "cap"))))
    weights = given_by(old, reshaped(tiny, labels=HATS))
    new = reshaped(replace(tiny, seed=6), labels=others)
    state = new_state(new)
    before = copy.deepcopy(state.discriminator.state_dict())
    taken = transfer(weights, state, new.model)
    for network, given, player in (
        (state.generator, weights.generator, "G"),
        (state.discriminator, weights.discriminator, "D"),
    ):
        ((name, (axis, offset)),) = network.label_axes().items()
        assert f"{player}.{name}" in taken.fresh
        own, theirs = (tensors[name].movedim(axis, 0) for tensors in (network.state_dict(), given))
        assert torch.equal(own[:offset], theirs[:offset])
        assert torch.equal(own[offset + 3 :], theirs[offset + torch.tensor([2, 0])])
    name, (axis, offset) = next(iter(state.discriminator.label_axes().items()))
    kept, was = (tensors[name].movedim(axis, 0) for tensors in (state.discriminator.state_dict(), before))
    assert torch.equal(kept[offset : offset + 3], was[offset : offset + 3])


def test_the_same_labels_are_all_taken(run: Run) -> None:
    labelled = reshaped(run, labels=HATS)
    weights = given_by(new_state(labelled), labelled)
    assert transfer(weights, new_state(replace(labelled, seed=6)), labelled.model).fresh == []


def test_with_labels_their_embedding_is_fresh(source: Path, run: Run) -> None:
    """The mapping's first layer takes z as before, and what it takes of the label starts at zero."""
    labelled = reshaped(run, labels=HATS)
    state, plain = new_state(labelled), new_state(run)
    taken = transfer(weights_of(str(source)), state, labelled.model)
    transfer(weights_of(str(source)), plain, run.model)
    assert {name for name in taken.fresh if name.startswith("G.")} == {
        "G.map.embed.weight", "G.map.embed.bias"
    }  # fmt: skip
    z = torch.randn(3, 6)
    with torch.no_grad():
        w = state.average.mapping(z, torch.eye(3))
        torch.testing.assert_close(w, plain.average.mapping(z), atol=1e-5, rtol=1e-5)


def test_hardly_anything_that_fits_is_an_error(source: Path, tiny_run_config: Run) -> None:
    with pytest.raises(UsageError, match=r"0\.0% of its generator has the new one's names"):
        transfer(weights_of(str(source)), new_state(tiny_run_config), tiny_run_config.model)
    wider = reshaped(tiny_run_config, g_base_channels=5)  # its counters of batches fit
    weights = given_by(new_state(tiny_run_config), tiny_run_config)
    with pytest.raises(UsageError, match="less than 5%"):
        transfer(weights, new_state(wider), wider.model)


def test_a_model_that_is_not_there_is_named_before_the_work(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model 'nowhere': not a shipped name"):
        train(replace(run, init="nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_damaged_weights_are_not_taken(source: Path, run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(source, tmp_path / "run")
    parts = newest(folder)
    for damage in (3, torch.full((2,), torch.nan)):
        parts["G_ema"]["w_avg"] = damage
        checkpoint.save(checkpoint.checkpoints(folder / "checkpoints")[-1], parts)
        with pytest.raises(UsageError, match="holds no usable weights"):
            weights_of(str(folder))
    shutil.rmtree(folder / "checkpoints")
    assert transfer(weights_of(str(folder)), new_state(run), run.model).fresh == []  # of its model file


def test_a_run_starts_from_the_model_once(
    source: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first picture is the other's; a resume goes on from its own checkpoint."""
    monkeypatch.chdir(source.parent)
    run = replace(run, init=source.name, optimizer=replace(run.optimizer, lr=1e-12), total_images=8)
    train(run, tmp_path / "run")
    stored = RunFolder(tmp_path / "run").read_config()
    assert stored.init == str(source)  # from wherever it goes on
    expected = Sampler(models.load(str(source))).sample(range(2)).astype(int)
    assert np.abs(Sampler(models.load(str(tmp_path / "run"))).sample(range(2)) - expected).max() <= 1
    report = json.loads((tmp_path / "run" / "transfer.json").read_text())
    assert report == {"init": str(source), "g_share": 1.0, "d_share": 1.0, "fresh": [], "widened": 0}
    monkeypatch.chdir(tmp_path)
    train(replace(stored, total_images=16), tmp_path / "run", resume=True, force=True)
    for change in ({"init": "other"}, {"freeze_d": 1}):
        with pytest.raises(UsageError, match=f"--resume with another {next(iter(change))}"):
            train(replace(stored, **change), tmp_path / "run", resume=True, force=True)  # type: ignore[arg-type]


def test_frozen_layers_of_d_stay_and_the_rest_learns(source: Path, run: Run) -> None:
    run = replace(run, init=str(source), freeze_d=2)
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    transfer(weights_of(str(source)), state, run.model)
    before = {key: value.clone() for key, value in state.discriminator.state_dict().items()}
    for _ in range(2):
        train_step(state, run, dataset, run.loss.phases())
    same = {key for key, value in state.discriminator.state_dict().items() if torch.equal(value, before[key])}
    assert same == {f"b8.{layer}.{kind}" for layer in ("fromrgb", "conv0") for kind in ("weight", "bias")}
    resumed = new_state(run)
    resumed.load_parts(state.parts())  # Adam's moments are of the weights that learn


def test_only_what_came_with_the_model_can_be_frozen(source: Path, run: Run) -> None:
    with pytest.raises(UsageError, match="freeze_d 5: this D has 4 layers"):
        new_state(replace(run, init=str(source), freeze_d=5))
    with pytest.raises(UsageError, match="only of a D that came with --init"):
        replace(run, freeze_d=1)
    larger = reshaped(replace(run, init=str(source), freeze_d=1), resolution=16, channel_base=128)
    with pytest.raises(UsageError, match=r"has no D.b16.fromrgb.weight to be kept"):
        transfer(weights_of(str(source)), new_state(larger), larger.model)
