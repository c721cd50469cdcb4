"""The command that serves faces over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import Device, Precision
from facegan.terminal import whole_number


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="As --model elsewhere; repeatable, the first is the default."),
    ] = None,
    port: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="0: a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 listens to other machines too.")] = "127.0.0.1",
    api_keys: Annotated[
        Path | None, typer.Option(help="A file with an API key a line; else everyone may ask.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A site whose pages may ask: https://example.org; repeatable.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a limit, such as max_pictures=16; repeatable.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Serve faces over HTTP until Ctrl-C: pictures, mixtures, edits and films, as docs/serving.md says."""
    from facegan.config import override
    from facegan.serve.settings import Settings, require_server_packages

    require_server_packages()
    given = Settings(
        models=tuple(model) if model else Settings.models,
        host=host,
        port=port,
        api_keys="" if api_keys is None else str(api_keys),
        allow_origins=tuple(allow_origin or ()),
        device=device,
        precision=precision,
    )
    chosen = override(given, settings or [])

    from facegan.serve.server import serve as run_server

    run_server(chosen)
