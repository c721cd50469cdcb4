"""The machine that numbers are measured on: it should do nothing else meanwhile."""

from __future__ import annotations

import os
import sys

MAX_LOAD = 0.5


def load_of_quiet_machine(*, force: bool) -> float:
    """The load average of the last minute; ends the program if it is above MAX_LOAD, unless `force`."""
    load = os.getloadavg()[0]
    if load > MAX_LOAD and not force:
        sys.exit(
            f"the machine is busy (load average {load:.2f}, at most {MAX_LOAD}); --force measures anyway"
        )
    return load
