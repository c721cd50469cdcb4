"""The command that edits faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegan.cli.options import (
    AsJson,
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
from facegan.config import UsageError
from facegan.known import DEFAULT_MODEL
from facegan.terminal import number, whole_number

if TYPE_CHECKING:
    from facegan.latents.directions import Direction


def edit(
    direction: Annotated[
        list[str] | None,
        typer.Option(help="smile, pca:0 or sefa:3, swept; age=2 held at that strength; repeatable."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Ranges and lists: 0-3, 1,5; a row each; default: 0-3.")
    ] = None,
    latents: StartLatents = None,
    strength: Annotated[
        str | None,
        typer.Option(
            help="Of what is swept: from one number of standard deviations of w to another, or one; "
            "default: -3..3."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Pictures a row; default: 7.")
    ] = None,
    styles: Annotated[
        str | None,
        typer.Option(
            help="The layers that move: coarse, middle, fine, A-B; default: the direction's, or all."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--directions", help="A file of directions; default: beside the model.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("edit.png"),
    model: Model = DEFAULT_MODEL,
    psi: Psi = None,
    noise: Noise = "const",
    label: Label = "",
    listed: Annotated[bool, typer.Option("--list", help="List the directions instead.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Move faces along directions of w: a strip for each seed, or two directions against each other."""
    from facegan import models
    from facegan.files import require_writable_file
    from facegan.images import Provenance, save, save_format
    from facegan.latents.direction_file import read, read_beside
    from facegan.latents.directions import KINDS, Directions
    from facegan.latents.sheets import Edit, figure, layout_of, sheet, strengths
    from facegan.layers import parse_layers
    from facegan.output import require_sides
    from facegan.synthesis import Sampler

    if not direction and not listed:
        raise UsageError("--direction is missing: such as --direction pca:0; --list shows what there is")
    if listed:
        _require_none(
            "with --list",
            {"--direction": direction or None, "--strength": strength, "--steps": steps}
            | {"--seeds": seeds, "--latents": latents, "--psi": psi},
        )
    named = [text.partition("=") for text in direction or []]
    is_swept = any(not equals for _, equals, _ in named)
    if not is_swept:
        swept_only = {"--strength": strength, "--steps": steps}
        _require_none("without a direction that is swept: one without =STRENGTH", swept_only)
    sweep = "-3..3" if strength is None else strength
    start, chosen, text, truncation = given_start(seeds, "0-3", latents, psi)
    range_of = strengths(sweep, steps)
    kind = save_format(out)
    require_writable_file(out, "--out")
    sampler = Sampler(opened_model(model), device=device, precision=precision)
    generator = sampler.generator
    fitted = read_beside(models.find(model), generator) if file is None else read(file, generator)
    given = {} if fitted is None else fitted.directions
    known = Directions(sampler, given=given)
    layers = None if styles is None else parse_layers(styles, generator.num_ws)
    if listed:
        found = [known.named(name, layers) for name in given]
        found += [each for kind in KINDS for each in known.first(kind, 10, layers)]
        print_result({each.name: _described(each, as_json) for each in found}, as_json)
        return
    swept = [known.named(name, layers) for name, equals, _ in named if not equals]
    held = [(known.named(name, layers), number(value)) for name, equals, value in named if equals]
    asked = Edit(swept, held, range_of)
    layout = layout_of(chosen, asked, generator.image_shape[1:])
    require_sides(kind, *layout.size)
    pictures, _ = sheet(sampler, chosen, asked, truncation, noise, label, start)
    along = " ".join(direction or []) + (f" {sweep}" if is_swept else "")
    along += f" layers {styles}" if styles else ""
    out.parent.mkdir(parents=True, exist_ok=True)
    said = Provenance(sampler.model.name, start.text(text), truncation, label=label, edit=along)
    save(out, figure(pictures, layout), said)
    print_result({"sheet": str(out), "pictures": len(pictures)}, as_json)


def _require_none(where: str, options: Mapping[str, object]) -> None:
    """Checks that no option is given that has no effect there.

    Raises:
        UsageError: one is.
    """
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} has no effect {where}")


def _described(direction: Direction, as_json: bool) -> dict[str, Any] | str:
    """Layers, deviation and source, as JSON or in a line."""
    from facegan.layers import layers_text

    said = {
        "layers": list(direction.layers),
        "deviation": round(direction.deviation, 4),
        "source": direction.source,
    }
    layers = layers_text(direction.layers)
    return said if as_json else f"layers {layers}; deviation {direction.deviation:.4g}; of {direction.source}"
