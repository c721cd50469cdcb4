"""Directions in w: SeFa and PCA against their definitions, moving along them, sheets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import one_line
from PIL import Image
from small_stylegan2 import small_sampler

from facegan import cli, models
from facegan.config import UsageError
from facegan.images import read_provenance
from facegan.latents.directions import Direction, Directions, moved, principal, semantic
from facegan.latents.sheets import Edit, figure, layout_of, sheet, strengths
from facegan.networks.stylegan import StyleGANConfig, StyleGANGenerator
from facegan.synthesis import Sampler, latent

LAYERS = tuple(range(6))


@pytest.fixture(autouse=True)
def _few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 50)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return small_sampler()


def direction(axis: int, deviation: float = 1.0, layers: tuple[int, ...] = LAYERS) -> Direction:
    return Direction(f"pca:{axis}", np.eye(6)[axis], deviation, layers)


# ---- finding


def test_principal_vectors_are_those_of_the_definition_largest_first() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 4))
    matrix = rows.T @ rows
    vectors = principal(matrix)
    values = [float(v @ matrix @ v) for v in vectors]
    assert values == sorted(values, reverse=True)
    np.testing.assert_allclose(matrix @ vectors.T, vectors.T * values, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-12)
    assert all(v[np.abs(v).argmax()] > 0 for v in vectors)


def test_pca_measures_w_s_deviation_along_the_axis_in_which_it_varies_most(sampler: Sampler) -> None:
    known = Directions(sampler, samples=1500)  # two parts of the work, the second smaller
    z = np.stack([latent(seed, 7) for seed in range(1500)])
    w = sampler.w(z)[:, 0].double().numpy()
    found = list(known.first("pca", 99, LAYERS))
    assert [each.name for each in found] == [f"pca:{number}" for number in range(6)]
    for each in found:
        assert each.deviation == pytest.approx(np.std(w @ each.vector, ddof=1), rel=1e-6)
    deviations = [each.deviation for each in found]
    assert deviations == sorted(deviations, reverse=True)
    assert sum(d * d for d in deviations) == pytest.approx(np.trace(np.cov(w.T)), rel=1e-6)


def test_sefa_finds_what_the_styles_amplify() -> None:
    """Rows of another length count alike; most of them look along (3, 4) / 5, none along the third axis."""
    weights = [
        np.array([[3.0, 4.0, 0.0], [0.03, 0.04, 0.0]]),
        np.array([[-30.0, -40.0, 0.0], [4.0, -3.0, 0.0]]),
    ]
    first, second, third = semantic(weights)
    np.testing.assert_allclose(first, [0.6, 0.8, 0.0], atol=1e-12)
    np.testing.assert_allclose(second, [0.8, -0.6, 0.0], atol=1e-12)
    np.testing.assert_allclose(np.abs(third), [0.0, 0.0, 1.0], atol=1e-12)


def test_sefa_reads_the_style_weights_of_the_chosen_layers(sampler: Sampler) -> None:
    weights = [
        sampler.generator.get_parameter(f"net.{name}.affine.weight").double().numpy()
        for name in ("b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1")
    ]
    for layers in ((0,), (1, 2), (4, 5)):  # 5 is the last picture's alone
        found = Directions(sampler, samples=20).named("sefa:1", layers)
        expected = semantic([weights[layer] for layer in layers if layer < 5])[1]
        np.testing.assert_allclose(found.vector, expected, atol=1e-9)
        assert found.layers == layers


def test_a_stylegan_s_styles_are_scales_and_shifts() -> None:
    config = StyleGANConfig(resolution=8, z_dim=5, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8)
    weights = StyleGANGenerator(config).style_weights()
    assert [tuple(weight.shape) for weight in weights] == [(16, 6)] * 4


@pytest.mark.parametrize(
    ("name", "layers", "words"),
    [
        ("smile", LAYERS, "this model has no attribute directions; latents.attributes.fit_directions makes"),
        ("pca:", LAYERS, "such as pca:0"),
        ("pca:-1", LAYERS, "such as pca:0"),
        ("ica:0", LAYERS, "one of pca, sefa"),
        ("pca:6", LAYERS, "0 to 5"),
        ("sefa:0", (5,), "has a style of its own"),
    ],
)
def test_what_is_no_direction_is_refused(
    sampler: Sampler, name: str, layers: tuple[int, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Directions(sampler, samples=20).named(name, layers)


def test_a_model_without_styles_has_none() -> None:
    with pytest.raises(UsageError, match="has no styles and no directions"):
        Directions(Sampler(models.load("dcgan-64"), device="cpu"))


# ---- moving


def test_a_move_adds_up_in_its_layers_alone() -> None:
    w = torch.randn(3, 6, 6)
    found = moved(w, [(direction(1, 0.5, (0, 2)), 2.0), (direction(3, 4.0, (2,)), -1.0)])
    expected = w.clone()
    expected[:, [0, 2], 1] += 1.0
    expected[:, 2, 3] -= 4.0
    torch.testing.assert_close(found, expected)


def test_a_strength_beyond_all_sense_is_refused() -> None:
    for strength in (101.0, float("nan")):
        with pytest.raises(UsageError, match="usually -3 to 3"):
            moved(torch.zeros(1, 6, 6), [(direction(0), strength)])


# ---- sheets


def test_a_sheet_has_a_row_a_seed_and_the_face_itself_at_strength_0(sampler: Sampler) -> None:
    edit = Edit([direction(0)], [], [-2.0, 0.0, 2.0])
    pictures, columns = sheet(sampler, [3, 4], edit)
    assert (len(pictures), columns) == (6, 3)
    same = sampler.sample([3, 4], psi=0.7).astype(int)
    assert np.abs(pictures[[1, 4]] - same).max() <= 1
    assert np.abs(pictures[[0, 2]] - same[:1]).max() > 1


def test_two_directions_are_the_rows_and_columns_of_one_seed(sampler: Sampler) -> None:
    first, second, held = direction(0), direction(1), direction(2)
    pictures, columns = sheet(sampler, [3], Edit([first, second], [(held, 1.5)], [-1.0, 1.0]), psi=1)
    assert columns == 2
    w = sampler.w(latent(3, 7)[None])
    for number, (b, a) in enumerate([(-1, -1), (-1, 1), (1, -1), (1, 1)]):
        expected = sampler.images(moved(w, [(held, 1.5), (first, a), (second, b)])).astype(int)
        assert np.abs(pictures[number] - expected[0]).max() <= 1


def test_what_is_held_alone_shows_before_and_after(sampler: Sampler) -> None:
    pictures, columns = sheet(sampler, [3], Edit([], [(direction(0), 2.0)], [0.0]), noise="random")
    assert columns == 2
    before = sampler.sample([3], psi=0.7, noise="random").astype(int)
    assert np.abs(pictures[0] - before[0]).max() <= 1
    assert (pictures[0] != pictures[1]).any()


def test_a_sheet_has_its_seeds_and_strengths_at_the_edges() -> None:
    first, second = direction(0), direction(1)
    assert Edit([first], [], [-1.5, 0.0, 2.0]).labels([7, 8]) == (["7", "8"], ["-1.5", "0", "2"])
    assert Edit([], [(first, 4.0)], [0.0]).labels([7]) == (["7"], ["before", "after"])
    rows, columns = Edit([first, second], [], [-1.0, 1.0]).labels([7])
    assert (rows, columns) == (["pca:1 -1", "pca:1 1"], ["-1", "1"])


def test_a_sheet_s_pictures_stand_side_by_side_below_and_beside_the_labels() -> None:
    """64 px: wider than the labels, so that the pictures touch, in the lower right corner of the sheet."""
    pictures = np.random.default_rng(0).integers(1, 255, (6, 64, 64, 3), dtype=np.uint8)
    drawn = figure(pictures, layout_of([3, 4], Edit([direction(0)], [], [-2.0, 0.0, 2.0]), (64, 64)))
    whole = np.concatenate([np.concatenate(list(row), axis=1) for row in pictures.reshape(2, 3, 64, 64, 3)])
    assert (drawn[-128:, -192:] == whole).all()
    height, width, _ = drawn.shape
    assert height < 3 * 64  # no cells of sources before them
    assert width < 4 * 64
    for edge in (drawn[:-128], drawn[:, :-192]):
        assert (edge < 128).any()  # ink
    assert (drawn[:-128, :-192] == 255).all()  # the corner


def test_a_sheet_that_cannot_be_is_refused(sampler: Sampler) -> None:
    with pytest.raises(UsageError, match="at most 2"):
        Edit([direction(0), direction(1), direction(2)], [], [0.0])
    with pytest.raises(UsageError, match="of one seed, not of 2"):
        sheet(sampler, [1, 2], Edit([direction(0), direction(1)], [], [0.0]))
    with pytest.raises(UsageError, match="at most 10,000"):
        sheet(sampler, range(10_001), Edit([direction(0)], [], [0.0]))


def test_strengths_are_a_range_or_one() -> None:
    assert strengths("-3..3", 7) == [-3, -2, -1, 0, 1, 2, 3]
    assert strengths("1.5") == [1.5]
    assert strengths("-3..3") == strengths("-3..3", 7)
    with pytest.raises(UsageError, match="steps 7: no effect with one strength"):
        strengths("1.5", 7)
    assert strengths(" -.5 .. 1e0", 2) == [-0.5, 1]
    for text, steps in (("", 7), ("a..b", 7), ("1..", 7), ("nan", 7), ("0..inf", 7), ("0..1", 1)):
        with pytest.raises(UsageError, match=r"strength|steps"):
            strengths(text, steps)


@pytest.mark.parametrize("text", ["-3...3", "1...2", "0....5", "1_0", "\u0663", "1..2..3", "0..1e999"])
def test_what_could_be_read_as_other_strengths_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"strength {text!r}: from one number to another"):
        strengths(text)


# ---- command


@pytest.fixture(scope="module")
def model_file(sampler: Sampler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    models.save(path, replace(sampler.model), torch.float32)
    return path


def edit_words(model_file: Path, out: Path, *more: str) -> list[str]:
    return ["edit", "--model", str(model_file), "--device", "cpu", "--out", str(out), *more]


def test_the_command_writes_a_sheet_that_says_what_it_is(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "strip.png"
    words = edit_words(model_file, out, "--direction", "pca:0", "--direction", "sefa:1=2", "--json")
    assert cli.run([*words, "--seeds", "1,2", "--strength", "-2..2", "--steps", "5", "--styles", "1-3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sheet": str(out), "pictures": 10}
    with Image.open(out) as opened:
        width, height = opened.size
    assert width > 5 * 16  # labels at the edges
    assert height > 2 * 16
    said = read_provenance(out)
    assert said is not None
    assert (said.edit, said.seeds, said.synthetic) == ("pca:0 sefa:1=2 -2..2 layers 1-3", "1,2", True)


def test_the_range_of_nothing_swept_is_not_in_the_picture(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "held.png"
    assert cli.run(edit_words(model_file, out, "--direction", "pca:0=2", "--seeds", "1")) == 0
    said = read_provenance(out)
    assert said is not None
    assert said.edit == "pca:0=2"


def test_the_command_lists_the_strongest(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["edit", "--model", str(model_file), "--device", "cpu", "--list", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(found) == [f"{kind}:{number}" for kind in ("pca", "sefa") for number in range(6)]
    assert found["pca:0"]["deviation"] >= found["pca:5"]["deviation"] > 0
    assert found["sefa:2"] | {"deviation": 0} == {"layers": [*LAYERS], "deviation": 0, "source": "styles"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--direction is missing"),
        (["--direction", "pca:0=x"], "'x' is not a number"),
        (["--direction", "pca:0", "--strength", "x"], "strength 'x'"),
        (["--direction", "pca:0=1", "--strength", "2"], "--strength has no effect"),
        (["--direction", "pca:0=1", "--steps", "3"], "--steps has no effect"),
        (["--direction", "pca:0", "--styles", "coarsest"], "coarsest"),
        (["--direction", "pca:0", "--out", "a.bmp"], "picture format"),
        (["--direction", "pca:0", "--steps", "1000", "--out", "a.webp"], "WEBP holds at most 16,383 a side"),
        (["--direction", "pca:0000000001"], "direction 'pca:0000000001': 0 to 5"),
        (["--list", "--direction", "pca:0"], "--direction has no effect with --list"),
        (["--list", "--strength", "1..2"], "--strength has no effect with --list"),
        (["--list", "--steps", "3"], "--steps has no effect with --list"),
        (["--list", "--seeds", "7"], "--seeds has no effect with --list"),
        (["--list", "--psi", "0"], "--psi has no effect with --list"),
    ],
)
def test_wrong_use_is_one_line(
    model_file: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in one_line(capsys, edit_words(model_file, tmp_path / "strip.png", *words))
