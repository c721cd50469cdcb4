"""The command that draws invented people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson, print_result
from facegan.terminal import interruptible, pace, say, whole_number


def people(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The set to draw: a name that ends in .zip, or a folder's."),
    ],
    count: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Pictures in all.")] = 1000,
    resolution: Annotated[
        int, typer.Option(parser=whole_number, metavar="R", help="Pixels of a side, 16 to 1024.")
    ] = 64,
    seed: Annotated[
        int, typer.Option(parser=whole_number, metavar="S", help="Another seed draws other people.")
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="W", help="Processes; default: one a core.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="png, webp (both lossless) or jpg.")] = "png",
    as_json: AsJson = False,
) -> None:
    """Draw people who do not exist, with labels; stopped or killed, the same command goes on."""
    from facegan.people.draw import draw_people

    compiling = (
        "still at the first picture: where the drawing code has to be compiled, once a machine, it takes up "
        "to a minute"
    )
    with pace("pictures", compiling) as progress, interruptible() as stopped:
        drawn = draw_people(
            out,
            count=count,
            resolution=resolution,
            seed=seed,
            workers=workers,
            file_format=file_format,
            progress=progress,
            stop=stopped,
        )
    if not drawn.finished:
        options = f"--count {count} --resolution {resolution} --seed {seed} --format {file_format}"
        say(f"saved; go on with: facegan people {out} {options}")
    elif not drawn.new:
        say(f"{out}: all {count:,} pictures are there already")
    result = {"path": str(out), "pictures": drawn.pictures, "finished": drawn.finished}
    times = {"seconds": drawn.seconds, "pictures_per_second": drawn.pictures_per_second}
    print_result(result | {name: round(value, 2) for name, value in times.items()}, as_json)
