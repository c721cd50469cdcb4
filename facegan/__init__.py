"""facegan: faces of people who do not exist.

    import facegan
    faces = facegan.load("dcgan-64").sample(seeds=range(64), psi=0.7)     # uint8 [64, 64, 64, 3]

The names in __all__ are the public API; each is imported when it is first used, so `import facegan` is
quick and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from facegan.config import UsageError
    from facegan.data import DataConfig, Dataset, open_dataset
    from facegan.images import Provenance
    from facegan.presets import PRESETS
    from facegan.run import Run
    from facegan.synthesis import Sampler
    from facegan.training.loop import train

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "DataConfig",
    "Dataset",
    "Provenance",
    "Run",
    "Sampler",
    "UsageError",
    "__version__",
    "load",
    "open_dataset",
    "train",
]

_HOME = {
    "PRESETS": "facegan.presets",
    "DataConfig": "facegan.data",
    "Dataset": "facegan.data",
    "Provenance": "facegan.images",
    "Run": "facegan.run",
    "Sampler": "facegan.synthesis",
    "UsageError": "facegan.config",
    "open_dataset": "facegan.data",
    "train": "facegan.training.loop",
}


def load(name: str | PathLike[str], *, device: str = "auto", precision: str = "auto") -> Sampler:
    """A model ready to sample: a shipped name, a .safetensors file, a run folder, or hf://owner/name.

    Raises:
        UsageError: nothing of that name, not a usable model file, or no such device.
    """
    from facegan import models
    from facegan.synthesis import Sampler

    return Sampler(models.load(name), device=device, precision=precision)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'facegan' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
