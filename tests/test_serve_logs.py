"""What a server tells of its requests: their ids, lines of its log, and counts."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from asking import SECONDS, Ask, error_of, until


def test_request_ids_come_back_and_odd_ones_are_replaced(ask: Ask) -> None:
    server = ask()
    assert server.get("/healthz", headers={"X-Request-ID": "mine-1.2"}).headers["x-request-id"] == "mine-1.2"
    odd = server.get("/healthz", headers={"X-Request-ID": 'x" injected'}).headers["x-request-id"]
    assert len(odd) == 16
    assert odd.isalnum()
    assert server.get("/healthz").headers["x-request-id"] != server.get("/healthz").headers["x-request-id"]


def test_each_answer_is_a_line_of_json_in_the_log(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    server = ask()
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
