"""The house plan, checked by machine: who may import whom, what is public, how large it is."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

import facegan

ROOT = Path(facegan.__file__).parent
REPOSITORY = ROOT.parent

# The order in which data flows: a module imports from its own rank or a lower one, and never in a circle.
RANKS = {
    "card": 0, "config": 0, "cores": 0, "download": 0, "files": 0, "known": 0, "tensor_file": 0, "images": 0,
    "labels": 0, "layers": 0, "people": 0, "randomness": 0, "video": 0,
    "augment": 1, "growth": 1, "networks": 1, "losses": 1, "data": 1, "perception": 1,
    "checkpoint": 2, "hub": 2, "models": 2, "presets": 2, "run": 2,
    "graphs": 3, "runtime": 3, "runtimes": 3, "synthesis": 3,
    "animation": 4, "interop": 4, "latents": 4, "mixing": 4, "output": 4, "metrics": 4, "publishing": 4,
    "training": 5,
    "demo": 6, "serve": 6, "terminal": 6,
    "cli": 7, "__main__": 8,
}  # fmt: skip
ARCHITECTURES = {"networks.dcgan", "networks.stylegan", "networks.stylegan2"}
OFF_LIMITS = {"synthesis": {"training", "losses", "augment"}, "output": {"training", "losses", "augment"}}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    """The facegan modules a file imports, without the leading "facegan."."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "facegan":
            assert node.level == 0, f"{path}: relative import"
            base = (node.module or "").removeprefix("facegan").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                found.add(inner if inner in MODULES else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("facegan.") for a in node.names if a.name.startswith("facegan.")}
    return found - {""}


FILES = sorted(ROOT.rglob("*.py"))
MODULES = {module_name(path): path for path in FILES} | {}
NAMED = {name: path for name, path in MODULES.items() if name}


@pytest.mark.parametrize("name", NAMED)
def test_imports_go_down_the_ranks(name: str) -> None:
    own = name.split(".")[0]
    for imported in imports_of(NAMED[name]):
        room = imported.split(".")[0]
        assert RANKS[room] <= RANKS[own], (
            f"{name} (rank {RANKS[own]}) imports {imported} (rank {RANKS[room]})"
        )
        assert room not in OFF_LIMITS.get(own, set()), f"{name} must not import {imported}"
        if name in ARCHITECTURES:
            assert imported not in ARCHITECTURES, "architectures never import each other"


def test_imports_have_no_circles() -> None:
    graph = {name: imports_of(path, top_level_only=True) & NAMED.keys() for name, path in NAMED.items()}
    graph = {name: {i for i in found if not name.startswith(f"{i}.")} for name, found in graph.items()}
    while graph:
        leaves = {name for name, found in graph.items() if not found & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: found for name, found in graph.items() if name not in leaves}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_module_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_the_public_api_is_the_listed_one() -> None:
    assert facegan.__all__ == [
        "PRESETS",
        "DataConfig",
        "Dataset",
        "Provenance",
        "Run",
        "Sampler",
        "UsageError",
        "__version__",
        "load",
        "open_dataset",
        "train",
    ]
    for name in facegan.__all__:
        assert getattr(facegan, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="frobnicate"):
        facegan.frobnicate  # noqa: B018


def test_every_public_function_and_class_has_a_docstring() -> None:
    missing = [
        f"{name}.{node.name}"
        for name, path in NAMED.items()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert missing == []


def test_the_tracked_tree_stays_small() -> None:
    if not shutil.which("git"):
        pytest.skip("no git here")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= 40 * 2**20
