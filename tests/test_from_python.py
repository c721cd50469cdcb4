"""Facegan as a library: wrong arguments are refused at once, paths may be of either kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from small_growing import growing_run

import facegan
from facegan import models
from facegan.config import UsageError, from_json, to_json
from facegan.data import DataConfig, open_dataset
from facegan.images import grid, save
from facegan.latents.files import read_latents, write_latents
from facegan.latents.inversion import invert
from facegan.losses import NonSaturating
from facegan.models import Model
from facegan.networks import build_generator
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training.loop import train


@dataclass(frozen=True)
class Own(NonSaturating):
    """A loss that no run's file can name."""

    name: Literal["own"] = "own"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compile": True}, "compile true: one of auto, yes, no"),
        ({"track": "x"}, "track"),
        ({"data": "pictures"}, "data: expected an object"),
        ({"loss": "hinge"}, "loss: expected an object"),
        ({"loss": Own()}, "loss.name 'own': one of nonsaturating"),
        ({"data": DataConfig("starter", mirror="false")}, "data.mirror"),  # type: ignore[arg-type]
        ({"seed": object()}, "no setting can be that"),
    ],
)
def test_a_run_that_could_not_be_resumed_is_not_begun(
    changes: dict[str, Any], message: str, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = replace(tiny_run_config)
    for name, value in changes.items():
        object.__setattr__(run, name, value)  # whatever its own check would say
    with pytest.raises(UsageError, match=message):
        train(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["dcgan-32", facegan.PRESETS["dcgan-32"]], ids=["name", "preset"])
def test_what_is_no_run_is_not_trained(given: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"such as PRESETS\['dcgan-64'\].run"):
        train(given, tmp_path)


@pytest.mark.parametrize("name", facegan.PRESETS)
def test_every_preset_is_what_its_file_says(name: str) -> None:
    run = facegan.PRESETS[name].run
    assert from_json(Run, to_json(run)) == run


def test_numbers_and_paths_of_other_libraries_are_settings(tiny_run_config: Run, tmp_path: Path) -> None:
    given = replace(
        tiny_run_config, seed=np.int64(5), data=DataConfig(tmp_path / "a")  # type: ignore[arg-type]
    )  # fmt: skip
    plain = from_json(Run, to_json(given))
    assert (plain.seed, type(plain.seed), plain.data.path) == (5, int, str(tmp_path / "a"))


def test_paths_may_be_of_either_kind(tiny_run: Path, picture_folder: Path, tmp_path: Path) -> None:
    sampler = facegan.load(tiny_run, device="cpu")
    assert np.array_equal(facegan.load(str(tiny_run), device="cpu").sample([3]), sampler.sample([3]))
    write_latents(str(tmp_path / "w.npz"), sampler, [1, 2])
    assert read_latents(str(tmp_path / "w.npz")).seeds == [1, 2]
    models.save(str(tmp_path / "m.safetensors"), sampler.model)
    assert models.load(tmp_path / "m.safetensors").name == "m"
    data = open_dataset(DataConfig(picture_folder), resolution=8, cache=str(tmp_path / "cache"))  # type: ignore[arg-type]
    assert len(data.names) > 0
    assert (tmp_path / "cache").is_dir()


def test_a_sampler_leaves_a_generator_that_is_trained_as_it_is(tiny_model: Model) -> None:
    generator = build_generator(tiny_model.config).train()
    sampler = Sampler(Model(generator, tiny_model.config), device="cpu")
    assert generator.training
    assert all(parameter.requires_grad for parameter in generator.parameters())
    assert not sampler.generator.training
    assert np.array_equal(sampler.sample([1])[0], sampler.sample([1, 2])[0])
    frozen = Sampler(tiny_model, device="cpu")
    assert frozen.generator is tiny_model.generator  # nothing is copied without a reason


def test_w_can_be_optimised(tiny_model: Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    w = sampler.w(np.random.default_rng(0).standard_normal((1, sampler.generator.z_dim))).requires_grad_()
    sampler.generator.synthesis(w).square().sum().backward()
    assert w.grad is not None
    assert w.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 8, 8, 3)), np.zeros((8, 8), np.uint8), torch.zeros(2, 8, 8, 3, dtype=torch.uint8)]
)
def test_what_are_no_uint8_pictures_is_said(pixels: Any, tiny_model: Model, tmp_path: Path) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    for wrong in (
        lambda: grid(pixels),
        lambda: save(tmp_path / "a.png", pixels),
        lambda: invert(sampler, pixels, steps=1),
    ):
        with pytest.raises(UsageError, match=r"expected (numpy's )?uint8"):
            wrong()


@pytest.mark.parametrize("asked", [{"resolution": 0}, {"resolution": 8, "channels": 2}])
def test_wrong_sizes_are_not_the_pictures_fault(asked: dict[str, int], picture_folder: Path) -> None:
    with pytest.raises(UsageError, match="1 pixel or more; 1, 3 or 4"):
        open_dataset(DataConfig(str(picture_folder)), **asked)


@pytest.mark.parametrize("number", [-1, 1_000])
def test_a_picture_that_is_not_there_is_not_another_one(number: int, picture_folder: Path) -> None:
    data = open_dataset(DataConfig(str(picture_folder)), resolution=8)
    with pytest.raises(UsageError, match=f"0 to {len(data) - 1}"):
        data.pictures([0, number])


@pytest.mark.parametrize(
    "how", [{"device": torch.device("cpu")}, {"precision": torch.float32}, {"runtime": None}]
)
def test_what_is_no_word_is_refused_in_one_line(how: dict[str, Any], tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="a word, one of "):
        Sampler(tiny_model, **how)


@pytest.mark.parametrize("cutoff", ["1", 1.0])
def test_a_cutoff_is_a_whole_number(cutoff: Any, tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="the number of this model's layers"):
        Sampler(tiny_model, device="cpu").sample([1], cutoff=cutoff)


def test_z_may_be_a_tensor(tiny_model: Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    z = torch.randn(2, sampler.generator.z_dim, dtype=torch.float64)
    assert torch.equal(sampler.w(z), sampler.w(z.numpy()))


def test_what_a_run_has_to_say_becomes_a_warning(tmp_path: Path, picture_folder: Path) -> None:
    """A growing run that ends before it has grown."""
    run = replace(growing_run(picture_folder), total_images=16)
    with pytest.warns(UserWarning, match="this run ends after 16, at 4 px at most"):
        train(run, tmp_path / "run")


@pytest.mark.parametrize("seconds", ["5", math.nan, None])
def test_a_time_limit_is_a_number(seconds: Any, tiny_run_config: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a number of seconds"):
        train(tiny_run_config, tmp_path / "run", stop_after_seconds=seconds)
    assert not (tmp_path / "run").exists()
