"""What the commands write and print: results go to stdout, and are those of the Python API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, one_line, settings, small_training
from PIL import Image
from small_stylegan2 import SHAPE, networks

import facegan
from facegan import cli, models
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.synthesis import Sampler


def test_models_lists_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["dcgan-64"]["height"], table["dcgan-64"]["width"]) == (64, 64)
    assert cli.run(["models"]) == 0
    assert "hf://" in capsys.readouterr().out


def test_generate_writes_what_the_python_api_samples(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "generate",
        "--device",
        "cpu",
        "--model",
        str(tiny_run),
        "--seeds",
        "3,5",
        "--psi",
        "0.9",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert cli.run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path), "pictures": 2}
    sampler = facegan.load(str(tiny_run), device="cpu")
    assert isinstance(sampler, Sampler)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "seed0005.png")), sampler.sample([5], psi=0.9)[0]
    )


@pytest.mark.parametrize(("file_format", "name"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_generate_makes_a_grid_in_each_format(
    file_format: str, name: str, tiny_run: Path, tmp_path: Path
) -> None:
    arguments = ["generate", "--model", str(tiny_run), "--seeds", "0-8", "--grid", "--format", file_format]
    assert cli.run([*arguments, "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / f"grid.{file_format}") as image:
        assert (image.format, image.size) == (name, (24, 24))


@pytest.mark.parametrize("command", ["generate", "mix"])
def test_a_cutoff_where_nothing_is_truncated_has_a_note(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.Model(networks()[0], StyleGAN2Config(**SHAPE), name="small")
    monkeypatch.setattr(models, "load", lambda name, **_: model)
    out = tmp_path if command == "generate" else tmp_path / "mix.png"
    seeds = ["--seeds", "0"] if command == "generate" else ["--rows", "0", "--cols", "1"]
    words = [command, "--device", "cpu", "--cutoff", "2", "--out", str(out), *seeds]
    with pytest.warns(UserWarning, match="cutoff 2 has no effect with psi 1, which truncates nothing"):
        assert cli.run([*words, "--psi", "1"]) == 0
    assert cli.run(words) == 0  # without a note


def test_train_then_resume_then_nothing_left(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = small_training(picture_folder, out, "--json")
    assert cli.run([*arguments, "--batch", "16", "--stop-after", "0s", *settings(*TINY)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"run": str(out), "images_seen": 16, "finished": False}
    assert "--resume" in captured.err
    assert cli.run(["train", "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is True
    assert cli.run(["train", "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images_seen"] == 32


def test_resume_with_another_setting_is_refused_and_forced(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    arguments = small_training(picture_folder, out, "--batch", "16")
    assert cli.run([*arguments, *settings(*TINY)]) == 0
    capsys.readouterr()
    again = ["train", "--out", out, "--resume", *settings("total_images=48", "seed=7")]
    assert "another config (seed: 0 -> 7)" in one_line(capsys, again)
    assert cli.run([*again, "--force"]) == 0


def test_labels_and_first_weights_by_words(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """train with data.labels, generate --label, train --init: what arrives is what was asked for."""
    folder = shutil.copytree(picture_folder, tmp_path / "labelled")
    lines = [{"file_name": f"{n:02d}.png", "hat": ("cap", "fez")[n % 2]} for n in range(24)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    few = [*TINY, "batch=8", "micro_batch=8", "data.labels=hat"]
    run = ["train", "--preset", "dcgan-32", "--data", str(folder), *settings(*few), "--device", "cpu"]
    assert cli.run([*run, "--out", str(tmp_path / "a")]) == 0
    assert cli.run([*run, "--out", str(tmp_path / "b"), "--init", str(tmp_path / "a")]) == 0
    assert json.loads((tmp_path / "b" / "transfer.json").read_text())["fresh"] == []
    made = {}
    for label in ("hat=cap", "hat=fez"):
        out = tmp_path / label
        arguments = ["--model", str(tmp_path / "a"), "--label", label, "--out", str(out), "--seeds", "3"]
        assert cli.run(["generate", *arguments]) == 0
        assert cli.run(["generate", *arguments, "--grid"]) == 0
        expected = Sampler(models.load(str(tmp_path / "a"))).sample([3], 0.7, label=label)[0]
        for name in ("seed0003.png", "grid.png"):
            assert np.array_equal(np.asarray(Image.open(out / name)), expected)
        made[label] = expected.tobytes()
    assert made["hat=cap"] != made["hat=fez"]
    capsys.readouterr()
    assert "no picture has such a label" in one_line(
        capsys, [*run[:-2], "--out", "x", "--set", "data.labels=hut"]
    )


def test_a_run_begins_with_all_settings_of_another(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--batch", "8", "--seed", "5", *settings(*TINY)]
    first = small_training(picture_folder, tmp_path / "a", *few)
    assert cli.run([*first, "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seed"], told["model"]["z_dim"], told["batch"]) == (5, 8, 8)
    assert not (tmp_path / "a").exists()
    assert cli.run(first) == 0
    for config, out in (("a", "b"), ("a/run.json", "c")):
        again = ["train", "--config", str(tmp_path / config), "--out", str(tmp_path / out)]
        assert cli.run(again) == 0
    models_made = [path.read_bytes() for path in sorted(tmp_path.rglob("model.safetensors"))]
    assert len(models_made) == 3
    assert len(set(models_made)) == 1
    capsys.readouterr()
    again = ["train", "--out", "x", "--config", str(tmp_path / "a")]
    assert "one of them" in one_line(capsys, [*again, "--preset", "dcgan-32"])
    assert "one of them" in one_line(capsys, [*again, "--resume"])
    assert "nowhere: No such file" in one_line(capsys, ["train", "--out", "x", "--config", "nowhere"])
    (tmp_path / "damaged.json").write_text("[")
    assert "damaged.json: not usable" in one_line(
        capsys, ["train", "--out", "x", "--config", str(tmp_path / "damaged.json")]
    )


def test_a_model_that_is_not_grown_says_so(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    small = ("z_dim=6", "w_dim=6", "channel_base=64", "channel_max=8")
    arguments = ["train", "--preset", "stylegan2-64-tiny", "--data", str(picture_folder), "--out", out]
    arguments += settings(*(f"model.{value}" for value in small), "total_images=16")
    assert cli.run([*arguments, "--batch", "16", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert cli.run(["generate", "--model", out, "--seeds", "0", "--out", str(tmp_path / "faces")]) == 0
    assert f"{out} has grown to 8 of 64 px so far" in capsys.readouterr().err
    (tmp_path / "run" / "run.json").write_text("[")  # the model is as good as before
    assert cli.run(["generate", "--model", out, "--seeds", "0", "--out", str(tmp_path / "more")]) == 0
