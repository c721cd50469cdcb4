"""Pictures a second: from the memory map, and decoded on the fly by so many threads.

    .venv/bin/python benchmarks/data_reading.py [--data PICTURES] [--threads 1 2]

Batches of the shuffled stream, as training asks for them; each next batch is announced before, as training
does it. The first row is the map, which was built before. `waited` is how long a step of --step-ms
milliseconds that needs no processor had to wait for its pictures: what decoding ahead is for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from machine import load_of_quiet_machine

from facegan.data import DataConfig, Dataset, open_dataset
from facegan.data.dataset import STARTER

SECONDS = 4.0  # of each measurement


def images_per_second(data: Dataset, batch: int) -> float:
    """How many pictures come a second when nothing else is done."""
    first, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        data.batch(first, batch, seed=0)
        data.ahead(first + batch, batch, 0, range(batch))
        first += batch
    return first / (time.perf_counter() - began)


def waited_ms(data: Dataset, batch: int, step_ms: float) -> float:
    """How long a step waits for its pictures, while steps of that length run elsewhere (on a GPU)."""
    first, waited, steps = 0, 0.0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        asked = time.perf_counter()
        data.batch(first, batch, seed=0)
        data.ahead(first + batch, batch, 0, range(batch))
        waited += time.perf_counter() - asked
        time.sleep(step_ms / 1000)
        first, steps = first + batch, steps + 1
    return 1000 * waited / steps


def main() -> None:
    """Prints a table, or one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default=STARTER, help="folder or zip; default: the starter set, drawn at 64 px"
    )
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--step-ms", type=float, default=100.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    load = load_of_quiet_machine(force=arguments.force)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as cache:

        def measure(name: str, limit: float, threads: int | None) -> None:
            config = DataConfig(arguments.data, cache_limit_gb=limit)
            data = open_dataset(
                config, resolution=arguments.resolution, cache=Path(cache), num_threads=threads
            )
            rows[name] = {
                "images_per_second": round(images_per_second(data, arguments.batch), 1),
                "waited_ms": round(waited_ms(data, arguments.batch, arguments.step_ms), 2),
            }

        measure("memory map", 1e6, None)
        for threads in arguments.threads:
            measure(f"decoding, {threads} threads", 0.0, threads)
    if arguments.json:
        print(json.dumps({"load_before": round(load, 2), "batch": arguments.batch} | rows))
        return
    print(f"{'':24} images/s  waited, ms a step of {arguments.step_ms:g} ms")
    for name, row in rows.items():
        print(f"{name:24} {row['images_per_second']:>8,.0f}  {row['waited_ms']:>8.2f}")


if __name__ == "__main__":
    main()
