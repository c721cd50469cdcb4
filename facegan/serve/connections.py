"""Connections that do not keep a server waiting: without a whole request in time, they are closed.

So are those that take nothing of their answer for that time. uvicorn has a time for the silence between two
requests, and none for the first one, for a head that comes byte by byte or for an answer that is not read.
The time of a body is guard.py's.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_BYTES = 2**16  # of a request's line and headers; beyond what may still come of a body that was refused


class Impatient(asyncio.Protocol):
    """To be put before one of uvicorn's protocols, whose `cycle` is the newest request that has its head."""

    seconds: ClassVar[float]
    most_bytes: ClassVar[int]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    flow: Any
    _timer: asyncio.TimerHandle | None = None
    _bytes = 0  # since the last request
    _unsent = math.inf  # bytes, when the timer was looked at last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As uvicorn's; the time begins."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; a head without end is not kept."""
        super().data_received(data)
        self._bytes = self._bytes + len(data) if self._waits() else 0
        if self._bytes > self.most_bytes:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """As uvicorn's; the time of the next request begins."""
        super().on_response_complete()  # type: ignore[misc]
        self._begin()

    def pause_writing(self) -> None:
        """As uvicorn's; the time begins in which the client has to take some of its answer."""
        super().pause_writing()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _begin(self, unsent: float = math.inf) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._unsent = self.loop.call_later(self.seconds, self._end), unsent

    def _end(self) -> None:
        if not (self._waits() or self.flow.write_paused):
            return  # the answer's end or its next pause begins it anew
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self.transport.close()
        elif unsent < self._unsent:  # a client that still reads its answer
            self._begin(unsent)
        else:
            self.transport.abort()


def impatient(
    seconds: float, max_body_bytes: int, protocol: type[asyncio.Protocol] = AutoHTTPProtocol
) -> type[asyncio.Protocol]:
    """uvicorn's protocol, with a time in which a request's head has to come, and a limit on its size."""
    limits = {"seconds": seconds, "most_bytes": HEAD_BYTES + max_body_bytes}
    return type("ImpatientProtocol", (Impatient, protocol), limits)
