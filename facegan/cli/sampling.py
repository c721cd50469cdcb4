"""The commands that make pictures of a model: generate, mix."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from facegan.cli.options import (
    AsJson,
    Batch,
    Device,
    Label,
    Model,
    Noise,
    Precision,
    Psi,
    StartLatents,
    given_start,
    opened_model,
    print_result,
)
from facegan.config import UsageError, choose
from facegan.known import DEFAULT_MODEL, DEFAULT_PSI
from facegan.terminal import counter, number, whole_number

FIGURES = ("stylegan",)

Cutoff = Annotated[
    int | None,
    typer.Option(parser=whole_number, metavar="N", help="Truncate the first N layers only; default: all."),
]


def generate(
    seeds: Annotated[
        str | None, typer.Option(help="Ranges and lists: 0-63, 1,5,9-12; default: 0-15.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("faces"),
    model: Model = DEFAULT_MODEL,
    psi: Psi = None,
    cutoff: Cutoff = None,
    noise: Noise = "const",
    label: Label = "",
    like: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="SEED", help="Faces near that of this seed, one a seed."),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            parser=number, metavar="R", help="With --like: 0 is the face itself, 1 any other; default: 0.3."
        ),
    ] = None,
    latents: StartLatents = None,
    save_latents: Annotated[
        Path | None, typer.Option(help="Write the w of the pictures to this .npz.")
    ] = None,
    as_grid: Annotated[bool, typer.Option("--grid", help="One grid.png instead of single pictures.")] = False,
    file_format: Annotated[str, typer.Option("--format", help="png, jpg or webp.")] = "png",
    batch: Batch = 32,
    runtime: Annotated[
        str, typer.Option(help="auto, eager, compiled or onnx: auto looks for the fastest in long runs.")
    ] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Make pictures: OUT/seed0000.png and so on, or one grid."""
    from facegan.images import SAVE_FORMATS
    from facegan.latents.files import check_latents_path, write_latents
    from facegan.latents.near import DEFAULT_RADIUS, Near
    from facegan.networks.base import NOISE_MODES
    from facegan.output import each_once, write_grid, write_pictures
    from facegan.synthesis import Sampler

    if latents is not None and like is not None:
        raise UsageError("--latents and --like: faces start from one or the other")
    if radius is not None and like is None:
        raise UsageError("--radius has no effect without --like SEED")
    start, chosen, text, truncation = given_start(seeds, "0-15", latents, psi)
    if like is not None:
        start = Near(like, DEFAULT_RADIUS if radius is None else radius)
    file_format = choose("format", file_format.lower().removeprefix("."), [s[1:] for s in SAVE_FORMATS])
    choose("noise", noise, NOISE_MODES)
    _note_idle_cutoff(cutoff, psi)
    found = opened_model(model)
    if runtime in ("compiled", "onnx") and noise != "const" and found.generator.has_noise:
        warnings.warn(f"runtime {runtime!r} has no effect with this noise: it runs eagerly", stacklevel=2)
        runtime = "eager"  # preparing the other takes long
    how_to_run: dict[str, Any] = {"device": device, "precision": precision, "runtime": runtime}
    sampler = Sampler(found, batch=batch, pictures=len(chosen), **how_to_run)
    if not as_grid and not isinstance(chosen, range):
        chosen = list(each_once(chosen))
    if save_latents is not None:
        check_latents_path(save_latents, sampler, len(chosen))
    which: dict[str, Any] = {"psi": truncation, "cutoff": cutoff, "label": label, "start": start}
    how: dict[str, Any] = which | {"noise": noise, "file_format": file_format}
    if as_grid:
        path = write_grid(sampler, chosen, out, seeds_text=text, **how)
        result: dict[str, Any] = {"grid": str(path), "pictures": len(chosen)}
    else:
        with counter("pictures", len(chosen)) as advance:
            count = write_pictures(sampler, chosen, out, wrote=advance, **how)
        result = {"folder": str(out), "pictures": count}
    if save_latents is not None:
        write_latents(save_latents, sampler, chosen, **which)
        result["latents"] = str(save_latents)
    print_result(result, as_json)


def mix(
    rows: Annotated[str, typer.Option(help="Seeds down the left edge, whose pictures are changed.")] = "0-3",
    cols: Annotated[str, typer.Option(help="Seeds along the top, whose styles they get.")] = "4-9",
    styles: Annotated[
        str | None,
        typer.Option(help="Layers: coarse, middle, fine, 4-7, or a list coarse,9-11; default: coarse."),
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="stylegan: coarse, middle and fine styles in one picture.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    psi: Psi = None,
    cutoff: Cutoff = None,
    noise: Noise = "const",
    label: Label = "",
    out: Annotated[Path, typer.Option(help="The picture: .png, .jpg or .webp.")] = Path("mix.png"),
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Mix styles: each row's face with some layers of each column's, in one labelled picture."""
    from facegan.layers import parse_layers
    from facegan.mixing import Bands, count_pictures, stylegan_bands, write_figure
    from facegan.synthesis import Sampler, parse_seeds

    if figure is not None:
        choose("figure", figure, FIGURES)
        if styles is not None:
            raise UsageError("--styles has no effect with --figure: it shows coarse, middle and fine styles")
    row_seeds, column_seeds = parse_seeds(rows), parse_seeds(cols)
    _note_idle_cutoff(cutoff, psi)
    sampler = Sampler(opened_model(model), device=device, precision=precision, batch=batch)
    num_ws, words = sampler.generator.num_ws, "coarse" if styles is None else styles
    bands: Bands = {words: parse_layers(words, num_ws)} if figure is None else stylegan_bands(num_ws)
    total = count_pictures(row_seeds, column_seeds, bands)
    with counter("pictures", total) as advance:
        write_figure(
            out,
            sampler,
            row_seeds,
            column_seeds,
            bands,
            psi=DEFAULT_PSI if psi is None else psi,
            noise=noise,
            cutoff=cutoff,
            label=label,
            seeds_text=f"rows {rows}, columns {cols}",
            made=advance,
        )
    print_result({"picture": str(out), "pictures": total}, as_json)


def _note_idle_cutoff(cutoff: int | None, psi: float | None) -> None:
    if cutoff is not None and psi == 1:
        warnings.warn(f"cutoff {cutoff} has no effect with psi 1, which truncates nothing", stacklevel=3)
