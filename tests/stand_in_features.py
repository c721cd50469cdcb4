"""Stand-ins for the files of feature networks that are not here, and what their tests compare with."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.perception import dinov2


def random_pixels(*shape: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


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


def write_files(folder: Path) -> dict[str, Path]:
    """The file of each extractor that needs one."""
    torch.save(random_transformer(), folder / "vit.pth")
    inception = write_torchscript(folder / "inception.pt", StandInInception())
    return {"fid": inception, "clean-fid": inception, "dinov2": folder / "vit.pth"}


def assert_same(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal within `tolerance` of the largest number expected."""
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * scale)
