"""What is around the code: the wheel, the pins, the commands that README names."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from facegan.presets import PRESETS

REPOSITORY = Path(__file__).parent.parent


def test_readme_names_the_two_commands_before_any_other() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    commands = [line for block in readme.split("```")[1::2] for line in block.splitlines()[1:]]
    assert commands[0].startswith("make demo")
    assert commands[1].startswith("make test")


def test_every_file_that_readme_and_docs_link_to_exists() -> None:
    for page in [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/*.md"),
        *REPOSITORY.glob("facegan/zoo/*.md"),
    ]:
        for link in page.read_text().split("](")[1:]:
            target = link.split(")")[0].split("#")[0]
            if target and not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_constraints_pin_only_torch() -> None:
    lines = [
        line
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if line[:1] not in ("#", "")
    ]
    assert [line.split("==")[0] for line in lines] == ["torch"]


def test_the_named_extras_are_there() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    expected = {"studio", "onnx", "metrics", "people", "align", "scale", "track", "dev"}
    assert set(project["optional-dependencies"]) == expected


def test_the_docs_table_and_the_help_text_name_every_preset() -> None:
    table = (REPOSITORY / "docs" / "training.md").read_text()
    source = (REPOSITORY / "facegan" / "cli" / "training.py").read_text()
    for name in PRESETS:
        assert f"`{name}`" in table
        assert name in source


@pytest.mark.slow
def test_the_wheel_holds_models_data_and_types_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= 40_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    wanted = {
        "py.typed",
        "zoo/starter-64.zip",
        "zoo/starter-64.md",
        "zoo/dcgan-64.safetensors",
        "zoo/dcgan-64.md",
        "people/assets.npz",
    }
    assert {f"facegan/{name}" for name in wanted} <= names
    for command in (
        ["generate", "--seeds", "0-3", "--grid", "--out", "faces"],
        ["people", "people.zip", "--count", "1", "--resolution", "16"],
    ):
        subprocess.run(
            [sys.executable, "-m", "facegan", *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            check=True,
        )
    assert (tmp_path / "faces" / "grid.png").exists()
    assert (tmp_path / "people.zip").exists()
