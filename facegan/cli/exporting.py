"""The command that hands a model to what runs without facegan: export."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from facegan.cli.options import AsJson, Model, opened_model, print_result
from facegan.config import UsageError, choose
from facegan.known import DEFAULT_MODEL
from facegan.terminal import fail


@dataclass(frozen=True)
class Format:
    """Where the function is that writes it, and which options it takes.

    It is called with the model, the path to write and those of its options that were given, and returns what
    is printed.
    """

    module: str
    function: str
    options: tuple[str, ...] = ()
    discriminator: bool = False  # whether it writes D as well, where the model has one


FORMATS = {
    "onnx": Format("facegan.interop.onnx", "export_onnx", ("start", "half")),
    "torch": Format("facegan.interop.torch_program", "export_torch", ("start",)),
    "web": Format("facegan.interop.web", "export_web", ("half",)),
    "space": Format("facegan.interop.space", "export_space"),
    "rosinality": Format("facegan.interop.rosinality", "write_rosinality", discriminator=True),
}
STARTS = ("z", "w")


def export(
    out: Annotated[Path, typer.Option(help="The file to write; of web and space a folder.")],
    file_format: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "onnx",
    model: Model = DEFAULT_MODEL,
    start: Annotated[
        str | None, typer.Option(help="What the file takes: z, or the w of every layer; default: z.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store weights as float16: half the size, small differences.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX, torch.export program, web page, Hugging Face Space, or for rosinality's code."""
    chosen = FORMATS[choose("format", file_format, FORMATS)]
    given: dict[str, Any] = {} if start is None else {"start": choose("start", start, STARTS)}
    given |= {"half": True} if half else {}
    for name in given:
        if name not in chosen.options:
            takes = [word for word, other in FORMATS.items() if name in other.options]
            raise UsageError(
                f"--{name} has no effect with --format {file_format}: {', '.join(takes)} take it"
            )
    from facegan.interop.agreement import Disagreement

    write = getattr(import_module(chosen.module), chosen.function)
    try:
        result = write(opened_model(model, discriminator=chosen.discriminator), out, **given)
    except Disagreement as error:
        raise typer.Exit(fail(str(error), 1)) from None
    print_result(result, as_json)
