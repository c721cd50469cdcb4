"""The sample grids of a run as pictures inside a page: a film through time, and a few faces side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facegan.images import Pixels, rgb

MOST_FRAMES = 40
FILM_BYTES = 3_500_000  # of all frames, before base64 adds a third
SIDES = (768, 512, 384, 256, 128)  # pixels; the first with which the frames fit is taken
QUALITY = 85
PIXELS_SHOW = 16  # a face of so few is enlarged as it is: blurred it would look like more
STRIP_COLUMNS, STRIP_ROWS, STRIP_SIDE = 8, 7, 80


@dataclass(frozen=True)
class Frame:
    """One grid: when it was made, and a JPEG in a data: address."""

    images_seen: int
    address: str
    width: int
    height: int


def film(samples: Sequence[tuple[int, Path]]) -> tuple[list[Frame], int]:
    """At most MOST_FRAMES of the grids, evenly spread with first and last, and how many could not be read."""
    frames = list(_readable(samples, MOST_FRAMES, SIDES[0]))
    damaged = min(len(samples), MOST_FRAMES) - len(frames)
    for side in SIDES:
        encoded = [(images_seen, *_encoded(image, side)) for images_seen, image in frames]
        if sum(len(data) for _, data, _ in encoded) <= FILM_BYTES:
            break
    return [Frame(images_seen, _address(data), *size) for images_seen, data, size in encoded], damaged


def strip(samples: Sequence[tuple[int, Path]], face: tuple[int, int]) -> tuple[Frame, list[int]] | None:
    """The same few faces at up to STRIP_COLUMNS moments, one a column, and the moments; None without grids.

    face: height over width of one, as two numbers; a grid's faces are as wide as its eighth.
    """
    columns: list[tuple[int, Pixels]] = []
    for images_seen, image in _readable(samples, STRIP_COLUMNS, None):
        pixels = np.asarray(image)
        width = pixels.shape[1] // 8
        height = width * face[0] // face[1]
        size = STRIP_SIDE, STRIP_SIDE * face[0] // face[1]
        cells = [pixels[:height, k * width : (k + 1) * width] for k in range(STRIP_ROWS)]
        if not all(cell.size for cell in cells):
            continue
        how = Image.Resampling.NEAREST if width <= PIXELS_SHOW else Image.Resampling.LANCZOS
        faces = [np.asarray(Image.fromarray(cell).resize(size, how)) for cell in cells]
        columns.append((images_seen, np.concatenate(faces, axis=0)))
    if len(columns) < 2:
        return None
    sheet = Image.fromarray(np.concatenate([pixels for _, pixels in columns], axis=1))
    data, (width, height) = _encoded(sheet, max(sheet.size))
    moments = [images_seen for images_seen, _ in columns]
    return Frame(moments[-1], _address(data), width, height), moments


def spread(samples: Sequence[tuple[int, Path]], most: int) -> list[tuple[int, Path]]:
    """At most so many, evenly spread, with the first and the last."""
    if len(samples) <= most:
        return list(samples)
    return [samples[round(k * (len(samples) - 1) / (most - 1))] for k in range(most)]


def _readable(
    samples: Sequence[tuple[int, Path]], most: int, side: int | None
) -> Iterator[tuple[int, Image.Image]]:
    """The moments and pictures of `spread` that are not damaged, one after the other."""
    for images_seen, path in spread(samples, most):
        with suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's for damage
            yield images_seen, _opened(path, side)


def _opened(path: Path, side: int | None) -> Image.Image:
    """The picture in RGB, transparent parts over white; what it says of its origin stays with it."""
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        if side is not None:
            image.draft("RGB", (side, side))  # a JPEG of 64 large faces need not be decoded in full
        image.load()
        origin = _origin(image)
        opened = Image.fromarray(rgb(np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))))
        opened.info.update(origin.items())
        if side is not None:
            opened.thumbnail((side, side), Image.Resampling.LANCZOS)
        return opened


def _encoded(image: Image.Image, side: int) -> tuple[bytes, tuple[int, int]]:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True, **_origin(image))
    return out.getvalue(), small.size


def _origin(image: Image.Image) -> dict[str, Any]:
    """What the picture says of where it comes from, as Pillow reads and writes it."""
    return {name: image.info[name] for name in ("exif", "xmp") if name in image.info}


def _address(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
