"""Pictures: values, reading, cutting, grids."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import encoded, noise

from facegan import images
from facegan.images import Crop, decode, enlarged, enlarges, fit, grid, scale_to, to_float, to_uint8


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


SQUARE, UPRIGHT = (8, 8), (8, 6)  # height and width asked for


@pytest.mark.parametrize(
    ("size", "width", "height", "left", "top"),
    [
        (SQUARE, 12, 8, 2, 0), (SQUARE, 8, 12, 0, 2), (SQUARE, 13, 8, 2, 0), (SQUARE, 8, 11, 0, 1),
        (SQUARE, 8, 8, 0, 0), (UPRIGHT, 10, 8, 2, 0), (UPRIGHT, 6, 12, 0, 2), (UPRIGHT, 6, 8, 0, 0),
    ],
)  # fmt: skip
def test_center_is_the_largest_central_part_of_the_shape(
    size: tuple[int, int], width: int, height: int, left: int, top: int
) -> None:
    expected = [[[left + x, top + y, 255] for x in range(size[1])] for y in range(size[0])]
    assert fit(coordinates(width, height), size, "center").tolist() == expected


@pytest.mark.parametrize(
    ("size", "width", "height", "left", "top"),
    [
        (SQUARE, 8, 4, 0, 2), (SQUARE, 4, 8, 2, 0), (SQUARE, 8, 8, 0, 0),
        (UPRIGHT, 6, 4, 0, 2), (UPRIGHT, 4, 8, 1, 0), (UPRIGHT, 6, 8, 0, 0),
    ],
)  # fmt: skip
def test_pad_is_the_whole_picture_in_the_middle_of_the_shape(
    size: tuple[int, int], width: int, height: int, left: int, top: int
) -> None:
    """The rest is black."""
    expected = np.zeros((*size, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            expected[top + y, left + x] = (x, y, 255)
    np.testing.assert_array_equal(fit(coordinates(width, height), size, "pad"), expected)


def test_a_line_of_pixels_is_padded_at_the_size_asked_for() -> None:
    """As a square of its own length it would take 12 GB."""
    line = np.full((1, 65_000, 3), 200, np.uint8)
    fitted = fit(Image.fromarray(line), (64, 64), "pad")
    assert fitted.shape == (64, 64, 3)
    assert (fitted == 200).all(axis=(1, 2)).sum() == 1


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


@pytest.mark.parametrize(
    ("width", "height", "crop", "larger"),
    [
        (64, 64, "center", False),
        (63, 64, "center", True),
        (3000, 20, "center", True),  # its middle, 20x20
        (3000, 20, "pad", False),  # all of it becomes 64 wide
        (40, 20, "pad", True),
        (178, 218, "celeba", False),  # of which 128x128 are used
    ],
)
def test_a_picture_is_enlarged_where_what_is_used_of_it_is_smaller(
    width: int, height: int, crop: Crop, larger: bool
) -> None:
    assert enlarges((width, height), (64, 64), crop) == larger


def test_celeba_s_window_is_enlarged_beyond_its_128_pixels() -> None:
    assert not enlarges((178, 218), (128, 128), "celeba")
    assert enlarges((178, 218), (256, 256), "celeba")


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


# ---- larger pictures


def test_enlarging_keeps_flat_pictures_and_the_mean_of_others() -> None:
    for channels in (1, 3, 4):
        flat = np.full((3, 5, channels), 77, np.uint8)
        # a grey level is lost where colours are multiplied with alpha and divided by it
        large = np.full((12, 20, channels), 77, np.uint8)
        np.testing.assert_allclose(enlarged(flat, 4), large, rtol=0, atol=1 if channels == 4 else 0)
    random = np.random.default_rng(0).integers(80, 176, (16, 16, 3), dtype=np.uint8)
    assert enlarged(random, 3).mean() == pytest.approx(random.mean(), abs=1.0)
    assert enlarged(random, 1) is random


@pytest.mark.parametrize(
    ("size", "scale"), [((64, 64), 4), ((80, 100), 4), ((300, 256), 1), ((1000, 900), 1)]
)
def test_the_short_side_decides_how_many_times_a_picture_is_enlarged(
    size: tuple[int, int], scale: int
) -> None:
    assert scale_to(size, 256) == scale
