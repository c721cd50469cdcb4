"""A server as a process of its own, and a flood of odd requests made from its own description."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import SECONDS, Asking, until, write_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facegan import cli
from facegan.config import UsageError
from facegan.serve.listening import bound
from facegan.serve.settings import Settings


def test_a_port_that_is_taken_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert cli.run(["serve", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said == f"facegan: 127.0.0.1, port {port}: Address already in use; --port 0 takes a free one\n"


def test_an_unknown_host_is_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"host 'x\.invalid'"):
        bound("x.invalid", 0)


def test_an_address_or_a_port_that_is_not_here_is_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.1, port 0: "):  # an address for documentation: nobody's
        bound("192.0.2.1", 0)
    with pytest.raises(UsageError, match=r"port 65536: 0 to 65,535; 0 takes a free one"):
        bound("127.0.0.1", 65_536)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "max_pictures=0"], "max_pictures 0: 1 to 10,000"),
        (["--set", "max_picture=3"], "did you mean 'max_pictures'"),
        (["--allow-origin", "example.org"], "such as https://example.org"),
        (["--port", "0", "--model", "dcgn-64"], "did you mean 'dcgan-64'"),
        (["--port", "0", "--api-keys", "nowhere"], "nowhere: No such file"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


# ---- a process


class Process:
    """`facegan serve` on a free port, and what it logs."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "facegan", "serve", "--port", "0", "--device", "cpu", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        until(lambda: any(line["event"] == "serving" for line in self.log))
        port = next(line["port"] for line in self.log if line["event"] == "serving")
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))  # each line is JSON

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def is_open(self) -> bool:
        """Whether its port takes connections."""
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0


EACH = 300  # pictures a request: seconds of work in all, in which the queue can be seen


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.ended()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_finishes_what_was_accepted(
    number: signal.Signals, paths: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["max_batch=1", f"max_pictures={EACH}", f"max_queue={12 * EACH}"]
    server = Process("--model", str(paths[0]), *(word for each in words for word in ("--set", each)))
    processes.append(server)

    def ask(first: int) -> int:
        body = {"seeds": f"{first}-{first + EACH - 1}"}
        return httpx.post(f"{server.url}/v1/generate", json=body, timeout=SECONDS).status_code

    with ThreadPoolExecutor(12) as clients:
        asked = [clients.submit(ask, EACH * client) for client in range(12)]
        metrics = "facegan_queue_pictures"

        def waiting() -> float:
            lines = httpx.get(f"{server.url}/metrics").text.splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metrics}{{"))

        until(lambda: waiting() > 6 * EACH)  # so more than half of them are in, most of them not yet answered
        server.process.send_signal(number)
        statuses = []
        for each in asked:
            try:
                statuses.append(each.result(SECONDS))
            except httpx.TransportError:
                statuses.append(0)  # it came too late to be accepted
    assert server.ended() == 0
    assert not server.is_open()
    accepted = [line for line in server.log if line.get("path") == "/v1/generate"]
    assert len(accepted) >= 7
    assert {line["status"] for line in accepted} == {200}
    assert sorted(statuses) == [0] * (12 - len(accepted)) + [200] * len(accepted)
    assert server.log[-1]["event"] == "stopped"


@pytest.mark.slow
def test_it_is_not_ready_while_it_drains_and_still_answers(
    paths: tuple[Path, Path], processes: list[Process]
) -> None:
    server = Process("--model", str(paths[0]), "--set", "drain_seconds=2")
    processes.append(server)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    server.process.terminate()
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
    assert httpx.get(f"{server.url}/v1/faces/1.png").status_code == 200
    assert server.ended() == 0
    assert not server.is_open()


@pytest.mark.slow
def test_what_is_not_answered_within_shutdown_seconds_is_cut(
    paths: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["max_size=4096", "max_pixels=1000000000", "shutdown_seconds=1"]
    server = Process("--model", str(paths[0]), *(word for each in words for word in ("--set", each)))
    processes.append(server)
    with ThreadPoolExecutor(1) as clients:
        body = {"seeds": "0-11", "size": 4096}  # half a second or more for each of the twelve
        asked = clients.submit(httpx.post, f"{server.url}/v1/generate", json=body, timeout=SECONDS)
        metric = 'facegan_pictures_total{model="styled"} 12'
        until(lambda: metric in httpx.get(f"{server.url}/metrics", timeout=SECONDS).text)
        server.process.terminate()
        assert server.ended() == 0
    answer = asked.result(SECONDS)
    assert answer.status_code == 503
    assert "stopped before" in answer.json()["error"]
    assert server.log[-1]["event"] == "stopped"


@pytest.mark.slow
def test_more_than_max_connections_are_refused(paths: tuple[Path, Path], processes: list[Process]) -> None:
    server = Process("--model", str(paths[0]), "--set", "max_connections=2")
    processes.append(server)
    with httpx.Client(base_url=server.url) as one, httpx.Client(base_url=server.url) as two:
        assert one.get("/healthz").status_code == two.get("/healthz").status_code == 200  # and stay
        assert httpx.get(f"{server.url}/healthz").status_code == 503
    until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)


@pytest.mark.slow
def test_idle_and_half_sent_requests_do_not_hold_places(
    paths: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["--set", "max_connections=4", "--set", "head_seconds=1"]
    server = Process("--model", str(paths[0]), *words)
    processes.append(server)
    held = [socket.create_connection(("127.0.0.1", server.port), SECONDS) for _ in range(5)]
    try:
        for each in held[:3]:
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: he")
        assert httpx.get(f"{server.url}/healthz").status_code == 503
        assert [each.recv(1) for each in held] == [b""] * 5
        assert httpx.get(f"{server.url}/healthz").status_code == 200
    finally:
        for each in held:
            each.close()


@pytest.mark.slow
def test_head_leaves_the_connection_usable(paths: tuple[Path, Path], processes: list[Process]) -> None:
    processes.append(Process("--model", str(paths[0])))
    with httpx.Client(base_url=processes[0].url, timeout=SECONDS) as client:
        head, got = client.head("/v1/faces/1.png"), client.get("/v1/faces/1.png")
    assert head.headers["content-length"] == str(len(got.content))
    assert head.content == b""
    assert got.content.startswith(b"\x89PNG")


@pytest.mark.slow
def test_there_are_no_websockets(paths: tuple[Path, Path], processes: list[Process]) -> None:
    server = Process("--model", str(paths[0]))
    processes.append(server)
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for path, status in (("/healthz", 200), ("/nowhere", 404)):
        assert httpx.get(f"{server.url}{path}", headers=upgrade).status_code == status


@pytest.mark.slow
def test_listening_to_others_without_keys_is_warned_of(
    paths: tuple[Path, Path], processes: list[Process], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("k" * 20)
    said = []
    for keys in ([], ["--api-keys", str(tmp_path / "keys")]):
        server = Process("--model", str(paths[0]), "--host", "0.0.0.0", *keys)
        processes.append(server)
        assert httpx.get(f"{server.url}/v1/models").status_code == (401 if keys else 200)
        server.process.terminate()
        assert server.ended() == 0
        said.append(server.log[0]["event"])
    assert said == ["warning", "serving"]


# ---- odd requests


def odd() -> st.SearchStrategy[Any]:
    """What hardly fits anywhere."""
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    strange = st.sampled_from(
        ["0-3", "1,5", "9" * 40, "pca:0", "sefa:1", "coarse", "\x00", "\u0663", "hat=cap", [], {}]
    )
    return (
        plain
        | strange
        | st.lists(plain, max_size=4)
        | st.dictionaries(st.text(max_size=5), plain, max_size=3)
    )


class Description:
    """Requests of an OpenAPI description: values that fit it, and now and then one that does not."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.paths, self.schemas = description["paths"], description["components"]["schemas"]

    def values(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """What fits the schema, mostly."""
        return st.integers(0, 24).flatmap(lambda n: odd() if n == 0 else self._fitting(schema))

    def _fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self._fitting(self.schemas[schema["$ref"].rsplit("/", 1)[-1]])
        if "anyOf" in schema:
            return st.one_of([self._fitting(each) for each in schema["anyOf"]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
        kind = schema.get("type")
        if kind == "integer":
            return st.integers(low, high) | st.integers(low or 0, min(high or 9, 9))
        if kind == "number":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        if kind == "string":
            return st.sampled_from(
                ["", "", "0-2", "3", "1,2", "coarse", "4-5", "styled", "labelled", "hat=fez"]
            )
        if kind == "array":
            return st.lists(self.values(schema["items"]), max_size=4)
        if kind == "object" and "properties" in schema:
            required = {name: self.values(schema["properties"][name]) for name in schema.get("required", [])}
            rest = {n: self.values(s) for n, s in schema["properties"].items() if n not in required}
            return self._some(rest).flatmap(lambda chosen: st.fixed_dictionaries(required | chosen))
        if kind == "object":
            names = st.sampled_from(["smile", "pca:0", "sefa:1", "pca:9"])
            return st.dictionaries(names, self.values(schema["additionalProperties"]), min_size=1, max_size=3)
        return {"boolean": st.booleans(), "null": st.none()}.get(kind or "", odd())

    def _some(self, named: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        """Up to two of what may be left out: with more, hardly a request fits."""
        if not named:
            return st.just({})
        names = st.lists(st.sampled_from(sorted(named)), max_size=2, unique=True)
        return names.map(lambda chosen: {name: named[name] for name in chosen})

    def requests(self) -> st.SearchStrategy[tuple[str, str, dict[str, str], Any]]:
        """(method, path, query, body)."""
        operations = [(m, p, o) for p, methods in self.paths.items() for m, o in methods.items()]
        bodies = [operation for operation in operations if "requestBody" in operation[2]]
        return st.sampled_from(operations + 3 * bodies).flatmap(lambda found: self._request(*found))

    def _request(self, method: str, path: str, operation: dict[str, Any]) -> st.SearchStrategy[Any]:
        parameters = {(p["in"], p["name"]): self.values(p["schema"]) for p in operation.get("parameters", [])}
        in_path = {name: values for (where, name), values in parameters.items() if where == "path"}
        in_query = {name: values for (where, name), values in parameters.items() if where == "query"}
        body: st.SearchStrategy[Any] = st.none()
        if "requestBody" in operation:
            body = self.values(operation["requestBody"]["content"]["application/json"]["schema"])

        def filled(found: tuple[dict[str, Any], dict[str, Any], Any]) -> tuple[str, str, dict[str, str], Any]:
            where = path
            for name, value in found[0].items():
                where = where.replace(f"{{{name}}}", _quoted(str(value)))
            return (
                method.upper(),
                where,
                {name: _text(value) for name, value in found[1].items() if value is not None},
                found[2],
            )

        optional = self._some(in_query).flatmap(st.fixed_dictionaries)
        return st.tuples(st.fixed_dictionaries(in_path), optional, body).map(filled)


def _text(value: Any) -> str:
    return str(value).encode(errors="replace").decode()


def _quoted(value: str) -> str:
    return httpx.QueryParams({"x": _text(value)[:60]}).__str__()[2:]


@pytest.mark.slow
def test_no_request_is_the_servers_fault(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 200)
    server = Asking(
        Settings(
            models=tuple(map(str, paths)), device="cpu", max_wait_ms=0, max_pictures=12, max_size=256,
            max_frames=130, max_films=100, film_seconds=1,
        )
    )  # fmt: skip
    answered: Counter[int] = Counter()
    done: set[str] = set()

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(Description(server.get("/openapi.json").json()).requests())
    def ask(request: tuple[str, str, dict[str, str], Any]) -> None:
        method, path, query, body = request
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        answer = server.start(method, path, params=query, content=content, headers=headers).result(SECONDS)
        answered[answer.status_code] += 1
        if answer.status_code in (200, 202):
            done.add(path if path.count("/") < 3 else path.rsplit("/", 1)[0])
        assert answer.status_code < 500, (request, answer.text)
        assert answer.headers["x-request-id"]
        if answer.status_code >= 400:
            assert answer.json().keys() == {"error", "request_id"}

    try:
        ask()
    finally:
        server.close()
    print(answered, done)
    assert answered.total() == 300
    assert min(answered[200], answered[422]) >= 40  # right and wrong ones, both
    assert done >= {
        f"/v1/{name}" for name in ("faces", "face", "generate", "edit", "mix", "animate", "models")
    }
