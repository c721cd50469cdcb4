"""`facegan studio`: wrong use, and a missing package, in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import one_line

from facegan import cli


def test_the_studio_without_gradio_names_the_extra(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.run(["studio", "--model", str(tiny_run), "--gallery", str(tmp_path)]) == 2
    assert "pip install 'facegan[studio]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "dcgn-64"], "did you mean 'dcgan-64'"),
        (["--gallery", "file/folder"], "is not a folder"),
        (["--device", "tpu"], "one of auto, cpu, cuda, mps"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEGAN_GALLERY", "kept")
    (tmp_path / "file").touch()
    assert said in one_line(capsys, ["studio", *arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
