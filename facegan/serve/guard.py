"""What every request passes on its way in and out: a request id, a log line, counts, keys, a limit on bodies.

Watched     X-Request-ID in and out, one JSON line and the counts of each answer; a bug is one line and a 500
(CORS)      Starlette's, where origins are allowed
Guarded     API keys, and bodies that are read whole before anything is done, up to the limits
Headed      HEAD wherever GET is
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
import traceback
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facegan.serve.answers import error_answer
from facegan.serve.counters import Counter, Histogram
from facegan.serve.keys import Keys, key_in

OPEN_PATHS = ("/healthz", "/readyz")  # no key is asked for
MAX_PARTS = 100_000  # lists and objects in a body: while more are read, nobody else is answered
NOWHERE = "other"  # the route of a path that has none, so that nobody can make names for the counters
ID_HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger("facegan.serve")


def log(event: str, **facts: Any) -> None:
    """One line of JSON."""
    logger.info(json.dumps({"time": round(time.time(), 3), "event": event, **facts}))


def request_id_of(scope: Scope) -> str:
    """The id of a request that `Watched` let in."""
    return str(scope.get("state", {}).get("request_id", ""))


class Watched:
    """ASGI middleware, the outermost: ids, log and counts."""

    def __init__(self, app: ASGIApp, *, requests: Counter, seconds: Histogram) -> None:
        self.app, self.requests, self.seconds = app, requests, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _id_in(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began, status, sent = time.perf_counter(), 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (ID_HEADER, request_id.encode())]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:  # the time for the server to stop in is over
            if not status:
                cut = error_answer(503, "the server stopped before it could answer", request_id)
                await cut(scope, receive, watched)
        except Exception as error:
            text = traceback.format_exc()
            log("bug", request_id=request_id, error=type(error).__name__, traceback=text)
            if status:
                raise  # too late for another answer: the connection is cut
            await error_answer(500, "the server failed; its log says how", request_id)(
                scope, receive, watched
            )
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", NOWHERE)
            self.requests.add(route, _method(scope), str(status))
            self.seconds.observe(seconds, route)
            client = scope.get("client") or ("",)
            log(
                "request", request_id=request_id, client=client[0], method=_method(scope),
                path=scope["path"][:200], status=status, bytes=sent, ms=round(1000 * seconds, 1),
            )  # fmt: skip


def _id_in(scope: Scope) -> str:
    """The id that a request brings, where it is a plain one; else a new one."""
    for name, value in scope["headers"]:
        if name == ID_HEADER and _ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _whole(digits: bytes) -> int:
    return int(digits[:18])  # so many bytes are too many anyway


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"


class Headed:
    """ASGI middleware, the innermost: HEAD is GET without the body, its length stated (RFC 9110, sec. 9.3.2).

    So a picture is made for it, or its ETag's 304 answers as it does a GET.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        got = {**scope, "method": "GET"}
        try:
            await self.app(got, receive, without_body)
        finally:
            scope["route"] = got.get("route")  # for the counts


class Guarded:
    """ASGI middleware: keys and bodies."""

    def __init__(self, app: ASGIApp, *, keys: Keys | None, max_body_bytes: int, body_seconds: float) -> None:
        self.app, self.keys = app, keys
        self.max_body_bytes, self.body_seconds = max_body_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def refuse(status: int, message: str, **headers: str) -> None:
            answer = error_answer(status, message, request_id_of(scope), headers)
            await answer(scope, receive, send)

        if self.keys is not None and scope["path"] not in OPEN_PATHS:
            key = key_in(scope["headers"])
            if not self.keys.accept(key):
                said = "not a valid API key" if key else "an API key is needed: Authorization: Bearer KEY"
                await refuse(401, said, **{"WWW-Authenticate": "Bearer"})
                return
        try:
            async with asyncio.timeout(self.body_seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            await refuse(408, f"the body did not come within {self.body_seconds:g} s", Connection="close")
            return
        if body is None:
            await refuse(413, f"the body is larger than {self.max_body_bytes:,} bytes", Connection="close")
            return
        if (parts := body.count(b"[") + body.count(b"{")) > MAX_PARTS:
            await refuse(422, f"{parts:,} lists and objects in the body: at most {MAX_PARTS:,}")
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, again, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None: it is too large."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and _whole(value) > self.max_body_bytes:
                return None
        parts, total = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b""  # the client is gone; whoever reads on will see
            part = message.get("body", b"")
            total += len(part)
            if total > self.max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
