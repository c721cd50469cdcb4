"""What a run was made on: processor, cores, threads, GPU, and the versions that decide on its numbers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from facegan import __version__
from facegan.cores import usable_cores

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Names and numbers of this machine and of what runs on it, for a line of JSON; no host or user name."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "facegan": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def _processor() -> str:
    """The processor's name as it is sold, where the system says it, else its family."""
    try:
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    except OSError:  # only Linux has it
        pass
    return platform.processor() or platform.machine()
