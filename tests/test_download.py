"""Downloads that break and go on, from a server on this machine; public models by name."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_nvidia import official, pickled

from facegan import cli, models
from facegan.config import UsageError
from facegan.download import MAX_BYTES, fetch
from facegan.interop import sources
from facegan.known import KNOWN, Known

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What is served at url + /file, and how badly."""

    url: str = ""
    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list)  # bytes of the body, for each request to come
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    claimed: int | None = None
    redirect: str = ""
    status: int = 0
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)  # Range, If-Range


class _Handler(BaseHTTPRequestHandler):
    state: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        state, wanted = self.state, self.headers.get("Range")
        state.asked.append((wanted, self.headers.get("If-Range")))
        if state.redirect or state.status:
            self.send_response(state.status or 302)
            self.send_header("Location", state.redirect)
            self.end_headers()
            return
        start = 0
        same = self.headers.get("If-Range") == state.headers.get("ETag", state.headers.get("Last-Modified"))
        if wanted and state.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
        if start and start >= len(state.content):
            self.send_response(416)
            self.end_headers()
            return
        body = state.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
        for name, value in state.headers.items():
            self.send_header(name, value)
        if state.claimed != -1:
            self.send_header("Content-Length", str(state.claimed or len(body)))
        self.end_headers()
        self.wfile.write(body[: state.cut_after.pop(0)] if state.cut_after else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{running.server_port}/file"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_download_is_complete_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "deep" / "file"
    fetch(server.url, path, sha256=SHA256, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left(tmp_path / "deep") == {"file"}
    assert seen[-1] == (700_000, 700_000)
    assert server.asked == [(None, None)]
    fetch(server.url, path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_a_cut_connection_is_gone_on_from_where_it_was_cut(
    validator: str, server: Server, tmp_path: Path
) -> None:
    version = {"ETag": '"one"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}[validator]
    server.headers = {validator: version}
    server.cut_after = [300_000, 100_000]
    fetch(server.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [(None, None), ("bytes=300000-", version), ("bytes=400000-", version)]


def test_a_download_that_gets_no_further_ends(server: Server, tmp_path: Path) -> None:
    """Without an ETag each attempt begins anew: 100 bytes after 50 are no progress after 100."""
    server.headers, server.cut_after = {}, [100, 50] * 100
    with pytest.raises(UsageError, match="could not be downloaded") as caught:
        fetch(f"{server.url}/file", tmp_path / "file")
    assert len(server.asked) < 20
    assert "are kept" not in str(caught.value)


def test_a_later_attempt_goes_on_as_well(server: Server, tmp_path: Path) -> None:
    server.cut_after = [300_000, 0, 0]
    with pytest.raises(
        UsageError, match=r"the connection ended early\); the 300,000 bytes that came are kept"
    ):
        fetch(server.url, tmp_path / "file")
    assert left(tmp_path) == {"file.part", "file.part.tag"}
    server.asked.clear()
    fetch(server.url, tmp_path / "file", sha256=SHA256)
    assert server.asked == [("bytes=300000-", '"one"')]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert left(tmp_path) == {"file"}


@pytest.mark.parametrize("change", ["another version", "no ranges", "no version named", "a weak version"])
def test_parts_that_do_not_belong_together_are_not_joined(
    change: str, server: Server, tmp_path: Path
) -> None:
    server.cut_after = [300_000, 0, 0]
    if change in ("no version named", "a weak version"):
        server.headers = {"ETag": 'W/"one"'} if change.startswith("a weak") else {}
    with pytest.raises(UsageError, match="could not be downloaded"):
        fetch(server.url, tmp_path / "file")
    server.content = CONTENT[::-1]
    server.ranges = change != "no ranges"
    if change == "another version":
        server.headers = {"ETag": '"two"'}
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_a_part_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.part.tag").write_text('"one"')
    fetch(server.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_has_no_part_of_what_was_wanted_whole_is_one_line(
    server: Server, tmp_path: Path
) -> None:
    server.status = 416
    with pytest.raises(UsageError, match="the server has no such part of it"):
        fetch(server.url, tmp_path / "file")
    assert left(tmp_path) == set()


def test_a_version_of_any_bytes_is_given_back_as_it_came(server: Server, tmp_path: Path) -> None:
    server.headers, server.cut_after = {"ETag": '"\xff\xfe"'}, [300_000, 0, 0]
    with pytest.raises(UsageError, match="are kept"):
        fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file.part.tag").read_bytes() == b'"\xff\xfe"'
    fetch(server.url, tmp_path / "file", sha256=SHA256)
    assert server.asked[-1] == ("bytes=300000-", '"\xff\xfe"')


def test_another_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=f"not the known file: sha256 {SHA256}, expected {'0' * 64}; deleted"
    ):
        fetch(server.url, tmp_path / "file", sha256="0" * 64)
    assert left(tmp_path) == set()


def test_what_is_too_large_is_refused_before_it_comes(server: Server, tmp_path: Path) -> None:
    server.claimed = MAX_BYTES + 1
    with pytest.raises(UsageError, match="4,294,967,297 bytes; at most 4,294,967,296 are downloaded"):
        fetch(server.url, tmp_path / "file")


def test_a_body_without_an_announced_size_is_counted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.claimed = -1
    fetch(server.url, tmp_path / "file", sha256=SHA256)
    monkeypatch.setattr("facegan.download.MAX_BYTES", 600_000)
    with pytest.raises(UsageError, match="more than 600,000 bytes"):
        fetch(server.url, tmp_path / "again")


@pytest.mark.parametrize("url", ["http://example.org/a.pkl", "ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_only_https_is_downloaded_from(url: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only https"):
        fetch(url, tmp_path / "file")
    server.redirect = url
    with pytest.raises(UsageError, match=r"^\S+: (only https|the server says 302)"):
        fetch(server.url, tmp_path / "file")
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    "url",
    ["https://[::1/a.pkl", "http://127.0.0.1/mod\u00e8le.pkl", f"https://{'a' * 70}.org/a.pkl",
     f"http://127.0.0.1:{'9' * 30}/a.pkl"],
)  # fmt: skip
def test_what_is_no_address_is_one_line(
    url: str, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert cli.run(["import", url, "--out", str(cache / "model.safetensors")]) == 2
    assert f"{url}: not a usable address (" in capsys.readouterr().err
    server.redirect = "https://[::1/a.pkl"
    with pytest.raises(UsageError, match="not a usable address"):
        fetch(server.url, cache / "file")


def test_a_length_of_thousands_of_digits_is_none(server: Server, tmp_path: Path) -> None:
    server.headers["Content-Length"], server.claimed = "9" * 5000, -1
    fetch(server.url, tmp_path / "file", sha256=SHA256)


def test_errors_are_one_line(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(UsageError, match="the server says 404 Not Found"):
        fetch(server.url, tmp_path / "file")
    with pytest.raises(UsageError, match=r"could not be downloaded \(\[Errno \d+\] Connection refused\)$"):
        fetch("http://127.0.0.1:1/file", tmp_path / "file")  # a port that nobody answers at
    assert left(tmp_path) == set()


# ---- public models


def test_a_known_model_is_downloaded_checked_and_imported(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.content = pickled(official(resolution=8))
    server.cut_after = [len(server.content) // 2]
    sha256 = hashlib.sha256(server.content).hexdigest()
    known = Known(server.url, "stylegan2-ada-pytorch", "stylegan2", 8, "noise", sha256=sha256)
    monkeypatch.setitem(KNOWN, "faces", known)
    out = tmp_path / "model.safetensors"
    assert cli.run(["import", "faces", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == sha256
    card = models.load(str(out)).card
    assert (card.data, card.licence) == ("noise", known.licence)
    assert len(server.asked) == 2
    assert cli.run(["import", server.url, "--out", str(out), "--licence", "mine"]) == 0  # from the cache
    assert models.load(str(out)).card.licence == "mine"
    assert len(server.asked) == 2
    monkeypatch.setitem(KNOWN, "faces", replace(known, sha256="0" * 64, url=server.url + "?other"))
    assert cli.run(["import", "faces", "--out", str(out)]) == 2
    assert "not the known file" in capsys.readouterr().err


def test_an_address_is_downloaded_and_imported(
    server: Server, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = pickled(official(resolution=8))
    out = tmp_path / "model.safetensors"
    assert cli.run(["import", server.url, "--out", str(out)]) == 0
    assert models.load(str(out)).card.licence == "unknown"
    assert sources.cache_file(server.url).read_bytes() == server.content


def test_a_download_that_is_no_model_is_asked_for_again(
    server: Server, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = b"<html>log in</html>"
    out = tmp_path / "model.safetensors"
    assert cli.run(["import", server.url, "--out", str(out)]) == 2
    assert "; the download was deleted\n" in capsys.readouterr().err
    server.content = pickled(official(resolution=8))
    assert cli.run(["import", server.url, "--out", str(out)]) == 0
    assert len(server.asked) == 2


def test_a_file_that_is_no_model_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    assert cli.run(["import", str(tmp_path / "mine"), "--out", str(tmp_path / "model.safetensors")]) == 2
    assert (tmp_path / "mine").exists()


def test_a_wrong_out_costs_no_download(server: Server, cache: Path, tmp_path: Path) -> None:
    assert cli.run(["import", server.url, "--out", str(tmp_path / "model.pt")]) == 2
    assert server.asked == []


def test_a_file_goes_before_a_known_model_of_its_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ffhq").write_bytes(pickled(official(resolution=8)))
    assert sources.located("ffhq") == (Path("ffhq"), None, False)


def test_a_nearly_known_name_is_told_the_nearest(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["import", "stylegan2-ffhq-257x257", "--out", "x.safetensors"]) == 2
    assert "no such file; name a .pkl or .pt file" in (said := capsys.readouterr().err)
    assert "did you mean 'stylegan2-ffhq-256x256'" in said


def test_the_known_ones_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(KNOWN) == 11
    for name, known in KNOWN.items():
        assert known.url.startswith("https://")
        assert known.url.endswith(f"/{name}.pkl")
        assert (known.channels, known.architecture) == (3, "stylegan2")
        assert known.resolution in (256, 512, 1024)
        assert known.sha256 is None or re.fullmatch("[0-9a-f]{64}", known.sha256)
        assert "non-commercial" in known.licence
        if "x" in name.rpartition("-")[2]:
            assert name.endswith(f"-{known.resolution}x{known.resolution}")
    assert cli.run(["models", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["public"].keys() == KNOWN.keys()
    assert table["public"]["ffhq"]["size"] == 381_624_121
    assert "dcgan-64" in table
    assert cli.run(["models"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("dcgan-64") < shown.index("hf://owner/name") < shown.index("stylegan2-ffhq-256x256")
