"""The command that takes models of other code bases in: import."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson
from facegan.config import UsageError
from facegan.terminal import stages


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL|NAME",
            help="An official .pkl, rosinality's .pt, its https address, or a name of `facegan models`.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model file to write, .safetensors.")],
    data: Annotated[str, typer.Option(help="What it was trained on, for the model's card.")] = "",
    licence: Annotated[str, typer.Option(help="Its weights' licence, for the model's card.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a model file of another code base's, without executing anything of it."""
    from facegan.interop.agreement import require_suffix
    from facegan.interop.importing import convert
    from facegan.interop.sources import located

    require_suffix(out, ".safetensors")
    with stages() as progress:
        path, known, unchecked = located(source, lambda done, total: progress("download", done, total))
    if known is not None:
        data, licence = data or known.data, licence or known.licence
    try:
        report = convert(path, out, data=data, licence=licence)
    except UsageError as error:
        if not unchecked:
            raise
        path.unlink(missing_ok=True)  # it may be a page to log in: the next attempt is to ask again
        raise UsageError(f"{error}; the download was deleted") from None
    print(json.dumps(asdict(report)) if as_json else report.as_text())
