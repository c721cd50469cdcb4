"""Which of a model's layers, in words: coarse, middle, fine, or their numbers.

Karras et al. 2019 (arXiv 1812.04948), sec. 3.1, where each resolution from 4 pixels on has two layers:

    coarse   layers 0-3    4 and 8 pixels      pose, shape of the face, glasses
    middle   layers 4-7    16 and 32 pixels    features, hair, expression
    fine     layers 8-     from 64 pixels on   colours, texture
"""

from __future__ import annotations

from collections.abc import Iterable

from facegan.config import UsageError, is_whole, nearest

BANDS: dict[str, tuple[int, int | None]] = {"coarse": (0, 4), "middle": (4, 8), "fine": (8, None)}


def require_several_layers(num_ws: int) -> None:
    """Checks that a model of so many layers has styles to tell apart.

    Raises:
        UsageError: it has one layer.
    """
    if num_ws == 1:
        raise UsageError(
            "this model has a single layer, whose w is z itself, so it has no styles to take apart or mix; "
            "a StyleGAN or StyleGAN2 has"
        )


def parse_layers(text: str, num_ws: int) -> tuple[int, ...]:
    """The layers that words, numbers and ranges name, ascending: "coarse", "4-7", "coarse,9-11".

    num_ws: how many layers the model has. A word stands for those of its layers that the model has.

    Raises:
        UsageError: not of this form, layers that the model lacks, or a model with one layer.
    """
    require_several_layers(num_ws)
    layers: set[int] = set()
    for part in text.split(","):
        layers |= set(_layers_of(part.strip(), num_ws))
    return tuple(sorted(layers))


def layers_text(layers: Iterable[int]) -> str:
    """Ascending layers as ranges that parse_layers reads: "0-3", "0-3,8", "9"."""
    ranges: list[tuple[int, int]] = []
    for layer in layers:
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], layer
        else:
            ranges.append((layer, layer))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def _layers_of(part: str, num_ws: int) -> range:
    has = f"this model has layers 0-{num_ws - 1}"
    if part in BANDS:
        start, stop = BANDS[part]
        if start >= num_ws:
            raise UsageError(f"styles {part!r}: layers {start} and up; {has}")
        return range(start, num_ws if stop is None else min(stop, num_ws))
    first, dash, last = part.partition("-")
    if not (is_whole(first) and (is_whole(last) if dash else not last)):
        raise UsageError(
            f"styles {part[:40]!r}: {', '.join(BANDS)}, or layers such as 3, 0-5 or coarse,9-11"
            f"{nearest(part, BANDS)}"
        )
    if max(len(first), len(last)) > 9:
        raise UsageError(f"styles {part[:40]!r}: {has}")
    start, end = int(first), int(last or first)
    if end < start:
        raise UsageError(f"styles {part!r}: runs backwards; write {end}-{start}")
    if end >= num_ws:
        raise UsageError(f"styles {part!r}: {has}")
    return range(start, end + 1)
