"""`facegan train` as a process that is stopped or killed, and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import TINY, settings, small_training

from facegan import cli
from facegan.checkpoint import checkpoints, load
from facegan.training.run_folder import RunFolder

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
    arguments = small_training(picture_folder, out)
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


@pytest.mark.slow
def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    words = ["animate", "--seeds", "0-500", "--out", str(tmp_path / "film.mp4")]
    process = subprocess.Popen([sys.executable, "-m", "facegan", *words], env=ONE_THREAD)
    while not any(tmp_path.iterdir()):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_result_that_the_terminal_cannot_show_is_no_failure(tmp_path: Path) -> None:
    out = tmp_path / "r\u00fcn"
    words = ["generate", "--seeds", "0", "--out", str(out)]
    ascii_only = ONE_THREAD | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "facegan", *words], env=ascii_only, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"pictures: 1" in done.stdout
    assert (out / "seed0000.png").is_file()
