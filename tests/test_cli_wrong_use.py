"""Wrong use of a command is one line and exit status 2, before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from command_line import one_line

from facegan import cli
from facegan.synthesis import Sampler


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
        (["train", "--out", "x", "--preset", "dcgan-64", "--set", "batch=many"], "expected a whole number"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--batch", "0"], "batch 0"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--batch", "most"], "'most' is not a whole number"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--data", "nowhere"], "no such folder or zip"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--crop", "round"], "one of center, pad, celeba"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--stop-after", "soon"], "90s, 20m, 2h"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--stop-after", "5"], "90s, 20m, 2h"),
        (["train", "--out", "x", "--preset", "dcgan-64", "--force"], "no effect without --resume"),
        (["train", "--out", "x", "--resume"], "no run to resume"),
        (["animate", "--seeds", "1"], "1 key for 1 walk: each needs 2 or more"),
        (["animate", "--seeds", "0-4294967295"], "a walk goes through 2 to 1,000"),
        (["animate", "--seeds", "0-6", "--walks", "2x3"], "12 would do"),
        (["animate", "--walks", "2"], "walks '2': ROWSxCOLUMNS, such as 2x3"),
        (["animate", "--out", "a.mov"], "film format '.mov': one of .mp4, .webp, .gif"),
        (["animate", "--out", "a.gif", "--fps", "60"], "fps 60: 1 to 50 in .gif"),
        (["animate", "--fps", "0"], "fps 0: 1 to 240 in .mp4"),
        (["animate", "--seconds-per-key", "1e308", "--fps", "200"], "1e+308: times fps 200 at most 100,000"),
        (["animate", "--seconds-per-key", "1e300"], "1e+300: times fps 30 at most 100,000"),
        (["animate", "--seconds-per-key", "nan"], "seconds per key nan"),
        (["animate", "--seconds-per-key", "0.001"], "0 frames from key to key"),
        (["animate", "--path", "x"], "path 'x': one of z, w"),
        (["animate", "--easing", "smoth"], "did you mean 'smooth'"),
        (["animate", "--noise", "random"], "noise 'random': one of const, drift, none"),
        (["animate", "--scale", "99"], "scale 99: 1 to 32"),
        (["animate", "--scale", "32", "--walks", "1x5", "--seeds", "0-9"], "at most 8192 pixels wide"),
        (["animate", "--styles", "fine"], "--styles has no effect without --mix"),
        (["animate", "--model", "dcgan-64", "--mix", "3"], "a StyleGAN or StyleGAN2"),
        (["animate", "--latents", "a.npz", "--seeds", "0-3"], "--latents and --seeds: faces start from one"),
        (
            ["edit", "--direction", "a", "--latents", "a.npz", "--seeds", "0"],
            "--latents and --seeds: faces start from one",
        ),
        (["generate", "--latents", "a.npz", "--like", "3"], "--latents and --like: faces start from one"),
        (["animate", "--latents", "a.npz"], "No such file"),
        (["generate", "--latents", "a"], "latents format of 'a': its name has no ending; one of .npz, .json"),
        (["animate", "--out", "a"], "film format of 'a': its name has no ending; one of .mp4, .webp, .gif"),
        (["mix", "--out", "a"], "picture format of 'a': its name has no ending; one of .png"),
        (["serve", "--api-keys", "nope"], "--api-keys 'nope': No such file or directory; a file with an API"),
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


def test_a_group_of_settings_that_is_off_says_how_to_turn_it_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--preset", "stylegan2-64", "--out", "x", "--set"]
    assert "growth is null here; --set growth={...}" in one_line(
        capsys, [*words, "growth.first_resolution=8"]
    )
    assert "model.grows=true and growth={}" in one_line(capsys, [*words, "model.grows=true"])


def test_a_loop_of_links_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    words = ["train", "--preset", "dcgan-32", "--out", str(tmp_path / "x"), "--data", str(tmp_path / "loop")]
    assert "symbolic links" in one_line(capsys, words)
