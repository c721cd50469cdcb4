"""What is around the code: the wheel, the pins, the commands that README names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import facegan
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
    expected = {"studio", "onnx", "metrics", "people", "track", "dev"}
    assert set(project["optional-dependencies"]) == expected


def test_the_docs_table_and_the_help_text_name_every_preset() -> None:
    table = (REPOSITORY / "docs" / "training.md").read_text()
    source = (REPOSITORY / "facegan" / "cli" / "training.py").read_text()
    for name in PRESETS:
        assert f"`{name}`" in table
        assert name in source


def test_the_version_stands_in_one_place_and_heads_the_list_of_changes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == facegan.__version__


def built(target: str, source: Path, out: Path) -> Path:
    """The wheel or sdist of a checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (file,) = out.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[target])
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= 40_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for path in (REPOSITORY / "facegan").rglob("*") if path.is_file()]
    there = {path.relative_to(REPOSITORY).as_posix() for path in files if path.parent.name != "__pycache__"}
    assert {"facegan/py.typed", "facegan/zoo/starter-64.zip", "facegan/people/assets.npz"} <= there
    assert names == there


@pytest.mark.slow
def test_the_sdist_is_small_and_its_wheel_is_the_same_file(wheel: Path, tmp_path: Path) -> None:
    sdist = built("sdist", REPOSITORY, tmp_path)
    assert sdist.stat().st_size <= 40_000_000
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = built("wheel", tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for command in (
        ["generate", "--seeds", "0-3", "--grid", "--out", "faces"],
        ["people", "people.zip", "--count", "1", "--resolution", "16"],
        ["edit", "--direction", "smile", "--seeds", "0", "--steps", "2", "--out", "edit.png"],
    ):
        subprocess.run(
            [sys.executable, "-m", "facegan", *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            check=True,
        )
    for made in ("faces/grid.png", "people.zip", "edit.png"):
        assert (tmp_path / made).exists(), made
