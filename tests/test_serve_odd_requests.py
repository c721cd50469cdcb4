"""A flood of odd requests, made from the server's own description."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import SECONDS, Asking
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facegan.serve.settings import Settings


def odd() -> st.SearchStrategy[Any]:
    """What hardly fits anywhere."""
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    strange = st.sampled_from(
        ["0-3", "1,5", "9" * 40, "pca:0", "sefa:1", "coarse", "\x00", "\u0663", "hat=cap", [], {}]
    )
    return (
        plain
        | strange
        | st.lists(plain, max_size=4)
        | st.dictionaries(st.text(max_size=5), plain, max_size=3)
    )


class Description:
    """Requests of an OpenAPI description: values that fit it, and now and then one that does not."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.paths, self.schemas = description["paths"], description["components"]["schemas"]

    def values(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """What fits the schema, mostly."""
        return st.integers(0, 24).flatmap(lambda n: odd() if n == 0 else self._fitting(schema))

    def _fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self._fitting(self.schemas[schema["$ref"].rsplit("/", 1)[-1]])
        if "anyOf" in schema:
            return st.one_of([self._fitting(each) for each in schema["anyOf"]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
        kind = schema.get("type")
        if kind == "integer":
            return st.integers(low, high) | st.integers(low or 0, min(high or 9, 9))
        if kind == "number":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        if kind == "string":
            return st.sampled_from(
                ["", "", "0-2", "3", "1,2", "coarse", "4-5", "styled", "labelled", "hat=fez"]
            )
        if kind == "array":
            return st.lists(self.values(schema["items"]), max_size=4)
        if kind == "object" and "properties" in schema:
            required = {name: self.values(schema["properties"][name]) for name in schema.get("required", [])}
            rest = {n: self.values(s) for n, s in schema["properties"].items() if n not in required}
            return self._some(rest).flatmap(lambda chosen: st.fixed_dictionaries(required | chosen))
        if kind == "object":
            names = st.sampled_from(["smile", "pca:0", "sefa:1", "pca:9"])
            return st.dictionaries(names, self.values(schema["additionalProperties"]), min_size=1, max_size=3)
        return {"boolean": st.booleans(), "null": st.none()}.get(kind or "", odd())

    def _some(self, named: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        """Up to two of what may be left out: with more, hardly a request fits."""
        if not named:
            return st.just({})
        names = st.lists(st.sampled_from(sorted(named)), max_size=2, unique=True)
        return names.map(lambda chosen: {name: named[name] for name in chosen})

    def requests(self) -> st.SearchStrategy[tuple[str, str, dict[str, str], Any]]:
        """(method, path, query, body)."""
        operations = [(m, p, o) for p, methods in self.paths.items() for m, o in methods.items()]
        bodies = [operation for operation in operations if "requestBody" in operation[2]]
        return st.sampled_from(operations + 3 * bodies).flatmap(lambda found: self._request(*found))

    def _request(self, method: str, path: str, operation: dict[str, Any]) -> st.SearchStrategy[Any]:
        parameters = {(p["in"], p["name"]): self.values(p["schema"]) for p in operation.get("parameters", [])}
        in_path = {name: values for (where, name), values in parameters.items() if where == "path"}
        in_query = {name: values for (where, name), values in parameters.items() if where == "query"}
        body: st.SearchStrategy[Any] = st.none()
        if "requestBody" in operation:
            body = self.values(operation["requestBody"]["content"]["application/json"]["schema"])

        def filled(found: tuple[dict[str, Any], dict[str, Any], Any]) -> tuple[str, str, dict[str, str], Any]:
            where = path
            for name, value in found[0].items():
                where = where.replace(f"{{{name}}}", _quoted(str(value)))
            return (
                method.upper(),
                where,
                {name: _text(value) for name, value in found[1].items() if value is not None},
                found[2],
            )

        optional = self._some(in_query).flatmap(st.fixed_dictionaries)
        return st.tuples(st.fixed_dictionaries(in_path), optional, body).map(filled)


def _text(value: Any) -> str:
    return str(value).encode(errors="replace").decode()


def _quoted(value: str) -> str:
    return httpx.QueryParams({"x": _text(value)[:60]}).__str__()[2:]


@pytest.mark.slow
def test_no_request_is_the_servers_fault(
    served_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 200)
    server = Asking(
        Settings(
            models=tuple(map(str, served_models)), device="cpu", max_wait_ms=0, max_pictures=12, max_size=256,
            max_frames=130, max_films=100, film_seconds=1,
        )
    )  # fmt: skip
    answered: Counter[int] = Counter()
    done: set[str] = set()

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(Description(server.get("/openapi.json").json()).requests())
    def ask(request: tuple[str, str, dict[str, str], Any]) -> None:
        method, path, query, body = request
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        answer = server.start(method, path, params=query, content=content, headers=headers).result(SECONDS)
        answered[answer.status_code] += 1
        if answer.status_code in (200, 202):
            done.add(path if path.count("/") < 3 else path.rsplit("/", 1)[0])
        assert answer.status_code < 500, (request, answer.text)
        assert answer.headers["x-request-id"]
        if answer.status_code >= 400:
            assert answer.json().keys() == {"error", "request_id"}

    try:
        ask()
    finally:
        server.close()
    print(answered, done)
    assert answered.total() == 300
    assert min(answered[200], answered[422]) >= 40  # right and wrong ones, both
    assert done >= {
        f"/v1/{name}" for name in ("faces", "face", "generate", "edit", "mix", "animate", "models")
    }
