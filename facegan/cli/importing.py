"""The command that takes models of other code bases in: import."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson


def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="An official .pkl, or rosinality's .pt.")],
    out: Annotated[Path, typer.Option(help="The model file to write, .safetensors.")],
    data: Annotated[str, typer.Option(help="What it was trained on, for the model's card.")] = "",
    licence: Annotated[str, typer.Option(help="Its weights' licence, for the model's card.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a model file of another code base's, without executing anything of it."""
    from facegan.interop.importing import convert

    report = convert(source, out, data=data, licence=licence)
    print(json.dumps(asdict(report)) if as_json else report.as_text())
