"""Widening: a wider network that starts from a narrower one does what that did, and all of it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_stylegan2 import small_run
from torch import Tensor
from warned import Warned

from facegan.labels import Attribute, LabelSpace
from facegan.networks import NetworkConfig, build_discriminator, build_generator
from facegan.networks.stylegan import StyleGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.networks.widening import widened
from facegan.presets import preset
from facegan.training.loop import train
from facegan.training.state import TrainState, new_state
from facegan.training.transfer import Transfer, Weights, transfer

NARROW: dict[str, Any] = {
    "resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64,
    "minibatch_std_group": 1,  # a larger group's is a mean over channels, new ones too
}  # fmt: skip
CONFIGS: dict[str, NetworkConfig] = {
    "stylegan": StyleGANConfig(**NARROW, channel_max=8),
    "skip and resnet": StyleGAN2Config(**NARROW, channel_max=8),
    "resnet and orig": StyleGAN2Config(
        **NARROW, channel_max=8, g_architecture="resnet", d_architecture="orig"
    ),
    "orig and skip": StyleGAN2Config(**NARROW, channel_max=8, g_architecture="orig", d_architecture="skip"),
    "growing": StyleGAN2Config(**NARROW, channel_max=8, grows=True),
    "portrait": StyleGAN2Config(**NARROW, channel_max=8, base=(5, 4)),
}


def started(narrow: NetworkConfig, wide: NetworkConfig) -> tuple[Weights, TrainState, Transfer]:
    """Narrow networks with numbers in all their weights, and the wide ones that start from them."""
    torch.manual_seed(0)
    generator, discriminator = build_generator(narrow), build_discriminator(narrow)
    with torch.no_grad():
        for parameter in [*generator.parameters(), *discriminator.parameters()]:
            parameter.add_(torch.randn_like(parameter) * 0.3)  # biases and noise begin at zero
    weights = Weights("it", generator.state_dict(), discriminator.state_dict(), narrow)
    like = "stylegan2-64-tiny" if getattr(wide, "grows", True) else "stylegan2-64"
    run = replace(preset(like).run, model=wide, precision="fp32")
    state = new_state(run)
    return weights, state, transfer(weights, state, wide)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wider_pair_does_what_the_narrower_did(name: str) -> None:
    narrow = CONFIGS[name]
    wide = replace(narrow, channel_base=192, channel_max=20)
    weights, state, taken = started(narrow, wide)
    assert not [name for name in taken.fresh if "noise" not in name]
    assert taken.widened > 20
    generator, discriminator = build_generator(narrow), build_discriminator(narrow)
    generator.load_state_dict(weights.generator)
    discriminator.load_state_dict(weights.discriminator)
    z = torch.randn(4, 8)
    with torch.no_grad():
        pictures = generator(z)
        assert pictures.std() > 0.05
        for own in (state.generator, state.average):
            torch.testing.assert_close(own(z), pictures, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            state.discriminator(pictures), discriminator(pictures), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["stylegan", "skip and resnet"])
def test_the_new_channels_learn(name: str) -> None:
    """What old channels take from new ones starts at zero, but its gradient does not."""
    wide = replace(CONFIGS[name], channel_base=192, channel_max=20)
    weights, state, _ = started(CONFIGS[name], wide)
    generator, discriminator = (p.requires_grad_() for p in (state.generator, state.discriminator))
    discriminator(generator(torch.randn(4, 8))).sum().backward()
    checked = 0
    for network, given in (
        (state.generator, weights.generator),
        (state.discriminator, weights.discriminator),
    ):
        for key, own in network.named_parameters():
            shown = "rgb" not in key or own.grad is not None  # a StyleGAN's last picture only
            if own.ndim == 4 and shown and given[key].shape[1] < own.shape[1]:
                rows, inputs = given[key].shape[:2]
                last = key.endswith("b4.conv.weight")  # minibatch std
                assert own.grad is not None
                gradient = own.grad[:rows, inputs - last : own.shape[1] - last]
                assert (gradient.abs().amax(dim=(0, 2, 3)) > 0).all(), key
                checked += 1
    assert checked > 8


def test_in_the_corner_in_units_of_the_new_fan_in() -> None:
    own, narrow = torch.randn(3, 8), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    wide = widened(own, narrow)
    assert wide is not None
    zeros = [0.0] * 6
    assert wide.tolist() == [[2, 4, *zeros], [6, 8, *zeros], own[2].tolist()]  # x sqrt(8 / 2)
    last = widened(own, narrow, last_stays=True)
    assert last is not None
    assert last.tolist() == [[2, *zeros, 4], [6, *zeros, 8], own[2].tolist()]


@pytest.mark.parametrize(
    ("own", "narrow"),
    [
        ((4, 2, 3, 3), (2, 2, 1, 1)),
        ((4, 2), (5, 2)),
        ((4, 5, 4), (2, 4, 4)),
        ((4,), (4, 1)),
        ((), ()),
    ],
)
def test_what_is_not_narrower_is_left(own: tuple[int, ...], narrow: tuple[int, ...]) -> None:
    assert widened(torch.zeros(own), torch.zeros(narrow)) is None


@pytest.mark.parametrize("changes", [{"base": (5, 4)}, {"channel_base": 48, "channel_max": 6}])
def test_another_shape_of_picture_or_a_narrower_one_is_as_before(changes: dict[str, Any]) -> None:
    """Weights whose shapes differ stay fresh."""
    narrow = CONFIGS["skip and resnet"]
    _, state, taken = started(narrow, replace(narrow, **changes))
    assert taken.widened == 0
    assert "D.b4.fc.weight" in taken.fresh
    assert isinstance(state.generator.w_avg, Tensor)


def test_the_report_names_the_narrower_ones() -> None:
    _, _, taken = started(CONFIGS["stylegan"], replace(CONFIGS["stylegan"], channel_max=12))
    assert taken.as_text().endswith("of them narrower: their new channels add nothing at first")


def test_a_d_with_labels_keeps_what_a_wider_last_map_allows() -> None:
    """Its logit is a product with the embedded label, divided by the root of their length."""
    hats = LabelSpace((Attribute("hat", ("cap", "fez", "none")),))
    narrow = replace(CONFIGS["skip and resnet"], labels=hats)
    _, _, taken = started(narrow, replace(narrow, channel_base=192, channel_max=20))
    fresh = {name.split(".")[1] + "." + name.split(".")[2] for name in taken.fresh if name.startswith("D.")}
    assert fresh == {"map.embed", "map.fc0", "map.fc1", *(f"map.fc{n}" for n in range(2, 8)), "b4.out"}
    _, _, taken = started(narrow, replace(narrow, channel_base=128, channel_max=8))
    assert not taken.fresh  # as wide at 4 px
    assert taken.widened > 4


def test_a_run_or_its_model_file_starts_a_wider_one_which_says_so(
    picture_folder: Path, tmp_path: Path
) -> None:
    """A model file's numbers are float16."""
    narrow = replace(small_run(picture_folder), total_images=8)
    train(narrow, tmp_path / "narrow")
    for number, name in enumerate(("narrow", "narrow/model.safetensors")):
        wide = replace(narrow, model=replace(narrow.model, channel_max=12), init=str(tmp_path / name))
        warned = Warned()
        train(wide, tmp_path / f"wide{number}", reporter=warned)
        assert "of them narrower" in warned.messages[0]
