"""The commands that make pictures of a model: generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from facegan.cli.options import AsJson, Device, Model, Precision, print_result
from facegan.terminal import counter, number, whole_number


def generate(
    seeds: Annotated[str, typer.Option(help="Ranges and lists: 0-63, 1,5,9-12.")] = "0-15",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("faces"),
    model: Model = "dcgan-64",
    psi: Annotated[
        float,
        typer.Option(
            parser=number, metavar="X", help="Truncation: 1 is the whole variety, 0 the average face."
        ),
    ] = 0.7,
    noise: Annotated[str, typer.Option(help="const, random or none.")] = "const",
    label: Annotated[
        str, typer.Option(help="Of a model with labels: glasses=yes,age=old; each seed draws the rest.")
    ] = "",
    as_grid: Annotated[bool, typer.Option("--grid", help="One grid.png instead of single pictures.")] = False,
    file_format: Annotated[str, typer.Option("--format", help="png, jpg or webp.")] = "png",
    batch: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Pictures made at once.")] = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Make pictures: OUT/seed0000.png and so on, or one grid."""
    from facegan import models
    from facegan.output import write_grid, write_pictures
    from facegan.synthesis import Sampler, parse_seeds

    chosen = parse_seeds(seeds)
    sampler = Sampler(models.load(model), device=device, precision=precision, batch=batch)
    how: dict[str, Any] = {"psi": psi, "noise": noise, "label": label, "file_format": file_format}
    if as_grid:
        path = write_grid(sampler, chosen, out, seeds_text=seeds, **how)
        print_result({"grid": str(path), "pictures": len(chosen)}, as_json)
    else:
        with counter("pictures", len(chosen)) as advance:
            count = write_pictures(sampler, chosen, out, wrote=advance, **how)
        print_result({"folder": str(out), "pictures": count}, as_json)
