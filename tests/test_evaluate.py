"""Evaluations: the whole way from pictures to numbers with their protocol (facegan.metrics)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import one_line
from PIL import Image
from slow_metrics import slow_kernel_distance, slow_neighbours
from small_stylegan2 import small_sampler
from torch import Tensor

from facegan import cli, models, tensor_file
from facegan.card import Evaluation, Value
from facegan.config import UsageError, from_json, to_json
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.images import Pixels
from facegan.metrics import feature_set
from facegan.metrics.closest import Pair
from facegan.metrics.evaluate import evaluate, measure
from facegan.metrics.feature_set import real_features
from facegan.metrics.report import add_to_card, as_text, card_file
from facegan.metrics.subjects import Subject, model_subject, pictures_subject
from facegan.networks.base import NOISE_MODES
from facegan.synthesis import Sampler

NUM_REALS = 160


class MeanColour:
    """A FeatureExtractor of three numbers a picture: the means of red, green and blue, in 0 .. 1."""

    name, distance, label = "mean-colour", "FD-colour", "colour"
    dim, protocol = 3, "means of red, green, blue"

    def __init__(self) -> None:
        self.pictures = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.pictures += len(pixels)
        return pixels.double().mean(dim=(2, 3)).float() / 255


def given(pixels: Tensor, batch: int = 7) -> Subject:
    """A subject of these pictures uint8 [N, C, H, W], in batches of any size."""
    return Subject("given", pixels.shape[2], pixels.shape[1], lambda count: iter(pixels[:count].split(batch)))


def measured(subject: Subject, data: Dataset, cache: Path, **options: object) -> Evaluation:
    """Evaluated by the mean colour."""
    network = MeanColour()
    real = real_features(data, network, cache)
    return evaluate(subject, data, real, network, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 pictures of 8x8 random pixels, as a folder."""
    folder, random = tmp_path_factory.mktemp("reals") / "reals", np.random.default_rng(0)
    folder.mkdir()
    for number in range(NUM_REALS):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def data(reals: Path) -> Dataset:
    return open_dataset(DataConfig(str(reals), mirror=False), resolution=8)


def by_name(result: Evaluation) -> dict[str, Value]:
    return {value.name: value for value in result.values}


def test_reals_against_themselves_have_no_distance(data: Dataset, tmp_path: Path) -> None:
    result = by_name(measured(pictures_subject(data), data, tmp_path, samples=NUM_REALS))
    assert result["FD-colour"].value == pytest.approx(0, abs=1e-12)
    assert result["precision-colour"].value == result["recall-colour"].value == 1
    assert result["density-colour"].value == result["coverage-colour"].value == 1


def test_a_shift_of_all_pictures_is_its_square(tmp_path: Path) -> None:
    """Every fake is a real one 51 grey levels brighter: |mu - mu'|^2 = 3 (51 / 255)^2, equal covariances."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 200, (150, 3, 8, 8), generator=random, dtype=torch.uint8)
    folder = tmp_path / "dark"
    folder.mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:03d}.png")
    dark = open_dataset(DataConfig(str(folder), mirror=False), resolution=8, cache=tmp_path)
    result = measured(given(pixels + 51), dark, tmp_path, metrics=["fd"], samples=150)
    assert result.values[0].value == pytest.approx(3 * 0.2**2, rel=1e-5)  # features are float32


def colours(seed: int, count: int, low: int, high: int) -> Tensor:
    """Pictures [N, 3, 8, 8] of noise around random colours of that range."""
    random = np.random.default_rng(seed)
    pixels = random.integers(low, high, (count, 3, 1, 1)) + random.integers(0, 20, (count, 3, 8, 8))
    return torch.from_numpy(pixels.astype(np.uint8))


def saved_as_data(pixels: Tensor, place: Path) -> Dataset:
    """The pictures as a data set of a new folder there."""
    (place / "pictures").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(place / "pictures" / f"{number:03d}.png")
    return open_dataset(DataConfig(str(place / "pictures"), mirror=False), resolution=8, cache=place)


def test_precision_recall_density_and_coverage_of_one_mode_are_each_its_own(tmp_path: Path) -> None:
    """Against all differences, the first two with the third neighbour, the others with the fifth."""
    reals = torch.cat([colours(0, 70, 10, 90), colours(1, 80, 130, 230)])
    fakes = colours(2, 120, 30, 70)  # in the middle of the reals' first mode
    data = saved_as_data(reals, tmp_path)
    found = by_name(measured(given(fakes), data, tmp_path, metrics=["pr"], samples=120))
    real, fake = (MeanColour()(pixels).double().numpy() for pixels in (reals, fakes))
    precision, recall, _, _ = slow_neighbours(real, fake, 3)
    _, _, density, coverage = slow_neighbours(real, fake, 5)
    assert [found[f"{name}-colour"].value for name in ("precision", "recall", "density", "coverage")] == [
        pytest.approx(each, abs=1e-12) for each in (precision, recall, density, coverage)
    ]
    assert density > 1 > precision > 0.9 > 0.5 > coverage > 1.2 * recall > 0


def test_returned_training_pictures_are_not_authentic_and_are_found(tmp_path: Path) -> None:
    reals, others = colours(0, 150, 10, 230), colours(1, 147, 10, 230)
    data = saved_as_data(reals, tmp_path)
    copies = torch.tensor([140, 3, 77])
    fakes = torch.cat([others[:60], reals[copies], others[60:]])
    seen: list[tuple[Sequence[Pair], Pixels]] = []
    result = measured(
        given(fakes), data, tmp_path, metrics=["auth"], samples=150, closest=lambda *found: seen.append(found)
    )
    ((pairs, sheet),) = seen
    assert pairs[:3] == [
        Pair(60 + place, int(real), f"picture {60 + place}", f"{int(real):03d}.png", 0.0)
        for place, real in enumerate(copies)
    ]
    assert all(0 < pair.nearness < 1 for pair in pairs[3:])
    assert sheet.shape == (4 * 8, 8 * 8, 3)  # two rows of eight pairs
    assert np.array_equal(sheet[:8, :24], sheet[8:16, :24])
    assert np.array_equal(sheet[:8, :8], reals[140].permute(1, 2, 0).numpy())
    assert not np.array_equal(sheet[:8, 24:32], sheet[8:16, 24:32])
    (value,) = result.values
    assert value.name == "authenticity-colour"
    assert value.value == by_hand(reals, fakes)


def by_hand(reals: Tensor, fakes: Tensor) -> float:
    """Authenticity from all differences."""
    real, fake = (MeanColour()(pixels).double() for pixels in (reals, fakes))
    among = torch.cdist(real, real).fill_diagonal_(torch.inf).min(dim=1).values
    near = torch.cdist(fake, real).min(dim=1)
    return float((near.values > among[near.indices]).double().mean())


def test_the_kernel_distance_of_shifted_pictures_is_the_double_sum(tmp_path: Path) -> None:
    """To the error that drawing subsets of them has."""
    reals = colours(0, 100, 10, 180)
    data = saved_as_data(reals, tmp_path)
    (value,) = measured(given(reals + 51), data, tmp_path, metrics=["kid"], samples=100).values
    expected = slow_kernel_distance(*(MeanColour()(pixels).double() for pixels in (reals, reals + 51)))
    assert value.name == "KID-colour"
    assert value.value == pytest.approx(expected, rel=0.05)
    assert value.low is not None
    assert value.low > 0


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_the_numbers_do_not_depend_on_the_batch(batch: int, data: Dataset, tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (130, 3, 8, 8), generator=random, dtype=torch.uint8)
    results = [measured(given(pixels, size), data, tmp_path, samples=130) for size in (batch, 13)]
    assert results[0] == results[1]


def test_reals_go_through_the_network_once(data: Dataset, tmp_path: Path) -> None:
    first, second = MeanColour(), MeanColour()
    made, found = (real_features(data, network, tmp_path) for network in (first, second))
    assert (first.pictures, second.pictures) == (NUM_REALS, 0)
    assert torch.equal(made.first.features, found.first.features)
    assert torch.equal(made.gaussian.covariance, found.gaussian.covariance)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "missing array", "other count"])
def test_a_damaged_cache_is_made_anew(damage: str, data: Dataset, tmp_path: Path) -> None:
    expected = real_features(data, MeanColour(), tmp_path).gaussian.covariance
    (path,) = (tmp_path / "features").glob("*.npz")
    with np.load(path) as arrays:
        content = dict(arrays)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("words")
    elif damage == "missing array":
        del content["mean"]
        np.savez(path, **content)
    else:
        content["count"] += 1
        np.savez(path, **content)
    network = MeanColour()
    assert torch.equal(real_features(data, network, tmp_path).gaussian.covariance, expected)
    assert network.pictures == NUM_REALS


def test_what_is_remembered_does_not_grow_with_the_pictures(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_set, "KEPT", 50)
    found = real_features(data, MeanColour(), tmp_path)
    assert found.first.features.shape == (50, 3)
    assert found.gaussian.count == NUM_REALS


def test_a_sorted_set_is_remembered_in_random_order(data: Dataset, tmp_path: Path) -> None:
    """Else the first so many would be the first classes."""
    pixels = data.pictures(range(NUM_REALS)).double().mean(dim=(2, 3)).float() / 255
    remembered = real_features(data, MeanColour(), tmp_path).first.features
    assert not torch.equal(remembered, pixels)
    assert torch.equal(remembered.sort(dim=0).values, pixels.sort(dim=0).values)


def test_an_evaluation_names_all_it_needs_to_be_done_again(
    reals: Path, tiny_model: models.Model, tmp_path: Path
) -> None:
    subject = model_subject(Sampler(tiny_model, device="cpu"), psi=0.8, seed=5)
    result = measure(subject, str(reals), features="pixels", samples=120, device="cpu")
    assert (result.subject, result.images_seen, result.samples) == ("tiny", 96, 120)
    assert (result.psi, result.seed, result.precision) == (0.8, 5, "fp32")
    assert (result.data, result.reals, result.resolution, result.crop) == ("reals", NUM_REALS, 8, "center")
    assert len(result.data_key) == 24
    assert from_json(Evaluation, json.loads(json.dumps(to_json(result)))) == result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["fid"]}, "metric 'fid': one of fd, kid, pr, auth"),
        ({"metrics": []}, "no metrics"),
        ({"samples": 50}, "samples 50: at least 100"),
        ({"samples": 161}, "it has 160; --samples 160"),
    ],
)
def test_wrong_requests_are_refused(
    options: dict[str, object], message: str, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        measured(pictures_subject(data), data, tmp_path, **options)


def test_each_picture_has_noise_of_its_own() -> None:
    """As with the official numbers; constant noise is the same pattern in all pictures."""
    sampler = small_sampler()
    first = model_subject(sampler)
    made = {noise: torch.cat(list(model_subject(sampler, noise=noise).pictures(3))) for noise in NOISE_MODES}
    assert first.noise == "random"
    assert model_subject(sampler, noise="none").noise == "none"
    assert torch.equal(torch.cat(list(first.pictures(3))), made["random"])
    for noise in NOISE_MODES:
        expected = torch.from_numpy(sampler.sample(range(3), noise=noise)).permute(0, 3, 1, 2)
        assert torch.equal(made[noise], expected)
    assert not torch.equal(made["random"], made["const"])
    with pytest.raises(UsageError, match="noise"):
        model_subject(sampler, noise="drift")


def test_a_model_without_noise_inputs_is_measured_without(tiny_model: models.Model) -> None:
    subject = model_subject(Sampler(tiny_model, device="cpu"))
    assert subject.noise == "none"
    assert sum(len(batch) for batch in subject.pictures(2)) == 2  # and nothing is warned of
    with pytest.warns(UserWarning, match="no noise inputs"):
        list(model_subject(Sampler(tiny_model, device="cpu"), noise="random").pictures(2))


def test_seeds_end_where_numpy_s_do(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    with pytest.raises(UsageError, match="seeds end at 4294967295"):
        model_subject(sampler, seed=2**32 - 10).pictures(11)
    for wrong in ({"seed": -1}, {"seed": 2**32}, {"psi": 11.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            model_subject(sampler, **wrong)  # type: ignore[arg-type]


RESULT = Evaluation(
    subject="m", subject_key="", images_seen=96, samples=100, seed=3, psi=0.7, precision="fp32",
    data="d", data_key="k", reals=200, resolution=8, crop="center", features="f", version="1",
    values=(Value("FD-x", 12.345, 12.0, 13.0), Value("recall-x", 0.25)),
)  # fmt: skip


def test_the_text_shows_numbers_intervals_and_protocol() -> None:
    lines = as_text(RESULT).splitlines()
    assert lines[0].split() == ["FD-x", "12.35", "(12.00", "to", "13.00)"]
    assert lines[1].split() == ["recall-x", "0.2500"]
    assert "seeds 3-102, psi 0.7, noise const, fp32" in lines[2]
    assert "200 pictures at 8 px, crop center, key k" in lines[3]


def test_a_card_gathers_the_numbers_of_each_protocol(tiny_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((tiny_run / "model.safetensors").read_bytes())
    before = models.load(str(path))
    other = replace(RESULT, psi=1.0)
    for result in (RESULT, other, replace(RESULT, values=(Value("FD-x", 1.0), Value("KID-x", 0.1)))):
        add_to_card(path, result)
    after = models.load(str(path))
    joined = replace(RESULT, values=(Value("FD-x", 1.0), Value("recall-x", 0.25), Value("KID-x", 0.1)))
    assert after.card.metrics == (other, joined)
    assert replace(after.card, metrics=()) == before.card
    for name, tensor in before.generator.state_dict().items():
        assert torch.equal(after.generator.state_dict()[name], tensor)


def test_a_card_is_not_given_the_numbers_of_other_weights(tiny_run: Path, tmp_path: Path) -> None:
    """A training run may have replaced its model while the old one was measured."""
    path = tmp_path / "m.safetensors"
    path.write_bytes((tiny_run / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match="has seen 96 images by now, 48 were measured"):
        add_to_card(path, replace(RESULT, images_seen=48))


def test_a_model_that_is_saved_meanwhile_keeps_its_own_card(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((tiny_run / "model.safetensors").read_bytes())
    newer = models.load(str(path))
    newer.card = replace(newer.card, images_seen=144)
    read_all = tensor_file.read_all

    def saved_before(path: Path) -> dict[str, Tensor]:
        models.save(path, newer)
        return read_all(path)

    monkeypatch.setattr(tensor_file, "read_all", saved_before)
    with pytest.raises(UsageError, match="was replaced by another model meanwhile; its card stays"):
        add_to_card(path, RESULT)
    assert models.read_header(path)[1] == newer.card


@pytest.mark.parametrize("name", ["hf://a/b", "dcgan-64"])
def test_cards_that_are_not_one_s_own_are_not_written_to(name: str) -> None:
    with pytest.raises(UsageError, match="a file of one's own"):
        card_file(name)


# ---- the command line


EVALUATE = ["evaluate", "--features", "pixels", "--samples", "100", "--metrics", "fd"]


def test_enlarged_and_left_out_pictures_are_said(reals: Path, tmp_path: Path) -> None:
    """Of the data as of --pictures."""
    bad = Path(shutil.copytree(reals, tmp_path / "bad"))
    (bad / "000.png").write_bytes(b"no picture")
    arguments = ["--pictures", str(bad), "--resolution", "16", "--data", str(reals)]
    with pytest.warns(UserWarning, match="pictures") as notes:
        assert cli.run([*EVALUATE, *arguments]) == 0
    assert [str(note.message) for note in notes] == [
        "bad: pictures smaller than 16x16 in a side, and enlarged: 159",
        "bad: pictures left out: 1, such as 000.png: not a PNG, JPEG or WebP picture",
        "reals: pictures smaller than 16x16 in a side, and enlarged: 160",
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--metrics", "fid"], "metric 'fid'"),
        (["--samples", "1"], "samples 1"),
        (["--features", "inception"], "features 'inception'"),
        (["--features-file", "x"], "made without a file"),
        (["--features", "fid", "--features-file", "nowhere"], "no file 'nowhere'"),
    ],
)
def test_wrong_words_are_found_before_a_picture_is_read(
    wrong: list[str], said: str, reals: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("facegan.metrics.subjects.open_dataset", None)  # any call would fail
    arguments = [*EVALUATE, "--pictures", str(reals), "--resolution", "8", *wrong]
    assert said in one_line(capsys, arguments)


def test_reading_the_pictures_is_shown_as_reading_the_data_is(
    reals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEGAN_CACHE", str(tmp_path))
    arguments = ["--pictures", str(reals), "--resolution", "8", "--data", str(reals)]
    assert cli.run([*EVALUATE, *arguments]) == 0
    assert f"reading {reals}: 1 of 160" in capsys.readouterr().err


def test_all_that_a_measurement_keeps_is_in_its_cache(
    reals: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEGAN_CACHE", str(tmp_path / "default"))
    options: dict[str, Any] = {"features": "pixels", "metrics": ["fd"], "samples": 100}
    measure(pictures_subject(data), str(reals), cache=tmp_path / "own", **options)
    kept = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {("own", "datasets"), ("own", "features")}


def test_evaluate_prints_the_same_as_json(
    tiny_run: Path, reals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--model", str(tiny_run), "--data", str(reals), "--features", "pixels"]
    arguments += ["--samples", "100", "--metrics", "fd", "--device", "cpu"]
    assert cli.run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    result = from_json(Evaluation, json.loads(captured.out))
    assert "seconds: " in captured.err
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out.strip() == as_text(result)


def test_evaluate_compares_two_sets(reals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--pictures", str(reals), "--resolution", "8", "--data", str(reals)]
    assert cli.run([*arguments, "--features", "random", "--samples", "160", "--metrics", "fd", "--json"]) == 0
    (value,) = from_json(Evaluation, json.loads(capsys.readouterr().out)).values
    assert value.name == "FD-random"
    assert value.value == pytest.approx(0, abs=1e-6)


def test_evaluate_shows_what_is_nearest_to_the_data(
    tiny_run: Path, reals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--data", str(reals), "--features", "pixels", "--samples", "100"]
    arguments += ["--metrics", "auth", "--seed", "5"]
    model = ["--model", str(tiny_run)]
    assert cli.run([*arguments, *model, "--closest", str(tmp_path / "new" / "a.png")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("authenticity-pixels")
    assert "a.png: made pictures above the real ones they are nearest to; the first is seed" in captured.err
    seed = int(captured.err.split("the first is seed ")[1].split(",")[0])
    with Image.open(tmp_path / "new" / "a.png") as picture:
        first = np.asarray(picture)[:8, :8]
    sampler = Sampler(models.load(str(tiny_run)), device="cpu")
    assert np.abs(first.astype(int) - sampler.sample([seed], 1.0)[0]).max() <= 1
    sets = ["--pictures", str(reals), "--resolution", "8", "--closest", str(tmp_path / "b.png")]
    assert cli.run([*arguments, *sets]) == 0
    said = capsys.readouterr().err.split("the first is ")[1].split()
    assert said[0] == f"{said[6]},"  # every picture is itself: its file by its name
    for wrong in ("a.gif", "no/such.txt"):
        said = one_line(capsys, [*arguments, *model, "--closest", str(tmp_path / wrong)])
        assert "one of .png, .jpg" in said


def test_evaluate_writes_into_the_card(tiny_run: Path, reals: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((tiny_run / "model.safetensors").read_bytes())
    arguments = ["evaluate", "--model", str(path), "--data", str(reals), "--features", "pixels"]
    assert cli.run([*arguments, "--samples", "100", "--metrics", "fd,pr", "--write"]) == 0
    (result,) = models.read_header(path)[1].metrics
    assert [value.name for value in result.values] == [
        "FD-pixels", "precision-pixels", "recall-pixels", "density-pixels", "coverage-pixels"
    ]  # fmt: skip
