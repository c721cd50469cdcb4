"""Who may ask the HTTP API: keys, and the origins of other pages."""

from __future__ import annotations

from pathlib import Path

from asking import SECONDS, Ask, error_of

KEY, OTHER_KEY = "first-key-0123456789", "other-key-0123456789"


def test_with_keys_all_but_health_needs_one(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the tests\n{KEY}\n\n{OTHER_KEY}\n")
    server = ask(api_keys=str(tmp_path / "keys"))
    for path in ("/v1/models", "/v1/face", "/metrics", "/openapi.json", "/nowhere"):
        refused = server.get(path)
        assert "Authorization: Bearer KEY" in error_of(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": OTHER_KEY},
        {"Authorization": f"bearer {KEY}"},
    ):
        assert server.get("/v1/models", headers=headers).status_code == 200
    for wrong in ({"Authorization": KEY}, {"X-API-Key": KEY[:-1]}, {"Authorization": f"Bearer {KEY}x"}):
        error_of(server.get("/v1/models", headers=wrong), 401)
    assert server.get("/healthz").status_code == server.get("/readyz").status_code == 200


def test_only_the_allowed_origins_may_ask_from_a_browser(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEY)
    server = ask(allow_origins=("https://good.example",), api_keys=str(tmp_path / "keys"))
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    for origin, status in (("https://good.example", 200), ("https://evil.example", 400)):
        headers = {"Origin": origin} | wanted
        preflight = server.start("OPTIONS", "/v1/generate", headers=headers).result(SECONDS)
        assert preflight.status_code == status  # without a key, which a preflight cannot have
        answer = server.get("/v1/face", headers={"Origin": origin, "X-API-Key": KEY})
        allowed = origin if status == 200 else None
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert preflight.headers.get("access-control-allow-origin") == allowed
    shown = server.get("/v1/face", headers={"Origin": "https://good.example", "X-API-Key": KEY})
    assert "X-Seed" in shown.headers["access-control-expose-headers"]


def test_without_allowed_origins_no_page_may_ask(ask: Ask) -> None:
    server = ask()
    answer = server.get("/v1/models", headers={"Origin": "https://good.example"})
    assert "access-control-allow-origin" not in answer.headers
