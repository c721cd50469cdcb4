"""A stand-in of the Hugging Face hub: the few requests that huggingface-hub makes for us, from memory.

Written from the hub's API as the library uses it: resolve (HEAD, GET), model info, create, validate-yaml,
preupload, LFS batch and upload, commit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_" + "x" * 34


@dataclass
class Repository:
    """Files by revision and path; who may see it."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    claimed_size: int | None = None

    @property
    def commit(self) -> str:
        """The newest one's number: another with each change."""
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class Hub:
    """What the stand-in holds, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    commits: list[tuple[str, str, list[str]]] = field(default_factory=list)  # repository, message, paths
    blobs: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    url: str = ""

    def add(self, name: str, content: bytes, path: str = "model.safetensors", revision: str = "main") -> None:
        """Puts a file there."""
        self.repositories.setdefault(name, Repository()).files[revision, path] = content


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers at hub.url."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = self._asked()
        if self.hub.down:
            self._send(503)
        elif path[:2] == ["api", "models"]:
            repository = self._visible("/".join(path[2:4]))
            if repository is not None:
                self._json({"id": "/".join(path[2:4]), "private": repository.private})
        else:
            self._resolve("/".join(path[:2]), path[3], "/".join(path[4:]))

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._visible(name)
        if repository is None:
            return
        if repository.gated and not self._may_write():
            self._send(403, {"X-Error-Code": "GatedRepo"})
        elif all(revision != known for known, _ in repository.files):
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif (revision, path) not in repository.files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit})
        else:
            content = repository.files[revision, path]
            etag = hashlib.sha256(content).hexdigest()
            size = repository.claimed_size or len(content)
            headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "X-Linked-Size": str(size)}
            self._send(200, headers, content)

    def do_POST(self) -> None:
        path = self._asked()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif not self._may_write():
            self._send(403, {"X-Error-Message": "You have no right to write here"})
        elif path == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.repositories[name] = Repository(private=bool(private))
            self._json({"url": f"{self.hub.url}/{name}"})
        elif path[4:5] == ["preupload"]:
            modes = [
                {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self._json({"files": modes})
        elif path[-3:] == ["lfs", "objects", "batch"]:
            wanted = json.loads(body)["objects"]
            self._json(
                {
                    "transfer": "basic",
                    "objects": [
                        {**o, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{o['oid']}"}}}
                        for o in wanted
                    ],
                }
            )
        else:
            self._commit("/".join(path[2:4]), body)

    def _commit(self, name: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        paths = []
        for line in lines[1:]:
            value = line["value"]
            lfs = line["key"] == "lfsFile"
            content = self.hub.blobs[value["oid"]] if lfs else base64.b64decode(value["content"])
            self.hub.add(name, content, value["path"])
            paths.append(value["path"])
        self.hub.commits.append((name, lines[0]["value"]["summary"], paths))
        commit = self.hub.repositories[name].commit
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def do_PUT(self) -> None:
        path = self._asked()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(content).hexdigest() == path[1]
        self.hub.blobs[path[1]] = content
        self._send(200)

    def _asked(self) -> list[str]:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        return path.strip("/").split("/")

    def _visible(self, name: str) -> Repository | None:
        """The repository, or an answer as if there were none, as the hub gives it."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._may_write()):
            self._send(404 if self._may_write() else 401, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _json(self, content: Any) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _send(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".jpg")) else "regular"
