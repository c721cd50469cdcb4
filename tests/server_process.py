"""`facegan serve` as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import Any

from asking import SECONDS, until


class Process:
    """`facegan serve` on a free port, and what it logs."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "facegan", "serve", "--port", "0", "--device", "cpu", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            until(lambda: any(line["event"] == "serving" for line in self.log))
        except AssertionError:
            self.process.kill()  # or what reads its log would wait for ever
            self.ended()
            raise
        port = next(line["port"] for line in self.log if line["event"] == "serving")
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))  # each line is JSON

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def is_open(self) -> bool:
        """Whether its port takes connections."""
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0
