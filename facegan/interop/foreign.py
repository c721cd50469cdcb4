"""What a converter makes of a foreign file: a config, and for each of facegan's tensors where it comes from.

Foreign(kind, config, generator={"net.b4.const": Source(...), ...}, ...)
widths_to_channels({4: 512, ..., 1024: 32})    -> channel_base, channel_max
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facegan.config import UsageError
from facegan.interop.arrays import Floats, Numbers
from facegan.networks import NetworkConfig

RESOLUTIONS = tuple(2**k for k in range(2, 11))


@dataclass(frozen=True)
class Source:
    """A tensor of the file: its name there, its numbers, and what is done to them.

    ones: it may have axes of length 1 that facegan's has not.
    """

    name: str
    numbers: Numbers
    change: Callable[[Floats], Floats] = lambda numbers: numbers
    ones: bool = False


@dataclass
class Foreign:
    """A model of another code base; sources go by facegan's names."""

    kind: str
    config: NetworkConfig
    generator: dict[str, Source]
    discriminator: dict[str, Source] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # what of the file, why
    notes: list[str] = field(default_factory=list)


def plain(value: object) -> str:
    """A setting for a message: numbers and words as they are, of anything else its type."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, (int, float)) or value is None:
        return repr(value)
    return f"a {type(value).__name__}"


def whole(settings: Mapping[str, Any], name: str) -> int:
    """A setting that is a whole number, 0 or more.

    Raises:
        UsageError: it is something else, or missing.
    """
    value = settings.get(name)
    if type(value) is not int or value < 0:
        raise UsageError(f"{name} is {plain(value)}, expected a whole number")
    return value


def widths_to_channels(widths: Mapping[int, int]) -> tuple[int, int]:
    """channel_base and channel_max with min(base // r, max) channels at each resolution r.

    Raises:
        UsageError: there are none: the widths follow another rule.
    """
    most = max(widths.values())
    narrow = [resolution for resolution, width in widths.items() if width < most]
    last = max(narrow or widths)
    base = last * widths[last]
    if any(min(base // resolution, most) != width for resolution, width in widths.items()):
        shown = ", ".join(f"{resolution}: {width}" for resolution, width in sorted(widths.items()))
        raise UsageError(f"channels by resolution {shown}: not those of a channel_base and channel_max")
    return base, most


def require_filter(name: str, numbers: Numbers, gain: float = 1.0) -> None:
    """Checks that a resampling filter is [1, 3, 3, 1], which facegan's networks have built in.

    Raises:
        UsageError: it is another one.
    """
    line = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    expected = np.outer(line, line) * gain
    if tuple(numbers.shape) != (4, 4) or not np.allclose(numbers.read(), expected, atol=1e-6):
        raise UsageError(f"{name}: a resampling filter other than [1, 3, 3, 1]")
