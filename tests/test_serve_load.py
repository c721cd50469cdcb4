"""The HTTP API under load: too much at once, too slow, a client that is gone, and a server that stops."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from asking import SECONDS, Ask, Held, error_of, until

from facegan.serve import guard


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


def test_edits_that_wait_for_their_directions_keep_nobody_else_waiting(ask: Ask) -> None:
    server = ask(request_seconds=10)
    served, goes_on = server.service.table.named(""), threading.Event()
    found = served.direction

    def slow(name: str, layers: Any) -> Any:
        assert goes_on.wait(SECONDS)
        return found(name, layers)

    served.direction = slow  # type: ignore[method-assign]
    body = {"seeds": [1], "directions": {"smile": 1}}
    edits = [server.start("POST", "/v1/edit", json=body) for _ in range(40)]  # as many as asyncio has threads
    try:
        for answer in ("json", "zip"):
            assert server.post("/v1/generate", {"seeds": [1], "answer": answer}).status_code == 200
    finally:
        goes_on.set()
    assert {each.result(SECONDS).status_code for each in edits} == {200}


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
    leave, status = asyncio.Event(), list[int]()
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
