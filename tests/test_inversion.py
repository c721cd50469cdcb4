"""From pictures back to w: the search finds faces of the model again, and tuning brings the model nearer."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import one_line
from small_stylegan2 import networks, small_sampler
from torch.nn import functional as F

import facegan
from facegan import cli, models
from facegan.config import UsageError
from facegan.images import Pixels, read_provenance, save
from facegan.latents import direction_file, inversion
from facegan.latents.direction_file import DirectionCard, DirectionFile, fingerprint
from facegan.latents.directions import Directions
from facegan.latents.files import read_latents
from facegan.latents.inversion import distance, grey_levels_apart, invert, over_white, ramp, tune
from facegan.perception.attributes import Attributes
from facegan.synthesis import Sampler

UNSEEN = [100_000, 100_007]  # beyond the seeds whose faces the search begins at


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "SAMPLES", 300)
    monkeypatch.setattr(inversion, "STARTS", 20)


@pytest.fixture(scope="module")
def targets() -> Pixels:
    return small_sampler().sample(UNSEEN)


# ---- the search


@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_search_ends_nearer_than_it_began(space: str, targets: Pixels) -> None:
    found = invert(small_sampler(), targets, space=space, steps=40)
    assert sum(found.apart) < 0.8 * sum(found.apart_at_first)
    assert found.apart == grey_levels_apart(found.pictures, targets)
    assert (small_sampler().images(found.w) == found.pictures).all()
    same_in_all_layers = bool((found.w == found.w[:, :1]).all())
    assert same_in_all_layers == (space == "w")


@pytest.mark.slow
@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_shipped_model_s_own_face_is_found_again(space: str) -> None:
    sampler = facegan.load("stylegan2-64-small", device="cpu", precision="fp32")
    found = invert(sampler, sampler.sample(UNSEEN[:1], 0.7), space=space)
    assert found.apart[0] < 4 < 25 < found.apart_at_first[0]


def test_each_picture_is_searched_by_itself(targets: Pixels) -> None:
    both = invert(small_sampler(), targets, steps=4)
    alone = [invert(small_sampler(), target[None], steps=4).w for target in targets]
    torch.testing.assert_close(both.w, torch.cat(alone), rtol=1e-3, atol=1e-3)
    in_parts = invert(small_sampler(batch=1), targets, steps=4)
    torch.testing.assert_close(both.w, in_parts.w, rtol=1e-3, atol=1e-3)


def test_a_dcgan_s_face_is_found_too(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    found = invert(sampler, sampler.sample(UNSEEN[:1]), steps=60)
    assert found.apart[0] < 0.5 * found.apart_at_first[0]


def test_the_prior_keeps_w_among_the_model_s_own(targets: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, targets.shape, np.uint8)
    own = inversion._Own(small_sampler())
    length = []
    for prior in (0.0, 1.0):
        monkeypatch.setattr(inversion, "PRIOR", prior)
        length.append(float(own.u(invert(small_sampler(), noise[:1], steps=20).w).square().mean()))
    assert length[1] < 0.5 * length[0]


def test_in_u_the_model_s_own_w_have_mean_0_and_covariance_1() -> None:
    sampler = small_sampler()
    own = inversion._Own(sampler)
    w = torch.cat([w[:, 0] for _, w in sampler.stream_w(range(300))])
    u = own.u(w)
    torch.testing.assert_close(u.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(u.T), torch.eye(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(own.w(u[:, None], 3), w[:, None].expand(-1, 3, -1), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("share", "factor"), [(0, 0), (0.025, 0.5), (0.05, 1), (0.75, 1), (0.875, 0.5), (1, 0)]
)
def test_the_rate_rises_in_a_twentieth_and_falls_in_the_last_quarter(share: float, factor: float) -> None:
    assert ramp(share) == pytest.approx(factor)


# ---- the distance


def slow_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of one picture [3, 16, 16] and another, from the definitions."""
    halved = [a.reshape(3, 8, 2, 8, 2).mean(dim=(2, 4)), b.reshape(3, 8, 2, 8, 2).mean(dim=(2, 4))]
    pixels = (((a - b) ** 2).mean() + ((halved[0] - halved[1]) ** 2).mean()) / 2
    network = Attributes.load().network
    features, layers = 0.0, 0
    x, y = (each.repeat_interleave(4, 1).repeat_interleave(4, 2)[None] for each in (a, b))
    for conv in network.convs:
        x, y = F.leaky_relu(conv(x), 0.2), F.leaky_relu(conv(y), 0.2)
        apart: list[float] = []
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                one, other = x[0, :, row, column], y[0, :, row, column]
                unit = (
                    one / math.sqrt(float(one @ one) + 1e-6),
                    other / math.sqrt(float(other @ other) + 1e-6),
                )
                apart.append(float(((unit[0] - unit[1]) ** 2).sum()))
        features, layers = features + sum(apart) / len(apart), layers + 1
    return float(pixels) + features / layers


def test_the_distance_is_that_of_the_definition() -> None:
    pair = 2 * torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 1
    eye = inversion._Eye(small_sampler())
    found = distance(eye.views(pair[:1]), eye.views(pair[1:]))
    assert found.shape == (1,)
    assert float(found) == pytest.approx(slow_distance(pair[0], pair[1]), rel=1e-4)


def test_grey_is_repeated_and_transparent_parts_are_white() -> None:
    grey = torch.full((1, 1, 2, 2), 0.3)
    assert (over_white(grey) == 0.3).all()
    assert over_white(grey).shape == (1, 3, 2, 2)
    red = torch.tensor([1.0, -1.0, -1.0])
    pixels = [torch.cat([red, torch.tensor([alpha])]) for alpha in (-1.0, 0.0, 1.0)]
    image = torch.stack(pixels, dim=1)[None, :, None]
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, -1.0, -1.0]]).T
    torch.testing.assert_close(over_white(image)[0, :, 0], expected)


def test_grey_levels_apart_is_the_root_of_the_mean_square() -> None:
    black = np.zeros((2, 1, 2, 1), np.uint8)
    other = np.array([[[[3], [4]]], [[[0], [200]]]], np.uint8)
    assert grey_levels_apart(black, other) == pytest.approx((math.sqrt(12.5), math.sqrt(20_000)))


# ---- tuning


def test_a_tuned_model_is_nearer_and_the_first_stays_as_it_was(targets: Pixels) -> None:
    sampler = small_sampler()
    before = {name: value.clone() for name, value in sampler.generator.state_dict().items()}
    other = 255 - targets  # what the model cannot draw
    found = invert(sampler, other, space="w", steps=20)
    tuned = tune(sampler, found.w, other, steps=40)
    after = grey_levels_apart(Sampler(tuned, device="cpu").images(found.w), other)
    assert all(end < 0.95 * start for end, start in zip(after, found.apart, strict=True))
    assert all((sampler.generator.state_dict()[name] == value).all() for name, value in before.items())
    z = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    assert (tuned.generator.mapping(z) == sampler.generator.mapping(z)).all()
    assert tuned.card.description == "small, tuned to 2 pictures."


@pytest.mark.parametrize("steps", [0, -1, 10**9])
def test_steps_out_of_range_are_refused(steps: int, targets: Pixels) -> None:
    with pytest.raises(UsageError, match=r"steps .*: 1 to 100,000"):
        invert(small_sampler(), targets, steps=steps)
    with pytest.raises(UsageError, match=r"steps .*: 1 to 100,000"):
        tune(small_sampler(), torch.zeros(2, 6, 6), targets, steps=steps)


def test_pictures_of_another_size_and_unknown_spaces_are_refused(targets: Pixels) -> None:
    with pytest.raises(UsageError, match=r"this model's are \[N, 16, 16, 3\]"):
        invert(small_sampler(), targets[:, :8])
    with pytest.raises(UsageError, match=r"at least one"):
        invert(small_sampler(), targets[:0])
    with pytest.raises(UsageError, match="space 'z': one of w, w\\+"):
        invert(small_sampler(), targets, space="z")


# ---- the command


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small StyleGAN2 with a direction beside it."""
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    sampler = small_sampler()
    models.save(path, sampler.model, torch.float32)
    named = {"smile": replace(Directions(sampler, samples=100).named("pca:0"), name="smile")}
    card = DirectionCard("small", fingerprint(networks()[0]), "a test", ("age",), ((0.1,),), 2.0, 1.0, 10)
    direction_file.write(direction_file.beside(path), DirectionFile(card, named))
    return path


def test_invert_writes_latents_pictures_and_a_sheet(
    model_file: Path, targets: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, picture in zip(photos, targets, strict=True):
        save(path, picture)
    out = tmp_path / "found"
    words = ["--model", str(model_file), "--out", str(out), "--steps", "30", "--precision", "fp32", "--json"]
    assert cli.run(["invert", *photos, *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["source"] for each in said["pictures"]] == photos
    assert all(each["apart"] < 0.8 * each["apart_at_first"] for each in said["pictures"])
    assert sorted(path.name for path in out.iterdir()) == [
        "inverted0000.png", "inverted0001.png", "latents.npz", "sheet.png",
    ]  # fmt: skip
    latents = read_latents(Path(said["latents"]))
    pictures = small_sampler().sample(range(2), start=latents)
    assert [each["apart"] for each in said["pictures"]] == [
        round(value, 2) for value in grey_levels_apart(pictures, targets)
    ]
    mark = read_provenance(out / "inverted0000.png")
    assert mark is not None
    assert (mark.model, mark.synthetic, mark.edit) == ("small", True, "inverted from a picture")


def test_a_tuned_model_takes_its_latents_and_the_directions(
    model_file: Path, targets: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(inversion, "TUNING_STEPS", 20)
    save(tmp_path / "a.png", targets[0])
    out = tmp_path / "found"
    words = ["--model", str(model_file), "--out", str(out), "--steps", "20", "--space", "w", "--tune"]
    assert cli.run(["invert", str(tmp_path / "a.png"), *words]) == 0
    assert "grey levels apart" in capsys.readouterr().out
    edited = ["--model", str(out / "model.safetensors"), "--latents", str(out / "latents.npz")]
    assert cli.run(["edit", *edited, "--direction", "smile", "--out", str(tmp_path / "e.png")]) == 0
    assert capsys.readouterr().err == ""  # neither foreign latents nor directions of another model
    carried = direction_file.read(
        direction_file.beside(out / "model.safetensors"),
        models.load(str(out / "model.safetensors")).generator,
    )
    assert carried.card.leakage == ()  # it was measured of the other model
    assert (tmp_path / "e.png").is_file()
    mark = read_provenance(out / "inverted0000.png")
    assert mark is not None
    assert mark.edit == "inverted from a picture, small tuned to it"
    assert mark.model == models.load(str(out / "model.safetensors")).name == "found"


def test_a_tuned_model_draws_a_batch_of_pictures_at_a_time(
    model_file: Path, targets: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "TUNING_STEPS", 1)
    monkeypatch.setattr(Sampler.__init__, "__kwdefaults__", Sampler.__init__.__kwdefaults__ | {"batch": 1})
    batches: list[int] = []
    images = Sampler.images

    def counted(self: Sampler, w: torch.Tensor, noise: Any = "const") -> Any:
        batches.append(len(w))
        return images(self, w, noise)

    monkeypatch.setattr(Sampler, "images", counted)
    photos = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, picture in zip(photos, targets, strict=True):
        save(path, picture)
    words = ["--model", str(model_file), "--out", str(tmp_path / "out"), "--steps", "1", "--tune"]
    assert cli.run(["invert", *photos, *words]) == 0
    assert batches == [1] * 6  # of the nearest, of those that the search began at, of the tuned model


def test_wrong_uses_are_one_line(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    save(tmp_path / "good.png", np.zeros((16, 16, 3), np.uint8))
    model = ["--model", str(model_file), "--out", str(tmp_path / "out")]
    good = str(tmp_path / "good.png")
    for words, expected in (
        ([str(tmp_path / "none.png")], "none.png: No such file or directory"),
        ([str(tmp_path)], "Is a directory"),
        ([str(tmp_path / "text.png")], "text.png: not a PNG, JPEG or WebP picture"),
        ([good, "--space", "z"], "space 'z': one of w, w+"),
        ([good, "--crop", "face"], "crop 'face': one of center, pad, celeba"),
        ([good, "--crop", "celeba"], "--crop celeba needs CelebA's aligned 178x218 pictures"),
        ([good, "--steps", "0"], "steps 0: 1 to 100,000"),
        ([good] * 1001, "1,001 pictures: at most 1,000 at a time"),
        ([], "Missing argument 'pictures'"),
    ):
        assert expected in one_line(capsys, ["invert", *words, *model])
    assert not (tmp_path / "out").exists()
    said = one_line(capsys, ["invert", good, "--model", str(model_file), "--out", good])
    assert said.startswith(f"facegan: --out {good!r}: {good} is not a folder")


def test_a_small_picture_is_enlarged_with_a_note(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "small.png", np.zeros((8, 8, 3), np.uint8))
    words = ["--model", str(model_file), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert cli.run(["invert", str(tmp_path / "small.png"), *words]) == 0
    assert "note: 1 of 1 pictures are smaller than 16x16" in capsys.readouterr().err


def test_directions_of_another_model_are_left_behind_with_a_note(
    targets: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "TUNING_STEPS", 1)
    models.save(tmp_path / "m.safetensors", small_sampler().model)
    (tmp_path / "m.directions.safetensors").write_bytes(b"damaged")
    save(tmp_path / "a.png", targets[0])
    words = ["--model", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "out"), "--steps", "1"]
    with pytest.warns(UserWarning, match=r"m\.directions\.safetensors: .*; it is left out"):
        assert cli.run(["invert", str(tmp_path / "a.png"), *words, "--tune"]) == 0
    assert not (tmp_path / "out" / "model.directions.safetensors").exists()
