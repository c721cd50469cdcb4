"""Several processes train what one does; what they cannot share is refused, and a lost one ends the run."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_stylegan2 import small_run
from states import flat
from torch import Tensor, nn

from facegan import cli
from facegan.augment import Ada
from facegan.checkpoint import checkpoints
from facegan.config import UsageError, to_json
from facegan.data import DataConfig, open_dataset
from facegan.growth import Growth
from facegan.losses import StyleGAN2Loss
from facegan.networks.stylegan import StyleGANConfig
from facegan.run import Adam, Intervals, Run
from facegan.training.distributed import World, fingerprint, require_shares
from facegan.training.joining import joined, place_of
from facegan.training.loop import train
from facegan.training.memory import fitted, micro_batches
from facegan.training.run_folder import RunFolder
from facegan.training.state import new_state
from facegan.training.step import train_step

HERE = Path(__file__).parent
TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}  # fmt: skip


def world_of(rank: int, size: int) -> World:
    world = World()
    world.rank, world.size = rank, size
    return world


# ---- dealing


@pytest.mark.parametrize(("parts", "size"), [(1, 1), (4, 1), (4, 2), (4, 4), (6, 3)])
def test_every_part_is_dealt_once_and_in_order(parts: int, size: int) -> None:
    dealt = [part for rank in range(size) for part in world_of(rank, size).share(parts)]
    assert dealt == list(range(parts))
    assert len({len(world_of(rank, size).share(parts)) for rank in range(size)}) == 1


def test_parts_that_cannot_be_shared_are_refused_with_those_that_can(tiny_run_config: Run) -> None:
    whole = replace(tiny_run_config, micro_batch=16)
    message = "a batch of 16 in parts of micro_batch 16 makes 1, not a multiple of 2; use --set micro_batch=8"
    with pytest.raises(UsageError, match=f"2 processes: {message}"):
        require_shares(whole, 2)
    with pytest.raises(UsageError, match=r"micro_batch=2$"):
        require_shares(replace(whole, batch=12, micro_batch=12), 6)
    with pytest.raises(UsageError, match="use a batch that is a multiple of 3"):
        require_shares(whole, 3)
    require_shares(replace(whole, micro_batch=4), 2)
    require_shares(whole, 1)


def test_every_stage_of_growing_must_be_shared(picture_folder: Path) -> None:
    run = growing(picture_folder)
    require_shares(replace(run, growth=replace(run.growth, batches=(8, 4)), micro_batch=2), 2)  # type: ignore[type-var]
    with pytest.raises(UsageError, match=r"a batch of 4 in parts of micro_batch 4 .* micro_batch=2"):
        require_shares(replace(run, growth=replace(run.growth, batches=(8, 4)), micro_batch=4), 2)  # type: ignore[type-var]


def test_batch_auto_takes_parts_that_all_get(tiny_run_config: Run) -> None:
    run = replace(tiny_run_config, micro_batch=0)
    dataset = open_dataset(run.data, resolution=8)
    assert micro_batches(replace(run, batch=12), 2) == [6, 3, 2, 1]
    assert fitted(run, dataset, lambda _: None, 10**12, processes=4).micro_batch == 4
    with pytest.raises(UsageError, match="3 processes cannot share a batch of 16"):
        fitted(run, dataset, pytest.fail, 10**12, processes=3)


@pytest.mark.parametrize(
    ("name", "passes"), [("dcgan", 2), ("stylegan", 1), ("stylegan2", 1), ("four parts", 4)]
)
def test_g_makes_the_images_of_a_process_s_only_part_once(
    name: str, passes: int, tiny_run_config: Run, picture_folder: Path
) -> None:
    """For both players, but with BatchNorm, whose statistics would tell how many processes there were."""
    run = RUNS[name](tiny_run_config, picture_folder)
    state, made = new_state(run), []
    hook = state.generator.synthesis

    def counted(*arguments: Any, **named: Any) -> Tensor:
        made.append(1)
        return hook(*arguments, **named)

    state.generator.synthesis = counted  # type: ignore[method-assign]
    dataset = open_dataset(run.data, resolution=run.model.resolution)
    phases = [phase for phase in run.loss.phases() if phase.every == 1]
    train_step(state, run, dataset, phases, world_of(0, 2))
    assert len(made) == passes


# ---- one process


def test_one_process_has_nobody_to_ask() -> None:
    world, tensor, given = World(), torch.ones(3), object()
    world.add([tensor])
    with world.statistics([nn.BatchNorm2d(1)]):
        pass
    world.wait()
    world.require_equal({"G": 1}, "now")
    assert tensor.tolist() == [1, 1, 1]
    assert world.first(lambda: given) is given
    assert (world.agreed(False), world.agreed(True)) == (False, True)
    assert list(world.share(4)) == [0, 1, 2, 3]


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    threads = torch.get_num_threads()
    with joined("cpu") as world:
        assert type(world) is World
    assert torch.get_num_threads() == threads
    assert place_of({"WORLD_SIZE": "1"}) is None


def test_torchrun_s_environment_is_read() -> None:
    place = place_of(TORCHRUN)
    assert place is not None
    assert (place.rank, place.size, place.local_rank, place.neighbours) == (3, 4, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE 'x'"),
        ({"RANK": "4"}, "RANK '4': with WORLD_SIZE set, a number from 0 to 3; start .* with torchrun"),
        ({"RANK": ""}, "RANK ''"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK '2'"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT '99999'"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is missing"),
    ],
)  # fmt: skip
def test_an_environment_that_makes_no_sense_is_refused(change: Mapping[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        place_of({**TORCHRUN, **change})


def test_a_fingerprint_is_of_every_bit(tiny_run_config: Run) -> None:
    parts = new_state(tiny_run_config).parts()
    before = fingerprint(parts)
    assert fingerprint(copy.deepcopy(parts)) == before
    weight = next(iter(parts["D"].values()))
    weight.view(torch.int32)[0, 0, 0, 0] ^= 1
    after = fingerprint(parts)
    assert {name for name in before if before[name] != after[name]} == {"D"}
    assert fingerprint({"log": {"steps": 1}}) != fingerprint({"log": {"steps": 2}})


# ---- two processes


def growing(pictures: Path) -> Run:
    """8 px for 8 images, 16 px fades in for 8."""
    return Run(
        model=StyleGANConfig(
            resolution=16, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8
        ),
        loss=StyleGAN2Loss(r1_gamma=10.0, r1_interval=1, path_length_weight=0.0, mixing_probability=0.9),
        data=DataConfig(str(pictures)),
        optimizer=Adam(lr=0.001, beta1=0.0, beta2=0.99),
        intervals=Intervals(log_images=8, sample_images=64, checkpoint_images=64),
        growth=Growth(first_resolution=8, stable_images=8, fade_images=8),
        batch=4,
        micro_batch=2,
        total_images=24,
        device="cpu",
        precision="fp32",
    )


def with_everything(pictures: Path) -> Run:
    """StyleGAN2 with path length, lazy R1, mixing, minibatch std, and ADA that moves every other step."""
    run = replace(small_run(pictures), batch=16, micro_batch=8, total_images=96)
    return replace(run, augment=Ada(interval=2, full_images=500, p_start=0.4))


RUNS: dict[str, Callable[[Run, Path], Run]] = {
    "dcgan": lambda tiny, _: replace(
        tiny, model=replace(tiny.model, resolution=16)
    ),  # D has BatchNorm as well
    "stylegan": lambda _, pictures: growing(pictures),
    "stylegan2": lambda _, pictures: with_everything(pictures),
    "four parts": lambda _, pictures: replace(with_everything(pictures), micro_batch=4),
}


def newest(folder: Path) -> dict[str, Any]:
    parts = RunFolder(folder).newest_checkpoint(warn=pytest.fail)
    assert parts is not None
    return flat(parts)


def apart(folder: Path, other: Path) -> dict[str, float]:
    """The distance of the checkpoints' tensors that differ, of their norm; all else is equal."""
    left, right = newest(folder), newest(other)
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
        assert newest(folder / name / "two-one")[".images_seen"] == 2 * run.batch
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
    assert newest(folder)[".memory.retry"] == 1


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
    seen = newest(folder)[".images_seen"]
    assert [path.stem for path in checkpoints(folder / "checkpoints")][-1] == f"{seen:09d}"
