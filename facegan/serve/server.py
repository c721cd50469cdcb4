"""Runs the HTTP API: binds the port, loads the models, serves until SIGTERM or Ctrl-C, ends with status 0.

On the signal /readyz says 503; drain_seconds later the port closes, and what was accepted is answered.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from facegan.serve.api import create_app
from facegan.serve.connections import impatient
from facegan.serve.guard import log
from facegan.serve.listening import LOCAL_HOSTS, bound, shown
from facegan.serve.service import Service
from facegan.serve.settings import Settings


class Server(uvicorn.Server):
    """uvicorn's, with a time between the signal and the end, and an ordinary return after it."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        settings = service.settings
        super().__init__(
            uvicorn.Config(
                app,
                http=impatient(settings.head_seconds, settings.max_body_bytes),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                limit_concurrency=settings.max_connections + 1,  # it counts the one that asks
                timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
            )
        )
        self.service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and says where it listens; from then on a signal ends it well."""
        await super().startup(sockets)
        host, port = self.service.settings.host, sockets[0].getsockname()[1] if sockets else 0
        models = list(self.service.table.models)
        log("serving", url=f"http://{shown(host)}:{port}/v1/face", host=host, port=port, models=models)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second closes the port at once, a third waits for nobody.

        uvicorn's own raises the signal again in the end, which would be an exit status other than 0.
        """
        drain = self.service.settings.drain_seconds
        if self.should_exit:
            self.force_exit = True
        elif self.service.draining or not drain:
            self.should_exit = True
        else:
            timer = threading.Timer(drain, self._close)
            timer.daemon = True
            timer.start()
        self.service.draining = True

    def _close(self) -> None:
        self.should_exit = True


def serve(settings: Settings) -> None:
    """Serves until a signal.

    Raises:
        UsageError: settings, a model, or an address that cannot be used.
    """
    with bound(settings.host, settings.port) as listener:
        service = Service(settings)
        configure_logging()
        if settings.host not in LOCAL_HOSTS and service.keys is None:
            log(
                "warning",
                warning=f"{settings.host}: whoever reaches this port may ask; --api-keys FILE limits that",
            )
        try:
            Server(create_app(service), service).run([listener])
        finally:
            service.close()  # where a third signal has cut uvicorn's own end short
        log("stopped")


class _JsonLines(logging.Formatter):
    """Our own lines are JSON already; those of uvicorn become it."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name == "facegan.serve":
            return text
        facts = {"time": round(time.time(), 3), "event": "server", "level": record.levelname, "message": text}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts)


def configure_logging() -> None:
    """Log lines go to stderr, one JSON object each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name, level in {"facegan.serve": logging.INFO, "uvicorn.error": logging.WARNING}.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
