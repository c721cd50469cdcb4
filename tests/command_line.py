"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from facegan import cli

TINY = [
    "model.resolution=8",
    "model.z_dim=8",
    "model.g_base_channels=4",
    "model.d_base_channels=4",
    "total_images=32",
]


def settings(*assignments: str) -> list[str]:
    """The words `--set a.b=c` of each assignment."""
    return [word for assignment in assignments for word in ("--set", assignment)]


def small_training(data: Path, out: Path | str, *more: str) -> list[str]:
    """The words of a training on the CPU with the smallest preset."""
    return ["train", "--preset", "dcgan-32", "--data", str(data), "--out", str(out), "--device", "cpu", *more]


def one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Runs a wrong command line: exit status 2, nothing on stdout, one line on stderr, which is returned."""
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("facegan: ")
    assert captured.err.count("\n") == 1
    assert captured.err[:-1].isprintable()
    assert len(captured.err) < 700
    return captured.err
