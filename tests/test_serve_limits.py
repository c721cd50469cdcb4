"""Limits of the HTTP API that the documentation names: of bodies, of mixtures, of what needs no key."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import Ask, error_of

from facegan.serve.guard import Guarded


def test_a_body_has_thirty_seconds(ask: Ask) -> None:
    (limits,) = (each.kwargs for each in ask(max_body_bytes=5000).app.user_middleware if each.cls is Guarded)
    assert (limits["body_seconds"], limits["max_body_bytes"]) == (30, 5000)


def test_a_mixture_s_labels_and_gaps_are_pixels_too(ask: Ask) -> None:
    """Three pictures of 16 px are 768 pixels; with the labels it is a larger picture."""
    server, body = ask(max_pixels=1000), {"rows": [1], "cols": [2]}
    assert "pixels in all: at most 1,000 in one request" in error_of(server.post("/v1/mix", body), 422)
    assert server.post("/v1/generate", {"seeds": [1, 2, 3]}).status_code == 200


@pytest.mark.parametrize("path", ["/healthzx", "/healthz/", "/healthz/x", "/readyz2", "/"])
def test_only_the_paths_of_health_themselves_need_no_key(path: str, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k" * 20)
    server = ask(api_keys=str(tmp_path / "keys"))
    assert "an API key is needed" in error_of(server.get(path), 401)
