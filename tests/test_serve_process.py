"""A server as a process of its own: where it listens, how it stops, whom it lets in."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from asking import SECONDS, until
from command_line import one_line
from server_process import Process

from facegan import cli
from facegan.config import UsageError
from facegan.serve.listening import bound


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
        (["--port", "0", "--api-keys", "nowhere"], "'nowhere': No such file"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in one_line(capsys, ["serve", *words])


# ---- a process


EACH = 100  # pictures a request: seconds of work in all, in which the queue can be seen


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
    number: signal.Signals, served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["max_batch=1", f"max_pictures={EACH}", f"max_queue={12 * EACH}", "shutdown_seconds=60"]
    server = Process("--model", str(served_models[0]), *(word for each in words for word in ("--set", each)))
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
    served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    server = Process("--model", str(served_models[0]), "--set", "drain_seconds=2")
    processes.append(server)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    server.process.terminate()
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
    assert httpx.get(f"{server.url}/v1/faces/1.png").status_code == 200
    assert server.ended() == 0
    assert not server.is_open()


@pytest.mark.slow
def test_what_is_not_answered_within_shutdown_seconds_is_cut(
    served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["max_size=4096", "max_pixels=1000000000", "shutdown_seconds=1"]
    server = Process("--model", str(served_models[0]), *(word for each in words for word in ("--set", each)))
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
def test_more_than_max_connections_are_refused(
    served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    server = Process("--model", str(served_models[0]), "--set", "max_connections=2")
    processes.append(server)
    with httpx.Client(base_url=server.url) as one, httpx.Client(base_url=server.url) as two:
        assert one.get("/healthz").status_code == two.get("/healthz").status_code == 200  # and stay
        assert httpx.get(f"{server.url}/healthz").status_code == 503
    until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)


@pytest.mark.slow
def test_idle_and_half_sent_requests_do_not_hold_places(
    served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    words = ["--set", "max_connections=4", "--set", "head_seconds=1"]
    server = Process("--model", str(served_models[0]), *words)
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
def test_head_leaves_the_connection_usable(
    served_models: tuple[Path, Path], processes: list[Process]
) -> None:
    processes.append(Process("--model", str(served_models[0])))
    with httpx.Client(base_url=processes[0].url, timeout=SECONDS) as client:
        head, got = client.head("/v1/faces/1.png"), client.get("/v1/faces/1.png")
    assert head.headers["content-length"] == str(len(got.content))
    assert head.content == b""
    assert got.content.startswith(b"\x89PNG")


@pytest.mark.slow
def test_there_are_no_websockets(served_models: tuple[Path, Path], processes: list[Process]) -> None:
    server = Process("--model", str(served_models[0]))
    processes.append(server)
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for path, status in (("/healthz", 200), ("/nowhere", 404)):
        assert httpx.get(f"{server.url}{path}", headers=upgrade).status_code == status


@pytest.mark.slow
def test_listening_to_others_without_keys_is_warned_of(
    served_models: tuple[Path, Path], processes: list[Process], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("k" * 20)
    said = []
    for keys in ([], ["--api-keys", str(tmp_path / "keys")]):
        server = Process("--model", str(served_models[0]), "--host", "0.0.0.0", *keys)
        processes.append(server)
        assert httpx.get(f"{server.url}/v1/models").status_code == (401 if keys else 200)
        server.process.terminate()
        assert server.ended() == 0
        said.append(server.log[0]["event"])
    assert said == ["warning", "serving"]
