"""The command line: its words are frozen, and it starts fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from facegan import __version__, cli

WORDS = {
    "demo": {"--out", "--json"},
    "train": {
        "--config", "--dry-run",
        "--out", "--preset", "--data", "--set", "--crop", "--init", "--resume", "--force", "--batch",
        "--stop-after", "--seed", "--device", "--precision", "--json",
    },
    "report": {"run", "--out", "--json"},
    "generate": {
        "--seeds", "--out", "--model", "--psi", "--cutoff", "--noise", "--label", "--like", "--radius",
        "--latents", "--save-latents", "--grid", "--format", "--batch", "--runtime", "--device",
        "--precision", "--json",
    },
    "mix": {
        "--model", "--rows", "--cols", "--styles", "--figure", "--psi", "--cutoff", "--noise", "--label",
        "--out", "--batch", "--device", "--precision", "--json",
    },
    "animate": {
        "--seeds", "--out", "--model", "--seconds-per-key", "--fps", "--path", "--easing", "--no-loop",
        "--walks", "--mix", "--styles", "--psi", "--noise", "--label", "--latents", "--scale", "--batch",
        "--device", "--precision", "--json",
    },
    "edit": {
        "--direction", "--seeds", "--strength", "--steps", "--styles", "--directions", "--out", "--model",
        "--psi", "--noise", "--label", "--latents", "--list", "--device", "--precision", "--json",
    },
    "invert": {
        "pictures", "--out", "--space", "--steps", "--tune", "--crop", "--model", "--device", "--precision",
        "--json",
    },
    "evaluate": {
        "--model", "--data", "--metrics", "--samples", "--psi", "--noise", "--seed", "--features",
        "--features-file", "--pictures", "--resolution", "--crop", "--batch", "--device", "--precision",
        "--closest", "--write", "--json",
    },
    "import": {"source", "--out", "--data", "--licence", "--json"},
    "export": {"--out", "--format", "--model", "--start", "--half", "--json"},
    "models": {"--json"},
    "studio": {"--model", "--port", "--host", "--gallery", "--runs", "--device"},
    "serve": {
        "--model", "--port", "--host", "--api-keys", "--allow-origin", "--set", "--device", "--precision",
    },
    "push": {
        "name", "--model", "--licence", "--data", "--private", "--message", "--dry-run", "--json",
    },
    "people": {"out", "--count", "--resolution", "--seed", "--workers", "--format", "--json"},
}  # fmt: skip


def test_the_words_of_the_command_line_are_frozen() -> None:
    import typer

    command = typer.main.get_command(cli.app)
    found = {
        name: {option for parameter in sub.params for option in parameter.opts}
        for name, sub in command.commands.items()  # type: ignore[attr-defined]
    }
    assert found == WORDS


def test_importing_the_command_line_imports_no_torch_and_no_numpy() -> None:
    code = (
        "import sys, facegan.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version_and_help_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    assert cli.run([]) == 0
    assert "Commands:" in capsys.readouterr().out
