"""Style mixing: whose styles a picture has, what the figure shows where, how much is held."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import one_line
from PIL import Image
from small_stylegan2 import small_model, small_sampler

from facegan import cli, models
from facegan.config import UsageError
from facegan.images import read_provenance
from facegan.mixing import figure, layout_of, mixed, mixtures, stylegan_bands
from facegan.synthesis import Sampler

ROWS, COLUMNS = [3, 11], [7, 2, 5]


def test_mixed_has_the_source_s_styles_in_the_layers_and_no_others() -> None:
    w, source = torch.zeros(2, 6, 3), torch.ones(2, 6, 3)
    result = mixed(w, source, [1, 4])
    assert result.sum(dim=2).tolist() == [[0, 3, 0, 0, 3, 0]] * 2
    assert (w == 0).all()  # what was given stays


def test_mixing_no_layer_gives_the_row_and_all_layers_the_column() -> None:
    sampler = small_sampler(batch=1)
    rows, columns = sampler.sample(ROWS, 0.7), sampler.sample(COLUMNS, 0.7)
    none = np.stack([*mixtures(sampler, ROWS, COLUMNS, [], psi=0.7)]).reshape(2, 3, 16, 16, 3)
    every = np.stack([*mixtures(sampler, ROWS, COLUMNS, range(6), psi=0.7)]).reshape(2, 3, 16, 16, 3)
    assert (none == rows[:, None]).all()
    assert (every == columns[None]).all()


def test_each_cell_is_the_row_with_those_layers_of_the_column() -> None:
    """Against each picture made by itself, layer by layer; batches may differ by a grey level."""
    sampler, layers = small_sampler(), [1, 2]
    found = list(mixtures(sampler, ROWS, COLUMNS, layers, psi=0.5, cutoff=2, noise="none"))
    w = {seed: next(iter(sampler.stream_w([seed], 0.5, 2)))[1][0] for seed in ROWS + COLUMNS}
    number = 0
    for row in ROWS:
        for column in COLUMNS:
            own = torch.stack([w[column if layer in layers else row][layer] for layer in range(6)])
            expected = sampler.images(own[None], "none")[0]
            assert np.abs(found[number].astype(int) - expected.astype(int)).max() <= 1
            number += 1
    assert number == len(found)
    assert any((picture != found[0]).any() for picture in found[1:])


def test_random_noise_is_the_row_s() -> None:
    sampler = small_sampler(batch=1)
    own = sampler.sample(ROWS, noise="random")
    none = list(mixtures(sampler, ROWS, COLUMNS, [], noise="random"))
    assert (none[0] == own[0]).all()
    assert (none[3] == own[1]).all()
    assert (own != sampler.sample(ROWS)).any()


def test_the_figure_has_sources_at_the_edges_mixtures_inside_and_a_blank_corner() -> None:
    sampler = small_sampler()
    bands = {"coarse": [0, 1, 2, 3], "middle": [4, 5]}
    pixels = figure(sampler, ROWS, COLUMNS, bands, psi=0.7)
    layout = layout_of(sampler, ROWS, COLUMNS, bands)
    assert pixels.shape == (*layout.size, 3)
    down, across = layout.pitch

    def cell(band: int, row: int, column: int) -> np.ndarray[Any, Any]:
        top = layout.y(band, row) + (down - 16) // 2
        left = layout.x(column) + (across - 16) // 2
        return pixels[top : top + 16, left : left + 16]

    for column, picture in enumerate(sampler.sample(COLUMNS, 0.7)):
        assert (cell(0, -1, column) == picture).all()
    for row, picture in enumerate(sampler.sample(ROWS, 0.7)):
        assert (cell(0, row, -1) == picture).all()
        assert (cell(1, row, -1) == picture).all()
    for band, layers in enumerate(bands.values()):
        pictures = mixtures(sampler, ROWS, COLUMNS, layers, psi=0.7)
        for number, picture in enumerate(pictures):
            assert (cell(band, *divmod(number, 3)) == picture).all()
    assert (pixels[: layout.y(0, 0) - layout.gap, : layout.x(0)] == 255).all()  # the corner


def ink(pixels: np.ndarray[Any, Any]) -> float:
    """The height of what is not white, in pixels."""
    rows = np.flatnonzero((pixels < 128).any(axis=(1, 2)))
    return float(rows[-1] - rows[0] + 1) if len(rows) else 0


@pytest.mark.parametrize("resolution", [16, 64])
def test_labels_are_legible_beside_small_pictures_and_long_seeds_do_not_touch(resolution: int) -> None:
    """Digits at least 8 pixels high; between the labels of two columns there is white."""
    sampler = small_sampler(resolution=resolution)
    columns = [4294967295, 4294967294]
    layout = layout_of(sampler, [5], columns, {"coarse": [0]})
    pixels = figure(sampler, [5], columns, {"coarse": [0]})
    assert ink(pixels[: layout.line]) >= 8
    assert ink(pixels[layout.y(0, 0) :, : layout.left]) >= 8
    middle = layout.x(1)
    assert (pixels[: layout.line, middle - 2 : middle + 2] == 255).all()
    assert ink(pixels[: layout.line, layout.x(0) : middle]) >= 8
    assert ink(pixels[: layout.line, middle:]) >= 8


def test_batches_of_mixtures_are_made_and_let_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = small_sampler(batch=4)
    alive, batches = [], list[weakref.ref[object]]()
    synthesis = sampler.generator.synthesis

    def watched(*arguments: Any) -> Any:
        images = synthesis(*arguments)
        assert len(images) <= 4
        alive.append(sum(batch() is not None for batch in batches))
        batches.append(weakref.ref(images.untyped_storage()))
        return images

    monkeypatch.setattr(sampler.generator, "synthesis", watched)
    assert sum(1 for _ in mixtures(sampler, range(5), range(4), [0])) == 20
    assert len(batches) == 5
    assert max(alive) <= 1


def test_stylegan_s_figure_is_coarse_middle_and_fine() -> None:
    assert stylegan_bands(10) == {"coarse": (0, 1, 2, 3), "middle": (4, 5, 6, 7), "fine": (8, 9)}
    with pytest.raises(UsageError, match="'fine': layers 8 and up"):
        stylegan_bands(6)


def test_grey_and_transparent_pictures_can_be_shown() -> None:
    for channels in (1, 4):
        sampler = small_sampler(channels=channels)
        assert figure(sampler, [1], [2], {"middle": [4]}).shape[2] == 3


def test_a_model_with_one_layer_cannot_mix(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    with pytest.raises(UsageError, match="a single layer, whose w is z itself"):
        list(mixtures(sampler, [1], [2], [0]))


def test_layers_that_the_model_lacks_and_too_many_pictures_are_refused() -> None:
    sampler = small_sampler()
    with pytest.raises(UsageError, match="this model has layers 0-5"):
        list(mixtures(sampler, [1], [2], [6]))
    with pytest.raises(UsageError, match="at most 10,000"):
        figure(sampler, range(100), range(100), {"coarse": [0]})
    with pytest.raises(UsageError, match="needs row seeds"):
        figure(sampler, [], [1], {"coarse": [0]})


# ---- the command


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 64 px, 10 layers."""
    path = tmp_path_factory.mktemp("models") / "small64.safetensors"
    models.save(path, small_model(resolution=64), torch.float32)
    return path


def test_mix_writes_the_figure_and_says_what_it_is(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "mix.png"
    words = ["mix", "--model", str(model_file), "--rows", "0-1", "--cols", "4,6", "--device", "cpu"]
    arguments = [*words, "--psi", "0.6", "--cutoff", "8", "--styles", "coarse,9", "--out", str(out)]
    assert cli.run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"picture": str(out), "pictures": 8}
    sampler = Sampler(models.load(str(model_file)), device="cpu")
    expected = figure(sampler, [0, 1], [4, 6], {"coarse,9": [0, 1, 2, 3, 9]}, psi=0.6, cutoff=8)
    assert (np.asarray(Image.open(out)) == expected).all()
    provenance = read_provenance(out)
    assert provenance is not None
    assert (provenance.model, provenance.psi, provenance.cutoff) == ("small64", 0.6, 8)
    assert provenance.seeds == "rows 0-1, columns 4,6, styles coarse,9: layers 0-3,9 of the columns"
    assert provenance.synthetic


def test_mix_makes_stylegan_s_figure(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.webp"
    words = ["mix", "--model", str(model_file), "--rows", "0", "--cols", "4", "--figure", "stylegan"]
    assert cli.run([*words, "--out", str(out)]) == 0
    sampler = Sampler(models.load(str(model_file)))
    height, width = layout_of(sampler, [0], [4], stylegan_bands(10)).size
    with Image.open(out) as image:
        assert image.size == (width, height)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--styles", ""], "styles ''"),
        (["--styles", "corse"], "did you mean 'coarse'"),
        (["--styles", "8-10"], "this model has layers 0-9"),
        (["--figure", "stylgan"], "did you mean 'stylegan'"),
        (["--figure", "stylegan", "--styles", "fine"], "--styles has no effect with --figure"),
        (["--out", "mix.gif"], "one of .png, .jpg, .jpeg, .webp"),
        (["--out", "."], "one of .png"),
        (["--rows", "0-99", "--cols", "0-99"], "at most 10,000"),
        (["--rows", "3-1"], "write 1-3"),
        (["--cutoff", "11"], "cutoff 11: 0 to 10"),
        (["--rows", "0-255", "--cols", "0", "--out", "m.webp"], "WEBP holds at most"),
        (["--model", "dcgan-64"], "a single layer"),
    ],
)
def test_wrong_use_of_mix_is_one_line(
    arguments: list[str], said: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert said in one_line(capsys, ["mix", "--model", str(model_file), *arguments])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 252 + ".png", "255 bytes"),
        ("x" * 300 + "/mix.png", "255 bytes"),
        ("x" * 246 + ".png", "255 bytes"),  # the name it has while it is written
        ("folder.png", "a folder; name a file"),
    ],
)
def test_a_picture_s_name_is_looked_at_before_the_work(
    name: str, said: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.png").mkdir()
    assert cli.run(["mix", "--model", str(model_file), "--out", str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err
