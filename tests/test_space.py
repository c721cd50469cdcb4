"""A folder for a Hugging Face Space: what the hub reads, and an app that serves the studio with the model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import yaml

import facegan
from facegan import cli, models
from facegan.card import Card
from facegan.config import UsageError
from facegan.interop.space import export_space
from facegan.synthesis import Sampler


def with_licence(model: models.Model, licence: str) -> models.Model:
    return replace(model, name="small", card=Card(data="24 pictures", licence=licence))


def test_a_space_says_what_the_hub_asks_for_and_holds_the_model(
    tiny_model: models.Model, tmp_path: Path
) -> None:
    out = tmp_path / "space"
    assert export_space(with_licence(tiny_model, "CC0-1.0"), out)["path"] == str(out)
    front = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    assert (front["title"], front["sdk"], front["license"]) == ("small", "gradio", "cc0-1.0")
    assert (out / front["app_file"]).is_file()
    assert (out / "requirements.txt").read_text() == f"facegan[studio]=={facegan.__version__}\n"
    own = Sampler(tiny_model, device="cpu").sample(range(4))
    there = Sampler(models.load(str(out / "model.safetensors")), device="cpu").sample(range(4))
    assert np.abs(own.astype(int) - there).max() <= 2  # its weights are float16


def test_a_model_that_cannot_be_read_back_leaves_no_space(tiny_model: models.Model, tmp_path: Path) -> None:
    broken = replace(
        with_licence(tiny_model, "CC0-1.0"), discriminator={}, generator=deepcopy(tiny_model.generator)
    )
    next(broken.generator.parameters()).fill_(torch.nan)
    with pytest.raises(UsageError, match="not finite"):
        export_space(broken, tmp_path / "space")
    assert list(tmp_path.iterdir()) == []


def test_any_name_and_licence_make_front_matter_that_can_be_read(
    tiny_model: models.Model, tmp_path: Path
) -> None:
    licence = "NVIDIA Source Code License (non-commercial)"
    export_space(replace(with_licence(tiny_model, licence), name="my: [faces]"), tmp_path / "space")
    front = yaml.safe_load((tmp_path / "space" / "README.md").read_text().split("---")[1])
    assert front["title"] == "my: [faces]"
    assert (front["license"], front["license_name"]) == ("other", "nvidia-source-code-license-non-commercial")


def test_a_model_that_nobody_may_use_is_refused(tiny_model: models.Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no licence"):
        export_space(with_licence(tiny_model, ""), tmp_path / "space")
    assert not (tmp_path / "space").exists()


def test_a_folder_with_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert cli.run(["export", "--format", "space", "--out", str(tmp_path)]) == 2
    assert "has files in it" in capsys.readouterr().err


@pytest.mark.slow
def test_the_app_serves_the_studio(tiny_model: models.Model, tmp_path: Path) -> None:
    out, port = tmp_path / "space", str(free_port())
    export_space(with_licence(tiny_model, "CC0-1.0"), out)
    environment = os.environ | {"PYTHONPATH": str(Path(facegan.__file__).parent.parent)}
    command = [sys.executable, str(out / "app.py")]
    with subprocess.Popen(command, cwd=tmp_path, env=environment | {"GRADIO_SERVER_PORT": port}) as app:
        try:
            page = asked(f"http://127.0.0.1:{port}/", app)
        finally:
            app.terminate()
    assert "facegan studio" in page


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def asked(address: str, app: subprocess.Popen[bytes], patience: float = 120.0) -> str:
    """The page, once there is one."""
    end = time.monotonic() + patience
    while app.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return str(answer.read().decode())
        except (URLError, TimeoutError):
            pass
    raise AssertionError(f"no page at {address}; exit status {app.poll()}")
