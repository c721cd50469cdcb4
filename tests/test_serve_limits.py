"""The HTTP API's answers to what is too much, wrong, not allowed, too late or at the wrong time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import SECONDS, Ask, Asking, Held, servers, until, write_models
from pydantic import BaseModel, ValidationError

from facegan.config import UsageError
from facegan.serve import guard
from facegan.serve.bodies import Animated, Edited, Mixed, Pictures
from facegan.serve.settings import Settings

KEY, OTHER_KEY = "first-key-0123456789", "other-key-0123456789"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def ask(paths: tuple[Path, Path]) -> Iterator[Ask]:
    with servers(paths) as start:
        yield start


@pytest.fixture(scope="module")
def server(paths: tuple[Path, Path]) -> Iterator[Asking]:
    """One for all tests that only ask."""
    settings = Settings(
        models=tuple(map(str, paths)), device="cpu", max_wait_ms=0, max_pictures=6, max_size=64,
        max_pixels=3000, max_body_bytes=5000, max_frames=20, max_keys=4,
    )  # fmt: skip
    asking = Asking(settings)
    yield asking
    asking.close()


def error_of(answer: httpx.Response, status: int) -> str:
    """The line of an error of that status, which has the id of its request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said.keys() == {"error", "request_id"}
    assert said["request_id"] == answer.headers["x-request-id"]
    assert "\n" not in said["error"]
    return str(said["error"])


# ---- wrong input


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


NULLS, WRONG_SEEDS = [None] * 20_000, [-1] * 20_000


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


def test_a_query_of_many_names_is_not_looked_into(server: Asking) -> None:
    query = "&".join(f"x{number}=1" for number in range(1000))
    assert "at most 14 names, not 1000" in error_of(server.get(f"/v1/faces/1.png?{query}"), 422)


def test_unknown_models_paths_and_methods(server: Asking) -> None:
    assert "model 'styld': one of styled, labelled (did you mean" in error_of(
        server.post("/v1/generate", {"seeds": [1], "model": "styld"}), 404
    )
    assert "/openapi.json" in error_of(server.get("/v2/faces"), 404)
    assert "Method Not Allowed" in error_of(server.get("/v1/generate"), 405)
    assert server.get("/docs").status_code == 404  # its page would load from elsewhere


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


# ---- too much at once, too slow, gone


def test_a_full_queue_is_429_and_says_when_to_come_again(ask: Ask) -> None:
    server = ask(max_queue=3, max_pictures=3)
    held = Held(server.batcher())
    running = server.start("GET", "/v1/face")
    assert held.reached.wait(SECONDS)
    waiting = server.start("POST", "/v1/generate", json={"seeds": "1-3"})
    until(lambda: server.batcher().waiting == 3)
    for refused in (server.get("/v1/faces/7.png"), server.post("/v1/mix", {"rows": "0", "cols": "1"})):
        assert "try again" in error_of(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert server.get("/v1/faces/7.png?model=labelled").status_code == 200  # another model's queue
    held.released.set()
    assert running.result(SECONDS).status_code == waiting.result(SECONDS).status_code == 200
    assert server.get("/v1/faces/7.png").status_code == 200


def test_an_answer_that_takes_too_long_is_504_and_leaves_the_queue(ask: Ask) -> None:
    server = ask(request_seconds=0.05)
    held = Held(server.batcher())
    assert "not ready within 0.05 s" in error_of(server.get("/v1/face"), 504)
    assert "not ready within" in error_of(server.post("/v1/generate", {"seeds": "1-3"}), 504)
    assert server.batcher().waiting == 0
    held.released.set()


async def asked_and_gone(app: Any, leave: asyncio.Event, status: list[int]) -> None:
    """A client that asks for a face and closes its connection, as a server tells an application."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {
        "type": "http", "method": "GET", "path": "/v1/faces/5.png", "raw_path": b"/v1/faces/5.png",
        "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http", "root_path": "",
        "asgi": {"version": "3.0"}, "server": ("here", 80), "client": ("there", 1),
    }  # fmt: skip
    await app(scope, receive, send)


def test_a_client_that_leaves_takes_its_pictures_out_of_the_queue(ask: Ask) -> None:
    server = ask()
    held = Held(server.batcher())
    running = server.start("GET", "/v1/face")
    assert held.reached.wait(SECONDS)
    leave, status = asyncio.Event(), []
    gone = asyncio.run_coroutine_threadsafe(asked_and_gone(server.app, leave, status), server.loop)
    until(lambda: server.batcher().waiting == 1)
    server.loop.call_soon_threadsafe(leave.set)
    gone.result(SECONDS)
    assert status == [499]
    assert server.batcher().waiting == 0
    held.released.set()
    assert running.result(SECONDS).status_code == 200
    assert server.get("/v1/faces/5.png").status_code == 200
    assert held.batches == [1, 1]  # the abandoned one was not made


def test_a_stopping_server_says_so_and_answers_what_it_accepted(ask: Ask) -> None:
    server = ask()
    assert server.get("/readyz").json() == {"status": "ready"}
    held = Held(server.batcher())
    accepted = server.start("GET", "/v1/faces/5.png")
    assert held.reached.wait(SECONDS)
    server.service.draining = True
    answer = server.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "stopping"})
    assert server.get("/healthz").status_code == 200
    held.released.set()
    assert accepted.result(SECONDS).status_code == 200
    server.service.close()
    refused = server.get("/v1/faces/5.png")
    assert "stopping" in error_of(refused, 503)
    assert refused.headers["retry-after"] == "5"


def test_a_dead_queue_is_not_ready(ask: Ask) -> None:
    server = ask()
    server.batcher("labelled").close()
    assert server.get("/readyz").status_code == 503


# ---- keys, origins, ids, counts


def test_with_keys_all_but_health_needs_one(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the tests\n{KEY}\n\n{OTHER_KEY}\n")
    server = ask(api_keys=str(tmp_path / "keys"))
    for path in ("/v1/models", "/v1/face", "/metrics", "/openapi.json", "/nowhere"):
        refused = server.get(path)
        assert "Authorization: Bearer KEY" in error_of(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": OTHER_KEY},
        {"Authorization": f"bearer {KEY}"},
    ):
        assert server.get("/v1/models", headers=headers).status_code == 200
    for wrong in ({"Authorization": KEY}, {"X-API-Key": KEY[:-1]}, {"Authorization": f"Bearer {KEY}x"}):
        error_of(server.get("/v1/models", headers=wrong), 401)
    assert server.get("/healthz").status_code == server.get("/readyz").status_code == 200


def test_only_the_allowed_origins_may_ask_from_a_browser(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEY)
    server = ask(allow_origins=("https://good.example",), api_keys=str(tmp_path / "keys"))
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    for origin, status in (("https://good.example", 200), ("https://evil.example", 400)):
        headers = {"Origin": origin} | wanted
        preflight = server.start("OPTIONS", "/v1/generate", headers=headers).result(SECONDS)
        assert preflight.status_code == status  # without a key, which a preflight cannot have
        answer = server.get("/v1/face", headers={"Origin": origin, "X-API-Key": KEY})
        allowed = origin if status == 200 else None
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert preflight.headers.get("access-control-allow-origin") == allowed
    shown = server.get("/v1/face", headers={"Origin": "https://good.example", "X-API-Key": KEY})
    assert "X-Seed" in shown.headers["access-control-expose-headers"]


def test_without_allowed_origins_no_page_may_ask(server: Asking) -> None:
    answer = server.get("/v1/models", headers={"Origin": "https://good.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_request_ids_come_back_and_odd_ones_are_replaced(server: Asking) -> None:
    assert server.get("/healthz", headers={"X-Request-ID": "mine-1.2"}).headers["x-request-id"] == "mine-1.2"
    odd = server.get("/healthz", headers={"X-Request-ID": 'x" injected'}).headers["x-request-id"]
    assert len(odd) == 16
    assert odd.isalnum()
    assert server.get("/healthz").headers["x-request-id"] != server.get("/healthz").headers["x-request-id"]


def test_each_answer_is_a_line_of_json_in_the_log(server: Asking, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "facegan.serve"):
        server.get("/v1/faces/3.png?psi=99", headers={"X-Request-ID": "abc"})
    (line,) = [json.loads(record.message) for record in caplog.records if "abc" in record.message]
    assert {line[name] for name in ("event", "method", "path")} == {"request", "GET", "/v1/faces/3.png"}
    assert (line["status"], line["request_id"], line["client"]) == (422, "abc", "127.0.0.1")
    assert line["ms"] > 0


def test_a_bug_is_a_500_with_an_id_and_its_traceback_only_in_the_log(
    ask: Ask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ask()

    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(server.service, "require_size", broken)
    with caplog.at_level(logging.INFO, "facegan.serve"):
        answer = server.get("/v1/faces/3.png", headers={"X-Request-ID": "abc"})
    assert error_of(answer, 500) == "the server failed; its log says how"
    bug = json.loads(next(record.message for record in caplog.records if "secret detail" in record.message))
    assert (bug["event"], bug["request_id"], bug["error"]) == ("bug", "abc", "RuntimeError")


def test_metrics_count_requests_by_route_and_pictures_by_model(ask: Ask) -> None:
    server = ask()
    for path in ("/v1/faces/1.png", "/v1/faces/2.png", "/v1/faces/1.png?psi=99", "/a", "/b"):
        server.get(path)
    server.post("/v1/generate", {"seeds": "0-4"})
    server.start("BREW", "/a").result(SECONDS)
    until(lambda: 'pictures_total{model="styled"} 7' in server.get("/metrics").text)
    answer = server.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for line in (
        'facegan_requests_total{route="/v1/faces/{seed}.png",method="GET",status="200"} 2',
        'facegan_requests_total{route="/v1/faces/{seed}.png",method="GET",status="422"} 1',
        'facegan_requests_total{route="other",method="GET",status="404"} 2',
        'facegan_requests_total{route="other",method="other",status="404"} 1',
        'facegan_batch_pictures_count{model="styled"} 3',
        'facegan_batch_pictures_bucket{model="styled",le="1"} 2',
        'facegan_batch_pictures_bucket{model="styled",le="8"} 3',
        'facegan_batch_pictures_sum{model="styled"} 7',
        'facegan_request_seconds_count{route="/v1/generate"} 1',
        'facegan_queue_pictures{model="styled"} 0',
        'facegan_films{state="working"} 0',
    ):
        assert line in lines


def test_the_description_has_summaries_limits_and_examples(server: Asking) -> None:
    said = server.get("/openapi.json").json()
    assert "6 pictures, 3,000 pixels and 5,000 bytes" in said["info"]["description"]
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("description"), f"{method} {path}"
    schemas = said["components"]["schemas"]
    for name in ("Pictures", "Edited", "Mixed", "Animated"):
        assert schemas[name]["examples"]
        assert schemas[name]["additionalProperties"] is False
        path = {"Pictures": "generate", "Edited": "edit", "Mixed": "mix", "Animated": "animate"}[name]
        for example in schemas[name]["examples"]:
            if name != "Edited":  # its pca takes seconds; tests/test_serve_pictures.py does it
                assert server.post(f"/v1/{path}", example).status_code in (200, 202, 422)
    assert schemas["Pictures"]["properties"]["psi"]["anyOf"][0]["maximum"] == 10


def test_a_body_that_does_not_come_is_408() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def inside(*_: Any) -> None:
        raise AssertionError("not to be reached")

    guarded = guard.Guarded(inside, keys=None, max_body_bytes=10, body_seconds=0.01)
    asyncio.run(guarded({"type": "http", "path": "/", "headers": []}, never, send))
    assert sent[0]["status"] == 408
    assert "did not come within 0.01 s" in json.loads(sent[1]["body"])["error"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ()}, "no model to serve"),
        ({"models": ("styled", "styled")}, "a model called 'styled' is served already"),
        ({"port": 70_000}, "port 70000: 0 to 65,535"),
        ({"max_pictures": 100, "max_queue": 99}, "at most max_queue, 99"),
        ({"allow_origins": ("example.org",)}, "such as https://example.org"),
        ({"request_seconds": float("nan")}, "request_seconds nan"),
        ({"device": "tpu"}, "one of auto, cpu, cuda, mps"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_served(
    changes: dict[str, Any], said: str, paths: tuple[Path, Path], ask: Ask
) -> None:
    if "models" in changes:
        changes = {"models": tuple(str(paths[0]) for _ in changes["models"])}
    with pytest.raises(UsageError, match=said):
        ask(**changes)


def test_json_that_does_not_say_so_and_unknown_names_are_told(ask: Ask) -> None:
    server = ask()
    unsaid = server.start("POST", "/v1/generate", content=b'{"seeds": [1]}').result(SECONDS)
    assert "Content-Type: application/json" in error_of(unsaid, 422)
    assert "psie: no such name here" in error_of(server.get("/v1/faces/1.png?psie=1"), 422)
