"""Bad data: usable pictures are used, the rest is named with its reason, and nothing of it is fatal."""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.images import Pixels

SIDE = 8
fuzzed = settings(max_examples=25, deadline=None, derandomize=True, database=None)
thoroughly_fuzzed = settings(fuzzed, max_examples=1000)


def flat(*colour: int) -> Pixels:
    """uint8 [8, 8, C] of one colour."""
    return np.full((SIDE, SIDE, len(colour)), colour, np.uint8)


def halves(left: int, right: int) -> Pixels:
    """Grey uint8 [8, 8, 3]: columns 0 to 3 of one shade, 4 to 7 of another."""
    return (
        np.repeat(np.repeat([left, right], SIDE // 2)[None, :, None], SIDE, 0).repeat(3, 2).astype(np.uint8)
    )


def encoded(picture: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture.squeeze())
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file: length, kind, content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG file by its specification; each of its rows begins with a byte 0, for no filter."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    body = b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def zip_bytes(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def folder_of(files: dict[str, bytes], place: Path) -> Path:
    folder = place / "pictures"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zip_of(content: bytes | bytearray, place: Path) -> Path:
    path = place / "pictures.zip"
    path.write_bytes(content)
    return path


def opened(path: Path, channels: int = 3, *, on_the_fly: bool = False) -> Dataset:
    """The data set at 8 px, with a cache beside it."""
    limit = 0.0 if on_the_fly else 1.0
    config = DataConfig(str(path), mirror=False, cache_limit_gb=limit)
    cache = path.parent / "cache"
    return open_dataset(config, resolution=SIDE, channels=channels, cache=cache)


def picture(data: Dataset, name: str) -> Pixels:
    """uint8 [8, 8, C]"""
    return np.asarray(data.pictures([data.names.index(name)])[0].permute(1, 2, 0))


def is_usage_error_of_one_line(error: UsageError) -> bool:
    return len(str(error).splitlines()) == 1


GOOD_PIXELS = flat(10, 20, 30)
GOOD = encoded(GOOD_PIXELS)

# ---- kinds of pictures


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
NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
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
    assert is_usage_error_of_one_line(error.value)


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
edits = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=5)


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with up to five bytes changed, and often cut."""
    content = bytearray(draw(st.sampled_from(originals)))
    for place, value in draw(edits):
        content[place % len(content)] = value
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def check_damaged_pictures(pictures: list[bytes], on_the_fly: bool) -> None:
    files = {"good.png": GOOD} | {f"{number}.png": content for number, content in enumerate(pictures)}
    with tempfile.TemporaryDirectory() as place:
        data = opened(folder_of(files, Path(place)), on_the_fly=on_the_fly)
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


# ---- zips


HOSTILE_NAMES = ["../x.png", "/abs.png", "a/../../x.png", "../../etc/x.jpg", "a/.."]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_zip_entry_that_leads_out_of_the_zip_is_named(tmp_path: Path, name: str) -> None:
    data = opened(zip_of(zip_bytes({"good.png": GOOD, name: GOOD}), tmp_path))
    assert (data.names, data.skipped) == (["good.png"], {name: "its name leads out of the zip"})


def test_zip_is_never_unpacked_to_the_disk(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "down"
    place.mkdir(parents=True)
    opened(zip_of(zip_bytes(dict.fromkeys(["good.png", *HOSTILE_NAMES], GOOD)), place))
    files = [file.relative_to(place).parts[0] for file in tmp_path.rglob("*") if file.is_file()]
    assert set(files) == {"pictures.zip", "cache"}


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    """A zip that holds a.png twice: black, then white."""
    content = zip_bytes({"a.png": encoded(flat(0)), "b.png": encoded(flat(255)), "c.png": GOOD})
    return zip_of(content.replace(b"b.png", b"a.png"), tmp_path)


def test_later_one_of_two_zip_entries_with_one_name_is_used(doubled: Path) -> None:
    assert (picture(opened(doubled), "a.png") == 255).all()


def test_earlier_one_of_two_zip_entries_with_one_name_is_named(doubled: Path) -> None:
    data = opened(doubled)
    assert data.names == ["a.png", "c.png"]
    assert data.skipped == {"a.png (an earlier one)": "the zip has a later file of the same name"}


def patched(content: bytes, name: bytes, local_offset: int, central_offset: int, value: bytes) -> bytes:
    """The zip with a field of one file overwritten, in both of its headers.

    The name follows 30 bytes of local header before the file, and 46 of central header at the end.
    """
    patched = bytearray(content)
    for start in (patched.find(name) - 30 + local_offset, patched.rfind(name) - 46 + central_offset):
        patched[start : start + len(value)] = value
    return bytes(patched)


def encrypted(content: bytes, name: bytes) -> bytes:
    return patched(content, name, 6, 8, b"\1\0")  # bit 0 of the flags


def test_encrypted_zip_entry_is_named(tmp_path: Path) -> None:
    content = encrypted(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png")
    data = opened(zip_of(content, tmp_path))
    assert (data.names, list(data.skipped)) == (["good.png"], ["a.png"])
    assert "encrypted, password required" in data.skipped["a.png"]


def test_encrypted_zip_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of its 1 pictures is usable; a\.png: .*encrypted") as error:
        opened(zip_of(encrypted(zip_bytes({"a.png": GOOD}), b"a.png"), tmp_path))
    assert is_usage_error_of_one_line(error.value)


def test_encrypted_label_file_is_a_usage_error_of_the_labels_alone(tmp_path: Path) -> None:
    content = encrypted(zip_bytes({"a.png": GOOD, "metadata.jsonl": b"{}"}), b"metadata.jsonl")
    data = opened(zip_of(content, tmp_path))
    with pytest.raises(UsageError, match=r"cannot read its metadata\.jsonl \(.*encrypted"):
        data.labels  # noqa: B018


def test_zip_entry_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    content = zip_bytes({"a.png": b"UNDAMAGED", "good.png": GOOD}).replace(b"UNDAMAGED", b"XXDAMAGED")
    data = opened(zip_of(content, tmp_path))
    assert (data.names, list(data.skipped)) == (["good.png"], ["a.png"])
    assert "CRC" in data.skipped["a.png"]


def test_zip_entry_packed_in_an_unknown_way_is_named(tmp_path: Path) -> None:
    content = patched(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png", 8, 10, b"\x63\0")
    data = opened(zip_of(content, tmp_path))
    assert data.skipped == {"a.png": "That compression method is not supported"}


def test_zip_entry_that_ends_too_early_is_named(tmp_path: Path) -> None:
    # both sizes say a megabyte, which reaches beyond the end of the zip
    size = struct.pack("<II", 2**20, 2**20)
    content = patched(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png", 18, 20, size)
    assert opened(zip_of(content, tmp_path)).skipped == {"a.png": "cut off"}


def test_zip_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({"good.png": GOOD, "x.png": GOOD}))
    lengths = content.rfind(b"x.png") - 46 + 28  # of name, extra field and comment
    content[lengths : lengths + 6] = struct.pack("<HHH", 0, 0, 5)  # what was the name is the comment
    assert opened(zip_of(content, tmp_path)).names == ["good.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_zip_entry_is_read_whole(tmp_path: Path, method: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    padded = encoded(pixels) + np.random.default_rng(2).bytes(30_000)  # more than is unpacked at once
    data = opened(zip_of(zip_bytes({"a.png": padded}, method), tmp_path))
    np.testing.assert_array_equal(picture(data, "a.png"), pixels)


@pytest.mark.parametrize(("size", "names"), [(5000, ["a.png", "good.png"]), (5001, ["good.png"])])
def test_zip_entry_that_unpacks_to_more_than_the_limit_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, names: list[str]
) -> None:
    monkeypatch.setattr("facegan.data.source.MAX_FILE_BYTES", 5000)
    content = zip_bytes({"a.png": GOOD.ljust(size, b"\0"), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    assert opened(zip_of(content, tmp_path)).names == names


def test_zip_entry_over_the_limit_is_named_with_both_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegan.data.source.MAX_FILE_BYTES", 5000)
    content = zip_bytes({"a.png": bytes(5001), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    skipped = opened(zip_of(content, tmp_path)).skipped
    assert skipped == {"a.png": "5,001 bytes; at most 5,000 are read"}


def test_zip_entry_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    content = zip_bytes({"a.png": bytes(2**24), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    content = patched(content, b"a.png", 22, 24, struct.pack("<I", 100))  # its unpacked size
    path = zip_of(content, tmp_path)
    tracemalloc.start()
    try:
        data = opened(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert list(data.skipped) == ["a.png"]
    assert peak < 2**22  # a quarter of what it would unpack to


ZIP = zip_bytes({"a.png": GOOD, "b/c.png": GOOD, "metadata.jsonl": b'{"file_name": "a.png", "age": 3}'})
PACKED_ZIP = zip_bytes({"a.png": GOOD, "metadata.jsonl": b"{}"}, zipfile.ZIP_DEFLATED)
# the note in front of the end record that says where a zip of more than 4 GB continues: on another disk
OTHER_DISK = ZIP[:-22] + struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 2) + ZIP[-22:]


def test_zip_cut_at_any_length_is_a_usage_error(tmp_path: Path) -> None:
    refused = []
    for length in range(len(ZIP)):
        with pytest.raises(UsageError, match="not a usable zip file") as error:
            opened(zip_of(ZIP[:length], tmp_path))
        refused.append(is_usage_error_of_one_line(error.value))
    assert all(refused)


def test_part_of_a_zip_of_several_disks_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a usable zip file"):
        opened(zip_of(OTHER_DISK, tmp_path))


def check_zip(content: bytes) -> None:
    """It is read, with its labels, or a UsageError of one line: neither is another error."""
    with tempfile.TemporaryDirectory() as place:
        try:
            data = opened(zip_of(content, Path(place)))
            assert len(data.names) >= 1
            assert len(data.labels) == len(data.names)
            message = "none"
        except UsageError as error:
            message = str(error)
    assert len(message.splitlines()) == 1


@fuzzed
@given(content=st.binary(max_size=300))
def test_random_bytes_as_zip_are_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


@fuzzed
@given(content=damaged([ZIP, PACKED_ZIP, OTHER_DISK]))
def test_damaged_zip_is_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


DIRECTORY_BYTES = 300  # at the end of ZIP: headers of three files, and the end record


@fuzzed
@given(place=st.integers(len(ZIP) - DIRECTORY_BYTES, len(ZIP) - 2), value=st.binary(min_size=1, max_size=2))
def test_zip_with_a_damaged_directory_is_read_or_a_usage_error(place: int, value: bytes) -> None:
    check_zip(ZIP[:place] + value + ZIP[place + len(value) :])


@pytest.mark.slow
@thoroughly_fuzzed
@given(content=damaged([ZIP, PACKED_ZIP, OTHER_DISK]))
def test_zip_damaged_in_many_ways_is_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


@pytest.mark.slow
def test_zip_with_any_byte_of_it_changed_is_read_or_a_usage_error() -> None:
    for place in range(len(ZIP)):
        for value in (0, 1, 0x2F, 0x80, 0xFF):  # 0x2F is a slash
            check_zip(ZIP[:place] + bytes([value]) + ZIP[place + 1 :])


# ---- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, and sub/b.png."""
    folder = folder_of({"a.png": GOOD}, tmp_path)
    (folder / "sub").mkdir()
    (folder / "sub" / "b.png").write_bytes(GOOD)
    return folder


ALREADY = "leads to a folder that is read already"


@pytest.mark.parametrize("target", ["..", "."])
def test_links_in_a_circle_are_followed_once(folder: Path, target: str) -> None:
    (folder / "sub" / "loop").symlink_to(target, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"sub/loop": ALREADY})


def test_circle_through_a_folder_outside_ends(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(GOOD)
    (outside / "back").symlink_to(folder, target_is_directory=True)
    (folder / "out").symlink_to(outside, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "out/c.png", "sub/b.png"], {"out/back": ALREADY})


def test_second_link_to_a_folder_is_named(folder: Path) -> None:
    (folder / "again").symlink_to(folder / "sub", target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"again": ALREADY})


def test_two_links_to_a_folder_outside_are_read_once(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(GOOD)
    for name in ("one", "two"):
        (folder / name).symlink_to(outside, target_is_directory=True)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "one/c.png", "sub/b.png"], {"two": ALREADY})


def test_dangling_link_is_named(folder: Path) -> None:
    (folder / "x.png").symlink_to("nowhere.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"x.png": "No such file or directory"})


def test_links_to_each_other_are_named(folder: Path) -> None:
    (folder / "x.png").symlink_to("y.png")
    (folder / "y.png").symlink_to("x.png")
    assert sorted(opened(folder).skipped) == ["x.png", "y.png"]


def test_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png"], {"sub": "Permission denied"})


def test_data_folder_that_cannot_be_listed_is_a_usage_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=r"pictures: no pictures in it .*Permission denied"):
        opened(folder)


def test_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    data = opened(folder)
    assert (data.names, data.skipped) == (["sub/b.png"], {"a.png": "Permission denied"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_with_a_picture_s_name_is_named_and_not_waited_on(folder: Path) -> None:
    os.mkfifo(folder / "x.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub/b.png"], {"x.png": "neither a file nor a folder"})


def test_folder_with_a_picture_s_name_is_a_folder(folder: Path) -> None:
    (folder / "sub").rename(folder / "sub.png")
    data = opened(folder)
    assert (data.names, data.skipped) == (["a.png", "sub.png/b.png"], {})


# ---- labels


DEEP = "[" * 100_000
METADATA_LINES = [
    '{"file_name": "a.png", "age": 30}',
    "words",
    "",
    "[1]",
    '{"age": 3}',
    DEEP,
    '{"file_name": "x.png", "age": 4}',
    '{"file_name": 7}',
    '{"file_name": "c.png", "age": ' + "9" * 5000 + "}",  # more digits than Python reads
    '{"file_name": "c.png", "age',
]
NO_OBJECT = "not an object with a file_name"


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    files = {"a.png": GOOD, "b.png": GOOD, "metadata.jsonl": "\n".join(METADATA_LINES).encode()}
    return opened(folder_of(files, tmp_path))


def test_every_bad_line_of_metadata_is_named_by_its_number(labelled: Dataset) -> None:
    assert labelled.label_problems == {
        "metadata.jsonl, line 2": "not JSON",
        "metadata.jsonl, line 4": NO_OBJECT,
        "metadata.jsonl, line 5": NO_OBJECT,
        "metadata.jsonl, line 6": "not JSON",
        "metadata.jsonl, line 7": "labels 'x.png', which is not there",
        "metadata.jsonl, line 8": NO_OBJECT,
        "metadata.jsonl, line 9": "not JSON",
        "metadata.jsonl, line 10": "not JSON",
        "b.png": "has no labels",
    }


def test_bad_lines_of_metadata_cost_no_other_labels(labelled: Dataset) -> None:
    assert labelled.labels == [{"age": 30}, {}]


def test_sound_metadata_has_no_problems(tmp_path: Path) -> None:
    line = b'{"file_name": "a.png", "age": 30}\r\n'
    assert opened(folder_of({"a.png": GOOD, "metadata.jsonl": line}, tmp_path)).label_problems == {}


def test_bad_lines_of_dataset_json_are_named(tmp_path: Path) -> None:
    content = b'{"labels": [["a.png", 1], "b.png", ["x.png", 2]]}'
    data = opened(folder_of({"a.png": GOOD, "b.png": GOOD, "dataset.json": content}, tmp_path))
    assert data.label_problems == {
        "dataset.json, label 2": "not a pair of name and class",
        "dataset.json, label 3": "labels 'x.png', which is not there",
        "b.png": "has no labels",
    }


def test_bad_lines_of_celeba_attributes_are_named(tmp_path: Path) -> None:
    content = b"3\nSmiling Young\na.png 1 -1\nb.png 1 2\nc.png 1\nx.png 1 1\n"
    files = {"a.png": GOOD, "b.png": GOOD, "list_attr_celeba.txt": content}
    assert opened(folder_of(files, tmp_path)).label_problems == {
        "list_attr_celeba.txt, line 4": "not a name and 2 times 1 or -1",
        "list_attr_celeba.txt, line 5": "not a name and 2 times 1 or -1",
        "list_attr_celeba.txt, line 6": "labels 'x.png', which is not there",
        "b.png": "has no labels",
    }


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("metadata.jsonl", b"\x89\xff\x00\xfe", "line 1"),
        ("dataset.json", b"\x89\xff\x00\xfe", "all of it"),
        ("dataset.json", DEEP.encode(), "all of it"),
        ("dataset.json", b'{"labels": 3}', "labels"),
        ("list_attr_celeba.txt", b"\x89\xff\x00\xfe", "line 2"),
    ],
)
def test_label_file_of_rubbish_is_named(tmp_path: Path, name: str, content: bytes, place: str) -> None:
    data = opened(folder_of({"a.png": GOOD, name: content}, tmp_path))
    assert list(data.label_problems) == [f"{name}, {place}"]


any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("a.png"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["file_name", "labels", "age"]), inner, max_size=3)
    ),
    max_leaves=8,
)
label_text = st.text(max_size=60) | any_json.map(json.dumps) | st.sampled_from(METADATA_LINES)
label_lines = st.lists(label_text, max_size=4).map("\n".join)
label_bytes = st.binary(max_size=60) | label_lines.map(lambda text: text.encode("utf-8", "surrogatepass"))


def check_labels(folder: Path, name: str, content: bytes) -> None:
    """Two pictures have labels, and problems of one line each; no text is so bad as to be fatal."""
    (folder / name).write_bytes(content)
    data = opened(folder)
    assert [type(labels) for labels in data.labels] == [dict, dict]
    assert all(len(problem.splitlines()) == 1 for problem in data.label_problems.values())
    (folder / name).unlink()


@pytest.fixture(scope="module")
def two_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png and b.png, in a map: label files are no part of it."""
    return folder_of({"a.png": GOOD, "b.png": GOOD}, tmp_path_factory.mktemp("two"))


LABEL_FILES = ["metadata.jsonl", "dataset.json", "list_attr_celeba.txt"]


@pytest.mark.parametrize("name", LABEL_FILES)
@fuzzed
@given(content=label_bytes)
def test_any_label_file_is_read_or_read_over(two_pictures: Path, name: str, content: bytes) -> None:
    check_labels(two_pictures, name, content)


@pytest.mark.slow
@pytest.mark.parametrize("name", LABEL_FILES)
@thoroughly_fuzzed
@given(content=label_bytes)
def test_any_of_many_label_files_is_read_or_read_over(two_pictures: Path, name: str, content: bytes) -> None:
    check_labels(two_pictures, name, content)


# ---- the memory map


SHADES = [0, 40, 80]
MAPPED = {f"{number}.png": encoded(flat(shade)) for number, shade in enumerate(SHADES)} | {"bad.png": b""}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three shades and a bad picture, whose map is built."""
    folder = folder_of(MAPPED, tmp_path_factory.mktemp("mapped"))
    opened(folder)
    return folder


def map_file(folder: Path, suffix: str) -> Path:
    (file,) = (folder.parent / "cache" / "datasets").glob(f"*.{suffix}")
    return file


def check_mapped(folder: Path) -> None:
    data = opened(folder)
    shades = {name: int(picture(data, name).mean()) for name in data.names}
    assert shades == {"0.png": 0, "1.png": 40, "2.png": 80}
    assert data.skipped == {"bad.png": NO_PICTURE}


@fuzzed
@given(field=st.sampled_from(["key", "names", "skipped"]), value=any_json)
def test_map_whose_index_holds_a_wrong_field_is_built_anew(mapped: Path, field: str, value: Any) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    map_file(mapped, "json").write_text(json.dumps(index | {field: value}))
    check_mapped(mapped)


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["1.png", "0.png", "2.png"]},
        {"names": ["0.png", "1.png", "x.png"]},
        {"names": ["0.png", "0.png", "1.png"]},
        {"names": "012"},
        {"names": {"0.png": 0, "1.png": 1, "2.png": 2}},
        {"skipped": {}},
        {"skipped": ["bad.png"]},
        {"skipped": {"bad.png": None}},
        {"skipped": {"x.png": "words"}},
        {"key": "of other pictures"},
    ],
)
def test_map_whose_index_names_other_pictures_is_built_anew(mapped: Path, wrong: dict[str, Any]) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    map_file(mapped, "json").write_text(json.dumps(index | wrong))
    check_mapped(mapped)


def test_map_of_no_pictures_is_built_anew(mapped: Path) -> None:
    index = json.loads(map_file(mapped, "json").read_text())
    everything_skipped = {"names": [], "skipped": dict.fromkeys(MAPPED, "words")}
    map_file(mapped, "json").write_text(json.dumps(index | everything_skipped))
    map_file(mapped, "u8").write_bytes(b"")
    check_mapped(mapped)


@fuzzed
@given(content=any_json.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_map_with_any_other_index_is_built_anew(mapped: Path, content: bytes) -> None:
    map_file(mapped, "json").write_bytes(content)
    check_mapped(mapped)


@fuzzed
@given(length=st.integers(0, 10**6))
def test_map_whose_index_is_cut_is_built_anew(mapped: Path, length: int) -> None:
    content = map_file(mapped, "json").read_bytes()
    map_file(mapped, "json").write_bytes(content[: length % len(content)])
    check_mapped(mapped)


@fuzzed
@given(length=st.integers(0, 2 * len(SHADES) * 3 * SIDE**2))
def test_map_of_any_other_length_is_built_anew(mapped: Path, length: int) -> None:
    content = map_file(mapped, "u8").read_bytes()
    map_file(mapped, "u8").write_bytes(content[:length].ljust(length, b"\xaa"))
    check_mapped(mapped)
