"""The command from pictures back to latents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from facegan.cli.options import AsJson, Device, Model, Precision, opened_model, print_result
from facegan.config import UsageError, choose
from facegan.known import DEFAULT_MODEL
from facegan.terminal import say, stages, whole_number

if TYPE_CHECKING:
    from facegan.images import Crop, Pixels

MAX_PICTURES = 1000
MAX_SHEET_ROWS = 32


def invert(
    pictures: Annotated[
        list[Path], typer.Argument(help="PNG, JPEG or WebP files, aligned as the model's training pictures.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for latents, pictures and sheet.")] = Path("inverted"),
    space: Annotated[
        str, typer.Option(help="w+: a w for each layer, nearer; w: one for all, easier to edit.")
    ] = "w+",
    steps: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Of the search; default: 300.")
    ] = None,
    tuned: Annotated[
        bool, typer.Option("--tune", help="Then tune the model to them: OUT/model.safetensors.")
    ] = False,
    crop: Annotated[str, typer.Option(help="center, pad or celeba.")] = "center",
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the latents whose faces are nearest to given pictures."""
    import numpy as np

    from facegan import models
    from facegan.images import CROPS, Provenance, grid, save
    from facegan.latents.direction_file import beside, carried_over, read_beside, write
    from facegan.latents.files import Latents, check_latents_path, write_latents
    from facegan.latents.inversion import SPACES, STEPS, TUNING_STEPS, grey_levels_apart, invert, tune
    from facegan.models import RUN_MODEL
    from facegan.synthesis import Sampler

    if len(pictures) > MAX_PICTURES:
        raise UsageError(f"{len(pictures):,} pictures: at most {MAX_PICTURES:,} at a time")
    choose("crop", crop, CROPS)
    choose("space", space, SPACES)
    sampler = Sampler(opened_model(model), device=device, precision=precision)
    targets = _read(pictures, sampler.generator.image_shape, cast("Crop", crop))
    latents_path = out / "latents.npz"
    check_latents_path(latents_path, sampler, len(targets), "--out")
    known = read_beside(models.find(model), sampler.generator) if tuned else None
    said = "inverted from a picture"
    with stages() as progress:
        found = invert(
            sampler, targets, space=space, steps=STEPS if steps is None else steps, advance=progress
        )
        made, sheet = found.pictures, [targets, found.pictures]
        if tuned:
            nearer = tune(sampler, found.w, targets, steps=TUNING_STEPS, advance=progress)
            nearer.name = models.name_of(out / RUN_MODEL)
            said += f", {sampler.model.name} tuned to it"
            sampler = Sampler(nearer, device=device, precision=precision)
            made = sampler.pictures(found.w.to(sampler.generator.w_avg.device))
            sheet.append(made)
    write_latents(
        latents_path, sampler, range(len(targets)), start=Latents("w", w_rows=found.w.double().numpy())
    )
    names = [f"inverted{number:04d}.png" for number in range(len(targets))]
    provenance = Provenance(sampler.model.name, "", 1.0, edit=said)
    for name, picture in zip(names, made, strict=True):
        save(out / name, picture, provenance)
    shown = np.stack([part[:MAX_SHEET_ROWS] for part in sheet], axis=1)
    save(out / "sheet.png", grid(shown.reshape(-1, *made.shape[1:]), len(sheet)), provenance)
    result = {"folder": str(out), "latents": str(latents_path), "sheet": str(out / "sheet.png")}
    if tuned:
        result["model"] = str(out / RUN_MODEL)
        models.save(out / RUN_MODEL, sampler.model)
        if known is not None:
            write(beside(out / RUN_MODEL), carried_over(known, sampler.generator))
    apart = grey_levels_apart(made, targets)
    if as_json:
        rows = zip(pictures, names, apart, found.apart_at_first, strict=True)
        each = [
            {"source": str(path), "file": name, "apart": round(end, 2), "apart_at_first": round(first, 2)}
            for path, name, end, first in rows
        ]
        print(json.dumps(result | {"pictures": each}))
        return
    for path, name, end, first in zip(pictures, names, apart, found.apart_at_first, strict=True):
        print(f"{path}: {name}, {end:.1f} grey levels apart (at first {first:.1f})")
    print_result(result, as_json)


def _read(paths: list[Path], shape: tuple[int, int, int], crop: Crop) -> Pixels:
    """The pictures, as large as the model's.

    Raises:
        UsageError: a file that cannot be read, or one that the crop does not fit.
    """
    import numpy as np

    from facegan.images import decode, enlarges, fit

    channels, height, width = shape
    found, enlarged = [], 0
    for path in paths:
        try:
            image = decode(path.read_bytes(), channels)
            found.append(fit(image, (height, width), crop))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None
        enlarged += enlarges(image.size, (height, width), crop)
    if enlarged:
        say(f"facegan: note: {enlarged:,} of {len(paths):,} pictures are smaller than {width}x{height}")
    return np.stack(found)
