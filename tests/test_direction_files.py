"""Files of directions: they give back what was written, damage is refused, and `edit` takes them by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_stylegan2 import SHAPE, networks, small_sampler
from test_attributes import random_attributes, tool

from facegan import cli, models
from facegan.config import UsageError, to_json
from facegan.images import read_provenance
from facegan.latents import attributes as module
from facegan.latents.direction_file import (
    DirectionCard,
    DirectionFile,
    beside,
    fingerprint,
    leakage_table,
    read,
    write,
)
from facegan.latents.directions import Direction, Directions
from facegan.models import Model
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.serve.served import load_models
from facegan.serve.settings import Settings
from facegan.serve.studio.desk import Opened
from facegan.synthesis import Sampler, latent


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return small_sampler()


# ---- files


def small_file() -> DirectionFile:
    generator, _ = networks()
    card = DirectionCard(
        "small",
        fingerprint(generator),
        "attributes",
        ("age", "smile"),
        ((1.5, -0.25), (0.0, 2.0)),
        2.0,
        0.7,
        9,
    )
    directions = [
        Direction("age", np.array([0.6, 0.8, 0, 0, 0, 0]), 0.5, (0, 1)),
        Direction("smile", np.eye(6)[3], 2.5, (4,)),
    ]
    return DirectionFile(card, {direction.name: direction for direction in directions})


def test_a_file_gives_back_its_directions(tmp_path: Path) -> None:
    path = beside(tmp_path / "small.v2.safetensors")
    assert path.name == "small.v2.directions.safetensors"
    write(path, small_file())
    found = read(path, networks()[0])
    assert found.card == small_file().card
    for name, expected in small_file().directions.items():
        direction = found.directions[name]
        assert (direction.name, direction.layers) == (name, expected.layers)
        assert direction.deviation == expected.deviation
        np.testing.assert_allclose(direction.vector, expected.vector, atol=1e-7)


def test_the_fingerprint_survives_saving_and_tells_models_apart(tmp_path: Path) -> None:
    generator, _ = networks()
    before = fingerprint(generator)
    for dtype in (torch.float16, torch.float32):
        models.save(tmp_path / "m.safetensors", Model(generator, StyleGAN2Config(**SHAPE)), dtype)
        assert fingerprint(models.load(str(tmp_path / "m.safetensors")).generator) == before
    with torch.no_grad():
        generator.get_parameter("map.fc1.weight")[0, 0] += 1.0
    assert fingerprint(generator) != before


def test_directions_of_another_model_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f", small_file())
    other, _ = networks()
    with torch.no_grad():
        other.w_avg += 1.0
    with pytest.raises(UsageError, match="directions of another model, 'small'"):
        read(tmp_path / "f", other)


def changed(path: Path, change: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """The small file with other entries, card fields, metadata or tensors."""
    write(path, small_file())
    card = to_json(small_file().card) | change.get("card", {})
    entries: list[dict[str, Any]] = [
        {"name": "age", "deviation": 0.5, "layers": [0, 1]},
        {"name": "smile", "deviation": 2.5, "layers": [4]},
    ]  # fmt: skip
    entries[0] |= change.get("entry", {})
    metadata = {"facegan_directions": "1", "header": json.dumps({"card": card, "entries": entries})}
    save_file(load_file(path) | tensors, path, metadata | change.get("metadata", {}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry": {"name": "smile"}}, "2 directions: 1 to 1,000, each once"),
        ({"entry": {"name": "pca:0"}}, "a name has small letters"),
        ({"entry": {"name": "a=b"}}, "a name has small letters"),
        ({"entry": {"deviation": 0.0}}, "deviation 0.0, not above 0"),
        ({"entry": {"deviation": 1e30}}, "deviation 1e"),
        ({"entry": {"deviation": float("nan")}}, "expected a finite number"),
        ({"entry": {"layers": []}}, "this model has 0-5"),
        ({"entry": {"layers": [5, 6]}}, "layers 5, 6; this model has 0-5"),
        ({"entry": {"layers": [-1]}}, "layers -1"),
        ({"entry": {"layers": [1, 1]}}, "layers 1, 1"),
        ({"entry": {"colour": 1}}, "no such setting"),
        ({"card": {"leakage": [[1.0, 0.0]]}}, "a row a direction and a column an attribute"),
        ({"card": {"leakage": [[1.0], [0.0]]}}, "a row a direction and a column an attribute"),
        ({"card": {"source": "a\nb"}}, "not printable"),
        ({"card": {"model": "x" * 300}}, "too long"),
        ({"metadata": {"facegan_directions": "2"}}, "format '2'; this version of facegan reads 1"),
        ({"metadata": {"header": "{"}}, "its header is damaged"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    changed(tmp_path / "f", change, {})
    with pytest.raises(UsageError, match=said):
        read(tmp_path / "f", networks()[0])


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (torch.full((2, 6), torch.nan), "not finite"),
        (torch.full((2, 6), 1e-3), "has length 0.002449, expected 1"),
        (torch.eye(7)[:2], r"shape \[2, 7\], expected \[2, 6\]"),
        (torch.eye(6)[:1], r"shape \[1, 6\], expected \[2, 6\]"),
        (torch.eye(6)[:2].int(), "torch.int32"),
    ],
)
def test_damaged_vectors_are_refused(tmp_path: Path, vectors: torch.Tensor, said: str) -> None:
    changed(tmp_path / "f", {}, {"vectors": vectors})
    with pytest.raises(UsageError, match=said):
        read(tmp_path / "f", networks()[0])


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "f", small_file())
    data = (tmp_path / "f").read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "f").write_bytes(data[:length])
        with pytest.raises(UsageError, match="not a usable safetensors file"):
            read(tmp_path / "f", networks()[0])


def test_the_table_has_a_row_a_direction_and_its_own_in_bold() -> None:
    assert leakage_table(small_file()).splitlines() == [
        "| direction | layers | age | smile |",
        "|---|---|---|---|",
        "| age | 0-1 | **+1.50** | -0.25 |",
        "| smile | 4 | +0.00 | **+2.00** |",
    ]


# ---- command


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small model with its directions beside it; its w is measured by few seeds."""
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 50)
    path = tmp_path / "small.safetensors"
    models.save(path, Model(networks()[0], StyleGAN2Config(**SHAPE)))
    write(beside(path), small_file())
    return path


def edited(model_file: Path, *words: str) -> int:
    place = ["--model", str(model_file), "--device", "cpu", "--out", str(model_file.parent / "strip.png")]
    return cli.run(["edit", *place, *words])


def test_a_direction_is_found_by_its_name_and_moves_its_own_layers(model_file: Path) -> None:
    words = ["--seeds", "3", "--direction", "smile", "--direction", "age=1.5", "--steps", "3"]
    assert edited(model_file, *words) == 0
    sampler = Sampler(models.load(str(model_file)), device="cpu")
    w = sampler.w(latent(3, 7)[None], 0.7)
    sheet = np.asarray(Image.open(model_file.parent / "strip.png")).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (16, 16, 3))[:, :, 0]  # wherever it stands
    places = []
    for strength in (-3.0, 0.0, 3.0):
        moved_w = w.clone()
        moved_w[:, [0, 1]] += 1.5 * 0.5 * torch.tensor([0.6, 0.8, 0, 0, 0, 0])
        moved_w[:, 4, 3] += strength * 2.5
        expected = sampler.images(moved_w)[0].astype(int)
        apart = np.abs(windows - expected).max(axis=(2, 3, 4))
        assert apart.min() <= 1
        places.append(int(apart.min(axis=0).argmin()))
    assert places == sorted(set(places))
    said = read_provenance(model_file.parent / "strip.png")
    assert said is not None
    assert said.edit == "smile age=1.5 -3..3"


def test_styles_move_a_named_direction_elsewhere(sampler: Sampler) -> None:
    known = Directions(sampler, samples=20, given=small_file().directions)
    assert known.named("smile").layers == (4,)
    assert known.named("smile", (1, 2)).layers == (1, 2)
    assert known.named("pca:0").layers == tuple(range(6))


def test_the_list_has_names_layers_and_source(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edited(model_file, "--list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found)[:3] == ["age", "smile", "pca:0"]
    assert found["smile"] == {"layers": [4], "deviation": 2.5, "source": "attributes"}


def test_the_list_is_readable(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edited(model_file, "--list") == 0
    assert "smile: layers 4; deviation 2.5; of attributes\n" in capsys.readouterr().out


def change(model_file: Path) -> None:
    """Makes another model of it, as a run that goes on does."""
    generator, _ = networks()
    with torch.no_grad():
        generator.w_avg += 1.0
    models.save(model_file, Model(generator, StyleGAN2Config(**SHAPE)))


def test_a_file_beside_another_model_does_not_stand_in_the_way(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by --directions it is refused."""
    change(model_file)
    stale = str(beside(model_file))
    with pytest.warns(UserWarning, match="directions of another model, 'small'; .*; it is left out") as notes:
        assert edited(model_file, "--direction", "pca:0", "--seeds", "1", "--steps", "2") == 0
    assert str(notes[0].message).startswith(f"{stale}: ")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="left out"):
        assert edited(model_file, "--list", "--json") == 0
    assert next(iter(json.loads(capsys.readouterr().out))) == "pca:0"
    assert edited(model_file, "--direction", "pca:0", "--directions", stale) == 2


def test_studio_and_server_do_without_the_directions_of_another_model(model_file: Path) -> None:
    change(model_file)
    with pytest.warns(UserWarning, match="left out"):
        assert not Opened(str(model_file), "cpu").directions.given
    with pytest.warns(UserWarning, match="left out"):
        table = load_models(Settings(models=(str(model_file),), device="cpu"))
    assert table.named("").facts()["directions"] == {}
    table.close()


def test_a_file_elsewhere_is_named(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = model_file.parent / "other"
    beside(model_file).rename(other)
    assert edited(model_file, "--direction", "smile") == 2
    assert "direction 'smile': this model has no attribute directions" in capsys.readouterr().err
    assert edited(model_file, "--direction", "smile", "--directions", str(other)) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--direction", "smiel"],
            "direction 'smiel': one of age, smile, or such as pca:0 or sefa:3 (did you",
        ),
        (["--direction", "smile", "--directions", "nowhere"], "nowhere: not a usable safetensors file"),
        (["--direction", "smile", "--directions", "MODEL"], "not one of facegan's directions"),
        (["--direction", "smile=3=4"], "'3=4' is not a number"),
    ],
)
def test_wrong_use_is_one_line(
    model_file: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edited(model_file, *(str(model_file) if word == "MODEL" else word for word in words)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (model_file.parent / "strip.png").exists()


def test_the_tool_writes_a_file_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAYER_SEEDS", 4)
    monkeypatch.setattr(module, "LEAKAGE_SEEDS", 4)
    generator, _ = networks()
    models.save(tmp_path / "small.safetensors", Model(generator, StyleGAN2Config(**SHAPE)))
    random_attributes().save(tmp_path / "attributes")
    out = tmp_path / "small.directions.safetensors"
    words = [str(tmp_path / "small.safetensors"), str(out), "--samples", "100", "--device", "cpu"]
    tool("fit_directions").main([*words, "--attributes", str(tmp_path / "attributes")])
    found = read(out, generator)
    assert list(found.directions) == ["age", "glasses"]
    assert found.card.source == "attributes, seeds 0-99 at psi 0.7"
    assert leakage_table(found) in capsys.readouterr().out
