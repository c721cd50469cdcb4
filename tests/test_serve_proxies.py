"""Whose word the server takes for where a request came from: docs/serving.md, behind a proxy."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest
from asking import Ask, Asking

from facegan.serve.server import Server

CLIENT, PROXY, OTHER = "203.0.113.9", "192.0.2.7", "192.0.2.8"  # addresses for documentation


def logged_client(server: Asking, peer: str, caplog: pytest.LogCaptureFixture) -> str:
    """The client of the log's line of a request that came from the peer, and says that it is another's."""
    config = Server(server.app, server.service).config
    config.load()

    async def ask() -> None:
        transport = httpx.ASGITransport(config.loaded_app, client=(peer, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            await client.get("/healthz", headers={"X-Forwarded-For": CLIENT})

    caplog.clear()
    with caplog.at_level(logging.INFO, "facegan.serve"):
        asyncio.run(ask())
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "facegan.serve"]
    return str(line["client"])


@pytest.mark.parametrize(
    ("named", "believed"),
    [(None, {"127.0.0.1"}), (PROXY, {PROXY}), (f"127.0.0.1,{PROXY}", {"127.0.0.1", PROXY})],
)
def test_forwarded_for_is_believed_from_this_machine_or_from_the_proxies_that_are_named(
    named: str | None,
    believed: set[str],
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if named is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", named)
    server = ask()
    for peer in ("127.0.0.1", PROXY, OTHER):
        assert logged_client(server, peer, caplog) == (CLIENT if peer in believed else peer)
