"""Models of other code bases: an official pickle's pictures are those of the model file made of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lookalike_nvidia import (
    official,
    pickled,
    pixels,
    reference_logits,
    reference_picture,
    reference_w,
    seeds_z,
)
from PIL import Image
from reference_stylegan2 import dense, lrelu, normalized
from torch import Tensor

from facegan import cli, models
from facegan.config import UsageError
from facegan.interop.importing import Report, convert
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator
from facegan.synthesis import Sampler


def converted(content: bytes, folder: Path, name: str = "official.pkl", **words: str) -> Report:
    (folder / name).write_bytes(content)
    return convert(folder / name, folder / "model.safetensors", **words)


def loaded(folder: Path) -> models.Model:
    return models.load(str(folder / "model.safetensors"))


def pictures_differ(folder: Path, expected: Any, psi: float = 1.0, label: str = "") -> int:
    """The largest difference of a grey level between the model's pictures of seeds 0-3 and those expected."""
    sampler = Sampler(loaded(folder), device="cpu", precision="fp32")
    made = sampler.sample(range(4), psi, "const", label=label)
    return int(np.abs(made.astype(int) - expected.astype(int)).max())


def shades(picture: Tensor) -> Any:
    """The pixels of a picture that is not mostly black and white, or the comparison would say little."""
    found = pixels(picture)
    assert ((found > 0) & (found < 255)).mean() > 0.3
    return found


def test_the_command_makes_the_official_pictures_to_one_grey_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = official()
    g = snapshot["G_ema"]
    (tmp_path / "official.pkl").write_bytes(pickled(snapshot))
    model = str(tmp_path / "model.safetensors")
    assert cli.run(["import", str(tmp_path / "official.pkl"), "--out", model]) == 0
    assert "StyleGAN2".lower() in capsys.readouterr().out
    arguments = ["--seeds", "0-3", "--psi", "1", "--noise", "const", "--precision", "fp32", "--device", "cpu"]
    assert cli.run(["generate", "--model", model, *arguments, "--out", str(tmp_path / "faces")]) == 0
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7))))
    for seed in range(4):
        made = np.asarray(Image.open(tmp_path / "faces" / f"seed{seed:04d}.png")).astype(int)
        assert np.abs(made - expected[seed].astype(int)).max() <= 1


@pytest.mark.parametrize("flat", [False, True], ids=["stylegan2-ada-pytorch", "stylegan3"])
@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("kind", ["skip", "resnet", "orig"])
def test_every_architecture_gives_its_pictures(
    kind: str, clamp: float | None, flat: bool, tmp_path: Path
) -> None:
    snapshot = official(kind=kind, clamp=clamp, flat=flat)
    g = snapshot["G_ema"]
    converted(pickled(snapshot), tmp_path)
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7))))
    assert pictures_differ(tmp_path, expected) <= 1
    config = loaded(tmp_path).config
    assert isinstance(config, StyleGAN2Config)
    assert (config.g_architecture, config.conv_clamp) == (kind, clamp)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("as_class", [False, True])
def test_every_protocol_and_both_kinds_of_module_are_read(
    protocol: int, as_class: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_class:
        monkeypatch.setattr("lookalike_nvidia.Persistent.__reduce__", torch.nn.Module.__reduce__)
    snapshot = official(resolution=8)
    converted(pickled(snapshot, protocol), tmp_path)
    g = snapshot["G_ema"]
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7))))
    assert pictures_differ(tmp_path, expected) <= 1


def test_truncation_pulls_towards_the_file_s_own_mean(tmp_path: Path) -> None:
    snapshot = official()
    g = snapshot["G_ema"]
    converted(pickled(snapshot), tmp_path)
    w = reference_w(g, seeds_z(range(4), 7))
    expected = shades(reference_picture(g, g.mapping.w_avg + 0.4 * (w - g.mapping.w_avg)))
    assert pictures_differ(tmp_path, expected, psi=0.4) <= 1


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_another_precision_are_read(half: torch.dtype, tmp_path: Path) -> None:
    snapshot = official(resolution=8)
    g = snapshot["G_ema"].to(half)
    content = pickled(snapshot)
    g = g.float()
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7))))
    converted(content, tmp_path)
    assert pictures_differ(tmp_path, expected) <= 1


def test_tensors_with_other_strides_and_shared_storages_are_read(tmp_path: Path) -> None:
    snapshot = official(resolution=8)
    g = snapshot["G_ema"]
    for block in g.synthesis.children():
        block.conv1.weight.data = block.conv1.weight.data.to(memory_format=torch.channels_last)
        both = torch.randn(2, *block.conv1.noise_const.shape)
        block.conv1.noise_const = both[1]  # the second half of a storage
        block.conv1.affine.weight.data = block.conv1.affine.weight.data.t().contiguous().t()
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7))))
    converted(pickled(snapshot), tmp_path)
    assert pictures_differ(tmp_path, expected) <= 1


def test_settings_are_read_from_the_layers(tmp_path: Path) -> None:
    snapshot = official(layers=3)
    mapping = snapshot["G_ema"].mapping
    for number in range(3):
        getattr(mapping, f"fc{number}").bias_gain = 0.02
    mapping.w_avg_beta = 0.9
    snapshot["D"].b4.mbstd.group_size = 8
    converted(pickled(snapshot), tmp_path)
    config = loaded(tmp_path).config
    assert isinstance(config, StyleGAN2Config)
    assert (config.mapping_layers, config.mapping_lr_multiplier, config.w_avg_beta) == (3, 0.02, 0.9)
    assert (config.channel_base, config.channel_max, config.minibatch_std_group) == (128, 12, 8)


def test_labels_become_numbered_classes(tmp_path: Path) -> None:
    snapshot = official(c_dim=3)
    g, d = snapshot["G_ema"], snapshot["D"]
    report = converted(pickled(snapshot), tmp_path)
    assert "class=0 to class=2" in " ".join(report.notes)
    label = torch.tensor([[0.0, 0, 1]])
    expected = shades(reference_picture(g, reference_w(g, seeds_z(range(4), 7), label.expand(4, -1))))
    assert pictures_differ(tmp_path, expected, label="class=2") <= 1
    image = torch.randn(8, 3, 16, 16)
    mapped = normalized(dense(d.mapping.embed, label))
    for number in range(8):
        mapped = lrelu(dense(getattr(d.mapping, f"fc{number}"), mapped, 0.01))
    expected_logit = (reference_logits(d, image) * mapped).sum(dim=1) / np.sqrt(12)
    logit = discriminator(tmp_path)(image, label.expand(8, -1))
    assert torch.allclose(logit, expected_logit, rtol=1e-4, atol=1e-4)


def discriminator(folder: Path) -> StyleGAN2Discriminator:
    config = loaded(folder).config
    assert isinstance(config, StyleGAN2Config)
    network = StyleGAN2Discriminator(config)
    tensors = models.read_tensors(folder / "model.safetensors")
    network.load_state_dict({name[2:]: t for name, t in tensors.items() if name.startswith("D.")})
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("kind", ["resnet", "orig", "skip"])
def test_the_discriminator_comes_along(kind: str, clamp: float | None, tmp_path: Path) -> None:
    snapshot = official(d_kind=kind, clamp=clamp)
    report = converted(pickled(snapshot), tmp_path)
    assert "D" not in report.left_out
    image = torch.randn(8, 3, 16, 16)
    expected = reference_logits(snapshot["D"], image)[:, 0]
    assert torch.allclose(discriminator(tmp_path)(image), expected, rtol=1e-4, atol=1e-4)


def test_a_discriminator_that_does_not_fit_is_left_out_with_its_reason(tmp_path: Path) -> None:
    snapshot = official()
    for layer in snapshot["D"].modules():
        if hasattr(layer, "conv_clamp"):
            layer.conv_clamp = None
    report = converted(pickled(snapshot), tmp_path)
    assert "conv_clamp None, expected 256.0" in report.left_out["D"]
    assert not any(name.startswith("D.") for name in models.read_tensors(tmp_path / "model.safetensors"))
    snapshot = official()
    del snapshot["D"].b8.skip.weight
    report = converted(pickled(snapshot), tmp_path)
    assert "without b8.skip.weight" in report.left_out["D"]


def test_the_report_names_every_tensor_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = official()
    (tmp_path / "a.pkl").write_bytes(pickled(snapshot))
    words = ["--data", "FFHQ", "--licence", "CC-BY-NC 4.0", "--json"]
    assert cli.run(["import", str(tmp_path / "a.pkl"), "--out", str(tmp_path / "m.safetensors"), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    g, d = snapshot["G_ema"].state_dict(), snapshot["D"].state_dict()
    wanted = {name: list(t.shape) for name, t in g.items() if "resample" not in name}
    wanted |= {f"D.{name}": list(t.shape) for name, t in d.items() if "resample" not in name}
    assert {theirs: shape for theirs, _, shape in report["tensors"]} == wanted
    assert report["left_out"].keys() == {"*.resample_filter", "G", "training_set_kwargs", "augment_pipe"}
    assert "float16 at 8, 16 px" in " ".join(report["notes"])
    card = models.load(str(tmp_path / "m.safetensors")).card
    assert (card.data, card.licence) == ("FFHQ", "CC-BY-NC 4.0")
    assert report["sha256"] in card.description
    kept = models.read_tensors(tmp_path / "m.safetensors")
    assert {name: t.dtype for name, t in kept.items()} == dict.fromkeys(kept, torch.float32)
    assert torch.equal(kept["G.net.b8.conv0.affine.bias"], g["synthesis.b8.conv0.affine.bias"])
    assert converted(pickled(snapshot), tmp_path).sha256 == report["sha256"]
    assert loaded(tmp_path).card.licence == "unknown"


def broken(change: str) -> dict[str, Any]:
    snapshot = official(resolution=8)
    g = snapshot["G_ema"]
    if change == "filter":
        g.synthesis.b8.conv0.resample_filter = torch.eye(4)
    elif change == "missing":
        del g.synthesis.b8.conv0.bias
    elif change == "unknown":
        g.synthesis.b8.conv0.register_buffer("attention", torch.ones(2))
    elif change == "shape":
        g.synthesis.b8.conv0.bias.data = torch.ones(5)
    elif change == "nan":
        g.mapping.fc0.bias.data[0] = float("nan")
    elif change == "activation":
        g.synthesis.b8.conv1.activation = "relu"
    elif change == "clamp":
        g.synthesis.b8.conv1.conv_clamp = 1.0
    elif change == "skip clamp":
        snapshot = official(resolution=8, kind="resnet")
        snapshot["G_ema"].synthesis.b8.skip.conv_clamp = 256.0
    elif change == "endless clamp":
        snapshot = official(resolution=8, clamp=math.inf)
    elif change == "size":
        g.img_resolution = 16
    elif change == "z":
        g.z_dim = 9
    elif change == "stylegan3":
        g.synthesis.add_module("input", torch.nn.Module())
    elif change == "nothing":
        snapshot["G_ema"] = None
    return snapshot


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("filter", "synthesis.b8.conv0.resample_filter: a resampling filter other than"),
        ("missing", "without net.b8.conv0.bias"),
        ("unknown", "with synthesis.b8.conv0.attention, which has no place"),
        ("shape", r"synthesis.b8.conv0.bias \[5\] does not fit net.b8.conv0.bias \[12\]"),
        ("nan", "mapping.fc0.bias holds numbers that are not finite"),
        ("activation", "synthesis.b8.conv1.activation 'relu', expected 'lrelu'"),
        ("clamp", "conv_clamp is not one number"),
        ("skip clamp", "conv_clamp is not one number"),
        ("endless clamp", "conv_clamp inf: a finite number above 0"),
        ("size", "of 16 px has b4, b8; expected blocks"),
        ("z", r"mapping.fc0.weight \[6, 7\] does not fit map.fc0.weight \[6, 9\]"),
        ("stylegan3", "is a StyleGAN3, whose layers are b4, b8, input"),
        (
            "nothing",
            "G_ema is not a network; the file holds a dictionary of G: torch_utils.persistence.Generator",
        ),
    ],
)
def test_what_facegan_cannot_be_is_refused_and_nothing_is_written(
    change: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        converted(pickled(broken(change)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["official.pkl"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"GAN": {"GE.initial_block": torch.ones(1)}, "version": "1.9"}, "a dictionary of GAN: 1 entries"),
        ([1, "two", None], "list of int, str, NoneType"),
        ({}, "an empty dictionary"),
        (torch.ones(3), r"numbers \[3\]"),
    ],
)
def test_unknown_kinds_are_refused_with_what_was_found(content: object, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UsageError, match=said):
        convert(tmp_path / "a.pt", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
