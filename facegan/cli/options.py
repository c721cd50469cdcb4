"""What several commands have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegan.config import UsageError
from facegan.known import DEFAULT_PSI
from facegan.terminal import number, say, whole_number

if TYPE_CHECKING:
    from facegan.models import Model as LoadedModel
    from facegan.synthesis import Start

_WORDS = {None: "none", False: "no", True: "yes"}

Model = Annotated[str, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Psi = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="X",
        help=f"Truncation: 1 is the whole variety, 0 the average face; default: {DEFAULT_PSI}.",
    ),
]
StartLatents = Annotated[
    Path | None, typer.Option(help="Start from the w or z of this .npz or .json instead of seeds.")
]
Noise = Annotated[str, typer.Option(help="const, random or none.")]
Label = Annotated[str, typer.Option(help="Of a model with labels: glasses=yes,age=old; seeds draw the rest.")]
Batch = Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Pictures made at once.")]


def given_start(
    seeds: str | None, default: str, latents: Path | None, psi: float | None
) -> tuple[Start, Sequence[int], str, float]:
    """What pictures start from: seeds, or a file of latents; its numbers, these as text, and psi.

    psi is DEFAULT_PSI unless given, but for w of a file, which is truncated already.

    Raises:
        UsageError: both are given, or either is not usable.
    """
    from facegan.latents.files import read_latents
    from facegan.synthesis import SEEDS, parse_seeds

    if latents is None:
        text = default if seeds is None else seeds
        return SEEDS, parse_seeds(text), text, DEFAULT_PSI if psi is None else psi
    if seeds is not None:
        raise UsageError("--latents and --seeds: faces start from one or the other")
    stored = read_latents(latents)
    usual = DEFAULT_PSI if stored.w_rows is None else 1.0
    return stored, range(len(stored)), f"0-{len(stored) - 1}", usual if psi is None else psi


def opened_model(name: str, *, discriminator: bool = False) -> LoadedModel:
    """The model of that name; says so where its run has more to grow.

    Raises:
        UsageError: no such model, or it cannot be read.
    """
    from facegan import models

    model = models.load(name, discriminator=discriminator)
    if (Path(name) / "run.json").is_file():
        from facegan.training.run_folder import read_run

        with suppress(UsageError):  # a run.json that cannot be read is no reason not to take the model
            now, whole = model.config.resolution, read_run(Path(name)).model.resolution
            if now < whole:
                say(f"facegan: note: {name} has grown to {now} of {whole} px so far; go on with --resume")
    return model


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout: a line for each name, or JSON."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {_WORDS[value] if value is None or isinstance(value, bool) else value}")
