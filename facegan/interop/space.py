"""A model as a folder for a Hugging Face Space: the studio with this model, for anybody with the address.

    export_space(model, Path("space"))      README.md (what the hub reads), app.py, requirements.txt,
                                            model.safetensors

Whoever visits shares one studio: what one visitor keeps the others see, until the Space starts anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facegan import models
from facegan.card import as_words
from facegan.config import UsageError
from facegan.files import new_folder, require_empty
from facegan.models import Model
from facegan.publishing import licence_lines

_README = """\
---
title: {quoted}
sdk: gradio
app_file: app.py
{licence}
short_description: Faces of people who do not exist
tags: [facegan, gan]
---

# {title}

Synthetic faces by the model {title}, in facegan's studio. The people in them do not exist.
Do not pass them off as photographs of real people. {data}
"""
_APP = '''\
"""facegan's studio with one model, as a Hugging Face Space runs it."""

import os
import sys
import tempfile
from pathlib import Path

from facegan.cli import run

model = str(Path(__file__).with_name("model.safetensors"))
port = os.environ.get("GRADIO_SERVER_PORT", "7860")
words = ["studio", "--model", model, "--host", "0.0.0.0", "--port", port]
sys.exit(run([*words, "--gallery", tempfile.mkdtemp()]))
'''


def export_space(model: Model, out: Path) -> dict[str, Any]:
    """Writes the folder OUT, and returns its path and the name of its licence.

    Raises:
        UsageError: OUT is not an empty or new folder, or the model's card names no licence.
    """
    from facegan import __version__

    licence = model.card.licence
    if licence in ("", "unknown"):
        raise UsageError(f"model {model.name!r}: its card names no licence, so nobody else may use it")
    require_empty(out, "--out")
    data = f"It was trained on {as_words(model.card.data)}." if model.card.data else ""
    title, words = as_words(model.name), "\n".join(licence_lines(licence))
    with new_folder(out) as folder:
        text = _README.format(title=title, quoted=json.dumps(model.name), licence=words, data=data)
        (folder / "README.md").write_text(text, encoding="utf-8")
        (folder / "app.py").write_text(_APP, encoding="utf-8")
        (folder / "requirements.txt").write_text(f"facegan[studio]=={__version__}\n", encoding="utf-8")
        models.save(folder / "model.safetensors", model)
        models.load(str(folder / "model.safetensors"))
    return {"path": str(out), "licence": licence}
