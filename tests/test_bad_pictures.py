"""Bad pictures: what can be used is used, the rest is named with its reason, and nothing of it is fatal."""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzzing import damaged, fuzzed, thoroughly_fuzzed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_data import (
    GOOD,
    GOOD_PIXELS,
    SIDE,
    encoded,
    flat,
    folder_of,
    halves,
    noise,
    opened,
    picture,
    zip_bytes,
    zip_of,
)

from facegan.config import UsageError
from facegan.images import Pixels


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file: length, kind, content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG file by its specification; each of its rows begins with a byte 0, for no filter."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    body = b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(flat(*colour)) for colour in ((200, 100, 50), (0, 255, 0))]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, lossless=True)


PALETTE = Image.new("P", (SIDE, SIDE), 1)
PALETTE.putpalette([1, 2, 3, 200, 100, 50])
DARK_LEFT = halves(0, 255)
DARK_TOP = DARK_LEFT.transpose(1, 0, 2)
EXIF_BEGINNING = b"MM\0*\0\0\0\x08"  # of which the list of tags is missing
# ... and with two tags: a description of 100 letters at byte 5000, which is not there; a quarter clockwise
EXIF_WITH_A_LOST_TEXT = EXIF_BEGINNING + struct.pack(
    ">HHHIIHHIHHI", 2, 0x010E, 2, 100, 5000, 0x0112, 3, 1, 6, 0, 0
)

# file name, content, pixels, largest error: lossy formats round, and a flat picture has no other error
USED: dict[str, tuple[str, bytes, Pixels, int]] = {
    "RGB": ("a.png", encoded(flat(200, 100, 50)), flat(200, 100, 50), 0),
    "grey": ("a.png", encoded(flat(77)), flat(77, 77, 77), 0),
    "grey and alpha": ("a.png", encoded(flat(77, 0)), flat(255, 255, 255), 0),  # on white
    "RGBA, clear": ("a.png", encoded(flat(200, 100, 50, 0)), flat(255, 255, 255), 0),
    "RGBA, a fifth": ("a.png", encoded(flat(100, 0, 255, 51)), flat(224, 204, 255), 0),  # c / 5 + 255 * 4 / 5
    "RGBA, WebP": ("a.webp", encoded(flat(9, 9, 9, 0), "WEBP", lossless=True), flat(255, 255, 255), 0),
    "palette": ("a.png", encoded(PALETTE), flat(200, 100, 50), 0),
    "palette, clear": ("a.png", encoded(PALETTE, transparency=1), flat(255, 255, 255), 0),
    "1 bit": ("a.png", encoded(Image.new("1", (SIDE, SIDE), 1)), flat(255, 255, 255), 0),
    "CMYK": (  # all cyan, half magenta, no yellow, no black: red (1 - 1), green (1 - 0.5), blue (1 - 0)
        "a.jpg",
        encoded(Image.new("CMYK", (SIDE, SIDE), (255, 128, 0, 0)), "JPEG", quality=100),
        flat(0, 127, 255),
        3,
    ),
    "16-bit grey": ("a.png", png(8, 8, 16, 0, (b"\0" + b"\xc8\x01" * 8) * 8), flat(200, 200, 200), 0),
    "16-bit RGB": ("a.png", png(8, 8, 16, 2, (b"\0" + b"\xc8\1\x64\2\x32\3" * 8) * 8), flat(200, 100, 50), 0),
    "EXIF, a quarter clockwise": ("a.png", encoded(DARK_LEFT, exif=exif(6)), DARK_TOP, 0),
    "EXIF, upside down": ("a.png", encoded(DARK_LEFT, exif=exif(3)), halves(255, 0), 0),
    "EXIF, no such turn": ("a.png", encoded(DARK_LEFT, exif=exif(99)), DARK_LEFT, 0),
    "EXIF, rubbish": ("a.jpg", encoded(flat(9, 9, 9), "JPEG", exif=b"Exif\0\0rubbish"), flat(9, 9, 9), 2),
    "EXIF, rubbish in PNG": ("a.png", encoded(DARK_LEFT, exif=b"rubbish!"), DARK_LEFT, 0),
    "EXIF, cut": ("a.png", encoded(DARK_LEFT, exif=EXIF_BEGINNING), DARK_LEFT, 0),
    "animated PNG": ("a.png", animated("PNG"), flat(200, 100, 50), 0),
    "animated WebP": ("a.webp", animated("WEBP"), flat(200, 100, 50), 0),
    "1x1": ("a.png", encoded(Image.new("RGB", (1, 1), (200, 100, 50))), flat(200, 100, 50), 0),
    "1 pixel high": ("a.png", encoded(Image.new("RGB", (500, 1), (9, 8, 7))), flat(9, 8, 7), 0),
    "JPEG as .png": ("a.png", encoded(flat(200, 100, 50), "JPEG", quality=100), flat(200, 100, 50), 3),
    "WebP as .jpeg": ("a.jpeg", encoded(flat(7, 8, 9), "WEBP", lossless=True), flat(7, 8, 9), 0),
    "PNG as .webp": ("a.webp", encoded(flat(200, 100, 50)), flat(200, 100, 50), 0),
    "zeros after its end": ("a.png", encoded(flat(200, 100, 50)) + bytes(1000), flat(200, 100, 50), 0),
}


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", USED)
def test_usable_picture_is_used(tmp_path: Path, case: str, as_zip: bool) -> None:
    name, content, expected, tolerance = USED[case]
    files = {name: content}
    data = opened(zip_of(zip_bytes(files), tmp_path) if as_zip else folder_of(files, tmp_path))
    np.testing.assert_allclose(picture(data, name).astype(int), expected.astype(int), atol=tolerance)
    assert data.skipped == {}


def test_picture_whose_exif_lost_a_text_is_used(tmp_path: Path) -> None:
    """Pillow reads the turn beside it from version 13 on; before, nothing of such EXIF."""
    exif = b"Exif\0\0" + EXIF_WITH_A_LOST_TEXT
    files = {"a.jpg": encoded(DARK_LEFT, "JPEG", quality=100, exif=exif)}
    used = picture(opened(folder_of(files, tmp_path)), "a.jpg").astype(int)
    assert min(np.abs(used - expected).max() for expected in (DARK_TOP.astype(int), DARK_LEFT)) <= 3


NOT_READ = "only PNG, JPEG and WebP are read; convert it first"
NO_PICTURE = "not a PNG, JPEG or WebP picture"
NOISE = noise(40, 40, 3)
HUGE_TEXT = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2**21)))  # 2 MiB in 2 kB

# file name, content, and what the reason says
SKIPPED: dict[str, tuple[str, bytes, str]] = {
    "zero bytes": ("x.png", b"", NO_PICTURE),
    "text": ("x.jpg", b"words", NO_PICTURE),
    "GIF as .png": ("x.png", encoded(flat(7), "GIF"), NO_PICTURE),
    "TIFF as .jpg": ("x.jpg", encoded(flat(7), "TIFF"), NO_PICTURE),
    "GIF": ("x.gif", encoded(flat(7), "GIF"), NOT_READ),
    "TIFF": ("x.TIF", encoded(flat(7), "TIFF"), NOT_READ),
    "HEIC": ("x.heic", b"\0\0\0\x18ftypheic", NOT_READ),
    "cut PNG": ("x.png", encoded(NOISE)[:2000], "damaged picture"),
    "cut JPEG": ("x.jpg", encoded(NOISE, "JPEG")[:1000], "damaged picture"),
    "cut WebP": ("x.webp", encoded(NOISE, "WEBP", lossless=True)[:2000], "damaged picture"),
    "PNG's first bytes": ("x.png", b"\x89PNG\r\n\x1a\n", NO_PICTURE),
    "PNG without pixels": ("x.png", encoded(flat(7))[:33], NO_PICTURE),
    "3600 megapixels": ("x.png", png(60_000, 60_000, 8, 0, b""), "3600000000 pixels"),
    "90 megapixels": ("x.png", png(9_500, 9_500, 8, 0, b""), "9500x9500 pixels; at most 89,000,000 are read"),
    "compressed text": ("x.png", png(1, 1, 8, 0, b"\0\0", HUGE_TEXT), "Decompressed data too large"),
}


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", SKIPPED)
def test_unusable_picture_is_skipped_with_its_reason(tmp_path: Path, case: str, as_zip: bool) -> None:
    name, content, words = SKIPPED[case]
    files = {"good.png": GOOD, name: content}
    data = opened(zip_of(zip_bytes(files), tmp_path) if as_zip else folder_of(files, tmp_path))
    assert (data.names, list(data.skipped)) == (["good.png"], [name])
    assert words in data.skipped[name]
    np.testing.assert_array_equal(picture(data, "good.png"), GOOD_PIXELS)


@pytest.mark.parametrize("case", SKIPPED)
def test_nothing_but_an_unusable_picture_is_a_usage_error_with_its_reason(tmp_path: Path, case: str) -> None:
    name, content, words = SKIPPED[case]
    with pytest.raises(UsageError) as error:
        opened(folder_of({name: content}, tmp_path))
    assert f"{name}: " in str(error.value)
    assert words in str(error.value)


def test_line_break_in_a_name_leaves_the_error_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        opened(folder_of({"a\nb.png": b""}, tmp_path))
    assert len(str(error.value).splitlines()) == 1


def test_all_kinds_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    good = {f"good {number:02d}.{USED[case][0]}": USED[case][1] for number, case in enumerate(USED)}
    bad = {f"bad {number:02d}.{SKIPPED[case][0]}": SKIPPED[case][1] for number, case in enumerate(SKIPPED)}
    data = opened(folder_of(good | bad, tmp_path))
    assert (data.names, sorted(data.skipped)) == (sorted(good), sorted(bad))


PICTURES = [
    encoded(NOISE[:6, :6]),
    encoded(NOISE[:6, :6], "JPEG", exif=exif(6), dpi=(72, 72)),
    encoded(NOISE[:6, :6], "WEBP", exif=exif(6)),
    encoded(PALETTE, transparency=b"\x00\x80"),
    animated("PNG"),
]


def check_damaged_pictures(pictures: list[bytes], on_the_fly: bool) -> None:
    files = {"good.png": GOOD} | {f"{number}.png": content for number, content in enumerate(pictures)}
    with tempfile.TemporaryDirectory() as place:
        data = opened(folder_of(files, Path(place)), limit=0.0 if on_the_fly else 1.0)
        assert sorted([*data.names, *data.skipped]) == sorted(files)
        assert all(len(reason.splitlines()) == 1 for reason in data.skipped.values())
        np.testing.assert_array_equal(picture(data, "good.png"), GOOD_PIXELS)


@fuzzed
@given(pictures=st.lists(damaged(PICTURES), max_size=4), on_the_fly=st.booleans())
def test_damaged_pictures_are_used_or_named_beside_a_good_one(
    pictures: list[bytes], on_the_fly: bool
) -> None:
    check_damaged_pictures(pictures, on_the_fly)


@pytest.mark.slow
@thoroughly_fuzzed
@given(pictures=st.lists(damaged(PICTURES), max_size=20), on_the_fly=st.booleans())
def test_many_damaged_pictures_are_used_or_named_beside_a_good_one(
    pictures: list[bytes], on_the_fly: bool
) -> None:
    check_damaged_pictures(pictures, on_the_fly)
