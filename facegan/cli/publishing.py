"""The command that gives a model to others: push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson, print_result
from facegan.config import UsageError


def push(
    name: Annotated[str, typer.Argument(metavar="HUB", help="Where to: hf://owner/name.")],
    model: Annotated[
        str, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")
    ],
    licence: Annotated[str, typer.Option(help="Its weights' licence; default: what its card says.")] = "",
    data: Annotated[str, typer.Option(help="What it was trained on; default: what its card says.")] = "",
    private: Annotated[
        bool, typer.Option("--private", help="Make a repository that nobody else sees.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="What the commit says.")] = None,
    dry_run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the files there instead, to look at them first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a model on the Hugging Face hub, with a model card and samples."""
    from facegan import publishing

    if dry_run is not None:
        if private or message is not None:
            raise UsageError("--private and --message have no effect with --dry-run")
        files = publishing.stage(model, name, dry_run, licence=licence, data=data)
        print_result({file.name: str(file) for file in files}, as_json)
        return
    url = publishing.push(
        model, name, private=private, message=message or publishing.MESSAGE, licence=licence, data=data
    )
    print_result({"model": name, "commit": url}, as_json)
