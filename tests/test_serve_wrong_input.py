"""What the HTTP API and its settings refuse, each in one line, and its description of what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import SECONDS, Ask, Asking, error_of
from pydantic import BaseModel, ValidationError

from facegan.config import UsageError
from facegan.serve.bodies import Animated, Edited, Mixed, Pictures
from facegan.serve.settings import Settings


@pytest.fixture(scope="module")
def server(served_models: tuple[Path, Path]) -> Iterator[Asking]:
    """One for all tests that only ask."""
    settings = Settings(
        models=tuple(map(str, served_models)), device="cpu", max_wait_ms=0, max_pictures=6, max_size=64,
        max_pixels=3000, max_body_bytes=5000, max_frames=20, max_keys=4,
    )  # fmt: skip
    asking = Asking(settings)
    yield asking
    asking.close()


# ---- queries and bodies


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/faces/4294967296.png", "seed '4294967296': Input should be less than or equal to 4294967295"),
        ("/v1/faces/-1.png", "seed"),
        ("/v1/faces/one.png", "seed 'one': Input should be a valid integer"),
        ("/v1/faces/1.png?psi=11", "psi '11': Input should be less than or equal to 10"),
        ("/v1/faces/1.png?psi=nan", "psi"),
        ("/v1/faces/1.png?psi=much", "psi 'much'"),
        ("/v1/faces/1.png?noise=loud", "'const', 'random' or 'none'"),
        ("/v1/faces/1.png?cutoff=7", "cutoff 7: 0 to 6"),
        ("/v1/faces/1.png?label=hat=cap", "this model was trained without labels"),
        ("/v1/faces/1.png?model=labelled&label=hat=top", "label hat 'top': one of cap, fez"),
        ("/v1/faces/1.png?model=labelled&noise=random", "has no noise inputs"),
        ("/v1/faces/1.png?size=65", "size 65: at most 64 pixels"),
        ("/v1/faces/1.png?size=0", "size '0'"),
        ("/v1/faces/1.png?size=60", "3,600 pixels in all: at most 3,000"),
        ("/v1/faces/1.png?sise=16", "sise: no such name here; /openapi.json lists them"),
    ],
)
def test_a_wrong_query_is_one_line(server: Asking, path: str, said: str) -> None:
    assert said in error_of(server.get(path), 422)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("generate", {"seeds": "0-6"}, "7 seeds: at most 6"),
        ("generate", {"seeds": list(range(7))}, "7 seeds: at most 6"),
        ("generate", {"seeds": "0-4294967295"}, "4,294,967,296 seeds: at most 6"),
        ("generate", {"seeds": "0-9999998,5"}, "9,999,999 seeds: at most 6"),
        ("generate", {"seeds": "3-1"}, "write 1-3"),
        ("generate", {"seeds": []}, "no seeds"),
        ("generate", {"seeds": [True]}, "seeds.0"),
        ("generate", {"seeds": "1", "latents": {"z": [[0] * 7]}}, "one or the other"),
        ("generate", {"seeds": "0-3", "size": 40}, "6,400 pixels in all: at most 3,000"),
        ("generate", {"latents": {}}, "w or z is wanted, and it has neither"),
        ("generate", {"latents": {"z": [[0] * 7] * 7}}, "7 pictures: at most 6"),
        ("generate", {"latents": {"z": [[0] * 7] * 6 + [[]]}}, "7 pictures: at most 6"),
        ("generate", {"latents": {"z": [[0] * 6]}}, "this model wants [N, 7]"),
        ("generate", {"latents": {"z": [[0] * 7, [0] * 6]}}, "rows of unequal lengths"),
        ("generate", {"latents": {"z": [[1e7] * 7]}}, "not all its numbers are in"),
        ("generate", {"latents": {"w": [[0] * 6]}, "psi": 0.5}, "psi, cutoff and label have no effect on it"),
        ("generate", {"latents": {"z": [[0] * 7], "seeds": [1, 2]}}, "2 seeds for 1 rows"),
        ("generate", {"seeds": "1", "format": "gif"}, "'png', 'jpg' or 'webp'"),
        ("edit", {"seeds": "1"}, "directions: Field required"),
        ("edit", {"directions": {}}, "directions"),
        ("edit", {"directions": {"smlie": 1}}, "did you mean 'smile'"),
        ("edit", {"directions": {"smile": 101}}, "less than or equal to 100"),
        ("edit", {"directions": {"pca:6": 1}}, "0 to 5"),
        ("edit", {"directions": {"smile": 1}, "styles": "9"}, "this model has layers 0-5"),
        ("edit", {"directions": {"smile": 1}, "model": "labelled"}, "has no styles and no directions"),
        ("mix", {"rows": "0-1", "cols": "4-5"}, "8 pictures: at most 6"),
        ("mix", {"rows": "0", "cols": "4", "styles": "9"}, "this model has layers 0-5"),
        ("mix", {"rows": "0", "cols": "4", "model": "labelled"}, "a single layer"),
        ("animate", {"seeds": "0"}, "each needs 2 or more"),
        ("animate", {"seeds": "0-4"}, "5 seeds: at most 4"),
        ("animate", {"seeds": "0-1"}, "a film of 120 frames: at most 20"),
        ("animate", {"seeds": "0-1", "seconds_per_key": 1e-9}, "0 frames from key to key"),
        ("animate", {"seeds": "0-1", "fps": 60, "format": "gif"}, "fps 60: 1 to 50 in .gif"),
        ("animate", {"seeds": "0-1", "fps": 2, "scale": 5}, "80 pixels a side: at most 64"),
        ("animate", {"seeds": "0-1", "fps": 2}, "256 pixels a side: at most 64"),
        ("animate", {"seeds": "0-1", "fps": 2, "model": "labelled", "noise": "drift"}, "no noise inputs"),
    ],
)
def test_a_wrong_body_is_one_line(server: Asking, path: str, body: Any, said: str) -> None:
    assert said in error_of(server.post(f"/v1/{path}", body), 422)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"\xff\xfe\xfd", 400),
        (b'{"seeds": "\\ud800"}', 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"label": "\\ud800", "seeds": [1]}', 422),
        (b'{"seeds": [1], "psi": NaN}', 422),
        (b'{"seeds": [1' + b"0" * 4400 + b"]}", 400),
        (b"[" * 4000, 400),
        (b'"seeds"', 422),
    ],
)
def test_a_body_that_is_no_json_of_ours_is_refused(server: Asking, content: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    error_of(server.start("POST", "/v1/generate", content=content, headers=headers).result(SECONDS), status)


def test_json_that_does_not_say_so_is_told(server: Asking) -> None:
    unsaid = server.start("POST", "/v1/generate", content=b'{"seeds": [1]}').result(SECONDS)
    assert "Content-Type: application/json" in error_of(unsaid, 422)


NULLS, WRONG_SEEDS, ZEROS, ONES = ([each] * 20_000 for each in (None, -1, 0, [0]))


@pytest.mark.parametrize(
    ("body_type", "body", "most"),
    [
        (Pictures, {"seeds": WRONG_SEEDS}, 2),  # one of each member of the union
        (Pictures, {"latents": {"w": [NULLS]}}, 2),
        (Pictures, {"latents": {"w": [[NULLS]]}}, 2),
        (Pictures, {"latents": {"w": [[None]] * 20_000}}, 2),
        (Pictures, {"latents": {"w": NULLS}}, 2),
        (Pictures, {"latents": {"z": [NULLS]}}, 1),
        (Pictures, {"latents": {"z": [[None]] * 20_000}}, 1),
        (Pictures, {"latents": {"z": [[0]], "seeds": WRONG_SEEDS}}, 1),
        (Pictures, {"seeds": ZEROS}, 2),
        (Pictures, {"latents": {"w": ONES}}, 2),
        (Pictures, {"latents": {"w": [ZEROS]}}, 2),
        (Pictures, {"latents": {"w": [ONES]}}, 2),
        (Pictures, {"latents": {"w": [[ZEROS]]}}, 2),
        (Pictures, {"latents": {"z": ONES}}, 1),
        (Pictures, {"latents": {"z": [[0]], "seeds": ZEROS}}, 1),
        (Pictures, {"latents": dict.fromkeys(map(str, range(20_000)))}, 1),
        (Pictures, dict.fromkeys(map(str, range(20_000))), 1),
        (Edited, {"directions": dict.fromkeys(map(str, range(20_000)))}, 1),
        (Mixed, {"rows": WRONG_SEEDS, "cols": WRONG_SEEDS}, 4),
        (Animated, {"seeds": WRONG_SEEDS}, 2),
    ],
)
def test_a_wrong_body_has_few_errors_however_large_it_is(
    body_type: type[BaseModel], body: Any, most: int
) -> None:
    with pytest.raises(ValidationError) as error:
        body_type.model_validate(body)
    assert 1 <= error.value.error_count() <= most


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("generate", {"seeds": [1, -1, -2]}, "seeds.1 '-1': Input should be greater than or equal to 0"),
        ("generate", {"latents": {"z": [[0], [0, None, None]]}}, "latents.z.1.1 'None': Input should be a"),
        ("generate", {str(n): n for n in range(30)}, "at most 18 names, not 30"),
        ("edit", {"directions": {str(n): n for n in range(33)}}, "directions: at most 32 names, not 33"),
    ],
)
def test_of_many_errors_the_first_is_told(server: Asking, path: str, body: Any, said: str) -> None:
    assert said in error_of(server.post(f"/v1/{path}", body), 422)


def test_a_body_of_too_many_parts_is_not_read(server: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegan.serve.guard.MAX_PARTS", 10)
    many = {"latents": {"w": [[0] * 6] * 8}}
    assert error_of(server.post("/v1/generate", many), 422).startswith("11 lists and objects in the body")
    assert server.post("/v1/generate", {"seeds": [1]}).status_code == 200


def test_a_query_of_many_names_is_not_looked_into(server: Asking) -> None:
    query = "&".join(f"x{number}=1" for number in range(1000))
    assert "at most 14 names, not 1000" in error_of(server.get(f"/v1/faces/1.png?{query}"), 422)


def test_a_body_may_not_be_larger_than_allowed_whatever_its_header_says(server: Asking) -> None:
    async def parts() -> Any:
        for _ in range(6):
            yield b" " * 1000

    said = "larger than 5,000 bytes"
    assert said in error_of(server.post("/v1/generate", {"label": "x" * 5000}), 413)
    assert said in error_of(server.start("POST", "/v1/generate", content=parts()).result(SECONDS), 413)
    lying = {"Content-Length": "9" * 400}
    sent = server.start("POST", "/v1/generate", content=b"{}", headers=lying)
    assert said in error_of(sent.result(SECONDS), 413)


def test_unknown_models_paths_and_methods(server: Asking) -> None:
    assert "model 'styld': one of styled, labelled (did you mean" in error_of(
        server.post("/v1/generate", {"seeds": [1], "model": "styld"}), 404
    )
    assert "/openapi.json" in error_of(server.get("/v2/faces"), 404)
    assert "Method Not Allowed" in error_of(server.get("/v1/generate"), 405)
    assert server.get("/docs").status_code == 404  # its page would load from elsewhere


def test_the_description_has_summaries_limits_and_examples(server: Asking) -> None:
    said = server.get("/openapi.json").json()
    assert "6 pictures, 3,000 pixels and 5,000 bytes" in said["info"]["description"]
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("description"), f"{method} {path}"
    schemas = said["components"]["schemas"]
    for name in ("Pictures", "Edited", "Mixed", "Animated"):
        assert schemas[name]["additionalProperties"] is False
    assert schemas["Pictures"]["properties"]["psi"]["anyOf"][0]["maximum"] == 10


@pytest.mark.parametrize(
    ("body_type", "path", "status"),
    [(Pictures, "generate", 200), (Mixed, "mix", 200), (Animated, "animate", 202), (Edited, "edit", 200)],
)
def test_the_examples_of_the_description_are_answered(
    body_type: type[BaseModel], path: str, status: int, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 200)  # of which the edit's pca is made
    examples = body_type.model_json_schema()["examples"]
    assert examples
    for example in examples:
        assert ask().post(f"/v1/{path}", example).status_code == status


# ---- settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ()}, "no model to serve"),
        ({"models": ("styled", "styled")}, "a model called 'styled' is served already"),
        ({"port": 70_000}, "port 70000: 0 to 65,535"),
        ({"max_pictures": 100, "max_queue": 99}, "at most max_queue, 99"),
        ({"request_seconds": float("nan")}, "request_seconds nan"),
        ({"device": "tpu"}, "one of auto, cpu, cuda, mps"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_served(
    changes: dict[str, Any], said: str, served_models: tuple[Path, Path], ask: Ask
) -> None:
    if "models" in changes:
        changes = {"models": tuple(str(served_models[0]) for _ in changes["models"])}
    with pytest.raises(UsageError, match=said):
        ask(**changes)
