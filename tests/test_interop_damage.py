"""Damaged model files: cut off anywhere or with changed bytes, they are refused or do no harm."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hostile_pickles import bounded, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lookalike_nvidia import official, pickled
from lookalike_tensorflow import tensorflow_pickle

from facegan.config import UsageError
from facegan.interop.importing import convert

fuzzed = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def genuine() -> dict[str, bytes]:
    """A small file of each kind, all of which can be read."""
    snapshot = official(resolution=8)
    state = OrderedDict(a=torch.arange(300.0), b=torch.arange(50.0).half())
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return {
        "pickle": pickled(snapshot | {"G": None}),
        "protocol 2": pickled({"G_ema": snapshot["G_ema"]}, 2),
        "tensorflow": tensorflow_pickle(),
        "zip": new.getvalue(),
        "old stream": old.getvalue(),
    }


GENUINE = genuine()


@pytest.mark.parametrize("kind", GENUINE)
def test_a_file_cut_off_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    content = GENUINE[kind]
    cuts = sorted({len(content) * percent // 100 for percent in range(100)} | {len(content) - 1})
    for cut in cuts:
        refused(content[:cut], tmp_path)


def flip(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for position, value in changes:
        changed[position % len(content)] = value
    return bytes(changed)


CHANGES = st.tuples(
    st.sampled_from(sorted(GENUINE)),
    st.lists(st.tuples(st.integers(0, 2**24), st.integers(0, 255)), min_size=1, max_size=8),
)


def survives(case: tuple[str, list[tuple[int, int]]], folder: Path) -> None:
    """A changed file is refused, or is another model, for numbers have no checksum in a pickle."""
    kind, changes = case
    (folder / "changed.pkl").write_bytes(flip(GENUINE[kind], changes))
    out = folder / "model.safetensors"
    out.unlink(missing_ok=True)
    with bounded():
        try:
            convert(folder / "changed.pkl", out)
        except UsageError:
            assert not out.exists()
    assert {path.name for path in folder.iterdir()} <= {"changed.pkl", "model.safetensors"}


@given(CHANGES)
@fuzzed
def test_changed_bytes_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)


@pytest.mark.slow
@given(CHANGES)
@settings(fuzzed, max_examples=500)
def test_500_changed_files_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)


@pytest.mark.soak
@given(CHANGES)
@settings(fuzzed, max_examples=10_000)
def test_10000_changed_files_do_no_harm(tmp_path: Path, case: tuple[str, list[tuple[int, int]]]) -> None:
    survives(case, tmp_path)
