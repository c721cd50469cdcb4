"""Pictures: values, reading, cutting, grids, provenance."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facegan import images
from facegan.config import UsageError
from facegan.images import Pixels, Provenance, decode, fit, grid, read_provenance, save, to_float, to_uint8

PROVENANCE = Provenance(model="dcgan-64", seeds="3, 5 & 7 < 9", psi=0.7)
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"  # IPTC's term


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def values(image: Image.Image) -> list[Any]:
    """The pixels of a picture of one row."""
    return list(np.asarray(image)[0].tolist())


# ---- values


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=50))
def test_to_uint8_scales_shifts_clamps_and_truncates(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    expected = np.trunc(np.clip(np.float32(127.5) * x + np.float32(128), 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(to_uint8(torch.from_numpy(x)[None, None, None])[0, 0, :, 0], expected)


@pytest.mark.parametrize(("x", "u"), [(-1, 0), (0, 128), (1, 255), (-2, 0), (2, 255), (127 / 127.5 - 1, 127)])
def test_to_uint8_at_known_values(x: float, u: int) -> None:
    assert to_uint8(torch.full((1, 1, 1, 1), float(x))).item() == u


def test_to_uint8_undoes_to_float_for_every_byte() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(to_uint8(to_float(pixels))[0, :, :, 0], pixels[0, 0].numpy())


def test_to_float_maps_bytes_to_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(to_float(pixels).flatten(), [-1, -0.6, 1], atol=1e-7)  # one float32 rounding


def test_to_uint8_puts_channels_last() -> None:
    planes = torch.stack([torch.full((2, 3), value) for value in (-1.0, 0.0, 1.0)])[None]
    assert to_uint8(planes).tolist() == [[[[0, 128, 255]] * 3] * 2]


def test_to_uint8_takes_images_with_gradients_and_half_precision() -> None:
    x = torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16, requires_grad=True)
    assert to_uint8(x).item() == 128


# ---- reading


TWO_COLOURS = Image.new("P", (2, 1))
TWO_COLOURS.putpalette([10, 20, 30, 200, 100, 50])
TWO_COLOURS.putpixel((1, 0), 1)


def row(*pixels: Any, dtype: Any = np.uint8) -> Image.Image:
    return Image.fromarray(np.array([pixels], dtype))


# white where transparent: c a / 255 + 255 (1 - a / 255); at a = 51 (a fifth) 100 becomes 224
# and grey is 0.299 R + 0.587 G + 0.114 B
READ: dict[str, tuple[bytes, int, list[Any]]] = {
    "grey": (encoded(row(0, 77, 255)), 1, [0, 77, 255]),
    "grey as RGB": (encoded(row(0, 77)), 3, [[0, 0, 0], [77, 77, 77]]),
    "RGB": (encoded(row([1, 2, 3], [4, 5, 6])), 3, [[1, 2, 3], [4, 5, 6]]),
    "RGB as RGBA is opaque": (encoded(row([1, 2, 3])), 4, [[1, 2, 3, 255]]),
    "RGBA": (encoded(row([9, 8, 7, 0], [9, 8, 7, 99])), 4, [[9, 8, 7, 0], [9, 8, 7, 99]]),
    "RGBA on white": (encoded(row([100, 0, 0, 0], [100, 0, 0, 255])), 3, [[255, 255, 255], [100, 0, 0]]),
    "RGBA mixes with white": (encoded(row([100, 0, 255, 51])), 3, [[224, 204, 255]]),
    "RGBA on white as grey": (encoded(row([9, 8, 7, 0])), 1, [255]),
    "grey and alpha on white": (encoded(row([100, 0], [100, 255])), 1, [255, 100]),
    "palette": (encoded(TWO_COLOURS), 3, [[10, 20, 30], [200, 100, 50]]),
    "clear palette entry": (encoded(TWO_COLOURS, transparency=0), 3, [[255, 255, 255], [200, 100, 50]]),
    "clear entry as RGBA": (encoded(TWO_COLOURS, transparency=0), 4, [[10, 20, 30, 0], [200, 100, 50, 255]]),
    "palette with alphas": (encoded(TWO_COLOURS, transparency=b"\xff\x00"), 1, [18, 255]),
    "clear RGB colour": (encoded(row([1, 2, 3], [4, 5, 6]), transparency=(1, 2, 3)), 1, [255, 5]),
    "clear grey value": (encoded(row(7, 8), transparency=7), 1, [255, 8]),
    "1 bit": (encoded(row(False, True, dtype=bool)), 1, [0, 255]),
    "16-bit grey": (encoded(row(0, 255, 256, 0x80FF, 65535, dtype=np.uint16)), 1, [0, 0, 1, 128, 255]),
    "16-bit grey as RGB": (encoded(row(0x4321, dtype=np.uint16)), 3, [[0x43, 0x43, 0x43]]),
}


@pytest.mark.parametrize("case", READ)
def test_decode_gives_the_channels_asked_for(case: str) -> None:
    data, channels, expected = READ[case]
    assert values(decode(data, channels)) == expected


def test_cmyk_jpeg_becomes_rgb() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    # cyan 0, magenta and yellow full, no black: red; JPEG may be off by its rounding
    np.testing.assert_allclose(values(decode(data)), [[255, 0, 0]] * 8, atol=2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_read(kind: str) -> None:
    data = encoded(Image.new("RGB", (8, 6), (200, 100, 50)), kind, quality=100)
    np.testing.assert_allclose(values(decode(data)), [[200, 100, 50]] * 8, atol=3)  # JPEG and WebP are lossy


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2], [3, 4]]),
        (2, [[2, 1], [4, 3]]),  # mirrored left to right
        (3, [[4, 3], [2, 1]]),  # upside down
        (6, [[3, 1], [4, 2]]),  # to be turned clockwise
        (8, [[2, 4], [1, 3]]),  # to be turned counter-clockwise
    ],
)
def test_exif_orientation_is_undone(orientation: int, expected: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8)), exif=exif)
    assert np.asarray(decode(data, 1)).tolist() == expected


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_first_frame_of_an_animation_is_read(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 255, 0))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], duration=100, **options)
    assert values(decode(data)) == [[255, 0, 0]] * 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9])
def test_truncated_picture_is_a_value_error(kind: str, part: float) -> None:
    data = encoded(Image.fromarray(noise(20, 20, 3)), kind)
    with pytest.raises(ValueError, match=r"\w"):
        decode(data[: int(len(data) * part)])


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture, but words", b"\x89PNG\r\n\x1a\n", encoded(row(1), "GIF"), encoded(row(1), "TIFF")],
    ids=["zero bytes", "text", "PNG signature only", "GIF", "TIFF"],
)
def test_other_data_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode(data)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0, 10**6), st.integers(0, 255))
def test_damaged_byte_is_read_over_or_a_value_error(kind: str, place: int, value: int) -> None:
    data = bytearray(encoded(Image.fromarray(noise(6, 6, 3)), kind))
    data[place % len(data)] = value
    try:
        decoded = decode(bytes(data))
    except ValueError:
        return
    assert decoded.mode == "RGB"


def test_picture_at_the_pixel_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 48)
    assert decode(encoded(Image.new("RGB", (8, 6)))).size == (8, 6)


def test_picture_over_the_pixel_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 47)
    with pytest.raises(ValueError, match="8x6 pixels; at most 47"):
        decode(encoded(Image.new("RGB", (8, 6))))


@pytest.mark.parametrize("side", [9_434, 65_500])  # 89 and 4290 million pixels
def test_bomb_is_refused_by_its_header(side: int) -> None:
    data = bytearray(encoded(Image.new("L", (1, 1))))
    data[16:24] = struct.pack(">II", side, side)  # width and height, in the IHDR chunk that starts at byte 12
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(ValueError, match="pixels"):
        decode(bytes(data))


# ---- cutting and resizing


def coordinates(width: int, height: int) -> Image.Image:
    """RGB whose pixel at (x, y) is (x, y, 255)."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("width", "height", "left", "top"),
    [(12, 8, 2, 0), (8, 12, 0, 2), (13, 8, 2, 0), (8, 11, 0, 1), (8, 8, 0, 0)],
)
def test_center_is_the_largest_central_square(width: int, height: int, left: int, top: int) -> None:
    cut = fit(coordinates(width, height), (8, 8), "center")
    expected = [[[left + x, top + y, 255] for x in range(8)] for y in range(8)]
    assert cut.tolist() == expected


@pytest.mark.parametrize(("width", "height", "left", "top"), [(8, 4, 0, 2), (4, 8, 2, 0), (8, 8, 0, 0)])
def test_pad_is_the_whole_picture_on_a_black_square(width: int, height: int, left: int, top: int) -> None:
    expected = np.zeros((8, 8, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            expected[top + y, left + x] = (x, y, 255)
    np.testing.assert_array_equal(fit(coordinates(width, height), (8, 8), "pad"), expected)


@pytest.mark.parametrize(
    ("width", "height", "left", "top"),
    [(10, 8, 2, 0), (6, 12, 0, 2), (6, 8, 0, 0)],
)
def test_center_is_the_largest_central_part_of_the_shape(
    width: int, height: int, left: int, top: int
) -> None:
    expected = [[[left + x, top + y, 255] for x in range(6)] for y in range(8)]
    assert fit(coordinates(width, height), (8, 6), "center").tolist() == expected


@pytest.mark.parametrize(("width", "height", "left", "top"), [(6, 4, 0, 2), (4, 8, 1, 0), (6, 8, 0, 0)])
def test_pad_is_the_whole_picture_in_the_middle_of_the_shape(
    width: int, height: int, left: int, top: int
) -> None:
    expected = np.zeros((8, 6, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            expected[top + y, left + x] = (x, y, 255)
    np.testing.assert_array_equal(fit(coordinates(width, height), (8, 6), "pad"), expected)


@pytest.mark.parametrize("crop", ["center", "pad"])
@pytest.mark.parametrize("size", [(80, 64), (12, 16), (8, 128)])
@pytest.mark.parametrize("picture", [(178, 218), (1, 50), (300, 2)])
def test_fit_gives_the_size_asked_for(
    crop: images.Crop, size: tuple[int, int], picture: tuple[int, int]
) -> None:
    assert fit(Image.new("RGB", picture), size, crop).shape == (*size, 3)


def test_celeba_is_the_128_window_around_89_121() -> None:
    cut = fit(coordinates(178, 218), (128, 128), "celeba")
    expected = [[[25 + x, 57 + y, 255] for x in range(128)] for y in range(128)]
    assert cut.tolist() == expected


@pytest.mark.parametrize(("width", "height"), [(218, 178), (178, 217), (64, 64)])
def test_celeba_refuses_pictures_of_another_size(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width}x{height} pixels.*178x218"):
        fit(Image.new("RGB", (width, height)), (64, 64), "celeba")


@pytest.mark.parametrize("crop", images.CROPS)
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("resolution", [4, 128, 256])
def test_fit_gives_a_square_with_the_picture_s_channels(
    crop: images.Crop, mode: str, channels: int, resolution: int
) -> None:
    pixels = fit(Image.new(mode, (178, 218)), (resolution, resolution), crop)
    assert (pixels.shape, pixels.dtype) == ((resolution, resolution, channels), np.uint8)


def test_resizing_keeps_a_flat_picture_flat() -> None:
    assert np.unique(fit(Image.new("L", (50, 40), 77), (8, 8), "center")).tolist() == [77]


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    shrunk = fit(Image.fromarray(checkers.astype(np.uint8)), (8, 8), "center")
    np.testing.assert_allclose(shrunk, 127.5, atol=3)  # Lanczos weights sum to 1 but differ per parity


# ---- grids


@pytest.mark.parametrize(
    ("count", "columns", "rows_columns"),
    [
        (1, None, (1, 1)),
        (3, None, (2, 2)),
        (5, None, (2, 3)),
        (9, None, (3, 3)),
        (5, 4, (2, 4)),
        (2, 3, (1, 3)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grid_places_pictures_row_by_row_and_fills_with_black(
    count: int, columns: int | None, rows_columns: tuple[int, int], channels: int
) -> None:
    pictures = noise(count * 4, 6, channels).reshape(count, 4, 6, channels)
    expected = np.zeros((rows_columns[0] * 4, rows_columns[1] * 6, channels), np.uint8)
    for number in range(count):
        row_number, column = divmod(number, rows_columns[1])
        for y in range(4):
            for x in range(6):
                expected[row_number * 4 + y, column * 6 + x] = pictures[number, y, x]
    np.testing.assert_array_equal(grid(pictures, columns), expected)


# ---- saving, and what a saved picture says


SUFFIX_CHANNELS = [
    (suffix, channels)
    for suffix in (".png", ".jpg", ".jpeg", ".webp", ".PNG")
    for channels in (1, 3, 4)
    if not (suffix in (".jpg", ".jpeg") and channels == 4)
]


@pytest.mark.parametrize(("suffix", "channels"), SUFFIX_CHANNELS)
def test_provenance_survives_saving(tmp_path: Path, suffix: str, channels: int) -> None:
    save(tmp_path / f"a{suffix}", noise(8, 8, channels), PROVENANCE)
    assert read_provenance(tmp_path / f"a{suffix}") == PROVENANCE


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_provenance_may_hold_any_characters(tmp_path: Path, suffix: str) -> None:
    provenance = Provenance(model='Zo\u00eb \u4e00 "a\\b"\n', seeds="</rdf:li>]]>", psi=-1.5, synthetic=False)
    save(tmp_path / f"a{suffix}", noise(8, 8, 3), provenance)
    assert read_provenance(tmp_path / f"a{suffix}") == provenance


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_picture_without_provenance_says_nothing(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", noise(8, 8, 3))
    assert read_provenance(tmp_path / f"a{suffix}") is None


@pytest.mark.parametrize("description", ["a holiday", "[1, 2]", '{"model": "x"}', "3"])
def test_another_program_s_description_is_no_provenance(tmp_path: Path, description: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = description
    (tmp_path / "a.jpg").write_bytes(encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif))
    assert read_provenance(tmp_path / "a.jpg") is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_keeps_every_pixel(tmp_path: Path, channels: int) -> None:
    pixels = noise(9, 7, channels)
    save(tmp_path / "a.png", pixels, PROVENANCE)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")])
def test_suffix_decides_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    save(tmp_path / f"a{suffix}", np.full((16, 16, 3), (200, 100, 50), np.uint8), PROVENANCE)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert (image.format, image.size) == (kind, (16, 16))


def test_png_text_says_model_seeds_psi_and_synthetic(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(8, 8, 3), PROVENANCE)
    with Image.open(tmp_path / "a.png") as image:
        text = {key: image.text[key] for key in ("model", "seeds", "psi", "synthetic")}
    assert text == {"model": "dcgan-64", "seeds": "3, 5 & 7 < 9", "psi": "0.7", "synthetic": "True"}


@pytest.fixture(params=[".png", ".jpg", ".webp"])
def xmp(request: pytest.FixtureRequest, tmp_path: Path) -> ElementTree.Element:
    """The XMP of a saved picture, parsed."""
    path = tmp_path / f"a{request.param}"
    save(path, noise(8, 8, 3), PROVENANCE)
    with Image.open(path) as image:
        return ElementTree.fromstring(image.info["xmp"].decode())


def test_xmp_says_trained_algorithmic_media(xmp: ElementTree.Element) -> None:
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [element.attrib[name] for element in xmp.iter() if name in element.attrib] == [TRAINED]


def test_xmp_description_holds_the_seeds_unharmed(xmp: ElementTree.Element) -> None:
    texts = [element.text for element in xmp.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")]
    assert [json.loads(text or "")["seeds"] for text in texts] == ["3, 5 & 7 < 9"]


@pytest.mark.parametrize(("name", "nearest"), [("a.pgn", ".png"), ("a.jpgg", ".jpg"), ("a.web", ".webp")])
def test_unknown_suffix_names_the_nearest(tmp_path: Path, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{nearest}'"):
        save(tmp_path / name, noise(8, 8, 3))


def test_jpeg_with_alpha_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.jpg: JPEG has no transparency"):
        save(tmp_path / "a.jpg", noise(8, 8, 4))
