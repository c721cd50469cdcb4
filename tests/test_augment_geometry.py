"""Flips, turns, translations, warps against slow references: padding, plain convolution, reading by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from augmenting import HIT, MISS, SHAPES, Array, Prescribed, number, only, picture, single
from torch import Tensor

from facegan.augment.ada import BLIT, GEOMETRY
from facegan.augment.bands import SYM2
from facegan.augment.resampling import SYM6

# ---- blit


def padded(x: Tensor, margin: int) -> npt.NDArray[np.float32]:
    return np.pad(x.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")


def middle(wide: npt.NDArray[np.float32], height: int, width: int, right: int = 0, down: int = 0) -> Tensor:
    """The middle of padded pictures after they have moved to the right and down."""
    top, left = (wide.shape[2] - height) // 2 - down, (wide.shape[3] - width) // 2 - right
    return torch.from_numpy(wide[:, :, top : top + height, left : left + width].copy())


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_flip_exchanges_left_and_right(height: int, width: int) -> None:
    x = picture(2, 3, height, width)
    assert torch.equal(single("x_flip", x, 0.5), torch.from_numpy(np.flip(x.numpy(), 3).copy()))
    assert torch.equal(single("x_flip", x, 0.49), x)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(("height", "width"), [*SHAPES, (4, 20)])  # the last is reflected to and fro
def test_quarter_turns_are_those_of_numpy_filled_by_reflection(
    height: int, width: int, quarters: int
) -> None:
    x = picture(2, 3, height, width)
    turned = np.rot90(padded(x, 20), quarters, axes=(2, 3))
    assert torch.equal(single("rotate_90", x, quarters / 4 + 0.1), middle(turned, height, width))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_translation_by_pixels_shows_the_reflected_picture(height: int, width: int) -> None:
    x = picture(3, 3, height, width)
    drawn = torch.tensor([[0.0, 0.7], [0.999, 0.2], [0.4, 0.5]])
    y = single("translate_int", x, drawn)
    for image, expected, (across, along) in zip(y, x, drawn.tolist(), strict=True):
        right, down = round((2 * across - 1) / 8 * width), round((2 * along - 1) / 8 * height)
        assert torch.equal(image[None], middle(padded(expected[None], 8), height, width, right, down))


def test_blits_come_as_flip_then_turn_then_translation() -> None:
    x = picture(1, 3, 16, 24)
    y = only(*BLIT)(x, Prescribed(1, HIT, 0.9, HIT, 0.3, HIT, torch.tensor([0.95, 0.1])), number(1.0))
    turned = np.rot90(np.flip(padded(x, 40), 3), 1, axes=(2, 3))
    assert torch.equal(y, middle(turned, 16, 24, right=round(0.9 / 8 * 24), down=round(-0.8 / 8 * 16)))


# ---- geometry


def test_sym6_and_sym2_are_orthogonal_wavelets() -> None:
    for taps, moments in ((SYM6, 6), (SYM2, 2)):
        length = len(taps)
        places, signs = np.arange(length), (-1.0) ** np.arange(length)
        assert taps.sum() == pytest.approx(math.sqrt(2), abs=1e-9)
        for step in range(0, length, 2):  # orthonormal to itself moved by even steps
            assert taps[step:] @ taps[: length - step] == pytest.approx(float(step == 0), abs=1e-9)
        for power in range(moments):  # the high-pass filter ignores polynomials
            assert taps @ (signs * places**power) == pytest.approx(0, abs=1e-9 * length**power)


def forward(name: str, drawn: float, width: int, height: int) -> Array:
    """What a transform does to a place (x, y, 1) in the picture, y down."""
    if name == "scale":
        return np.diag([2 ** (0.2 * drawn), 2 ** (0.2 * drawn), 1])
    if name == "anisotropic":
        return np.diag([2 ** (0.2 * drawn), 2 ** (-0.2 * drawn), 1])
    if name == "rotate":
        angle = (2 * drawn - 1) * math.pi
        return np.array(
            [[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
        )
    return np.array([[1, 0, drawn / 8 * width], [0, 1, drawn / 8 * height], [0, 0, 1]])


def reference_warp(image: Array, matrix: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """image [C, H, W] moved by a matrix the long way, and which pixels [H, W] need nothing from outside it.

    Reflected far out, zeros between the pixels, convolved, read between four neighbours, convolved, halved.
    """
    (height, width), far = image.shape[1:], 60
    center = (SYM6 * np.arange(12)).sum() / SYM6.sum()
    fine = np.pad(image, ((0, 0), (far, far), (far, far)), mode="reflect")
    for axis in (1, 2):
        lines = np.repeat(fine, 2, axis=axis)
        lines[(slice(None),) * axis + (slice(1, None, 2),)] = 0
        fine = np.apply_along_axis(np.convolve, axis, lines, SYM6 * math.sqrt(2))
    column, row = np.meshgrid(np.arange(2 * width + 10), np.arange(2 * height + 10))
    x, y = (column - center) / 2 - (width - 1) / 2, (row - center) / 2 - (height - 1) / 2
    from_x, from_y, _ = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
    from_column = 2 * (from_x + (width - 1) / 2) + center
    from_row = 2 * (from_y + (height - 1) / 2) + center
    known = (from_column >= 0) & (from_column <= 2 * width + 9)
    known &= (from_row >= 0) & (from_row <= 2 * height + 9)
    j, i = np.floor(from_column).astype(int), np.floor(from_row).astype(int)
    right, down = from_column - j, from_row - i
    i, j = i + 2 * far, j + 2 * far
    read = (fine[:, i, j] * (1 - right) + fine[:, i, j + 1] * right) * (1 - down)
    read += (fine[:, i + 1, j] * (1 - right) + fine[:, i + 1, j + 1] * right) * down
    for axis in (1, 2):
        read = np.apply_along_axis(np.convolve, axis, read, SYM6[::-1] / math.sqrt(2), "valid")
    windows = np.lib.stride_tricks.sliding_window_view(known, (12, 12))
    return read[:, ::2, ::2], windows.all(axis=(2, 3))[::2, ::2]


def assert_is_the_reference(y: Tensor, x: Tensor, matrix: Array, least: float = 0.1) -> None:
    expected, known = reference_warp(x.double().numpy(), matrix)
    difference = np.abs(y.numpy() - expected)
    assert known.mean() > least
    assert difference[:, known].max() < 1e-4  # float32 places 1e-5 of a pixel apart


GEOMETRIC = [
    ("scale", -1.1), ("scale", 2.3), ("rotate", 0.5 + 1 / 12), ("rotate", 0.02), ("rotate", 0.77),
    ("anisotropic", 0.8), ("anisotropic", -1.7), ("translate", 0.4), ("translate", -1.3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "drawn"), GEOMETRIC)
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_geometric_transform_is_the_long_way_s(name: str, drawn: float, height: int, width: int) -> None:
    x = picture(1, 3, height, width)
    rest = [MISS, 0.0] if name == "rotate" else []  # the turn before is tested here, the one after below
    y = only(name)(x, Prescribed(1, HIT, drawn, *rest), number(0.5))
    assert_is_the_reference(y[0], x[0], forward(name, drawn, width, height))


def test_geometry_comes_in_the_published_order_after_the_blits() -> None:
    x = picture(1, 3, 36, 36)
    scale, before, wider, after, across, along = 0.9, 0.53, 1.4, 0.46, 0.3, -0.2
    blits = [HIT, 0.9, HIT, 0.3, HIT, torch.tensor([0.95, 0.1])]
    smooth = [HIT, scale, HIT, before, HIT, wider, HIT, after, HIT, torch.tensor([across, along])]
    y = only(*BLIT, *GEOMETRY)(x, Prescribed(1, *blits, *smooth), number(1.0))
    steps = [
        np.diag([-1.0, 1, 1]),
        np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),  # right becomes up
        np.array([[1.0, 0, round(0.9 / 8 * 36)], [0, 1, round(-0.8 / 8 * 36)], [0, 0, 1]]),
        forward("scale", scale, 36, 36),
        forward("rotate", before, 36, 36),
        forward("anisotropic", wider, 36, 36),
        forward("rotate", after, 36, 36),
        np.array([[1, 0, across / 8 * 36], [0, 1, along / 8 * 36], [0, 0, 1]]),
    ]
    assert_is_the_reference(y[0], x[0], np.linalg.multi_dot(steps[::-1]), least=0.05)


def test_a_matrix_that_changes_nothing_gives_the_picture_back_to_its_borders() -> None:
    x = picture(1, 3, 24, 16)
    full_turn = single("rotate", x, 0.0, HIT, 0.0)  # twice by -180 degrees: resampled, and back in place
    assert (full_turn - x).abs().max() < 2e-5


@pytest.mark.parametrize(("name", "drawn"), GEOMETRIC)
def test_a_slope_stays_a_slope(name: str, drawn: float) -> None:
    """sym6 keeps polynomials, and bilinear reading keeps lines: x - 2 y is known anywhere inside."""
    down, right = torch.meshgrid(torch.arange(24.0) - 11.5, torch.arange(20.0) - 9.5, indexing="ij")
    x = ((right - 2 * down) / 40).expand(1, 1, 24, 20)
    y = only(name)(x, Prescribed(1, HIT, drawn, MISS, 0.0), number(0.5))
    back = np.linalg.inv(forward(name, drawn, 20, 24))
    from_x, from_y, _ = np.einsum(
        "ij,jhw->ihw", back, np.stack([right, down, torch.ones_like(right)]).astype(np.float64)
    )
    inside = (abs(from_x) < 10 - 6) & (abs(from_y) < 12 - 6)  # 3 pixels' reach of each filter from the border
    assert inside.sum() > 10
    assert np.abs(y[0, 0].numpy() - (from_x - 2 * from_y) / 40)[inside].max() < 1e-5


def test_beyond_the_borders_a_moved_picture_goes_on_reflected() -> None:
    """A smooth picture, whose reflection depends little on the order of reflecting and doubling."""
    down, right = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    x = torch.sin(right / 4 + down / 7).expand(1, 1, 24, 20)
    for name, drawn in GEOMETRIC:
        y = only(name)(x, Prescribed(1, HIT, drawn, MISS, 0.0), number(0.5))
        expected, _ = reference_warp(x[0].double().numpy(), forward(name, drawn, 20, 24))
        assert np.abs(y[0].numpy() - expected).max() < 0.03
