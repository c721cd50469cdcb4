"""The command that shows a run: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson, print_result


def report(
    run: Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The page; default: report.html in the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """A page about a run: faces, curves, settings; one HTML file that needs nothing else."""
    from facegan.training.report import write_report

    print_result(write_report(run, out), as_json)
