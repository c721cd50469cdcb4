"""Frames to a film: .mp4 (h264), .webp or .gif (animated), one frame at a time, so length costs no memory.

All but WebP's encoder write as they go; that one keeps the compressed frames until the end.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import GifImagePlugin, Image

from facegan.config import UsageError
from facegan.files import replaced, suffix_of
from facegan.images import Pixels, rgb

FORMATS = (".mp4", ".webp", ".gif")
MAX_SIDE = 8192  # pixels; what h264 players take at most
MAX_FPS = {".mp4": 240, ".webp": 240, ".gif": 50}  # GIFs with frames of less than 20 ms are slowed down
_EXIF_DESCRIPTION = 0x010E

# suffix -> codec, its options, options of the file; faststart: the index first, so that a film starts at once
_CODECS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "18", "preset": "medium"}, {"movflags": "faststart"}),
    ".webp": ("libwebp_anim", {"quality": "90"}, {}),
}


def check_film(path: Path, fps: int) -> None:
    """Raises UsageError where the suffix is not one of a film's, or the format has no such rate."""
    suffix = suffix_of(path, "film format", FORMATS)
    if not 1 <= fps <= MAX_FPS[suffix]:
        raise UsageError(f"fps {fps}: 1 to {MAX_FPS[suffix]} in {suffix}")


def check_size(height: int, width: int) -> None:
    """Raises UsageError where frames of that size are larger than MAX_SIDE."""
    if max(height, width) > MAX_SIDE:
        raise UsageError(f"{width}x{height}: a film is at most {MAX_SIDE} pixels wide and high")


def write_film(
    path: Path, frames: Iterable[Pixels], *, fps: int, description: str = "", loop: bool = True
) -> int:
    """Writes uint8 frames [H, W, C], grey, RGB or RGBA (over white), and returns how many there were.

    h264 and WebP halve the colours' resolution and need even sides: an odd one repeats its last row
    or column. The description becomes the comment of an MP4 or GIF, or the EXIF description of a WebP.
    loop: a GIF or WebP plays for ever, else once; how often an MP4 plays is its player's affair.

    Raises:
        UsageError: unknown suffix, PyAV is missing, no frames, a rate that the format has not, or frames
            larger than MAX_SIDE.
    """
    check_film(path, fps)
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise UsageError("a film needs at least one frame")
    check_size(*first.shape[:2])
    write = _write_gif if path.suffix.lower() == ".gif" else _write_coded
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        return write(partial, chain([first], remaining), fps, description, loop)


def _write_coded(path: Path, frames: Iterable[Pixels], fps: int, description: str, loop: bool) -> int:
    try:
        import av
    except ImportError:
        raise UsageError("films need PyAV: pip install av; a .gif does not") from None
    suffix = path.suffix.lower()
    codec, codec_options, file_options = _CODECS[suffix]
    if suffix == ".webp":
        file_options = {"loop": "0" if loop else "1"}  # how many times; 0: for ever
    written = 0
    # FFmpeg takes a:b.mp4 for an address, unless it is absolute, and a%d.webp for many files, unless told
    place, kind = str(path.absolute()), suffix[1:]
    with av.open(place, "w", format=kind, options=file_options) as container:
        container.metadata["comment"] = description
        stream: Any = container.add_stream(codec, rate=Fraction(fps), options=codec_options)
        stream.pix_fmt = "yuv420p"
        for pixels in map(_even, frames):
            if not written:
                stream.height, stream.width = pixels.shape[:2]
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
            written += 1
        for packet in stream.encode():
            container.mux(packet)
    if suffix == ".webp" and description:
        with open(path, "r+b") as file:
            _describe_webp(file, description)
    return written


def _even(pixels: Pixels) -> Pixels:
    """uint8 [H, W, C] -> RGB with even sides."""
    height, width = pixels.shape[:2]
    return np.pad(rgb(pixels), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _describe_webp(file: IO[bytes], description: str) -> None:
    """Appends an EXIF chunk (RFC 9649, sec. 2.7.1.5), which the chunk VP8X announces.

    Where all frames are equal the encoder makes a still picture, which has no VP8X: it gets one.
    """
    file.seek(0)
    head = file.read(16)
    if head[12:] != b"VP8X":
        still = head + file.read()
        file.seek(0)
        file.write(_extended(still))
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = description
    content = exif.tobytes()
    chunk = b"EXIF" + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    end = file.seek(0, 2)
    file.write(chunk)
    file.seek(4)
    file.write(struct.pack("<I", end + len(chunk) - 8))
    file.seek(20)  # VP8X's flags, after "RIFF" size "WEBP" "VP8X" size
    flags = file.read(1)[0]
    file.seek(20)
    file.write(bytes([flags | 0x08]))


def _extended(still: bytes) -> bytes:
    """A still WebP with a VP8X chunk: flags, of which 0x10 is alpha, width and height (sec. 2.7.1)."""
    with Image.open(io.BytesIO(still)) as image:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in image.size)
        flags = 0x10 if image.mode == "RGBA" else 0
    return still[:12] + b"VP8X" + struct.pack("<IB3x", 10, flags) + sides + still[12:]


def _write_gif(path: Path, frames: Iterable[Pixels], fps: int, description: str, loop: bool) -> int:
    """GIF89a, every frame with 256 colours of its own; Pillow's own writer would hold the whole film."""
    written = 0
    with open(path, "wb") as file:
        for pixels in frames:
            if not written:
                height, width = pixels.shape[:2]
                file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))  # no shared colours
                if loop:
                    file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # plays for ever
                file.write(_gif_comment(description))
            # whole hundredths of a second, which add up to the film's length whatever the rate
            hundredths = round(100 * (written + 1) / fps) - round(100 * written / fps)
            image = Image.fromarray(np.ascontiguousarray(rgb(pixels))).quantize(256)
            parts = GifImagePlugin.getdata(image, duration=10 * hundredths, include_color_table=True)
            file.writelines(parts)
            written += 1
        file.write(b";")
    return written


def _gif_comment(text: str) -> bytes:
    """A comment extension: blocks of at most 255 bytes, each after its length, then an empty one."""
    data = text.encode()
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join([b"\x21\xfe", *(bytes([len(block)]) + block for block in blocks), b"\0"]) if data else b""
