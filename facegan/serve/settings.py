"""What a server is told: its models, where it listens, who may ask, and the limits on what one may ask for.

    settings = override(Settings(models=("dcgan-64",)), ["max_pictures=16"])

Every size that a request can name has a limit here; a request beyond it is answered, not tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from facegan.config import UsageError, how_to_install
from facegan.known import DEFAULT_MODEL

# the least and the most of each number
_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "max_batch": (1, 1024),
    "max_wait_ms": (0, 1000),
    "max_queue": (1, 1_000_000),
    "max_pictures": (1, 10_000),
    "max_size": (1, 8192),
    "max_pixels": (1, 2**30),
    "max_body_bytes": (1024, 2**30),
    "max_connections": (1, 100_000),
    "max_keys": (2, 1000),
    "max_frames": (1, 1_000_000),
    "max_films": (1, 1000),
    "film_seconds": (1, 10_000_000),
    "head_seconds": (0.1, 3600),
    "request_seconds": (0.001, 86_400),
    "drain_seconds": (0, 3600),
    "shutdown_seconds": (0, 3600),
}


@dataclass(frozen=True)
class Settings:
    """How `facegan serve` behaves; the first model is the one that a request gets which names none.

    Raises:
        UsageError: no model, a number out of its range, or a request larger than the queue.
    """

    models: tuple[str, ...] = (DEFAULT_MODEL,)
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    api_keys: str = ""  # a file with a key a line; none: everyone may ask
    allow_origins: tuple[str, ...] = ()  # whose pages may ask from a browser
    device: str = "auto"
    precision: str = "auto"
    max_batch: int = 32  # pictures made at once
    max_wait_ms: float = 5.0  # for others to share a batch
    max_queue: int = 1024  # pictures that wait, of each model
    max_pictures: int = 64  # of one request
    max_size: int = 1024  # pixels of a picture's or a film's longer side
    max_pixels: int = 2**25  # of all pictures of one request
    max_body_bytes: int = 2**23
    max_connections: int = 1000
    max_keys: int = 64  # faces that a film passes
    max_frames: int = 1800
    max_films: int = 8  # waiting, being made and kept
    film_seconds: float = 3600.0  # that a finished film is kept
    head_seconds: float = 20.0  # for a request's line and headers to arrive, from the answer before on
    request_seconds: float = 60.0
    drain_seconds: float = 0.0  # between a SIGTERM and the closing of the port
    shutdown_seconds: float = 30.0  # for accepted requests to end

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("no model to serve; such as --model stylegan2-64-tiny")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} {value}: {least:,} to {most:,}")
        if self.max_pictures > self.max_queue:
            raise UsageError(
                f"max_pictures {self.max_pictures}: at most max_queue, {self.max_queue:,}, or such a request "
                "would never fit into the queue"
            )
        for origin in self.allow_origins:
            scheme, colon, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not colon or not rest or "/" in rest):
                raise UsageError(f"allow-origin {origin[:80]!r}: such as https://example.org, or *")


def require_server_packages() -> None:
    """Checks that what a server runs on is installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UsageError(
            f"a server needs FastAPI and uvicorn, which are not installed: {how_to_install('studio')}"
        ) from None
