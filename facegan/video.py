"""Frames to a film: .mp4 (h264) or .webp (animated), one frame at a time, so length costs no memory."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from facegan.config import UsageError, choose
from facegan.files import replaced
from facegan.images import Pixels, rgb

# suffix -> codec, pixel format, options of the codec, options of the file
_FORMATS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", "yuv420p", {"crf": "18", "preset": "medium"}, {}),
    ".webp": ("libwebp_anim", "yuv420p", {"quality": "90"}, {"loop": "0"}),
}


def check_film_path(path: Path) -> None:
    """Raises UsageError where the suffix is not one of a film's."""
    choose("film format", path.suffix.lower(), _FORMATS)


def write_film(path: Path, frames: Iterable[Pixels], *, fps: int, description: str = "") -> int:
    """Writes uint8 frames [H, W, C], grey, RGB or RGBA (over white), and returns how many there were.

    Raises:
        UsageError: unknown suffix, PyAV is missing, no frames or none a second, or an odd width or
            height (the codecs need even ones).
    """
    check_film_path(path)
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None or fps < 1:
        raise UsageError(f"a film needs frames, and at least one a second (fps {fps})")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UsageError(f"{width}x{height}: a film needs an even width and height")
    try:
        import av
    except ImportError:
        raise UsageError("films need PyAV: pip install av") from None
    codec, pixel_format, codec_options, file_options = _FORMATS[path.suffix.lower()]
    written = 0
    with replaced(path) as partial, av.open(str(partial), "w", options=file_options) as container:
        container.metadata["comment"] = description
        stream: Any = container.add_stream(codec, rate=Fraction(fps), options=codec_options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for pixels in chain([first], remaining):
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb(pixels), format="rgb24")):
                container.mux(packet)
            written += 1
        for packet in stream.encode():
            container.mux(packet)
    return written
