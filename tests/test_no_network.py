"""Tests reach the machine that they run on, and no other."""

from __future__ import annotations

import socket

import pytest

NOBODY = "192.0.2.1"  # an address for documentation


@pytest.mark.parametrize("host", [NOBODY, "example.org", "2001:db8::1"])
def test_a_connection_to_another_machine_is_refused_at_once(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        for connect in (tried.connect, tried.connect_ex):
            with pytest.raises(OSError, match="tests have no network"):
                connect((host, 80))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_to_this_machine_is_made(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect((host, server.getsockname()[1]))
