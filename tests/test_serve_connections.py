"""Connections without a whole request are closed, with either of uvicorn's parsers; others are not."""

from __future__ import annotations

import asyncio
import socket
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
BUFFER = 2**14  # bytes under way between server and client, of the many that the system would take
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
async def serving(
    protocol: Any, seconds: float, answers: asyncio.Event | None = None, parts: int = 0, part: bytes = b""
) -> AsyncIterator[Open]:
    """How to connect to a server that answers with the parts and "ok", once it may, and reads no bodies."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if answers is not None:
            await answers.wait()
        length = (b"content-length", b"%d" % (parts * len(part) + 2))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        for _ in range(parts):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_keep_alive=SECONDS)
    made, state = impatient(seconds, BODY_BYTES, protocol), ServerState()

    def connection() -> asyncio.Protocol:
        return made(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)  # its connections inherit it
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Pair:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.connect(server.sockets[0].getsockname())
        pair = await asyncio.open_connection(sock=client, limit=BUFFER)
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


async def time_is_over(connect: Open, times: int) -> None:
    """Waits until a connection that says nothing has been closed, so often."""
    for _ in range(times):
        reader, _ = await connect()
        assert await ended(reader) == b""


# an answer that is written at once, and one that waits for the client part by part
PARTS = [(1, bytes(2**21)), (2**7, bytes(2**14))]


@pytest.mark.parametrize(("parts", "part"), PARTS)
def test_an_answer_that_nobody_reads_is_not_kept(protocol: Any, parts: int, part: bytes) -> None:
    async def run() -> bytes:
        async with serving(protocol, 0.1, parts=parts, part=part) as connect:
            reader, writer = await connect()
            writer.write(GET)
            await time_is_over(connect, 3)
            return await ended(reader)

    assert len(asyncio.run(run())) < 2**20


@pytest.mark.parametrize(("parts", "part"), PARTS)
def test_an_answer_that_is_read_slowly_is_not_cut(protocol: Any, parts: int, part: bytes) -> None:
    async def run() -> bytes:
        async with serving(protocol, 0.1, parts=parts, part=part) as connect:
            reader, writer = await connect()
            writer.write(GET)
            found, over = b"", asyncio.create_task(time_is_over(connect, 3))
            while not over.done():
                found += await reader.readexactly(2**13)
                await asyncio.wait({over}, timeout=0.01)
            return found + await ended(reader)

    found = asyncio.run(run())
    assert len(found) > 2**21
    assert found.endswith(b"ok")


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
