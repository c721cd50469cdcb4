"""Sets of people for tests, drawn with a stand-in for the renderer: noise from the person's seed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from facegan.people import draw
from facegan.people.draw import draw_people
from facegan.people.person import Person

COUNT = 3
EXTRAS = ["metadata.jsonl", "README.md", "people.json"]


@dataclass
class Stub:
    image: np.ndarray
    landmarks: np.ndarray


def noise(person: Person, resolution: int) -> Stub:
    """A picture and landmarks that are a function of the person's seed."""
    random = np.random.default_rng(person.seed)
    image = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    return Stub(image, random.uniform(0, resolution, (68, 2)))


def draw_as(monkeypatch: pytest.MonkeyPatch, render: Callable[[Person, int], Stub]) -> None:
    module = ModuleType("facegan.people.render")
    module.render = render  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facegan.people.render", module)


def drawn(out: Path, count: int = COUNT, **options: Any) -> draw.Drawn:
    return draw_people(out, count=count, resolution=16, **{"seed": 7, "workers": 1, **options})


def words(out: Path, **options: object) -> list[str]:
    """The command line of this set."""
    given = {"count": COUNT, "resolution": 16, "seed": 7, "workers": 1} | options
    return [
        "people",
        str(out),
        *(word for name, value in given.items() for word in (f"--{name}", str(value))),
    ]


def hidden(out: Path) -> list[Path]:
    return sorted(out.parent.glob(".*"))


def partials(out: Path) -> tuple[Path, Path]:
    return out.with_name(f".{out.name}.partial.zip"), out.with_name(f".{out.name}.partial.jsonl")


def broken_off(out: Path, after: int, count: int = COUNT) -> draw.Drawn:
    """Draws so many pictures and stops."""
    done: list[int] = []
    return drawn(out, count, progress=lambda now, _: done.append(now), stop=lambda: done[-1] >= after)
