"""The examples run as they are, and make what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import facegan

ROOT = Path(facegan.__file__).parent.parent
EXAMPLES = ROOT / "examples"
MADE = {
    "faces": ["faces.png"],
    "mixing": ["mixing.png"],
    "film": ["film.mp4"],
    "editing": ["editing.png"],
    "inversion": ["inversion.png"],
    "training": ["training.png", "runs/example/model.safetensors"],
}
WORDS = {"training": [str(ROOT / "facegan" / "zoo" / "starter-64.zip"), "0.1"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_an_example_makes_what_it_says(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *WORDS.get(name, [])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / path).stat().st_size > 1000 for path in MADE[name])


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == MADE.keys()
