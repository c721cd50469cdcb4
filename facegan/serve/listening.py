"""Where a server listens: the socket of its address, opened before anything slow is done."""

from __future__ import annotations

import errno
import os
import socket

from facegan.config import UsageError

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")  # nobody but this computer reaches them
MAX_PORT = 65_535
BACKLOG = 2048


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any that is free.

    Raises:
        UsageError: no such port or address here, or the port is taken.
    """
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"port {port}: 0 to {MAX_PORT:,}; 0 takes a free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host {host!r}: {getattr(error, 'strerror', None) or error}") from None
    try:
        if os.name != "nt":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = "; --port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
        raise UsageError(f"{host}, port {port}: {error.strerror}{hint}") from None
    return listener


def shown(host: str) -> str:
    """The host as an address has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
