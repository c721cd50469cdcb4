"""Models for what runs without facegan: an exported file makes the model's pictures, or there is no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_stylegan2 import SHAPE, networks

from facegan import cli, models
from facegan.card import Card
from facegan.config import UsageError
from facegan.graphs import Faces, Program
from facegan.interop import agreement
from facegan.interop import onnx as to_onnx
from facegan.interop.agreement import Array, Disagreement, require_same_faces
from facegan.interop.onnx import export_onnx
from facegan.interop.torch_program import export_torch
from facegan.labels import Attribute, LabelSpace
from facegan.networks import build_generator
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan import StyleGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.synthesis import Sampler, latent

LABELS = LabelSpace((Attribute("hat", ("no", "yes")), Attribute("age", ("a", "b", "c"))))
STYLE: dict[str, Any] = {"z_dim": 7, "w_dim": 6, "mapping_layers": 2, "channel_base": 64, "channel_max": 12}
CONFIGS = {
    "dcgan": DCGANConfig(resolution=8, z_dim=8, g_base_channels=4),
    "dcgan, labels": DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, labels=LABELS, base=(4, 6)),
    "stylegan": StyleGANConfig(resolution=8, **STYLE),
    "stylegan, growing": StyleGANConfig(resolution=8, alpha=0.4, channels=1, **STYLE),
    "stylegan2, labels": StyleGAN2Config(resolution=8, labels=LABELS, channels=4, **STYLE),
    "stylegan2, resnet": StyleGAN2Config(resolution=8, g_architecture="resnet", conv_clamp=2.0, **STYLE),
}


def model(name: str = "dcgan") -> models.Model:
    """A small one in which biases, noise and w_avg are not at their initial zeros, nor pictures all grey."""
    torch.manual_seed(0)
    config = CONFIGS[name]
    generator = build_generator(config).eval()
    with torch.no_grad():
        for key, parameter in generator.named_parameters():
            if key.endswith(("bias", "noise_strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif name.startswith("dcgan") and parameter.ndim == 4:
                parameter.mul_(10)  # from N(0, 0.02), which training makes larger
        if name.startswith("style"):  # a DCGAN's mean w is 0
            generator.w_avg.normal_()
    return models.Model(generator, config, Card(data="24 pictures", licence="CC0-1.0"), name="small")


def inputs_of(sampler: Sampler, seeds: Sequence[int], psi: float, names: Sequence[str]) -> dict[str, Array]:
    z = np.stack([latent(seed, sampler.generator.z_dim) for seed in seeds])
    label = sampler.label_vectors(seeds)
    inputs = {
        "z": z.astype(np.float32), "w": sampler.w(z, 1.0, label=label).numpy(), "psi": np.float32(psi),
        "label": None if label is None else label.numpy(),
    }  # fmt: skip
    return {name: np.asarray(inputs[name]) for name in names}


def run_eagerly(program: Program, inputs: dict[str, Array]) -> list[Array]:
    with torch.no_grad():
        return [t.numpy() for t in program(*(torch.from_numpy(value) for value in inputs.values()))]


# ---- programs


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_program_makes_the_samplers_pictures(name: str, space: Any) -> None:
    made = model(name)
    program = Faces(made.generator, space)
    sampler = Sampler(made, device="cpu")
    images, floats = run_eagerly(program, inputs_of(sampler, [3, 5], 0.6, list(program.examples)))
    expected = sampler.sample([3, 5], psi=0.6)
    assert np.abs(expected[0].astype(int) - expected[1]).mean() > 5  # there is something to compare
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(
        images, np.clip(floats.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255).astype(np.uint8)
    )


def test_a_label_is_asked_for_where_the_pictures_depend_on_it() -> None:
    def inputs(name: str, space: Any) -> list[str]:
        return list(Faces(model(name).generator, space).examples)

    assert inputs("dcgan", "z") == ["z", "psi"]
    assert inputs("dcgan, labels", "z") == ["z", "psi", "label"]
    assert inputs("stylegan2, labels", "z") == ["z", "psi", "label"]
    assert inputs("stylegan2, labels", "w") == ["w", "psi"]  # the label is in w
    assert inputs("dcgan, labels", "w") == ["w", "psi", "label"]  # truncation keeps the label in w


# ---- the comparison


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images, floats: (images, floats + 2e-4), r"differ by 0.0002 in \[-1, 1\] \(at most 0.0001\)"),
        (lambda images, floats: (images ^ 2, floats), r"2 grey levels \(at most 1\)"),
        (lambda images, floats: (images, floats * np.nan), "not finite"),
        (lambda images, floats: (images, floats[:, :, :4]), "not of the model's shape"),
    ],
)
def test_other_pictures_are_a_disagreement(change: Any, said: str) -> None:
    made = model()
    program = Faces(made.generator)
    require_same_faces(made, ["z", "psi"], lambda inputs: run_eagerly(program, inputs))
    with pytest.raises(Disagreement, match=said):
        require_same_faces(made, ["z", "psi"], lambda inputs: change(*run_eagerly(program, inputs)))


def test_the_comparison_sees_batches_of_one_and_three_at_psi_0_7() -> None:
    made = model()
    program = Faces(made.generator)
    seen: list[tuple[int, float]] = []

    def run(inputs: dict[str, Array]) -> list[Array]:
        seen.append((len(inputs["z"]), float(inputs["psi"])))
        return run_eagerly(program, inputs)

    require_same_faces(made, ["z", "psi"], run)
    assert seen == [(1, pytest.approx(0.7)), (3, pytest.approx(0.7))]


# ---- wrong use


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "onx", "--out", "a.onnx"], "format 'onx': one of onnx, torch, web"),
        (
            ["--format", "onnx", "--out", "a.onx"],
            "--out 'a.onx': the name of such a file ends in .onnx",
        ),
        (["--format", "torch", "--out", "a.onnx"], "ends in .pt2"),
        (
            ["--format", "torch", "--out", "a.pt2", "--half"],
            "--half has no effect with --format torch: onnx, web",
        ),
        (
            ["--format", "web", "--out", "site", "--start", "w"],
            "--start has no effect with --format web: onnx, to",
        ),
        (["--start", "x", "--out", "a.onnx"], "start 'x': one of z, w"),
        (["--format", "onnx", "--out", "file/a.onnx"], "is not a folder; choose another place"),
        (["--format", "web", "--out", "."], "--out '.': has files in it; name a new folder"),
        (["--format", "web", "--out", "file"], "is not a folder; choose another place"),
        (
            ["--format", "web", "--out", "site"],
            "`make web` in a checkout fetches it, and FACEGAN_ORT_WEB names",
        ),
        (["--model", "dcgn-64", "--out", "a.onnx"], "did you mean 'dcgan-64'"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEGAN_ORT_WEB", "nowhere")
    (tmp_path / "file").touch()
    assert cli.run(["export", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_without_its_packages_onnx_names_the_extra(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None if name == missing else sys)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"--format onnx needs {missing}: pip install 'facegan\[onnx\]'"):
        export_onnx(model(), tmp_path / "a.onnx")


# ---- files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "space"),
    [*((name, "z") for name in CONFIGS), ("dcgan, labels", "w"), ("stylegan2, labels", "w")],
)
def test_an_onnx_file_makes_the_models_pictures_in_any_batch(name: str, space: Any, tmp_path: Path) -> None:
    import onnxruntime

    made = model(name)
    result = export_onnx(made, tmp_path / "a.onnx", start=space)
    assert result["path"] == str(tmp_path / "a.onnx")
    assert result["bytes"] == (tmp_path / "a.onnx").stat().st_size
    assert 0 < result["difference"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert session.get_outputs()[0].shape[0] == "batch"
    sampler = Sampler(made, device="cpu")
    for seeds in ([4], [4, 9, 2, 7]):
        inputs = inputs_of(sampler, seeds, 0.5, [value.name for value in session.get_inputs()])
        (images,) = session.run(["images"], inputs)
        assert np.abs(images.astype(int) - sampler.sample(seeds, psi=0.5)).max() <= 1
    said = session.get_modelmeta().custom_metadata_map
    assert (said["model"], said["licence"], said["synthetic"][:5]) == ("small", "CC0-1.0", "true:")
    assert json.loads(said["card"])["data"] == "24 pictures"
    assert json.loads(said["config"])["resolution"] == 8


@pytest.mark.slow
def test_half_stores_float16_and_stays_within_what_it_says(tmp_path: Path) -> None:
    import onnx

    generator, _ = networks(channel_base=1024, channel_max=64)
    made = models.Model(generator, StyleGAN2Config(**(SHAPE | {"channel_base": 1024, "channel_max": 64})))
    whole = export_onnx(made, tmp_path / "a.onnx")
    half = export_onnx(made, tmp_path / "b.onnx", half=True)
    assert half["bytes"] < 0.65 * whole["bytes"]
    assert 1e-5 < half["difference"] < 2 / 127.5
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan, labels", "stylegan2, resnet"])
def test_a_torch_program_runs_without_facegan(name: str, tmp_path: Path) -> None:
    made = model(name)
    export_torch(made, tmp_path / "a.pt2")
    sampler = Sampler(made, device="cpu")
    names = list(Faces(made.generator).examples)
    np.savez(tmp_path / "inputs.npz", **inputs_of(sampler, [4, 9, 2, 7], 0.5, names))
    code = (
        "import sys, json; sys.modules['facegan'] = None\n"
        "import numpy as np, torch\n"
        "extra = {'facegan.json': ''}\n"
        "program = torch.export.load('a.pt2', extra_files=extra).module()\n"
        "inputs = np.load('inputs.npz')\n"
        f"images, _ = program(*(torch.from_numpy(inputs[name]) for name in {names}))\n"
        "np.save('images.npy', images.numpy()); print(json.loads(extra['facegan.json'])['licence'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "CC0-1.0\n"
    expected = sampler.sample([4, 9, 2, 7], psi=0.5)
    assert np.abs(np.load(tmp_path / "images.npy").astype(int) - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit to be set")
def test_a_torch_program_that_does_not_fit_on_the_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    """In a process of its own, which torch's writer would end. A limit of sizes stands for a full disk."""
    models.save(tmp_path / "small.safetensors", model())
    code = (
        "import resource\n"
        "from pathlib import Path\n"
        "from facegan import models\n"
        "from facegan.interop.torch_program import export_torch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    export_torch(models.load('small.safetensors'), Path('a.pt2'))\n"
        "except OSError as error:\n"
        "    print(error.filename)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a.pt2\n")
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize(("file_format", "name"), [("onnx", "a.onnx"), ("torch", "a.pt2")])
def test_a_file_that_disagrees_is_not_left_and_an_older_one_stays(
    file_format: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(to_onnx, "EXACT", (-1.0, 1))
    monkeypatch.setattr(agreement.require_same_faces, "__defaults__", ((-1.0, 1),))
    models.save(tmp_path / "small.safetensors", model())
    (tmp_path / name).write_text("older")
    words = [
        "--model",
        str(tmp_path / "small.safetensors"),
        "--format",
        file_format,
        "--out",
        str(tmp_path / name),
    ]
    assert cli.run(["export", *words]) == 1
    err = capsys.readouterr().err
    assert "the exported file makes other pictures than the model" in err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {name, "small.safetensors"}
    assert (tmp_path / name).read_text() == "older"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(models.shipped()))
def test_the_shipped_models_export(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "--model", name, "--half", "--json", "--out", str(tmp_path / "new" / "a.onnx")]
    assert cli.run(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["difference"] < 2e-3
    assert result["bytes"] < 1.2 * models.find(name).stat().st_size  # which holds float16 too
