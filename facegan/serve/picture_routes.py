"""The routes that answer with pictures: faces, generate, edit, mix."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as QueryOf

from facegan.config import UsageError
from facegan.images import Pixels, Provenance
from facegan.known import DEFAULT_PSI
from facegan.latents.files import Latents
from facegan.layers import parse_layers
from facegan.mixing import Figure, layout_of
from facegan.output import each_once
from facegan.serve.answers import MEDIA_TYPES, Named, as_json, as_zip, encoded, etag, is_known
from facegan.serve.batching import Item, Look
from facegan.serve.bodies import Edited, Error, LatentRows, Mixed, Pictures, Query
from facegan.serve.served import Served
from facegan.serve.service import Service
from facegan.synthesis import MAX_SEED, SEEDS, Start

KEPT_SECONDS = 3600  # that browsers and caches keep a seed's face before they ask again
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": about}
    for status, about in {
        401: "An API key is needed.",
        404: "No such model.",
        413: "The body is too large.",
        422: "Wrong input, or beyond a limit.",
        429: "The queue is full; Retry-After says when to come again.",
        503: "The server is stopping.",
        504: "It took too long.",
    }.items()
}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, **ERRORS}
_MANY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "application/zip": {}}}, **ERRORS
}  # fmt: skip
_SHEET: dict[int | str, dict[str, Any]] = {
    200: {"content": {name: {} for name in MEDIA_TYPES.values()}}, **ERRORS
}  # fmt: skip


def picture_routes(service: Service) -> APIRouter:
    """The routes, for that service."""
    routes = APIRouter(tags=["pictures"], default_response_class=Response)

    @routes.get("/v1/faces/{seed}.png", summary="The face of a seed, cacheable", responses=_PNG)
    async def seed_face(
        request: Request,
        seed: Annotated[int, Path(ge=0, le=MAX_SEED)],
        how: Annotated[Query, QueryOf()],
    ) -> Response:
        """The same picture as `facegan generate` makes; an ETag, and 304 where the client has it."""
        served = _checked(service, how)
        dtype = str(served.sampler.generator.compute_dtype)
        tag = etag(served.digest, dtype, seed, how.psi, how.noise, how.cutoff, how.label, how.size)
        whose = "public" if service.keys is None else "private"
        headers = {"ETag": tag, "Cache-Control": f"{whose}, max-age={KEPT_SECONDS}"}
        if is_known(tag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        data = await service.attended(request, _face(service, served, how, seed))
        return Response(data, media_type="image/png", headers=headers)

    @routes.get("/v1/face", summary="A new face each time", responses=_PNG)
    async def new_face(request: Request, how: Annotated[Query, QueryOf()]) -> Response:
        """X-Seed says which it is; nobody keeps the answer."""
        served, seed = _checked(service, how), secrets.randbelow(MAX_SEED + 1)
        data = await service.attended(request, _face(service, served, how, seed))
        headers = {"X-Seed": str(seed), "X-Model": served.name, "Cache-Control": "no-store"}
        return Response(data, media_type="image/png", headers=headers)

    @routes.post("/v1/generate", summary="Pictures of seeds or latents", responses=_MANY)
    async def generate(request: Request, asked: Pictures) -> Response:
        """JSON with base64, or a zip: as `answer` says, else as Accept does."""
        return await service.attended(request, _pictures(service, request, asked))

    @routes.post("/v1/edit", summary="Pictures moved along directions", responses=_MANY)
    async def edit(request: Request, asked: Edited) -> Response:
        """As /v1/generate; the first pca or sefa direction of a model takes some seconds."""
        return await service.attended(request, _pictures(service, request, asked))

    @routes.post("/v1/mix", summary="Styles of some layers, in one labelled picture", responses=_SHEET)
    async def mix(request: Request, asked: Mixed) -> Response:
        """Rows down the left edge, columns along the top, each with its seed."""
        return await service.attended(request, _mix(service, asked))

    return routes


# ---- one face


def _checked(service: Service, how: Query) -> Served:
    served = service.table.named(how.model)
    served.check(noise=how.noise, label=how.label, cutoff=how.cutoff)
    service.require_size(served, 1, how.size)
    return served


async def _face(service: Service, served: Served, how: Query, seed: int) -> bytes:
    item = Item(Look(SEEDS, how.psi, how.cutoff, how.label), seed, how.noise)
    provenance = Provenance(served.name, str(seed), how.psi, label=how.label, cutoff=how.cutoff)
    (pixels,) = await service.pictures(served, [item])
    return await _encoded(service, pixels, how.size, "png", provenance)


async def _encoded(
    service: Service, pixels: Pixels, size: int | None, file_format: str, provenance: Provenance
) -> bytes:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(service.pool, encoded, pixels, size, file_format, provenance)


# ---- many


async def _pictures(service: Service, request: Request, asked: Pictures) -> Response:
    loop, served = asyncio.get_running_loop(), service.table.named(asked.model)
    start, numbers, psi = _start(service, served, asked)
    served.check(noise=asked.noise, label=asked.label, cutoff=asked.cutoff)
    service.require_size(served, len(numbers), asked.size)
    moves, edit = [], ""
    if isinstance(asked, Edited):
        layers = _layers(served, asked.styles)
        for name, strength in asked.directions.items():
            found = loop.run_in_executor(served.searching, served.direction, name, layers)
            moves.append((await found, strength))
        edit = " ".join(f"{name}={strength:g}" for name, strength in asked.directions.items())
        edit += f" layers {asked.styles}" if asked.styles else ""
    look = Look(start, psi, asked.cutoff, asked.label)
    items = [Item(look, number, asked.noise, moves=moves) for number in numbers]
    pictures = await service.pictures(served, items)
    said = Provenance(served.name, "", psi, label=asked.label, edit=edit, cutoff=asked.cutoff)
    data = await asyncio.gather(
        *(
            _encoded(service, pixels, asked.size, asked.format, replace(said, seeds=start.text(str(number))))
            for number, pixels in zip(numbers, pictures, strict=True)
        )
    )
    named = [
        Named(f"{start.stem(number)}.{asked.format}", each, number if start is SEEDS else None)
        for number, each in zip(numbers, data, strict=True)
    ]
    if (asked.answer or _wanted(request)) == "zip":
        packed = await loop.run_in_executor(service.pool, as_zip, named)
        headers = {"Content-Disposition": 'attachment; filename="faces.zip"'}
        return Response(packed, media_type="application/zip", headers=headers)
    text = await loop.run_in_executor(service.pool, as_json, served.name, asked.format, named)
    return Response(text, media_type="application/json")


def _wanted(request: Request) -> str:
    return "zip" if "application/zip" in request.headers.get("accept", "") else "json"


def _layers(served: Served, styles: str | None) -> tuple[int, ...] | None:
    return None if styles is None else parse_layers(styles, served.sampler.generator.num_ws)


def _start(service: Service, served: Served, asked: Pictures) -> tuple[Start, Sequence[int], float]:
    """What pictures start from, its numbers, and psi: 0.7 unless given, or 1 for w, which is truncated."""
    if asked.latents is None:
        numbers = service.seeds([0] if asked.seeds is None else asked.seeds)
        return SEEDS, list(each_once(numbers)), DEFAULT_PSI if asked.psi is None else asked.psi
    if asked.seeds is not None:
        raise UsageError("seeds and latents: pictures start from one or the other; latents have seeds inside")
    service.require_size(served, len(asked.latents.w or asked.latents.z or ()), asked.size)
    latents = _latents(asked.latents)
    usual = DEFAULT_PSI if latents.w_rows is None else 1.0
    psi = usual if asked.psi is None else asked.psi
    latents.require_fitting(served.sampler, psi, asked.cutoff, asked.label)
    return latents, range(len(latents)), psi


def _latents(rows: LatentRows) -> Latents:
    def array(given: Any) -> Any:
        if given is None:
            return None
        try:
            return np.asarray(given, np.float64)
        except ValueError:
            raise UsageError("latents: rows of unequal lengths") from None

    return Latents("the request", array(rows.w), array(rows.z), rows.seeds)


# ---- mixtures


async def _mix(service: Service, asked: Mixed) -> Response:
    """The picture of mixing.figure, with its cells from the queue."""
    served = service.table.named(asked.model)
    rows, columns = service.seeds(asked.rows), service.seeds(asked.cols)
    served.check(noise=asked.noise, label=asked.label, cutoff=asked.cutoff)
    layers = parse_layers(asked.styles, served.sampler.generator.num_ws)
    cells = list(product(range(len(rows)), range(len(columns))))
    service.require_size(served, len(rows) + len(columns) + len(cells), None)
    layout = layout_of(served.sampler, rows, columns, {asked.styles: layers})
    service.require_pixels(layout.size[0] * layout.size[1])
    look = Look(SEEDS, asked.psi, asked.cutoff, asked.label)
    places = [(-1, column) for column in range(len(columns))] + [(row, -1) for row in range(len(rows))]
    items = [Item(look, columns[column] if row < 0 else rows[row], asked.noise) for row, column in places]
    items += [Item(look, rows[row], asked.noise, (columns[column], layers)) for row, column in cells]
    pictures = await service.pictures(served, items)
    text = f"rows {_listed(rows)}, columns {_listed(columns)}, styles {asked.styles} of the columns"
    provenance = Provenance(served.name, text, asked.psi, label=asked.label, cutoff=asked.cutoff)

    def drawn() -> bytes:
        sheet = Figure(layout)
        for (row, column), picture in zip([*places, *cells], pictures, strict=True):
            sheet.put(picture, 0, row, column)
        return encoded(sheet.pixels, None, asked.format, provenance)

    data = await asyncio.get_running_loop().run_in_executor(service.pool, drawn)
    return Response(data, media_type=MEDIA_TYPES[asked.format])


def _listed(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))
