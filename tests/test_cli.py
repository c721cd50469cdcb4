"""The command line: its words are frozen, results go to stdout, wrong use is one line and exit status 2."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import facegan
from facegan import __version__, cli, models
from facegan.checkpoint import checkpoints, load
from facegan.synthesis import Sampler
from facegan.training.run_folder import RunFolder

WORDS = {
    "demo": {"--out", "--json"},
    "train": {
        "--out", "--preset", "--data", "--set", "--crop", "--init", "--resume", "--force", "--batch",
        "--stop-after", "--seed", "--device", "--precision", "--json",
    },
    "report": {"run", "--out", "--json"},
    "generate": {
        "--seeds", "--out", "--model", "--psi", "--cutoff", "--noise", "--label", "--like", "--radius",
        "--latents", "--save-latents", "--grid", "--format", "--batch", "--runtime", "--device",
        "--precision", "--json",
    },
    "mix": {
        "--model", "--rows", "--cols", "--styles", "--figure", "--psi", "--cutoff", "--noise", "--label",
        "--out", "--batch", "--device", "--precision", "--json",
    },
    "animate": {
        "--seeds", "--out", "--model", "--seconds-per-key", "--fps", "--path", "--easing", "--no-loop",
        "--walks", "--mix", "--styles", "--psi", "--noise", "--label", "--latents", "--scale", "--batch",
        "--device", "--precision", "--json",
    },
    "edit": {
        "--direction", "--seeds", "--strength", "--steps", "--styles", "--directions", "--out", "--model",
        "--psi", "--noise", "--label", "--list", "--device", "--precision", "--json",
    },
    "evaluate": {
        "--model", "--data", "--metrics", "--samples", "--psi", "--seed", "--features", "--features-file",
        "--pictures", "--resolution", "--crop", "--batch", "--device", "--precision", "--write", "--json",
    },
    "import": {"source", "--out", "--data", "--licence", "--json"},
    "export": {"--out", "--format", "--model", "--start", "--half", "--json"},
    "models": {"--json"},
    "studio": {"--model", "--port", "--host", "--gallery", "--runs", "--device"},
    "serve": {
        "--model", "--port", "--host", "--api-keys", "--allow-origin", "--set", "--device", "--precision",
    },
    "push": {
        "name", "--model", "--licence", "--data", "--private", "--message", "--dry-run", "--json",
    },
    "people": {"out", "--count", "--resolution", "--seed", "--workers", "--format", "--json"},
}  # fmt: skip

TINY = [
    "model.resolution=8",
    "model.z_dim=8",
    "model.g_base_channels=4",
    "model.d_base_channels=4",
    "total_images=32",
]


def settings(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def test_the_words_of_the_command_line_are_frozen() -> None:
    import typer

    command = typer.main.get_command(cli.app)
    found = {
        name: {option for parameter in sub.params for option in parameter.opts}
        for name, sub in command.commands.items()  # type: ignore[attr-defined]
    }
    assert found == WORDS


def test_importing_the_command_line_imports_no_torch_and_no_numpy() -> None:
    code = (
        "import sys, facegan.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version_and_help_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    assert cli.run([]) == 0
    assert "Commands:" in capsys.readouterr().out


def one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Runs a wrong command line: exit status 2, nothing on stdout, one line on stderr, which is returned."""
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("facegan: ")
    assert captured.err.count("\n") == 1
    assert captured.err[:-1].isprintable()
    assert len(captured.err) < 700
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frob"], "no command 'frob': one of demo, train, report, generate, mix, animate, "),
        (["genrate"], "did you mean 'generate'"),
        (["--verson"], "did you mean '--version'"),
        (["generate", "--sedes", "3"], "--seeds"),
        (["generate", "--psi", "much"], "'--psi': 'much' is not a number"),
        (["generate", "--batch", "1.5"], "'--batch': '1.5' is not a whole number"),
        (["generate", "--psi"], "requires an argument"),
        (["generate", "faces"], "unexpected extra argument"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--batch", "1000000"], "at most 65,536"),
        (["generate", "--seeds", "5-3"], "write 3-5"),
        (["generate", "--seeds", "4294967296"], "0 to 4294967295"),
        (["generate", "--model", "dcgn-64"], "did you mean 'dcgan-64'"),
        (["generate", "--device", "tpu"], "one of auto, cpu, cuda, mps"),
        (["generate", "--precision", "fp8"], "one of auto, fp32, bf16"),
        (["generate", "--batch", "0"], "batch 0: 1 to 65,536"),
        (["generate", "--batch", "9" * 30], "not a whole number of at most 18 digits"),
        (["generate", "--batch", "1_000"], "'1_000' is not a whole number"),
        (["generate", "--seeds", "\u0663"], "expected ranges and lists"),
        (["generate", "--seeds", "9" * 5000], "each 0 to 4294967295"),
        (["generate", "--seeds", "0-9999999999"], "0 to 4294967295"),
        (["generate", "--seeds", "0-4294967295,5"], "at most 10,000,000"),
        (["generate", "--model", "x" * 300], "File name too long"),
        (["generate", "--out", "x" * 300], "longer than 255 bytes"),
        (["generate", "--out", "a\x1b[31m\nb/" + "x" * 300], "longer than 255 bytes"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--data", "x" * 300], "File name too long"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--stop-after", ""], "90s, 20m, 2h"),
        (
            ["train", "--out", "x", "--preset", "dcgan-64", "--set", "loss.name=wgan"],
            "did you mean 'wgan-gp'",
        ),
        (
            ["generate", "--label", "glasses=yes"],
            "label 'glasses=yes': this model was trained without labels",
        ),
        (["train", "--out", "x", "--preset", "dcgan-64", "--init", ""], "--init needs a model's name"),
        (
            ["train", "--out", "x", "--resume", "--init", "dcgan-64"],
            "--init needs a model's name, and a new run",
        ),
        (["train", "--out", "x", "--preset", "dcgan-64", "--init", "dcgn-64"], "did you mean 'dcgan-64'"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--init", "x" * 5000], "File name too long"),
        (["generate", "--noise", "pink"], "one of const, random, none"),
        (["generate", "--psi", "nan"], "psi nan"),
        (["mix", "--model", "dcgan-64"], "a StyleGAN or StyleGAN2 has"),
        (["generate", "--model", "dcgan-64", "--cutoff", "2"], "cutoff 2: 0 to 1"),
        (["train", "--preset", "dcgan-64"], "--out"),
        (["train", "--out", "x"], "--preset is missing"),
        (["train", "--out", "x", "--preset", "dcgan64"], "did you mean 'dcgan-64'"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--set", "optimizer.lrr=1"], "did you mean 'lr'"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--set", "batch=many"], "expected int"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--batch", "0"], "batch 0"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--batch", "most"], "'most' is not a whole number"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--data", "nowhere"], "no such folder or zip"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--crop", "round"], "one of center, pad, celeba"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--stop-after", "soon"], "90s, 20m, 2h"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--force"], "no effect without --resume"),
        (["train", "--out", "x", "--resume"], "no run to resume"),
        (["animate", "--seeds", "1"], "1 key for 1 walk: each needs 2 or more"),
        (["animate", "--seeds", "0-4294967295"], "a walk goes through 2 to 1,000"),
        (["animate", "--seeds", "0-6", "--walks", "2x3"], "12 would do"),
        (["animate", "--walks", "2"], "walks '2': ROWSxCOLUMNS, such as 2x3"),
        (["animate", "--out", "a.mov"], "film format '.mov': one of .mp4, .webp, .gif"),
        (["animate", "--out", "a.gif", "--fps", "60"], "fps 60: 1 to 50 in .gif"),
        (["animate", "--fps", "0"], "0 frames from key to key"),
        (["animate", "--seconds-per-key", "nan"], "seconds per key nan"),
        (["animate", "--seconds-per-key", "0.001"], "0 frames from key to key"),
        (["animate", "--path", "x"], "path 'x': one of z, w"),
        (["animate", "--easing", "smoth"], "did you mean 'smooth'"),
        (["animate", "--noise", "random"], "noise 'random': one of const, drift, none"),
        (["animate", "--scale", "99"], "scale 99: 1 to 32"),
        (["animate", "--scale", "32", "--walks", "1x5", "--seeds", "0-9"], "at most 8192 pixels wide"),
        (["animate", "--styles", "fine"], "--styles has no effect without --mix"),
        (["animate", "--model", "dcgan-64", "--mix", "3"], "a StyleGAN or StyleGAN2"),
        (["animate", "--latents", "a.npz", "--seeds", "0-3"], "--latents and --seeds: a film passes one"),
        (["animate", "--latents", "a.npz"], "No such file"),
        (["animate", "--psi", "nan"], "psi nan"),
        (["animate", "--label", "glasses=yes"], "this model was trained without labels"),
        (["evaluate", "--pictures", "x"], "--pictures and --resolution go together"),
        (["evaluate", "--resolution", "8"], "--pictures and --resolution go together"),
        (["evaluate", "--pictures", "x", "--resolution", "8", "--write"], "--write has no effect"),
        (["evaluate", "--pictures", "x", "--resolution", "8", "--psi", "1"], "--psi has no effect"),
        (["evaluate", "--seed", "-1"], "seed -1: 0 to 4294967295"),
        (["evaluate", "--seed", "4294967295"], "seeds end at 4294967295"),
        (["evaluate", "--write"], "a file of one's own"),
        (["evaluate", "--pictures", "x", "--resolution", "8"], "no such folder or zip"),
        (["evaluate", "--pictures", "x", "--resolution", "9999"], "resolution 9999: 4 to 4096"),
        (["evaluate", "--features", "inception"], "features 'inception': one of efficientnet, fid,"),
        (["evaluate", "--metrics", "fd,is", "--features", "pixels"], "metric 'is': one of fd, kid, pr"),
        (["evaluate", "--data", "nowhere"], "no such folder or zip"),
        (["evaluate", "--samples", "1"], "samples 1: at least 100"),
        (["import", "x.pkl"], "--out"),
        (["import", "x.pkl", "--out", "x.pt"], "ends in .safetensors"),
        (["import", "x.pkl", "--out", "x.safetensors"], "x.pkl: no such file; name a .pkl or .pt file"),
        (["import", ".", "--out", "x.safetensors"], ".: not a file"),
        (["import", "x" * 300, "--out", "x.safetensors"], "File name too long"),
        (["import", "x.pkl", "--out", "x" * 300 + ".safetensors"], "longer than 255 bytes"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in one_line(capsys, arguments)
    assert list(tmp_path.iterdir()) == []  # and nothing was written


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


@pytest.mark.parametrize("file_format", ["png", "jpg", "webp"])
def test_generate_makes_a_grid_in_each_format(file_format: str, tiny_run: Path, tmp_path: Path) -> None:
    arguments = ["generate", "--model", str(tiny_run), "--seeds", "0-8", "--grid", "--format", file_format]
    assert cli.run([*arguments, "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / f"grid.{file_format}") as image:
        assert image.size == (24, 24)


def test_train_then_resume_then_nothing_left(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["train", "--preset", "dcgan-32", "--data", str(picture_folder), "--out", str(out), "--json"]
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
    arguments = [
        "train",
        "--preset",
        "dcgan-32",
        "--data",
        str(picture_folder),
        "--out",
        out,
        "--batch",
        "16",
    ]
    assert cli.run([*arguments, *settings(*TINY)]) == 0
    capsys.readouterr()
    again = ["train", "--out", out, "--resume", *settings("total_images=48", "seed=7")]
    assert "another config (seed: 0 -> 7)" in one_line(capsys, again)
    assert cli.run([*again, "--force"]) == 0


def test_models_lists_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["dcgan-64"]["height"], table["dcgan-64"]["width"]) == (64, 64)
    assert cli.run(["models"]) == 0
    assert "hf://" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--model", "RUN"],
        ["generate", "--model", "RUN", "--grid"],
        ["train", "--preset", "dcgan-32"],
        ["demo"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
@pytest.mark.parametrize("place", ["file", "file/below", "read-only"])
def test_an_unwritable_place_is_wrong_use(
    arguments: list[str],
    place: str,
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before any work is done. Tests may run as root, who may write anywhere: os.access is made to refuse."""
    (tmp_path / "file").touch()
    (tmp_path / "read-only").mkdir()
    if place == "read-only":
        monkeypatch.setattr("facegan.files.os.access", lambda path, mode: not mode & os.W_OK)
    words = [str(tiny_run) if word == "RUN" else word for word in arguments]
    said = one_line(capsys, [*words, "--out", str(tmp_path / place)])
    assert "--out" in said
    assert "choose another place" in said
    assert list((tmp_path / "read-only").iterdir()) == []


def test_too_little_memory_is_one_line_and_exit_1(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(Sampler, "stream", fail)
    assert cli.run(["generate", "--model", str(tiny_run), "--out", str(tmp_path)]) == 1
    assert "not enough memory; a smaller --batch" in capsys.readouterr().err


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def started(command: list[str], *, until: str) -> subprocess.Popen[str]:
    """A process that has just printed a line with this text to stderr."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    assert process.stderr is not None
    while until not in process.stderr.readline():
        assert process.poll() is None
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_run_can_be_resumed(
    number: signal.Signals, picture_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = [
        "train",
        "--preset",
        "dcgan-32",
        "--data",
        str(picture_folder),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    tiny = settings(
        *TINY[:-1], "total_images=100000000", "intervals.log_images=16", "batch=16", "micro_batch=16"
    )
    # the first tick: training is under way
    process = started([sys.executable, "-m", "facegan", *arguments, *tiny], until="images/s")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopping as soon as everything is saved" in err
    newest = checkpoints(out / "checkpoints")[-1]
    assert int(newest.stem) == RunFolder(out).read_log()[-1]["images_seen"]
    assert cli.run(["train", "--out", str(out), "--resume", "--stop-after", "0s"]) == 0
    assert int(checkpoints(out / "checkpoints")[-1].stem) == int(newest.stem) + 16


@pytest.mark.slow
def test_a_killed_run_resumed_in_a_new_process_is_bit_equal_in_bfloat16(
    picture_folder: Path, tmp_path: Path
) -> None:
    """kill -9 after the first checkpoint; then --resume to the same total as a run that was left alone."""

    def command(out: Path, *more: str) -> list[str]:
        tiny = settings(
            *TINY[:-1], "total_images=1600", "intervals.log_images=16", "batch=16", "micro_batch=16"
        )
        every = settings("intervals.checkpoint_images=160")
        start = ["train", "--preset", "dcgan-32", "--data", str(picture_folder), "--precision", "bf16"]
        arguments = [*start, *tiny, *every] if not more else ["train", *more]
        return [sys.executable, "-m", "facegan", *arguments, "--device", "cpu", "--out", str(out)]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True, env=ONE_THREAD)
    process = started(command(tmp_path / "killed"), until="000000320.pt")
    process.kill()
    process.communicate()
    assert int(checkpoints(tmp_path / "killed" / "checkpoints")[-1].stem) < 1600
    subprocess.run(command(tmp_path / "killed", "--resume"), check=True, capture_output=True, env=ONE_THREAD)
    whole, killed = (load(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "killed"))
    for network in ("G", "D", "G_ema"):
        assert all(torch.equal(whole[network][name], killed[network][name]) for name in whole[network])
    assert whole["images_seen"] == killed["images_seen"] == 1600


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
