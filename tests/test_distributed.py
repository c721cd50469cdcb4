"""Several processes train what one does, and a lost one ends the run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shared_runs import RUNS
from states import flat, newest
from torch import Tensor

from facegan import cli
from facegan.checkpoint import checkpoints
from facegan.config import to_json
from facegan.run import Run
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder

HERE = Path(__file__).parent


# ---- two processes


def apart(folder: Path, other: Path) -> dict[str, float]:
    """The distance of the checkpoints' tensors that differ, of their norm; all else is equal."""
    left, right = flat(newest(folder)), flat(newest(other))
    assert left.keys() == right.keys()
    found = {}
    for name, value in left.items():
        if not isinstance(value, Tensor):
            assert value == right[name], name
        elif not torch.equal(value, right[name]):
            a, b = value.double(), right[name].double()
            found[name] = float((a - b).norm() / a.norm().clamp_min(1e-9))
    return found


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)} | more


def torchrun(*arguments: str) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return [*start, *arguments]


@pytest.fixture(scope="module")
def trained(
    tiny_run_config: Run, picture_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """The folder of a run by its name and way: one (process), two, one-two (resumed on two) or two-one."""
    folder = tmp_path_factory.mktemp("distributed")
    runs = {name: make(tiny_run_config, picture_folder) for name, make in RUNS.items()}
    jobs = []
    for name, run in runs.items():
        train(run, folder / name / "one")
        calls = iter([False, True])
        train(run, folder / name / "one-two", stop_requested=lambda calls=calls: next(calls))  # type: ignore[misc]
        job = {"run": to_json(run), "resume": False, "stop_after_steps": -1}
        jobs += [
            job | {"out": str(folder / name / "two")},
            job | {"out": str(folder / name / "one-two"), "resume": True},
            job | {"out": str(folder / name / "two-one"), "stop_after_steps": 2},
        ]
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    command = torchrun(str(HERE / "one_of_many.py"), "jobs", str(path))
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for name, run in runs.items():
        assert newest(folder / name / "two-one")["images_seen"] == 2 * run.batch
        train(run, folder / name / "two-one", resume=True)
    return lambda name, way: folder / name / way


@pytest.mark.slow
@pytest.mark.parametrize("way", ["two", "one-two", "two-one"])
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_does(name: str, way: str, trained: Callable[[str, str], Path]) -> None:
    """The same bits, but for BatchNorm's running statistics, and for sums of four parts in another order."""
    found = apart(trained(name, "one"), trained(name, way))
    assert all(distance < 1e-5 for distance in found.values()), found
    if name != "four parts":
        assert [tensor for tensor in found if "running" not in tensor] == []
    logs = [RunFolder(trained(name, each)).read_log() for each in ("one", way)]
    for one, other in zip(*logs, strict=True):
        assert one["images_seen"] == other["images_seen"]
        assert all(one[term] == pytest.approx(other[term], rel=1e-4) for term in one if term[1] == "_")


@pytest.mark.slow
def test_a_run_of_two_processes_leaves_what_one_leaves(trained: Callable[[str, str], Path]) -> None:
    def names(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != ".lock"}

    assert names(trained("stylegan2", "two")) == names(trained("stylegan2", "one"))
    config = [(trained("stylegan2", way) / "run.json").read_bytes() for way in ("one", "two")]
    assert config[0] == config[1]


# ---- what goes wrong


TINY = {
    "model.resolution": 8, "model.z_dim": 8, "model.g_base_channels": 4, "model.d_base_channels": 4,
    "batch": 16, "micro_batch": 8, "total_images": 128,
    "intervals.checkpoint_images": 32, "intervals.log_images": 64, "intervals.sample_images": 64,
}  # fmt: skip


def new_run(pictures: Path, out: Path, **values: int) -> list[str]:
    settings = [word for name, value in (TINY | values).items() for word in ("--set", f"{name}={value}")]
    of = ["train", "--preset", "dcgan-32", "--data", str(pictures), "--device", "cpu", "--precision", "fp32"]
    return [*of, *settings, "--out", str(out)]


def two(fault: str, arguments: list[str], ranks: tuple[int, ...] = (0, 1)) -> list[tuple[int, str, float]]:
    """Exit status, stderr and seconds of each rank, started by hand: rank 0 keeps the store itself."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    began, processes = time.monotonic(), []
    for rank in ranks:
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
        command = [sys.executable, str(HERE / "one_of_many.py"), fault, *arguments]
        processes.append(
            subprocess.Popen(command, env=environment(**place), stderr=subprocess.PIPE, text=True)
        )
    ends: list[tuple[int, str, float]] = []
    for process in processes:
        try:
            _, text = process.communicate(timeout=5 if ends and fault == "stuck" else 200)
        except subprocess.TimeoutExpired:  # the stuck one
            process.kill()
            _, text = process.communicate()
        ends.append((process.returncode, text, time.monotonic() - began))
    return ends


def line_of(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("facegan: ")]
    return line


@pytest.fixture(scope="module")
def whole(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert cli.run(new_run(picture_folder, folder)) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("killed", r"rank 1 of 2 on \S+ is gone or stuck"),
        ("stuck", r"rank 1 of 2 on \S+ is gone or stuck \(Timed out"),
        ("wrong", r"rank 1 of 2 on \S+ stopped: .*the disk is gone"),
        ("differs", r"the processes differ after 64 images: D.* of rank 1 of 2 on \S+ not as in rank 0"),
    ],
)
def test_a_process_that_fails_ends_the_run_with_one_line_and_loses_nothing(
    fault: str, says: str, picture_folder: Path, whole: Path, tmp_path: Path
) -> None:
    """It fails after 48 images, 16 after a checkpoint; one process goes on from there to the same end."""
    folder = tmp_path / "run"
    (status, text, seconds), (other, _, _) = two(fault, new_run(picture_folder, folder))
    assert re.search(f"training failed: {says}", line_of(text)), text
    assert f"what was saved is kept, go on with --out {folder} --resume" in line_of(text)
    assert status == 1
    assert other == (-9 if fault in ("killed", "stuck") else 1)
    assert seconds < 90  # a minute at most, once three processes have imported torch on one core
    assert [path.stem for path in checkpoints(folder / "checkpoints")] == ["000000032"]
    assert cli.run(["train", "--out", str(folder), "--resume"]) == 0
    found = apart(whole, folder)
    assert all("running" in tensor and distance < 1e-6 for tensor, distance in found.items()), found


@pytest.mark.slow
def test_a_loss_of_one_process_that_is_not_finite_sends_all_back(
    picture_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (status, text, _), (other, _, _) = two("nan", new_run(picture_folder, folder))
    assert (status, other) == (0, 0), text
    (event,) = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert (event["images_seen"], event["event"]) == (32, "went back")
    assert newest(folder)["memory"]["retry"] == 1


@pytest.mark.slow
def test_a_process_that_does_not_come_is_named(picture_folder: Path, tmp_path: Path) -> None:
    ((status, text, _),) = two("alone", new_run(picture_folder, tmp_path / "run"), ranks=(0,))
    assert "no answer from rank 1 of 2 within 6 s; nothing was begun" in line_of(text)
    assert status == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_wrong_use_is_found_by_the_first_process_and_told(picture_folder: Path, tmp_path: Path) -> None:
    arguments = new_run(picture_folder, tmp_path / "run", micro_batch=16)
    (first, text, _), (second, other, _) = two("none", arguments)
    assert "use --set micro_batch=8" in line_of(text)
    assert "rank 0 of 2" in line_of(other)
    assert "use --set micro_batch=8" in line_of(other)
    assert (first, second) == (2, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_signal_to_torchrun_saves_and_stops(picture_folder: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = torchrun("-m", "facegan", *new_run(picture_folder, folder, total_images=10_000_000))
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "wrote" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=120)
    assert f"saved; go on with: facegan train --out {folder} --resume" in text, text
    seen = newest(folder)["images_seen"]
    assert [path.stem for path in checkpoints(folder / "checkpoints")][-1] == f"{seen:09d}"
