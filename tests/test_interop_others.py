"""rosinality's state dicts, both ways, and TensorFlow's StyleGANs, against slow references; lucidrains'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lookalike_nvidia import official, pixels, reference_logits, reference_picture, reference_w, seeds_z
from lookalike_tensorflow import (
    Network,
    pickled_networks,
    reference_d,
    reference_stylegan,
    reference_stylegan2,
    stylegan,
    stylegan2,
)
from lookalike_tensorflow import reference_w as tensorflow_w
from small_stylegan2 import SHAPE, networks
from test_interop import discriminator, loaded, pictures_differ, shades
from torch import Tensor

from facegan import cli, models
from facegan.config import UsageError
from facegan.interop.importing import Report, convert
from facegan.interop.rosinality import to_rosinality
from facegan.labels import Attribute, LabelSpace
from facegan.models import Model
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.synthesis import Sampler

EQUAL: dict[str, Any] = {"z_dim": SHAPE["w_dim"]}  # z as long as w, which rosinality's code knows alone

# ---- rosinality: the same tensors as an official network's, by the names and shapes of that code


def rosinality(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The file that holds the look-alike's tensors in that code's layout; 16 px."""
    g, d = snapshot["G_ema"], snapshot["D"]
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    state: dict[str, Tensor] = {"input.input": g.synthesis.b4.const[None]}
    for i in range(g.mapping.num_layers):
        layer = getattr(g.mapping, f"fc{i}")
        state |= {f"style.{i + 1}.weight": layer.weight, f"style.{i + 1}.bias": layer.bias}
    b4, b8, b16 = g.synthesis.children()
    layers = {"conv1": b4.conv1, "convs.0": b8.conv0, "convs.1": b8.conv1, "convs.2": b16.conv0}
    for number, (name, layer) in enumerate((layers | {"convs.3": b16.conv1}).items()):
        state |= {
            f"{name}.conv.weight": layer.weight[None],
            f"{name}.conv.modulation.weight": layer.affine.weight,
            f"{name}.conv.modulation.bias": layer.affine.bias,
            f"{name}.noise.weight": layer.noise_strength[None],
            f"{name}.activate.bias": layer.bias,
            f"noises.noise_{number}": layer.noise_const[None, None],
        }
    for name, layer in {"to_rgb1": b4.torgb, "to_rgbs.0": b8.torgb, "to_rgbs.1": b16.torgb}.items():
        state |= {
            f"{name}.conv.weight": layer.weight[None],
            f"{name}.conv.modulation.weight": layer.affine.weight,
            f"{name}.conv.modulation.bias": layer.affine.bias,
            f"{name}.bias": layer.bias[None, :, None, None],
        }
    for name in ("convs.0.conv.blur", "convs.2.conv.blur", "to_rgbs.0.upsample", "to_rgbs.1.upsample"):
        state[f"{name}.kernel"] = kernel * 4
    there = {"convs.0.0.weight": d.b16.fromrgb.weight, "convs.0.1.bias": d.b16.fromrgb.bias}
    for number, block in enumerate((d.b16, d.b8), 1):
        there |= {
            f"convs.{number}.conv1.0.weight": block.conv0.weight,
            f"convs.{number}.conv1.1.bias": block.conv0.bias,
            f"convs.{number}.conv2.0.kernel": kernel,
            f"convs.{number}.conv2.1.weight": block.conv1.weight,
            f"convs.{number}.conv2.2.bias": block.conv1.bias,
            f"convs.{number}.skip.0.kernel": kernel,
            f"convs.{number}.skip.1.weight": block.skip.weight,
        }
    there |= {"final_conv.0.weight": d.b4.conv.weight, "final_conv.1.bias": d.b4.conv.bias}
    for number, layer in enumerate((d.b4.fc, d.b4.out)):
        there |= {f"final_linear.{number}.weight": layer.weight, f"final_linear.{number}.bias": layer.bias}
    return {"g": {}, "g_ema": state, "d": there, "latent_avg": g.mapping.w_avg, "args": None}


def saved(content: object, folder: Path, **how: Any) -> Report:
    torch.save(content, folder / "a.pt", **how)
    return convert(folder / "a.pt", folder / "model.safetensors")


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old stream"])
def test_rosinality_gives_the_same_pictures_and_logits(old: bool, tmp_path: Path) -> None:
    snapshot = official(clamp=None)
    g = snapshot["G_ema"]
    report = saved(rosinality(snapshot), tmp_path, _use_new_zipfile_serialization=not old)
    assert report.left_out == {
        "*.kernel": "4 filters, all [1, 3, 3, 1], which is built in",
        "g": "part of the training",
        "args": "part of the training",
    }
    w = reference_w(g, seeds_z(range(4), 7))
    assert pictures_differ(tmp_path, shades(reference_picture(g, w))) <= 1
    average = g.mapping.w_avg
    truncated = reference_picture(g, average + 0.4 * (w - average))
    assert pictures_differ(tmp_path, shades(truncated), psi=0.4) <= 1
    image = torch.randn(8, 3, 16, 16)
    expected = reference_logits(snapshot["D"], image)[:, 0]
    assert torch.allclose(discriminator(tmp_path)(image), expected, rtol=1e-4, atol=1e-4)


def test_a_bare_state_dict_gets_its_mean_w_and_noise(tmp_path: Path) -> None:
    snapshot = official(clamp=None)
    state = {k: v for k, v in rosinality(snapshot)["g_ema"].items() if not k.startswith("noises.")}
    report = saved(state, tmp_path)
    assert "no mean w" in " ".join(report.notes)
    assert "no constant noise" in " ".join(report.notes)
    first = loaded(tmp_path).generator
    z = np.random.RandomState(123).randn(10_000, 7)
    expected = reference_w(snapshot["G_ema"], torch.from_numpy(z).float()).mean(dim=0)
    assert torch.allclose(first.w_avg, expected, atol=1e-4)
    saved(state, tmp_path)
    again = loaded(tmp_path).generator.state_dict()
    maps = [name for name in again if name.endswith("noise_const")]
    assert len(maps) == 5
    for name in maps:
        assert torch.equal(again[name], first.state_dict()[name])
        assert 0.4 < again[name].std() < 1.6


def test_a_mapping_without_a_finite_mean_w_is_refused(tmp_path: Path) -> None:
    state = rosinality(official(clamp=None))["g_ema"]
    state |= {name: t * 1e25 for name, t in state.items() if name.startswith("style.")}
    with pytest.raises(UsageError, match="its mapping makes w that are not finite"):
        saved(state, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("convs.0.conv.blur.kernel", torch.ones(4, 4), "a resampling filter other than"),
        ("style.3.attention", torch.ones(2), "with style.3.attention, which has no place"),
        ("input.input", torch.ones(1, 12, 5, 5), r"input.input \[1, 12, 5, 5\] does not fit net.b4.const"),
        ("convs.4.conv.weight", torch.ones(1, 8, 8, 3, 3), "2 dense layers and 5 convolutions"),
        ("convs.3.conv.weight", torch.ones(1, 99, 8, 3, 3), "channels by resolution 4: 12, 8: 12, 16: 99"),
        ("convs.3.noise.weight", None, "without net.b16.conv1.noise_strength"),
    ],
)
def test_a_state_dict_that_is_no_stylegan2_is_refused(
    name: str, tensor: Tensor | None, said: str, tmp_path: Path
) -> None:
    content = rosinality(official(clamp=None))
    if tensor is None:
        del content["g_ema"][name]
    else:
        content["g_ema"][name] = tensor
    with pytest.raises(UsageError, match=said):
        saved(content, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_what_goes_out_has_that_code_s_names_and_shapes_and_comes_back_the_same(tmp_path: Path) -> None:
    snapshot = official(clamp=None, **EQUAL)
    content = rosinality(snapshot)
    saved(content, tmp_path)
    model = models.load(str(tmp_path / "model.safetensors"), discriminator=True)
    assert isinstance(model.config, StyleGAN2Config)
    out = to_rosinality(model.generator, model.config, model.discriminator)  # type: ignore[arg-type]
    assert out.keys() == {"g_ema", "latent_avg", "d"}
    for part in ("g_ema", "d"):
        assert out[part].keys() == content[part].keys()
        for name, tensor in content[part].items():
            assert out[part][name].dtype == torch.float32
            assert torch.equal(out[part][name], tensor), name
    assert torch.equal(out["latent_avg"], content["latent_avg"])


def test_a_network_without_a_form_there_does_not_go_out() -> None:
    labels = LabelSpace((Attribute("hat", ("no", "yes")),))
    others: list[dict[str, Any]] = [
        {"g_architecture": "resnet"}, {"base": (5, 4)}, {"labels": labels}, {"channels": 1},
        {"grows": True, "alpha": 0.5}, {"mapping_lr_multiplier": 1.0}, {"z_dim": 7},
    ]  # fmt: skip
    for changes in others:
        changes = EQUAL | changes
        generator, _ = networks(**changes)
        with pytest.raises(UsageError, match="rosinality's StyleGAN2 has square RGB pictures"):
            to_rosinality(generator, StyleGAN2Config(**SHAPE | changes))
    clamped = EQUAL | {"conv_clamp": 256.0}
    generator, _ = networks(**clamped)
    with pytest.warns(UserWarning, match="conv_clamp 256 has no place"):
        to_rosinality(generator, StyleGAN2Config(**SHAPE | clamped))


def exported(model: Model, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command prints of the model, saved with float32 tensors; the file is folder / "out.pt"."""
    models.save(folder / "in.safetensors", model, torch.float32)
    arguments = ["--model", str(folder / "in.safetensors"), "--out", str(folder / "out.pt"), "--json"]
    assert cli.run(["export", "--format", "rosinality", *arguments]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.parametrize("grows", [False, True])
def test_an_exported_file_is_read_by_torch_and_imported_the_same(
    grows: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A grown D's fromRGBs of smaller pictures are no longer used, and have no place there."""
    generator, discriminator = networks(**EQUAL, grows=grows)
    config = StyleGAN2Config(**SHAPE | EQUAL, grows=grows)
    model = Model(generator, config, discriminator=discriminator.state_dict())
    printed = exported(model, tmp_path, capsys)
    assert printed["discriminator"] is True
    assert printed["generator"] == "Generator(16, 6, 2) with self.channels = {4: 12, 8: 12, 16: 8}"
    content = torch.load(tmp_path / "out.pt", weights_only=True)
    assert content.keys() == {"g_ema", "latent_avg", "d"}
    convert(tmp_path / "out.pt", tmp_path / "model.safetensors")
    tensors, again = (
        models.read_tensors(tmp_path / name) for name in ("in.safetensors", "model.safetensors")
    )
    assert tensors.keys() - again.keys() == ({"D.b8.fromrgb.weight", "D.b8.fromrgb.bias"} if grows else set())
    for name, tensor in again.items():
        assert torch.equal(tensor, tensors[name]), name
    faces = Sampler(model, device="cpu").sample(range(3), 0.7)
    assert np.array_equal(Sampler(loaded(tmp_path), device="cpu").sample(range(3), 0.7), faces)


def test_widths_of_that_code_s_own_table_are_said_in_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {"resolution": 8, "z_dim": 4, "w_dim": 4, "mapping_layers": 1, "channel_max": 512}
    generator, _ = networks(**shape, channel_base=16384)
    printed = exported(Model(generator, StyleGAN2Config(**shape, channel_base=16384)), tmp_path, capsys)
    assert printed["generator"] == "Generator(8, 4, 1, channel_multiplier=2)"
    assert printed["discriminator"] is False
    assert "d" not in torch.load(tmp_path / "out.pt", weights_only=True)


def test_a_discriminator_of_another_kind_stays_out() -> None:
    generator, discriminator = networks(**EQUAL, d_architecture="skip")
    config = StyleGAN2Config(**SHAPE | EQUAL, d_architecture="skip")
    with pytest.warns(UserWarning, match="D stays out: that code's is a resnet"):
        assert "d" not in to_rosinality(generator, config, discriminator.state_dict())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "dcgan-64", "--out", "a.pt"], "rosinality's code is a StyleGAN2; dcgan-64 is a dcgan"),
        (["--model", "stylegan2-64-tiny", "--out", "a.pth"], "the name of such a file ends in .pt"),
        (["--model", "stylegan2-64-tiny", "--out", "a.pt", "--half"], "--half has no effect"),
    ],
)
def test_what_cannot_go_out_is_said_in_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.run(["export", "--format", "rosinality", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_damaged_discriminator_is_not_loaded(tmp_path: Path) -> None:
    generator, discriminator = networks()
    state = discriminator.state_dict()
    del state["b4.fc.weight"]
    model = Model(generator, StyleGAN2Config(**SHAPE), discriminator=state)
    models.save(tmp_path / "a.safetensors", model)
    with pytest.raises(UsageError, match=r"does not fit its own header: b4\.fc\.weight is missing"):
        models.load(str(tmp_path / "a.safetensors"), discriminator=True)
    assert models.load(str(tmp_path / "a.safetensors")).discriminator == {}


# ---- TensorFlow


def converted(networks: tuple[Network, ...], folder: Path, protocol: int = 4) -> Report:
    (folder / "a.pkl").write_bytes(pickled_networks(*networks, protocol=protocol))
    return convert(folder / "a.pkl", folder / "model.safetensors")


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("kind", ["skip", "resnet", "orig"])
def test_stylegan2_of_tensorflow_gives_its_pictures(kind: str, clamp: float | None, tmp_path: Path) -> None:
    made = stylegan2(kind, conv_clamp=clamp)
    converted(made, tmp_path)
    w = tensorflow_w(made[2], seeds_z(range(4), 7), 1.0)
    assert pictures_differ(tmp_path, shades(reference_stylegan2(made[2], w, kind, clamp))) <= 1
    average = made[2].tensor("dlatent_avg")
    truncated = reference_stylegan2(made[2], average + 0.4 * (w - average), kind, clamp)
    assert pictures_differ(tmp_path, pixels(truncated), psi=0.4) <= 1


def test_its_discriminator_comes_along(tmp_path: Path) -> None:
    made = stylegan2()
    assert "D" not in converted(made, tmp_path).left_out
    image = torch.randn(8, 3, 16, 16)
    assert torch.allclose(discriminator(tmp_path)(image), reference_d(made[1], image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fused", "fused_from", "resolution"),
    [(True, 8, 16), (False, 999, 16), ("auto", 128, 16), ("auto", 128, 128)],
)
def test_stylegan_of_tensorflow_gives_its_pictures(
    fused: object, fused_from: int, resolution: int, tmp_path: Path
) -> None:
    """Doubling is one transposed convolution from 128 px on, where the file does not say otherwise."""
    made = stylegan(fused, resolution=resolution)
    report = converted(made, tmp_path)
    assert report.left_out.keys() == {"D", "G"}
    w = tensorflow_w(made[2], seeds_z(range(4), 7), 2**0.5)
    expected = reference_stylegan(made[2], w, resolution=resolution, fused_from=fused_from)
    assert pictures_differ(tmp_path, shades(expected)) <= 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 5])
def test_tensorflow_s_pickles_are_read_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    made = stylegan2()
    converted(made, tmp_path, protocol)
    w = tensorflow_w(made[2], seeds_z(range(4), 7), 1.0)
    assert pictures_differ(tmp_path, shades(reference_stylegan2(made[2], w, "skip"))) <= 1


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        (lambda: stylegan2(label_size=10), "label_size 10; 0 is what can be read"),
        (lambda: stylegan2(resample_kernel=[1, 2, 1]), "a resample_kernel other than"),
        (lambda: stylegan2(nonlinearity="relu"), "nonlinearity 'relu'"),
        (lambda: stylegan(lod=1.5), r"saved while it grew \(synthesis/lod is not 0\)"),
        (lambda: stylegan(fused_scale="never"), "another fused_scale"),
        (lambda: stylegan(blur_filter=[1, 3, 3, 1]), "another blur_filter"),
        (lambda: stylegan(use_pixel_norm=True), "use_pixel_norm True"),
        (lambda: (Network("G", {}, {}, 2),) * 3, "neither StyleGAN2 nor StyleGAN; it has"),
    ],
)
def test_tensorflow_s_other_networks_are_refused(networks: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        converted(networks(), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


# ---- lucidrains' files, which are recognised and not read


def lucidrains() -> dict[str, Any]:
    """A file as that code writes it, with the names of its smallest network."""
    state: dict[str, torch.Tensor] = {}
    for mapping, generator in (("S", "G"), ("SE", "GE")):
        for layer in range(8):
            state |= {f"{mapping}.net.{2 * layer}.{part}": torch.zeros(4) for part in ("weight", "bias")}
        state[f"{generator}.initial_block"] = torch.zeros(1, 4, 4, 4)
        for part in ("to_style1.weight", "to_noise1.weight", "conv1.weight", "to_rgb.to_style.weight"):
            state[f"{generator}.blocks.0.{part}"] = torch.zeros(4)
    state["D.blocks.0.conv_res.weight"] = torch.zeros(4)
    return {"GAN": state, "version": "1.8.9"}


@pytest.mark.parametrize("whole", [True, False])
def test_lucidrains_files_are_refused_with_the_reason(whole: bool, tmp_path: Path) -> None:
    content = lucidrains()
    with pytest.raises(
        UsageError, match=r"lucidrains' stylegan2-pytorch, .* another network than the paper's"
    ):
        saved(content if whole else content["GAN"], tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_other_dictionaries_of_that_name_are_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model of a known kind"):
        saved({"GAN": {"G.weight": torch.zeros(4)}}, tmp_path)
