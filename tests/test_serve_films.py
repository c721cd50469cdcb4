"""Films over HTTP: asked for, watched, fetched, deleted; how many there may be and how long they stay."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import httpx
import numpy as np
import pytest
from asking import SECONDS, Ask, Asking, Held, until
from PIL import Image

from facegan import models
from facegan.animation import Motion, write_walks
from facegan.config import UsageError
from facegan.serve.bodies import Animated
from facegan.serve.films import Films, UnknownJob
from facegan.serve.served import SharedSampler
from facegan.synthesis import Sampler

SHORT = {"seeds": "0-1", "seconds_per_key": 0.2, "fps": 10, "scale": 2}  # 4 frames of 32 px


def ended(server: Asking, answer: httpx.Response) -> dict[str, Any]:
    """The last state of a job that was just asked for."""
    assert answer.status_code == 202, answer.text
    where = answer.headers["location"]
    until(lambda: server.get(where).json()["state"] in ("done", "failed"))
    state: dict[str, Any] = server.get(where).json()
    return state


@pytest.mark.parametrize(
    ("file_format", "media_type"), [("mp4", "video/mp4"), ("webp", "image/webp"), ("gif", "image/gif")]
)
def test_a_film_is_made_and_fetched_and_says_that_it_is_synthetic(
    ask: Ask, file_format: str, media_type: str, tmp_path: Path
) -> None:
    server = ask()
    state = ended(server, server.post("/v1/animate", SHORT | {"format": file_format}))
    assert (state["state"], state["frames"], state["made"]) == ("done", 4, 4)
    answer = server.get(state["film"])
    assert answer.headers["content-type"] == media_type
    path = tmp_path / f"film.{file_format}"
    path.write_bytes(answer.content)
    if file_format == "mp4":
        with av.open(str(path)) as film:
            assert "synthetic" in film.metadata["comment"]
            assert sum(1 for _ in film.decode(video=0)) == 4
    else:
        assert b'"synthetic": true' in answer.content
        with Image.open(path) as image:
            assert (image.size, getattr(image, "n_frames", 1)) == ((32, 32), 4)


def test_a_film_is_the_one_that_the_library_writes(
    ask: Ask, served_models: tuple[Path, Path], tmp_path: Path
) -> None:
    body = SHORT | {
        "format": "gif",
        "path": "w",
        "easing": "none",
        "loop": False,
        "psi": 0.9,
        "noise": "drift",
    }
    server = ask()
    made = server.get(ended(server, server.post("/v1/animate", body))["film"]).content
    expected = tmp_path / "expected.gif"
    sampler = Sampler(models.load(str(served_models[0])), device="cpu")
    motion = Motion(2, "w", "none", False)
    write_walks(expected, sampler, [0, 1], motion, fps=10, scale=2, psi=0.9, noise="drift")
    (tmp_path / "made.gif").write_bytes(made)
    with Image.open(expected) as one, Image.open(tmp_path / "made.gif") as other:
        assert one.n_frames == other.n_frames == 3  # type: ignore[attr-defined]
        for frame in range(3):
            one.seek(frame)
            other.seek(frame)
            difference = np.asarray(one.convert("RGB"), int) - np.asarray(other.convert("RGB"), int)
            assert np.abs(difference).mean() < 2  # a grey level, and what it does to a palette


def test_a_film_that_is_not_done_is_409_and_a_deleted_one_404(ask: Ask) -> None:
    server = ask(max_batch=1)
    held = Held(server.batcher())  # its sampler, which films share
    where = server.post("/v1/animate", SHORT).headers["location"]
    assert held.reached.wait(SECONDS)
    early = server.get(f"{where}/film")
    assert (early.status_code, early.headers["retry-after"]) == (409, "10")
    assert "working: 0 of 4 frames" in early.json()["error"]
    assert server.start("DELETE", where).result(SECONDS).status_code == 204
    held.released.set()
    for answer in (
        server.get(where),
        server.get(f"{where}/film"),
        server.start("DELETE", where).result(SECONDS),
    ):
        assert answer.status_code == 404
        assert "unknown, deleted" in answer.json()["error"]
    folder = Path(server.service.films._folder.name)
    assert ended(server, server.post("/v1/animate", SHORT))["state"] == "done"  # the thread goes on
    assert len(list(folder.iterdir())) == 1
    assert len(held.batches) == 1 + 4  # of the deleted one no more than the frame at that time


def test_a_film_that_is_deleted_at_its_very_end_leaves_no_file(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, deleted = threading.Event(), threading.Event()

    def slow_end(path: Path, *_: Any, **how: Any) -> None:
        path.write_bytes(b"film")
        written.set()
        assert deleted.wait(SECONDS)
        path.write_bytes(b"film")  # what replaces a partial file

    monkeypatch.setattr("facegan.serve.films.write_walks", slow_end)
    server = ask()
    where = server.post("/v1/animate", SHORT).headers["location"]
    assert written.wait(SECONDS)
    folder = Path(server.service.films._folder.name)
    server.start("DELETE", where).result(SECONDS)
    deleted.set()
    until(lambda: not list(folder.iterdir()))


def test_networks_run_for_one_at_a_time(ask: Ask) -> None:
    """What makes convolutions exact is the process's, so films and the batches of all models take turns."""
    server = ask()
    alone: list[bool] = []
    for name in ("styled", "labelled"):
        generator = server.service.table.named(name).sampler.generator
        for part in ("mapping", "synthesis"):
            run = getattr(generator, part)

            def watched(*arguments: Any, run: Any = run) -> Any:
                alone.append(SharedSampler._turn.locked())
                return run(*arguments)

            setattr(generator, part, watched)
    ended(server, server.post("/v1/animate", SHORT))
    server.get("/v1/face?model=labelled")
    assert len(alone) >= 4
    assert all(alone)


def test_deleting_a_film_frees_its_place(ask: Ask) -> None:
    server = ask(max_films=2)
    kept = ended(server, server.post("/v1/animate", SHORT))
    held = Held(server.batcher())
    second = server.post("/v1/animate", SHORT)
    assert held.reached.wait(SECONDS)
    refused = server.post("/v1/animate", SHORT)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    server.start("DELETE", f"/v1/jobs/{kept['id']}").result(SECONDS)
    third = server.post("/v1/animate", SHORT)
    assert server.get(third.headers["location"]).json()["state"] == "waiting"
    held.released.set()
    assert ended(server, second)["state"] == ended(server, third)["state"] == "done"


def test_pictures_are_made_while_a_film_is(ask: Ask) -> None:
    """A film and the queue take turns, a batch each."""
    server = ask(max_batch=2)
    where = server.post("/v1/animate", SHORT | {"seconds_per_key": 80}).headers["location"]
    assert server.get("/v1/faces/1.png").status_code == 200
    assert server.get(where).json()["state"] == "working"  # of its 1,600 frames some hundreds are left
    server.start("DELETE", where).result(SECONDS)


def test_a_film_that_fails_says_why_and_the_next_is_made(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ask()
    errors = [UsageError("films need PyAV"), RuntimeError("secret detail")]
    write = write_walks

    def failing(*arguments: Any, **how: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return write(*arguments, **how)

    monkeypatch.setattr("facegan.serve.films.write_walks", failing)
    said = [ended(server, server.post("/v1/animate", SHORT)) for _ in range(3)]
    assert [(each["state"], each["error"]) for each in said] == [
        ("failed", "films need PyAV"), ("failed", "failed while working (RuntimeError)"), ("done", ""),
    ]  # fmt: skip
    answer = server.get(f"/v1/jobs/{said[0]['id']}/film")
    assert (answer.status_code, answer.json()["error"]) == (409, "films need PyAV")


def test_films_are_kept_for_film_seconds(ask: Ask) -> None:
    now = [0.0]
    server = ask()
    films = Films(replace(server.service.settings, film_seconds=60.0), clock=lambda: now[0])
    job = films.add(server.service.table.named(""), Animated(**SHORT), [0, 1])
    until(lambda: job.state == "done")
    now[0] = 59.0
    assert films.named(job.id).path.exists()
    now[0] = 61.0
    with pytest.raises(UnknownJob):
        films.named(job.id)
    assert not job.path.exists()
    films.close()


def test_a_film_that_cannot_be_deleted_yet_hinders_no_other(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows while it is being sent."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = ask(max_films=1)
    job = ended(server, server.post("/v1/animate", SHORT))
    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", Mock(side_effect=PermissionError))
        assert server.start("DELETE", f"/v1/jobs/{job['id']}").result(SECONDS).status_code == 204
        assert server.get(f"/v1/jobs/{job['id']}").status_code == 404
        assert ended(server, server.post("/v1/animate", SHORT))["state"] == "done"
        server.service.films.close()
    assert list(tmp_path.glob("facegan-films-*")) != []


def test_stopping_ends_films_and_leaves_no_file(ask: Ask) -> None:
    server = ask()
    folder = Path(server.service.films._folder.name)
    ended(server, server.post("/v1/animate", SHORT))
    server.post("/v1/animate", SHORT | {"seconds_per_key": 10})
    waiting = server.post("/v1/animate", SHORT)
    server.service.close()
    assert not folder.exists()
    assert server.get(waiting.headers["location"]).status_code == 404
    assert server.post("/v1/animate", SHORT).status_code == 503
