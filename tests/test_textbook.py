"""The benchmark's baseline computes what facegan's networks do: only then does its speed say anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from facegan.networks.stylegan2 import (
    Architecture,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

SHAPE: dict[str, Any] = {
    "resolution": 16, "z_dim": 7, "w_dim": 6, "mapping_layers": 2, "channel_base": 128, "channel_max": 12,
}  # fmt: skip


@pytest.fixture
def textbook(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield __import__("textbook").textbook
    sys.modules.pop("textbook")


@pytest.mark.parametrize("kind", ["skip", "resnet", "orig"])
def test_the_textbook_s_networks_are_facegan_s(textbook: Any, kind: Architecture) -> None:
    torch.manual_seed(0)
    config = StyleGAN2Config(**SHAPE, g_architecture=kind, d_architecture=kind)
    generator, discriminator = StyleGAN2Generator(config), StyleGAN2Discriminator(config)
    with torch.no_grad():
        for network in (generator, discriminator):
            for name, parameter in network.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        w, image = torch.randn(3, generator.num_ws, 6), torch.randn(4, 3, 16, 16)
        expected = generator.synthesis(w)
        assert torch.allclose(textbook(generator).synthesis(w), expected, atol=1e-5)
        assert torch.allclose(textbook(discriminator)(image), discriminator(image), atol=1e-5)
