"""A server in the test's own process: its application on a loop of its own, asked without a network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from small_stylegan2 import SHAPE, networks

from facegan import models
from facegan.card import Card
from facegan.labels import Attribute, LabelSpace
from facegan.latents.direction_file import DirectionCard, DirectionFile, beside, fingerprint, write
from facegan.latents.directions import Direction
from facegan.networks.dcgan import DCGANConfig, DCGANGenerator
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.serve.api import create_app
from facegan.serve.batching import Batcher
from facegan.serve.service import Service
from facegan.serve.settings import Settings

Ask = Callable[..., "Asking"]
SECONDS = 60  # until a test gives up waiting, on a busy machine


def write_models(folder: Path) -> tuple[Path, Path]:
    """A StyleGAN2 of 16 px with a direction "smile", and a DCGAN of 8 px with labels."""
    styled, labelled = folder / "styled.safetensors", folder / "labelled.safetensors"
    generator, _ = networks()
    card = Card("drawn people", 1000, "CC0", "A small one.")
    models.save(styled, models.Model(generator, StyleGAN2Config(**SHAPE), card), torch.float32)
    direction = Direction("smile", np.eye(6)[3], 2.5, (1, 2))
    of_it = DirectionCard("styled", fingerprint(generator), "a test", ("smile",))
    write(beside(styled), DirectionFile(of_it, {"smile": direction}))
    hats = LabelSpace((Attribute("hat", ("cap", "fez")),))
    config = DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, d_base_channels=4, labels=hats)
    torch.manual_seed(1)
    models.save(labelled, models.Model(DCGANGenerator(config).eval(), config), torch.float32)
    return styled, labelled


class Asking:
    """A service, and a client that asks it."""

    def __init__(self, settings: Settings) -> None:
        self.service = Service(settings)
        self.app = create_app(self.service)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def start(self, method: str, path: str, **how: Any) -> Future[httpx.Response]:
        """The answer to come."""
        return asyncio.run_coroutine_threadsafe(self._ask(method, path, how), self.loop)

    async def _ask(self, method: str, path: str, how: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **how)

    def get(self, path: str, **how: Any) -> httpx.Response:
        """The answer to a GET."""
        return self.start("GET", path, **how).result(SECONDS)

    def post(self, path: str, body: Any, **how: Any) -> httpx.Response:
        """The answer to a POST of JSON."""
        return self.start("POST", path, json=body, **how).result(SECONDS)

    def batcher(self, name: str = "") -> Batcher:
        """The queue of a model."""
        return self.service.table.named(name).batcher

    def close(self) -> None:
        """Ends all its threads."""
        self.service.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Held:
    """Holds a batcher's thread back at its next batch, and remembers how many pictures each batch had."""

    def __init__(self, batcher: Batcher) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self.batches: list[int] = []
        images = batcher.sampler.images

        def held(w: Any, noise: Any = "const") -> Any:
            self.batches.append(len(w))
            self.reached.set()
            assert self.released.wait(SECONDS)
            return images(w, noise)

        batcher.sampler.images = held  # type: ignore[method-assign]


@contextmanager
def servers(paths: tuple[Path, Path]) -> Iterator[Ask]:
    """Starts servers of both models, with other settings where they are given."""
    started: list[Asking] = []

    def start(**changes: Any) -> Asking:
        settings = Settings(models=tuple(map(str, paths)), device="cpu", max_wait_ms=0)
        started.append(Asking(replace(settings, **changes)))
        return started[-1]

    yield start
    for each in started:
        each.close()


def until(holds: Callable[[], bool]) -> None:
    """Waits for what other threads bring about."""
    pause, end = threading.Event(), time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "did not come about"
        pause.wait(0.001)


def error_of(answer: httpx.Response, status: int) -> str:
    """The line of an error of that status, which has the id of its request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said.keys() == {"error", "request_id"}
    assert said["request_id"] == answer.headers["x-request-id"]
    assert "\n" not in said["error"]
    return str(said["error"])
