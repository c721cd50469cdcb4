"""The notebook runs from top to bottom, at a small size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import facegan

NOTEBOOK = Path(facegan.__file__).parent.parent / "examples" / "face_generation.ipynb"


def test_the_notebook_is_stored_without_results() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("FACEGAN_NOTEBOOK_IMAGES", "256")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    results = [result for cell in notebook.cells for result in cell.get("outputs", [])]
    assert sum("image/png" in result.get("data", {}) for result in results) == 6
    assert not [result for result in results if result.get("name") == "stderr"]
