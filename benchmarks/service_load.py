"""What `facegan serve` answers under load, against sampling without a server.

    python benchmarks/service_load.py [--clients 200] [--seconds 60] [--model stylegan2-64-tiny]

So many clients ask at once, each for the next as soon as it has one: single PNGs of random seeds
(GET /v1/faces), then 16 pictures a request (POST /v1/generate). Printed: answers by status, latency,
pictures a second and their share of raw sampling (Sampler.sample in batches of 32, PNGs not encoded), and
the server's processor time a picture and its memory before and after. Clients and server share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from machine import load_of_quiet_machine

from facegan import models
from facegan.synthesis import MAX_SEED, Sampler

MANY = 16  # pictures of a POST
RAW_SECONDS = 5.0

Ask = Callable[[httpx.AsyncClient], Any]


def raw_rate(model: str) -> tuple[float, float]:
    """Pictures a second of Sampler.sample in batches of 32, and processor milliseconds of each."""
    sampler, seed = Sampler(models.load(model)), 0
    sampler.sample(range(32))
    began, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < RAW_SECONDS:
        sampler.sample(range(seed, seed + 32), psi=0.7)
        seed += 32
    return seed / (time.perf_counter() - began), 1000 * (time.process_time() - processor) / seed


class Server:
    """`facegan serve` in a process of its own; nobody reads its log."""

    def __init__(self, model: str) -> None:
        command = [sys.executable, "-m", "facegan", "serve", "--port", "0", "--model", model]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            said = json.loads(line)
            if said["event"] == "serving":
                self.url = f"http://127.0.0.1:{said['port']}"
                break
        else:
            sys.exit("the server did not start")
        # the log has to go somewhere, or the server waits for whoever reads it
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def memory_mib(self) -> float:
        """Resident memory; Linux."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return round(pages * 4096 / 2**20, 1)

    def processor_seconds(self) -> float:
        """Processor time so far; Linux."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """The exit status after a SIGTERM."""
        self.process.terminate()
        status = self.process.wait(60)
        self.drain.wait(10)
        return status


async def one_face(client: httpx.AsyncClient) -> httpx.Response:
    """A PNG of a random seed."""
    return await client.get(f"/v1/faces/{random.randint(0, MAX_SEED)}.png")


async def many_faces(client: httpx.AsyncClient) -> httpx.Response:
    """MANY pictures in JSON."""
    first = random.randint(0, MAX_SEED - MANY)
    return await client.post("/v1/generate", json={"seeds": f"{first}-{first + MANY - 1}"})


async def load(url: str, ask: Ask, clients: int, seconds: float) -> tuple[Counter[str], list[float], float]:
    """Answers by status, the seconds of each good one, and the seconds of all."""
    answers: Counter[str] = Counter()
    latencies: list[float] = []
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        began = time.perf_counter()

        async def one() -> None:
            while (sent := time.perf_counter()) - began < seconds:
                try:
                    answer = await ask(client)
                except httpx.TransportError as error:
                    answers[type(error).__name__] += 1
                    continue
                answers[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    latencies.append(time.perf_counter() - sent)
                elif "retry-after" in answer.headers:
                    await asyncio.sleep(float(answer.headers["retry-after"]))

        await asyncio.gather(*(one() for _ in range(clients)))
        return answers, latencies, time.perf_counter() - began


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="stylegan2-64-tiny")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine")
    given = parser.parse_args()
    busy = load_of_quiet_machine(force=given.force)
    raw, raw_ms = raw_rate(given.model)
    server = Server(given.model)
    result: dict[str, Any] = {
        "load_before": busy,
        "clients": given.clients,
        "raw_pictures_per_second": round(raw, 1),
        "raw_processor_ms_per_picture": round(raw_ms, 2),
    }
    try:
        asyncio.run(load(server.url, one_face, given.clients, min(2.0, given.seconds)))  # warms up
        result["memory_mib_before"] = server.memory_mib()
        for name, ask, pictures in (("single", one_face, 1), ("batched", many_faces, MANY)):
            processor = server.processor_seconds()
            answers, latencies, seconds = asyncio.run(load(server.url, ask, given.clients, given.seconds))
            made = max(pictures * len(latencies), 1)
            processor = server.processor_seconds() - processor
            rate = made / seconds
            cuts = statistics.quantiles(latencies, n=20) if len(latencies) > 1 else [0.0] * 19
            result[name] = {
                "answers": dict(answers),
                "p50_ms": round(1000 * cuts[9], 1),
                "p95_ms": round(1000 * cuts[18], 1),
                "pictures_per_second": round(rate, 1),
                "of_raw": round(rate / raw, 3),
                "processor_ms_per_picture": round(1000 * processor / made, 2),
            }
        result["memory_mib_after"] = server.memory_mib()
    finally:
        result["exit_status"] = server.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
