"""Nothing is lost: a run is stopped at every single operation on the disk, and killed for real at any moment.

What a resumed run leaves must be, byte for byte, what a run that was left alone leaves; only the speed in the
log may differ.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty_disk import FaultyDisk, Killed, full, read_only
from small_data import noise_pictures

from facegan import checkpoint, cli
from facegan.config import to_json
from facegan.data import DataConfig, open_dataset
from facegan.files import write_atomically
from facegan.run import Intervals, Measure, Run
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder

FAULTS: dict[str, Callable[[], OSError]] = {"full": full, "read-only": read_only}


@pytest.fixture(scope="module")
def busy_run(tiny_run_config: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three steps with a checkpoint after each, a log line and a measurement after the second."""
    return replace(
        tiny_run_config,
        data=DataConfig(str(noise_pictures(tmp_path_factory.mktemp("data") / "hundred"))),
        intervals=Intervals(log_images=32, sample_images=32, checkpoint_images=16),
        measure=Measure(every_images=32, features="pixels", samples=100),
        total_images=48,
    )


@pytest.fixture(scope="module")
def whole(busy_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left alone."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(busy_run, folder)
    return folder


def left_by(folder: Path) -> dict[str, object]:
    """Everything in a run folder but when it was started; of the log, all but the time it took."""
    found: dict[str, object] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "losses.png", "starts.jsonl")
    }
    timed = ("seconds", "images_per_second")
    log = RunFolder(folder).read_log()
    found["log.jsonl"] = [{k: v for k, v in line.items() if k not in timed} for line in log]
    return found


def gone_on(run: Run, folder: Path) -> dict[str, object]:
    """What a user does after a crash: resume, or start where there is nothing to resume."""
    train(run, folder, resume=RunFolder(folder).exists())
    return left_by(folder)


def operations_of(run: Run, folder: Path) -> int:
    with FaultyDisk() as disk:
        train(run, folder)
    return len(disk.operations)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no checkpoint yet")
def test_a_run_killed_at_any_operation_on_the_disk_resumes_exactly(
    busy_run: Run, whole: Path, tmp_path: Path
) -> None:
    expected, count = left_by(whole), operations_of(busy_run, tmp_path / "counted" / "run")
    assert {
        "metrics.jsonl",
        "best.safetensors",
        "model.safetensors",
        "samples/000000032.jpg",
    } < expected.keys()
    assert count > 60
    for at in range(count):
        folder = tmp_path / str(at) / "run"
        with FaultyDisk(at, Killed()) as disk, pytest.raises(Killed):
            train(busy_run, folder)
        assert gone_on(busy_run, folder) == expected, f"killed at {at}: {disk.operations[-1]}"


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore:no checkpoint yet")
def test_a_disk_that_is_full_or_read_only_is_one_line_and_loses_nothing(
    fault: str, busy_run: Run, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At every operation: at making a folder, at opening, writing, syncing, renaming."""
    expected, count = left_by(whole), operations_of(busy_run, tmp_path / "counted" / "run")
    statuses = set()
    for at in range(count):
        folder = tmp_path / str(at) / "run"
        error = FAULTS[fault]()
        with FaultyDisk(at, error) as disk:
            statuses.add(status := cli.run(train_arguments(busy_run, folder)))
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("facegan:")]
        if status == 0:  # a full disk can still delete an old checkpoint
            assert (fault, disk.operations[-1]) == ("full", "unlink")
            continue
        assert len(lines) == 1
        assert str(error.strerror) in lines[0]
        assert ".partial" not in lines[0]
        if fault == "full":
            assert list(folder.rglob("*.partial*")) == [], "the half-written file was not deleted"
        if RunFolder(folder).exists():
            assert f"facegan train --out {folder} --resume" in lines[0]
        assert gone_on(busy_run, folder) == expected, f"failed at {at}: {disk.operations[-1]}"
    assert statuses <= {0, 1}


def train_arguments(run: Run, folder: Path) -> list[str]:
    """The command line of this run."""
    values = to_json(run)
    groups = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = {name: value for name, value in values.items() if name not in groups}
    plain |= {f"{group}.{name}": value for group, items in groups.items() for name, value in items.items()}
    settings = [
        word for name, value in plain.items() for word in ("--set", f"{name}={json.dumps(value).strip()}")
    ]
    return ["train", "--preset", "dcgan-32", "--out", str(folder), *settings]


@pytest.mark.slow
def test_a_memory_map_whose_building_was_killed_anywhere_is_built_anew(
    picture_folder: Path, tmp_path: Path
) -> None:
    config = DataConfig(str(picture_folder), mirror=False)

    def pixels(cache: Path) -> np.ndarray:
        return open_dataset(config, resolution=8, cache=cache).pictures(range(24)).numpy()

    with FaultyDisk() as disk:
        expected = pixels(tmp_path / "whole")
    assert len(disk.operations) > 8
    for at in range(len(disk.operations)):
        for fault in (Killed(), full(), read_only()):
            cache = tmp_path / f"{at} {fault}"
            with FaultyDisk(at, fault), pytest.raises(type(fault)):
                pixels(cache)
            np.testing.assert_array_equal(pixels(cache), expected)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "replace"])
def test_a_write_that_fails_names_its_file_and_leaves_the_old_one(
    operation: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    at = ["open", "write", "fsync", "replace"].index(operation)
    with (
        FaultyDisk(at, FAULTS[fault]()) as disk,
        pytest.raises(OSError, match=r"No space|Read-only") as caught,
    ):
        write_atomically(path, lambda file: file.write(b"new"))
    assert disk.operations[at] == operation
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("at", range(12))
def test_a_checkpoint_that_fails_anywhere_keeps_the_system_s_own_error(at: int, tmp_path: Path) -> None:
    """Through torch's writer it would be a RuntimeError about positions in an archive."""
    parts = {"G": {f"w{number}": torch.zeros(64) for number in range(100)}}
    checkpoint.save(tmp_path / "1.pt", parts)
    before = (tmp_path / "1.pt").read_bytes()
    with FaultyDisk(at, full(), once=True) as disk, pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "1.pt", parts | {"images_seen": 1})
    assert "replace" not in disk.operations[:at]  # it was never renamed
    assert (tmp_path / "1.pt").read_bytes() == before


# ---- real processes, really killed

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
KILLED_RUN = {
    "model.resolution": 8, "model.z_dim": 8, "model.g_base_channels": 4, "model.d_base_channels": 4,
    "batch": 16, "micro_batch": 16, "track": "no",
    "intervals.checkpoint_images": 64, "intervals.log_images": 32, "intervals.sample_images": 256,
}  # fmt: skip


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.soak)]
)
def test_a_process_killed_at_random_moments_resumes_exactly(
    kills: int, picture_folder: Path, tmp_path: Path
) -> None:
    """kill -9 in bfloat16: while it starts, reads, trains and writes."""

    def command(folder: Path) -> list[str]:
        start = ["train", "--data", str(picture_folder), "--preset", "dcgan-32", "--precision", "bf16"]
        values = KILLED_RUN | {"total_images": 3_200 * kills}
        settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
        go_on = RunFolder(folder).exists()
        arguments = ["train", "--resume"] if go_on else [*start, *settings, "--device", "cpu"]
        return [sys.executable, "-m", "facegan", *arguments, "--out", str(folder)]

    whole, folder = tmp_path / "a" / "run", tmp_path / "b" / "run"
    began = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True, env=ONE_THREAD, timeout=300)
    trained = float(RunFolder(whole).read_log()[-1]["seconds"])
    startup = time.monotonic() - began - trained
    longest = startup + 1.2 * trained / kills  # by far not enough to be done before the last kill
    moments, killed_at, half_written = random.Random(kills), [], 0
    for _ in range(kills):
        process = subprocess.Popen(
            command(folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ONE_THREAD
        )
        with pytest.raises(subprocess.TimeoutExpired):  # else it was done before it could be killed
            process.wait(timeout=moments.uniform(0.0, longest))
        process.kill()
        process.wait(timeout=60)
        half_written += len(list(folder.rglob("*.partial*")))
        run = RunFolder(folder)
        newest = run.newest_checkpoint(warn=pytest.fail) if run.exists() else None
        killed_at.append(newest["images_seen"] if newest else 0)
    subprocess.run(command(folder), check=True, capture_output=True, env=ONE_THREAD, timeout=300)
    assert left_by(folder) == left_by(whole)
    print(f"killed {kills} times at {killed_at} images, {half_written} half-written files cleared away")
