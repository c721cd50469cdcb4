"""DINOv2: it equals a slow reference, and weights that do not fit are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in_features import assert_same, random_pixels, random_transformer
from torch import Tensor

from facegan.config import UsageError
from facegan.perception.features import FeatureExtractor, extractor


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FeatureExtractor:
    """One of random weights, called once so that no test pays for the first use."""
    file = tmp_path_factory.mktemp("features") / "vit.pth"
    torch.save(random_transformer(), file)
    result = extractor("dinov2", file=file)
    result(random_pixels(1, 3, 20, 20))
    return result


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


def test_dinov2_equals_the_slow_reference(made: FeatureExtractor) -> None:
    pixels = random_pixels(2, 3, 224, 224, seed=1)  # at 224 nothing is resized
    expected = torch.stack([reference_transformer(image / 255, random_transformer()) for image in pixels])
    assert_same(made(pixels).double(), expected)


def test_dinov2_tells_its_sizes_by_the_tensors(made: FeatureExtractor) -> None:
    assert (made.name, made.dim) == ("dinov2-vit of width 128, depth 2", 128)


def test_tensors_beside_the_transformer_s_are_not_looked_at(made: FeatureExtractor, tmp_path: Path) -> None:
    beside = {name: torch.full((3,), math.nan) for name in ("dino_head.norm1.weight", "head.bias")}
    torch.save(random_transformer() | beside, tmp_path / "vit.pth")
    pixels = random_pixels(1, 3, 20, 20)
    assert torch.equal(extractor("dinov2", file=tmp_path / "vit.pth")(pixels), made(pixels))


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
