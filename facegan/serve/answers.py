"""What goes back to whoever asked: encoded pictures, zips, and errors in one line.

Every picture says that it is synthetic, as files do elsewhere (images.Provenance).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response
from PIL import Image

from facegan import __version__
from facegan.config import UsageError
from facegan.images import SAVE_FORMATS, Pixels, Provenance, encode, fit

MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
MAX_ERROR = 600  # characters


def sides(picture: tuple[int, int], size: int | None) -> tuple[int, int]:
    """Height and width of a picture whose longer side becomes `size`; None: as it is."""
    height, width = picture
    if size is None:
        return height, width
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))


def encoded(pixels: Pixels, size: int | None, file_format: str, provenance: Provenance) -> bytes:
    """The bytes of a picture uint8 [H, W, C], its longer side resized to `size` by Lanczos.

    Raises:
        UsageError: a picture with transparency as JPEG.
    """
    height, width, channels = pixels.shape
    kind = SAVE_FORMATS[f".{file_format}"]
    if kind == "JPEG" and channels == 4:
        raise UsageError("format 'jpg': this model's pictures have transparency; use png or webp")
    wanted = sides((height, width), size)
    if wanted != (height, width):
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        pixels = fit(image, wanted, "center")
    return encode(pixels, kind, provenance)


@dataclass(frozen=True)
class Named:
    """An encoded picture and what its file is called; its seed where it has one."""

    name: str
    data: bytes
    seed: int | None = None


def as_zip(pictures: Sequence[Named]) -> bytes:
    """All pictures in one zip, not compressed again."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            # a ZipInfo is of 1980, not of now: the same pictures are the same zip
            archive.writestr(zipfile.ZipInfo(picture.name), picture.data)
    return file.getvalue()


def as_json(model: str, file_format: str, pictures: Sequence[Named]) -> bytes:
    """All pictures in JSON, as base64."""
    listed = [
        {
            "name": picture.name,
            "seed": picture.seed,
            "type": MEDIA_TYPES[file_format],
            "data": base64.b64encode(picture.data).decode(),
        }
        for picture in pictures
    ]
    return json.dumps({"model": model, "synthetic": True, "pictures": listed}).encode()


def etag(*parts: Any) -> str:
    """A weak validator of a picture of these parts, by this version: another batch rounds otherwise."""
    text = json.dumps([__version__, *parts])
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether an If-None-Match header names that validator (RFC 9110, sec. 13.1.2: compared weakly)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in re.findall(r'"[^"]*"', if_none_match)


def error_answer(
    status: int, message: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """{"error": one line, "request_id": ...}."""
    line = " ".join(message.split())
    if len(line) > MAX_ERROR:
        line = f"{line[: MAX_ERROR // 2]} ... {line[-MAX_ERROR // 2 :]}"
    # json.dumps writes ASCII: a line may hold what is no text in UTF-8
    content = json.dumps({"error": line, "request_id": request_id})
    return Response(content, status, dict(headers or {}), media_type="application/json")
