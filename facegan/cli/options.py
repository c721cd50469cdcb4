"""What several commands have in common."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")
