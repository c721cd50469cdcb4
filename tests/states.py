"""What a run saved and told of, and comparing training states, for tests of resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from facegan.checkpoint import Parts
from facegan.training.run_folder import RunFolder


def newest(folder: Path) -> Parts:
    """The parts of a run's newest checkpoint, which must be whole."""
    parts = RunFolder(folder).newest_checkpoint(warn=pytest.fail)
    assert parts is not None
    return parts


def events_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's events.jsonl."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists as one level of dotted names."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in flat(item, f"{name}.{key}").items()}
    return {name: value}


def differing(a: Any, b: Any) -> list[str]:
    """Names at which two nested states are not bit-equal."""
    left, right = flat(a), flat(b)
    assert left.keys() == right.keys()

    def same(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, Tensor) else bool(x == y)

    return [name for name in left if not same(left[name], right[name])]
