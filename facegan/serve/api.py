"""The HTTP API, version 1: routes, limits, errors.

service = Service(Settings(models=("dcgan-64",)))
app = create_app(service)          an ASGI application; its shutdown closes the service

GET  /v1/models                    what is served
GET  /v1/faces/{seed}.png          a seed's face, cacheable         GET /v1/face    a new one each time
POST /v1/generate /v1/edit /v1/mix pictures                         picture_routes
POST /v1/animate, /v1/jobs/...     films                            film_routes
GET  /healthz /readyz /metrics     for whoever watches the server
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from facegan import __version__
from facegan.config import UsageError
from facegan.serve import counters
from facegan.serve.answers import error_answer
from facegan.serve.batching import Closed, QueueFull
from facegan.serve.film_routes import film_routes
from facegan.serve.films import UnknownJob
from facegan.serve.guard import Guarded, Headed, Watched, request_id_of
from facegan.serve.picture_routes import ERRORS, picture_routes
from facegan.serve.served import UnknownModel
from facegan.serve.service import ClientGone, Service, TooSlow
from facegan.serve.settings import Settings

BODY_SECONDS = 30.0  # for a body to arrive
CLIENT_GONE = 499  # in the log and the counts only: nobody reads it
_SENT_HEADERS = ["Authorization", "X-API-Key", "X-Request-ID", "If-None-Match"]
_SHOWN_HEADERS = ["ETag", "Location", "Retry-After", "X-Model", "X-Request-ID", "X-Seed"]


class ModelFacts(BaseModel):
    """A model that is served."""

    name: str
    default: bool
    architecture: str
    height: int
    width: int
    labels: dict[str, list[str]]
    images_seen: int
    data: str
    licence: str
    description: str
    sha256: str
    layers: int
    z_dim: int
    w_dim: int
    noise: list[str]
    directions: dict[str, list[int]]


def create_app(service: Service) -> FastAPI:
    """The application, for that service; its shutdown closes it.

    /openapi.json describes it. There is no /docs: its page would load from elsewhere.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="facegan",
        version=__version__,
        summary="Faces of people who do not exist.",
        description=_limits(service.settings),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_watch_routes(app, service)
    app.include_router(picture_routes(service))
    app.include_router(film_routes(service))
    _add_error_handlers(app)
    settings, counts = service.settings, service.counts
    # the last one added is the outermost
    app.add_middleware(Headed)
    app.add_middleware(
        Guarded, keys=service.keys, max_body_bytes=settings.max_body_bytes, body_seconds=BODY_SECONDS
    )
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=_SENT_HEADERS,
            expose_headers=_SHOWN_HEADERS,
        )
    app.add_middleware(Watched, requests=counts.requests, seconds=counts.seconds)
    return app


def _limits(settings: Settings) -> str:
    """The limits in force, for whoever reads the description."""
    return (
        "Every picture and film says in its metadata that it is synthetic, and by which model and seed.\n\n"
        f"Limits of this server: {settings.max_pictures} pictures, {settings.max_pixels:,} pixels and "
        f"{settings.max_body_bytes:,} bytes in one request; {settings.max_size} pixels a side; films through "
        f"{settings.max_keys} faces, of {settings.max_frames:,} frames, {settings.max_films} at a time, kept "
        f"{settings.film_seconds:g} s; {settings.request_seconds:g} s for an answer."
    )


def _add_watch_routes(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/models", tags=["models"], summary="What is served; the first is the default", responses=ERRORS
    )
    async def list_models() -> list[ModelFacts]:
        """Names, sizes, labels, layers, directions and what the model's card says."""
        served = service.table.models.values()
        return [ModelFacts(default=not number, **each.facts()) for number, each in enumerate(served)]

    @app.get("/healthz", tags=["server"], summary="Whether the server runs")
    async def healthz() -> dict[str, str]:
        """Needs no key."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["server"], summary="Whether it takes requests", responses={503: {}})
    async def readyz(response: Response) -> dict[str, str]:
        """503 while it stops. Needs no key."""
        response.status_code = 200 if service.ready else 503
        return {"status": "ready" if service.ready else "stopping"}

    @app.get("/metrics", tags=["server"], summary="Counts, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        """Requests, their seconds, batches, pictures, queues, films."""
        return Response(
            counters.as_text(service.counts.all()), headers={"Content-Type": counters.CONTENT_TYPE}
        )


def _add_error_handlers(app: FastAPI) -> None:
    def answer(kind: type[Exception], status: int) -> None:
        async def handler(request: Request, error: Exception) -> Response:
            headers = {}
            if isinstance(error, HTTPException):
                headers = dict(error.headers or {})
            elif isinstance(error, QueueFull):
                headers["Retry-After"] = str(error.retry_seconds)
            elif isinstance(error, Closed):
                headers["Retry-After"] = "5"
            code = error.status_code if isinstance(error, HTTPException) else status
            return error_answer(code, _said(error), request_id_of(request.scope), headers)

        app.add_exception_handler(kind, handler)

    for kind, status in {  # an HTTPException says its own
        UsageError: 422, RequestValidationError: 422, UnknownModel: 404, UnknownJob: 404, HTTPException: 500,
        QueueFull: 429, Closed: 503, TooSlow: 504, ClientGone: CLIENT_GONE,
    }.items():  # fmt: skip
        answer(kind, status)


def _said(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return _first(error.errors())
    if isinstance(error, HTTPException):
        return (
            f"{error.detail}; /openapi.json says what there is" if error.status_code == 404 else error.detail
        )
    return str(error)


def _first(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors in one line: where, what was given, what is allowed."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON, from character {first['loc'][-1]} on"
    if first["loc"] == ("body",) and isinstance(first.get("input"), bytes):
        return "the body was not read as JSON: send it with the header Content-Type: application/json"
    # without the names that pydantic gives to the members of a union, such as list[constrained-int]
    where = ".".join(str(part) for part in first["loc"][1:] if "[" not in str(part))
    given = first.get("input")
    shown = "" if isinstance(given, (dict, list)) or first["type"] == "missing" else f" {str(given)[:80]!r}"
    if first["type"] == "extra_forbidden":
        return f"{where}: no such name here; /openapi.json lists them"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}{shown}: {first['msg']}{more}".lstrip(": ")
