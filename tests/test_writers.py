"""Whatever writes pictures and films says in each all that was asked: seeds, psi, cutoff, label, edit."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import Ask, Asking, until
from PIL import Image
from small_stylegan2 import small_model

from facegan import cli, models
from facegan.animation import Motion, write_walks
from facegan.images import Provenance, read_provenance
from facegan.labels import Attribute, LabelSpace
from facegan.synthesis import Sampler

HATS = LabelSpace((Attribute("hat", ("cap", "fez", "none")),))
ASKED = {"psi": 0.6, "label": "hat=fez"}
TRUNCATED = {"psi": 0.6, "cutoff": 2, "label": "hat=fez"}
WALK = {"seeds": "5,6", "seconds_per_key": 1, "fps": 1, "scale": 1}


@pytest.fixture(scope="module")
def hatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small StyleGAN2 with labels."""
    path = tmp_path_factory.mktemp("hatted") / "hatted.safetensors"
    models.save(path, small_model(labels=HATS), torch.float32)
    return path


def said_by_film(path: Path) -> Provenance:
    with Image.open(path) as film:
        return Provenance(**json.loads(film.info["comment"]))


def words(asked: dict[str, Any]) -> list[str]:
    return [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@dataclass
class Written:
    """By one model's commands and server, in a folder: what each says."""

    model: Path
    server: Asking
    folder: Path

    def by_command(self, command: str, name: str, *more: str, **asked: Any) -> Provenance | None:
        """Of the file of that name."""
        out = self.folder if command == "generate" else self.folder / name
        given = ["--model", str(self.model), "--device", "cpu", "--out", str(out)]
        assert cli.run([command, *given, *words(asked), *more]) == 0
        read = said_by_film if name.endswith("gif") else read_provenance
        return read(self.folder / name)

    def by_server(self, path: str, **body: Any) -> Provenance | None:
        """Of the answer's picture, the first of several."""
        answer = self.server.post(path, body) if body else self.server.get(path)
        assert answer.status_code == 200, answer.text
        is_json = answer.headers["content-type"] == "application/json"
        data = base64.b64decode(answer.json()["pictures"][0]["data"]) if is_json else answer.content
        (self.folder / "answer.png").write_bytes(data)
        return read_provenance(self.folder / "answer.png")

    def film_by_server(self, **body: Any) -> Path:
        """Where the film is, once it has come."""
        where = self.server.post("/v1/animate", body | {"format": "gif"}).headers["location"]
        until(lambda: self.server.get(where).json()["state"] in ("done", "failed"))
        (self.folder / "served.gif").write_bytes(self.server.get(f"{where}/film").content)
        return self.folder / "served.gif"


@pytest.fixture
def written(hatted: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 200)  # of a direction's deviation
    return Written(hatted, ask(models=(str(hatted),)), tmp_path)


WRITERS: dict[str, tuple[Callable[[Written], Provenance | None], str, dict[str, Any]]] = {
    "generate": (lambda by: by.by_command("generate", "seed0005.png", seeds=5, **TRUNCATED), "5", TRUNCATED),
    "generate --grid": (
        lambda by: by.by_command("generate", "grid.png", "--grid", seeds="5-6", **TRUNCATED),
        "5-6", TRUNCATED,
    ),
    "mix": (
        lambda by: by.by_command("mix", "mix.png", rows="5", cols="6", styles="4", **TRUNCATED),
        "rows 5, columns 6, styles 4: layers 4 of the columns", TRUNCATED,
    ),
    "edit": (
        lambda by: by.by_command("edit", "edit.png", seeds=5, direction="sefa:0=1", **ASKED),
        "5", ASKED | {"edit": "sefa:0=1"},
    ),
    "animate": (
        lambda by: by.by_command("animate", "film.gif", **WALK, **ASKED), "5,6", ASKED,
    ),
    "/v1/faces": (
        lambda by: by.by_server("/v1/faces/5.png?psi=0.6&cutoff=2&label=hat%3Dfez"), "5", TRUNCATED,
    ),
    "/v1/generate": (lambda by: by.by_server("/v1/generate", seeds=[5], **TRUNCATED), "5", TRUNCATED),
    "/v1/edit": (
        lambda by: by.by_server("/v1/edit", seeds=[5], directions={"sefa:0": 1}, **TRUNCATED),
        "5", TRUNCATED | {"edit": "sefa:0=1"},
    ),
    "/v1/mix": (
        lambda by: by.by_server("/v1/mix", rows=[5], cols=[6], styles="4", **TRUNCATED),
        "rows 5, columns 6, styles 4 of the columns", TRUNCATED,
    ),
    "/v1/animate": (lambda by: said_by_film(by.film_by_server(**WALK, **ASKED)), "5,6", ASKED),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_picture_or_film_says_all_that_was_asked(name: str, written: Written) -> None:
    write, seeds, asked = WRITERS[name]
    assert write(written) == Provenance("hatted", seeds, **asked)


def test_a_film_of_a_labelled_model_is_the_one_that_the_library_writes_with_the_label(
    written: Written, tmp_path: Path
) -> None:
    def by_library(label: str) -> bytes:
        sampler = Sampler(models.load(str(written.model)), device="cpu")
        path = tmp_path / "library.gif"
        write_walks(path, sampler, [5, 6], Motion(1), fps=1, scale=1, psi=0.6, label=label)
        with Image.open(path) as film:
            return film.convert("RGB").tobytes()

    made = {}
    for label in ("hat=cap", "hat=fez", "hat=none", ""):
        with Image.open(written.film_by_server(**WALK, psi=0.6, label=label)) as film:
            made[label] = film.convert("RGB").tobytes()
        assert made[label] == by_library(label)
    assert len({made[label] for label in ("hat=cap", "hat=fez", "hat=none")}) == 3
