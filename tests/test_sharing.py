"""Sharing a batch among processes: dealt once and in order, or refused; and one process has nobody to ask."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shared_runs import RUNS, growing
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.data import open_dataset
from facegan.run import Run
from facegan.training.distributed import World, fingerprint, require_shares
from facegan.training.joining import joined, place_of
from facegan.training.memory import fitted, micro_batches
from facegan.training.state import new_state
from facegan.training.step import train_step

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
