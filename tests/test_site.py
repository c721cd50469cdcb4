"""The documentation site: complete, and it asks nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import facegan

ROOT = Path(facegan.__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = {"index.md", "contributing.md", "changelog.md"}


def pages_of(entries: list[dict[str, object]]) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        for value in entry.values():
            found |= pages_of(value) if isinstance(value, list) else {str(value)}
    return found


def test_every_page_is_in_the_site_s_contents() -> None:
    navigation = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    cards = {f"zoo/{path.name}" for path in (ROOT / "facegan" / "zoo").glob("*.md")}
    assert navigation == {path.name for path in DOCS.glob("*.md")} | cards | GENERATED


def test_the_reference_has_every_public_name() -> None:
    written = (DOCS / "api.md").read_text()
    described = {name.rsplit(".", 1)[-1] for name in re.findall(r"^::: (\S+)$", written, re.MULTILINE)}
    assert described == set(facegan.__all__) - {"__version__"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the site was built in, without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|source|iframe)[^>]+src=\"?(?:https?:)?//", text)
        loaded += re.findall(r"<link[^>]+rel=\"?stylesheet[^>]+href=\"?(?:https?:)?//", text)
        assert not loaded, page.name


@pytest.mark.slow
def test_formulas_are_shown_without_a_script_and_the_notebook_is_there_to_take(site: Path) -> None:
    text = (site / "notebook.html").read_text()
    assert text.count("<math ") == 2
    assert "$$" not in text
    assert 'href="face_generation.ipynb"' in text
    assert (site / "face_generation.ipynb").read_bytes() == (
        ROOT / "examples" / "face_generation.ipynb"
    ).read_bytes()
