"""The benchmark's baseline computes what facegan's networks do: only then does its speed say anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_stylegan2 import networks

from facegan.networks.stylegan2 import (
    Architecture,
)


@pytest.fixture
def textbook(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield __import__("textbook").textbook
    sys.modules.pop("textbook")


@pytest.mark.parametrize("kind", ["skip", "resnet", "orig"])
def test_the_textbook_s_networks_are_facegan_s(textbook: Any, kind: Architecture) -> None:
    generator, discriminator = networks(g_architecture=kind, d_architecture=kind)
    with torch.no_grad():
        w, image = torch.randn(3, generator.num_ws, 6), torch.randn(4, 3, 16, 16)
        expected = generator.synthesis(w)
        assert torch.allclose(textbook(generator).synthesis(w), expected, atol=1e-5)
        assert torch.allclose(textbook(discriminator)(image), discriminator(image), atol=1e-5)
