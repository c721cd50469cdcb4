"""Seconds until `python -m facegan --help` is done: the median of several fresh processes.

    python benchmarks/startup.py [--runs 7]

The goal is below 1 s; the command line must not import torch before a command runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time


def seconds_of_help() -> float:
    """Wall time of one `facegan --help`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "facegan", "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    runs = sorted(seconds_of_help() for _ in range(parser.parse_args().runs))
    print(
        json.dumps(
            {"help_seconds_median": round(statistics.median(runs), 3), "all": [round(s, 3) for s in runs]}
        )
    )


if __name__ == "__main__":
    main()
