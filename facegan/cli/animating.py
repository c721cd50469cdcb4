"""The command that films faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import (
    AsJson,
    Batch,
    Device,
    Label,
    Model,
    Precision,
    Psi,
    StartLatents,
    given_start,
    opened_model,
    print_result,
)
from facegan.config import UsageError
from facegan.known import DEFAULT_MODEL, DEFAULT_PSI
from facegan.terminal import counter, number, whole_number


def animate(
    seeds: Annotated[
        str | None, typer.Option(help="The faces to pass, in this order: 1,2,3 or 0-11; default: 0-5.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The film: .mp4, .gif or .webp.")] = Path("walk.mp4"),
    model: Model = DEFAULT_MODEL,
    seconds_per_key: Annotated[
        float, typer.Option(parser=number, metavar="S", help="From one face to the next.")
    ] = 2.0,
    fps: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Frames a second.")] = 30,
    path: Annotated[
        str | None,
        typer.Option(help="z: along arcs in z, w: along a spline in w; default: z, with --latents w."),
    ] = None,
    easing: Annotated[str, typer.Option(help="smooth: rests at the faces, none: does not.")] = "smooth",
    no_loop: Annotated[
        bool, typer.Option("--no-loop", help="End at the last face instead of going back to the first.")
    ] = False,
    walks: Annotated[
        str, typer.Option(help="ROWSxCOLUMNS films in one, such as 2x3; the seeds are dealt out.")
    ] = "1x1",
    mix: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="SEED", help="Some layers keep the style of this seed."),
    ] = None,
    styles: Annotated[
        str | None, typer.Option(help="Those of --mix: coarse, middle, fine, A-B; default: coarse.")
    ] = None,
    psi: Psi = None,
    noise: Annotated[
        str, typer.Option(help="const: held, drift: goes once around in the film, or none.")
    ] = "const",
    label: Label = "",
    latents: StartLatents = None,
    scale: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Enlarge N times; default: to a short side of 256 or more."
        ),
    ] = None,
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Film faces that turn into each other, round and round."""
    from facegan.animation import Held, Motion, check_walks, deal, frames_per_key, parse_walks, write_walks
    from facegan.layers import parse_layers
    from facegan.synthesis import Sampler

    if styles is not None and mix is None:
        raise UsageError("--styles has no effect without --mix SEED")
    rows, columns = parse_walks(walks)
    check_walks(out, fps, noise)
    start, keys, text, truncation = given_start(seeds, "0-5", latents, psi)
    motion = Motion(
        frames_per_key(seconds_per_key, fps), path or ("z" if latents is None else "w"), easing, not no_loop
    )
    each = len(deal(keys, rows * columns)[0])
    sampler = Sampler(opened_model(model), device=device, precision=precision, batch=batch)
    held = None
    if mix is not None:
        layers = parse_layers("coarse" if styles is None else styles, sampler.generator.num_ws)
        held = Held(mix, layers, DEFAULT_PSI if psi is None else psi)
    with counter("frames", motion.frames(each)) as advance:
        film = write_walks(
            out,
            sampler,
            keys,
            motion,
            rows=rows,
            columns=columns,
            fps=fps,
            scale=scale,
            psi=truncation,
            noise=noise,
            label=label,
            held=held,
            start=start,
            keys_text=text,
            wrote=advance,
        )
    result = {"path": str(film.path), "frames": film.frames, "seconds": round(film.seconds, 3)}
    print_result(result, as_json)
