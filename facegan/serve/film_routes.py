"""The routes of films: ask for one, look how far it is, fetch it, delete it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from facegan.serve.answers import error_answer
from facegan.serve.bodies import Animated, Error, JobState
from facegan.serve.films import RETRY_SECONDS, Job, UnknownJob
from facegan.serve.guard import request_id_of
from facegan.serve.picture_routes import ERRORS
from facegan.serve.service import Service

FILM_TYPES = {".mp4": "video/mp4", ".webp": "image/webp", ".gif": "image/gif"}
_FILM: dict[int | str, dict[str, Any]] = {
    200: {"content": {name: {} for name in FILM_TYPES.values()}},
    409: {"model": Error, "description": "It is not done, or it failed."},
    **ERRORS,
}
JobId = Annotated[str, Path(max_length=64)]


def film_routes(service: Service) -> APIRouter:
    """The routes, for that service."""
    routes = APIRouter(tags=["films"])

    @routes.post(
        "/v1/animate", summary="Ask for a film", status_code=202, response_model=JobState, responses=ERRORS
    )
    async def animate(response: Response, asked: Animated) -> JobState:
        """Answers at once with a job; Location says where to look how far it is."""
        served = service.table.named(asked.model)
        seeds = service.seeds(asked.seeds, service.settings.max_keys)
        state = _state(service.films.add(served, asked, seeds))
        response.headers["Location"] = f"/v1/jobs/{state.id}"
        return state

    @routes.get("/v1/jobs/{job}", summary="How far a film is", response_model=JobState, responses=ERRORS)
    async def state(response: Response, job: JobId) -> JobState:
        """States are waiting, working, done and failed."""
        response.headers["Cache-Control"] = "no-store"
        return _state(service.films.named(job))

    @routes.get("/v1/jobs/{job}/film", summary="The film", response_class=Response, responses=_FILM)
    async def film(request: Request, job: JobId) -> Response:
        """Once it is done; 409 before, with Retry-After."""
        found = service.films.named(job)
        if found.state != "done":
            said = found.error or f"{found.state}: {found.made} of {found.frames} frames; ask again later"
            later = {} if found.state == "failed" else {"Retry-After": str(RETRY_SECONDS)}
            return error_answer(409, said, request_id_of(request.scope), later)
        try:
            facts = found.path.stat()
        except FileNotFoundError:
            raise UnknownJob("the film was deleted in this moment") from None
        return FileResponse(found.path, media_type=FILM_TYPES[found.path.suffix], stat_result=facts)

    @routes.delete("/v1/jobs/{job}", summary="Stop a film or delete it", status_code=204, responses=ERRORS)
    async def delete(job: JobId) -> None:
        """Its place is free for another."""
        service.films.delete(job)

    return routes


def _state(job: Job) -> JobState:
    film = f"/v1/jobs/{job.id}/film" if job.state == "done" else None
    return JobState(id=job.id, state=job.state, frames=job.frames, made=job.made, error=job.error, film=film)
