"""Runs examples/face_generation.ipynb and writes it with its results: docs/notebook.md and its pictures.

python tools/render_notebook.py [IMAGES]        images of each of the two trainings, 60,000 if not given
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import torch
from PIL import Image

from facegan.files import write_text

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "face_generation.ipynb"
PAGE = ROOT / "docs" / "notebook.md"
PICTURES = "images/notebook"  # below docs/


def main() -> None:
    """Writes the page and its pictures."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    os.environ |= {"FACEGAN_NOTEBOOK_IMAGES": str(images), "PYTHONPATH": str(ROOT)}
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as place:
        nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": place}}).execute()
    text, pictures = page(notebook, images)
    folder = PAGE.parent / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (PAGE.parent / name).write_bytes(content)
    write_text(PAGE, text)


def page(notebook: Any, images: int) -> tuple[str, dict[str, bytes]]:
    """The executed notebook as Markdown, and its pictures by their paths below docs/."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            heading = cell.source.splitlines()[0].lstrip("# ")
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{PICTURES}/{len(pictures) + 1}.jpg"
                pictures[name] = as_jpeg(base64.b64decode(data["image/png"]))
                parts.append(f"![{heading}]({name})")
            elif words := output.get("text", data.get("text/plain", "")):
                parts.append(f"```text\n{words.rstrip()}\n```")
    source = NOTEBOOK.relative_to(ROOT)
    ran = f"{date.today()}: {images:,} images a training, torch {torch.__version__}"
    how = f"*[{source}](../{source}) as `tools/render_notebook.py` ran it on {ran}.*"
    return "\n\n".join([parts[0], how, *parts[1:]]) + "\n", pictures


def as_jpeg(png: bytes) -> bytes:
    """A picture of a tenth of the bytes."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


if __name__ == "__main__":
    main()
