"""Connections without a whole request are closed, with either of uvicorn's parsers; others are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from asking import SECONDS
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from facegan.serve.connections import HEAD_BYTES, impatient

BODY_BYTES = 5000
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: he"
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Open = Callable[[], Coroutine[Any, Any, Pair]]


def protocols() -> list[Any]:
    """uvicorn's parsers that are installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return [H11Protocol]
    return [H11Protocol, HttpToolsProtocol]


@pytest.fixture(params=protocols())
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def serving(protocol: Any, seconds: float, answers: asyncio.Event | None = None) -> AsyncIterator[Open]:
    """How to connect to a server that answers "ok", once it may, and reads no bodies."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if answers is not None:
            await answers.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_keep_alive=SECONDS)
    made, state = impatient(seconds, BODY_BYTES, protocol), ServerState()

    def connection() -> asyncio.Protocol:
        return made(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Pair:
        pair = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        opened.append(pair[1])
        return pair

    try:
        async with asyncio.timeout(SECONDS):
            yield connect
    finally:
        for each in opened:
            each.close()
        server.close()
        await asyncio.gather(*(each.wait_closed() for each in opened), return_exceptions=True)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("sent", [b"", HALF, GET + HALF])
def test_a_connection_without_a_whole_head_is_closed_in_time(protocol: Any, sent: bytes) -> None:
    async def run() -> bytes:
        async with serving(protocol, 0.1) as connect:
            reader, writer = await connect()
            writer.write(sent)
            return await ended(reader)

    assert asyncio.run(run()).count(b"200 OK") == sent.count(GET)


@pytest.mark.parametrize("before", [b"", GET])
def test_a_head_that_comes_byte_by_byte_does_not_keep_a_connection(protocol: Any, before: bytes) -> None:
    async def run() -> None:
        async with serving(protocol, 0.1) as connect:
            reader, writer = await connect()
            writer.write(before + HALF)
            closed = asyncio.create_task(ended(reader))
            while not closed.done():
                writer.write(b"e")
                await asyncio.wait({closed}, timeout=0.01)

    asyncio.run(run())


def test_an_answer_that_takes_longer_than_a_head_may_is_not_cut(protocol: Any) -> None:
    async def run() -> bytes:
        answers = asyncio.Event()
        async with serving(protocol, 0.1, answers) as connect:
            reader, writer = await connect()
            writer.write(GET)
            later, _ = await connect()
            assert await ended(later) == b""  # so the time is over
            answers.set()
            return await ended(reader)

    assert asyncio.run(run()).endswith(b"ok")


def test_a_head_without_end_is_not_kept(protocol: Any) -> None:
    async def run() -> None:
        async with serving(protocol, SECONDS) as connect:
            reader, writer = await connect()
            writer.write(HALF + b"e" * (HEAD_BYTES + BODY_BYTES))
            await ended(reader)

    asyncio.run(run())


def test_after_a_refused_body_a_connection_takes_the_next_request(protocol: Any) -> None:
    async def run() -> bytes:
        async with serving(protocol, SECONDS) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
            first = await reader.readuntil(b"ok")  # before its body has come
            writer.write(b"x" * BODY_BYTES)
            other, other_writer = await connect()
            other_writer.write(GET)
            await other.readuntil(b"ok")  # so the body has been read
            writer.write(GET)
            return first + await reader.readuntil(b"ok")

    assert asyncio.run(run()).count(b"200 OK") == 2
