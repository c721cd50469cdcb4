"""The notebook runs from top to bottom, at a small size."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import facegan

ROOT = Path(facegan.__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "face_generation.ipynb"
PAGE = ROOT / "docs" / "notebook.md"
PICTURES = 6


def test_the_notebook_is_stored_without_results() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_the_page_in_the_documentation_shows_the_notebook_s_cells_as_they_are() -> None:
    results = re.compile(
        r"```text\n.*?\n```"  # printed
        r"|!\[[^\]]*\]\(images/notebook/\d+\.jpg\)"  # shown
        r"|\*\[examples/[^\n]*",  # how it was run
        re.DOTALL,
    )
    shown = results.sub("", PAGE.read_text())
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    parts = [source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in sources]
    assert re.sub(r"\n{3,}", "\n\n", shown).strip() == re.sub(r"\n{3,}", "\n\n", "\n\n".join(parts))


def test_the_page_s_pictures_are_there_and_small() -> None:
    named = re.findall(r"\((images/notebook/\d+\.jpg)\)", PAGE.read_text())
    stored = {
        path.relative_to(PAGE.parent).as_posix(): path for path in PAGE.parent.glob("images/notebook/*")
    }
    assert sorted(stored) == sorted(named)
    assert len(named) == PICTURES
    assert sum(path.stat().st_size for path in stored.values()) <= 1_500_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("FACEGAN_NOTEBOOK_IMAGES", "256")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    results = [result for cell in notebook.cells for result in cell.get("outputs", [])]
    assert sum("image/png" in result.get("data", {}) for result in results) == PICTURES
    assert not [result for result in results if result.get("name") == "stderr"]
