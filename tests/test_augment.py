"""Augmentations against slow references: padding, plain convolution, 4x4 matrices, loops over pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from facegan.augment import FACE_SAFE, Ada, Augment, DiffAugment, NoAugment
from facegan.augment.ada import BLIT, COLOR, DAMAGE, GEOMETRY, TRANSFORMS
from facegan.augment.bands import SYM2, filter_bank
from facegan.augment.resampling import SYM6, bilinear
from facegan.config import UsageError, to_json, union_from_json

Array = npt.NDArray[np.float64]
EVERYTHING = Ada(**dict.fromkeys(TRANSFORMS, 1.0))
SHAPES = [(24, 24), (16, 28), (28, 16)]
HIT, MISS = 0.0, 0.999  # a gate's number where p = 0.5


def only(*names: str, multiplier: float = 1.0) -> Ada:
    return Ada(**dict.fromkeys(TRANSFORMS, 0.0) | dict.fromkeys(names, multiplier))


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def number(value: float) -> Tensor:
    return torch.tensor(value)


class Prescribed:
    """The given numbers, one a call: the same for each image, or one an image, or one an image and axis."""

    def __init__(self, count: int, *numbers: object) -> None:
        self.count, self.numbers = count, list(numbers)

    def uniform(self, *shape: int) -> Tensor:
        given = torch.as_tensor(self.numbers.pop(0), dtype=torch.float32)
        return given.expand(self.count, *shape)

    normal = uniform


class Seeded:
    """Random numbers, and a record of what was asked for; with `same`, every image gets the same ones."""

    def __init__(self, count: int, seed: int = 0, *, same: bool = False) -> None:
        self.count, self.same, self.asked = count, same, list[tuple[object, ...]]()
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        return self._drawn(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        return self._drawn(torch.randn, shape)

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        self.asked.append((draw.__name__, *shape))
        numbers = draw(1 if self.same else self.count, *shape, generator=self.generator)
        return numbers.expand(self.count, *shape)


def single(name: str, x: Tensor, *numbers: object) -> Tensor:
    """x under one transform that each image gets, with the given numbers."""
    return only(name)(x, Prescribed(len(x), HIT, *numbers), number(1.0))


# ---- nothing to do


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("ada", [Ada(), EVERYTHING, FACE_SAFE, *map(only, TRANSFORMS)])
def test_with_p_0_every_pipeline_gives_the_images_back_bit_by_bit(ada: Ada, channels: int) -> None:
    x = picture(3, channels, 16, 20)
    assert torch.equal(ada(x, Seeded(3), number(0.0)), x)


def test_images_that_draw_nothing_stay_as_they_are_among_others() -> None:
    x = picture(2, 3, 16, 16)
    gates = torch.tensor([HIT, MISS])
    for name in (*GEOMETRY, "image_filter"):
        draws = Prescribed(2, *[gates, 0.3] * 4)
        y = only(name)(x, draws, number(0.5))
        assert torch.equal(y[1], x[1])
        assert not torch.equal(y[0], x[0])


def test_no_augmentation_is_the_images_themselves() -> None:
    x = picture(2, 3, 8, 8)
    assert NoAugment()(x, Prescribed(2), number(0.5)) is x


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


# ---- colour


AXIS = np.ones(3) / math.sqrt(3)
ALONG = np.outer(AXIS, AXIS)


def rotation(angle: float) -> Array:
    """Rodrigues' formula about the grey axis."""
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def affine(linear: Array, offset: float = 0.0) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    return matrix


COLORS: dict[str, tuple[float, Array]] = {  # what is drawn -> the colours' matrix
    "brightness": (1.5, affine(np.eye(3), 1.5 * 0.2)),
    "contrast": (-1.2, affine(np.eye(3) * 2 ** (-1.2 * 0.5))),
    "luma_flip": (0.9, affine(np.eye(3) - 2 * ALONG)),
    "hue": (0.8, affine(rotation((2 * 0.8 - 1) * math.pi))),
    "saturation": (0.7, affine(ALONG + (np.eye(3) - ALONG) * 2**0.7)),
}


def assert_has_colors_of(y: Tensor, x: Tensor, matrix: Array) -> None:
    if x.shape[1] == 1:
        row = matrix[:3].mean(axis=0)
        expected = x.numpy() * row[:3].sum() + row[3]
    else:
        expected = np.einsum("ij,njhw->nihw", matrix[:3, :3], x[:, :3].numpy()) + matrix[:3, 3, None, None]
        assert torch.equal(y[:, 3:], x[:, 3:])
    assert np.abs(y[:, :3].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", COLOR)
def test_a_colour_transform_is_its_matrix(name: str, channels: int) -> None:
    x = picture(2, channels, 4, 6)
    drawn, matrix = COLORS[name]
    assert_has_colors_of(single(name, x, drawn), x, matrix)


def test_colour_transforms_come_in_the_published_order() -> None:
    x, numbers = picture(1, 3, 4, 4), [given for name in COLOR for given in (HIT, COLORS[name][0])]
    matrix = np.linalg.multi_dot([COLORS[name][1] for name in reversed(COLOR)])
    assert_has_colors_of(only(*COLOR)(x, Prescribed(1, *numbers), number(1.0)), x, matrix)


# ---- filter, noise, cutout


OCTAVES = [0.8, -0.6, 1.3, -0.4]


def gains_of(octaves: list[float]) -> Array:
    gains = np.ones(4)
    for band, octave in enumerate(octaves):
        one = np.ones(4)
        one[band] = 2**octave
        gains *= one / math.sqrt((np.array([10, 1, 1, 1]) / 13 * one**2).sum())
    return gains


GAINS = gains_of(OCTAVES)


def amplified(x: Tensor, octaves: list[float]) -> Tensor:
    numbers = [given for octave in octaves for given in (HIT, octave)]
    return only("image_filter")(x, Prescribed(len(x), *numbers), number(1.0))


def test_the_bands_filters_add_up_to_nothing_done() -> None:
    bank = filter_bank()
    delta = np.zeros(43)
    delta[21] = 1
    assert np.abs(bank.sum(axis=0) - delta).max() < 1e-10


def tree_responses(w: Array) -> Array:
    """The bands' amplitudes [4, n] at frequencies w: products along the wavelet's tree."""

    def power(frequency: Array) -> Array:
        return np.abs(np.exp(-1j * np.outer(frequency, np.arange(4))) @ SYM2) ** 2 / 2

    low, low2, low4 = power(w), power(2 * w), power(4 * w)
    return np.stack([low * low2 * low4, low * low2 * (1 - low4), low * (1 - low2), 1 - low])


def test_the_bands_answer_to_their_frequencies() -> None:
    w = np.linspace(0, math.pi, 65)
    responses = filter_bank() @ np.cos(np.outer(np.arange(-21, 22), w))
    assert np.abs(responses - tree_responses(w)).max() < 1e-9
    borders = np.array([0, 1 / 8, 1 / 4, 1 / 2, 1]) * math.pi
    for band, response in enumerate(responses):
        assert borders[band] <= w[response.argmax()] <= borders[band + 1]
        assert response.max() > 0.7


def test_the_gains_show_in_a_picture_s_spectrum() -> None:
    x = torch.zeros(1, 1, 64, 64)
    x[0, 0, 32, 32] = 1
    spectrum = np.abs(np.fft.fft2(amplified(x, OCTAVES)[0, 0].numpy()))
    line = GAINS @ tree_responses(np.arange(64) / 32 * math.pi)
    assert np.abs(spectrum - np.outer(line, line)).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (8, 14)])
def test_bands_are_amplified_along_both_axes_of_the_reflected_picture(height: int, width: int) -> None:
    x = picture(1, 1, height, width)
    expected = np.pad(x[0, 0].double().numpy(), 21, mode="reflect")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, GAINS @ filter_bank(), "valid")
    assert np.abs(amplified(x, OCTAVES)[0, 0].numpy() - expected).max() < 1e-5


def test_noise_has_the_drawn_deviation() -> None:
    x, noise = picture(2, 3, 4, 6), picture(2, 3, 4, 6, seed=1)
    y = single("noise", x, torch.tensor([-2.0, 0.5]), noise)
    deviation = torch.tensor([0.2, 0.05])[:, None, None, None]
    assert torch.allclose(y, x + deviation * noise)


def cut_by_loop(x: Tensor, centers: list[list[float]]) -> Tensor:
    count, _, height, width = x.shape
    y = x.clone()
    for n in range(count):
        for i in range(height):
            for j in range(width):
                off_x, off_y = (j + 0.5) / width - centers[n][0], (i + 0.5) / height - centers[n][1]
                if abs(off_x) < 0.25 and abs(off_y) < 0.25:
                    y[n, :, i, j] = 0
    return y


CENTERS = [[0.5, 0.5], [0.02, 0.9], [0.7, 0.3]]


def test_a_cutout_is_a_rectangle_of_half_the_sides() -> None:
    x = picture(3, 4, 8, 12)
    y = single("cutout", x, torch.tensor(CENTERS))
    assert torch.equal(y, cut_by_loop(x, CENTERS))
    assert (y[0] == 0).sum() == 4 * 4 * 6  # of a whole one


def test_the_stages_come_one_after_the_other() -> None:
    x, together, apart, p = picture(4, 3, 16, 16), Seeded(4), Seeded(4), number(0.9)
    y = EVERYTHING(x, together, p)
    for names in (BLIT + GEOMETRY, COLOR, *((name,) for name in DAMAGE)):
        x = only(*names)(x, apart, p)
    assert torch.equal(y, x)
    assert together.asked == apart.asked


# ---- which images


MANY = 4000


def share_changed(ada: Ada, p: float) -> float:
    x = picture(1, 3, 4, 4).expand(MANY, 3, 4, 4)
    y = ada(x, Seeded(MANY), number(p))
    return (y != x).any(dim=3).any(dim=2).any(dim=1).double().mean().item()


def within_chance(p: float) -> float:
    return 4 * math.sqrt(p * (1 - p) / MANY)  # four standard deviations


@pytest.mark.parametrize(
    ("name", "seen"),
    [("x_flip", 1 / 2), ("rotate_90", 3 / 4), ("scale", 1), ("brightness", 1), ("hue", 1), ("noise", 1)],
)
def test_each_transform_touches_the_share_p_of_the_images(name: str, seen: float) -> None:
    """seen: how many of those it changes, for a flip is drawn among two, a quarter turn among four."""
    assert share_changed(only(name), 0.3) == pytest.approx(0.3 * seen, abs=within_chance(0.3 * seen))


def test_p_and_multiplier_multiply() -> None:
    share = share_changed(only("brightness", multiplier=0.5), 0.6)
    assert share == pytest.approx(0.3, abs=within_chance(0.3))


def test_one_or_both_rotations_come_with_probability_p() -> None:
    assert share_changed(only("rotate"), 0.3) == pytest.approx(0.3, abs=within_chance(0.3))


def test_transforms_are_drawn_independently() -> None:
    share = share_changed(only("brightness", "contrast"), 0.3)
    assert share == pytest.approx(1 - 0.7**2, abs=within_chance(0.51))


def test_as_many_numbers_are_drawn_whatever_p_is_and_none_from_the_global_generator() -> None:
    x, before = picture(3, 3, 8, 8), torch.random.get_rng_state()
    records = []
    for p in (0.0, 0.5, 1.0):
        draws = Seeded(3)
        EVERYTHING(x, draws, number(p))
        records.append(draws.asked)
    assert records[0] == records[1] == records[2]
    drawn = len(TRANSFORMS) + 1 + 3  # two turns, four bands
    assert len(records[0]) == 2 * drawn + 1  # a gate and a number each, and the noise itself
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_multiplier_of_0_draws_nothing() -> None:
    draws = Seeded(3)
    only("hue")(picture(3, 3, 8, 8), draws, number(1.0))
    assert draws.asked == [("rand",), ("rand",)]


# ---- DiffAugment


def test_diffaugment_s_colours_are_brightness_saturation_contrast() -> None:
    x = picture(2, 4, 4, 6)
    bright, saturated, contrasted = [0.9, 0.1], [0.8, 0.3], [0.2, 0.95]
    draws = Prescribed(2, *map(torch.tensor, (bright, saturated, contrasted)))
    y = DiffAugment(translation=False, cutout=False)(x, draws, number(0.0))
    for n in range(2):
        z = x[n, :3].double().numpy() + bright[n] - 0.5
        for i in range(4):
            for j in range(6):
                grey = z[:, i, j].mean()
                z[:, i, j] = grey + (z[:, i, j] - grey) * 2 * saturated[n]
        z = z.mean() + (z - z.mean()) * (0.5 + contrasted[n])
        assert np.abs(y[n, :3].numpy() - z).max() < 1e-5
    assert torch.equal(y[:, 3], x[:, 3])


def test_diffaugment_leaves_grey_images_their_saturation() -> None:
    x = picture(2, 1, 4, 4)
    y = DiffAugment(translation=False, cutout=False)(x, Prescribed(2, 0.5, 0.1, 0.5), number(0.0))
    assert torch.allclose(y, x, atol=1e-6)


def test_diffaugment_translates_by_up_to_an_eighth_and_fills_with_zeros() -> None:
    x = picture(4, 3, 16, 24)
    across, along = [0.0, 0.999, 0.5, 0.2], [0.999, 0.3, 0.5, 0.0]
    draws = Prescribed(4, torch.tensor(across)[:, None], torch.tensor(along)[:, None])
    y = DiffAugment(color=False, cutout=False)(x, draws, number(0.0))
    for n in range(4):
        right, down = math.floor(across[n] * 7) - 3, math.floor(along[n] * 5) - 2
        expected = torch.zeros(3, 16, 24)
        for i in range(16):
            for j in range(24):
                if 0 <= i - down < 16 and 0 <= j - right < 24:
                    expected[:, i, j] = x[n, :, i - down, j - right]
        assert torch.equal(y[n], expected)


def test_diffaugment_cuts_a_rectangle_of_half_the_sides() -> None:
    x = picture(3, 3, 8, 12)
    draws = Prescribed(3, torch.tensor(CENTERS))
    y = DiffAugment(color=False, translation=False)(x, draws, number(0.0))
    assert torch.equal(y, cut_by_loop(x, CENTERS))


def test_diffaugment_s_parts_come_one_after_the_other_whatever_p_is() -> None:
    x, together, apart = picture(4, 3, 16, 16), Seeded(4), Seeded(4)
    y = DiffAugment()(x, together, number(0.0))
    for part in ("color", "translation", "cutout"):
        alone = DiffAugment(**dict.fromkeys(("color", "translation", "cutout"), False) | {part: True})
        x = alone(x, apart, number(1.0))
    assert torch.equal(y, x)


# ---- gradients and types


@contextmanager
def deterministic(is_on: bool) -> Iterator[None]:
    torch.use_deterministic_algorithms(is_on)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_reading_between_pixels_has_exact_first_and_second_gradients(is_deterministic: bool) -> None:
    x = picture(2, 2, 4, 5).double().requires_grad_()
    row, column = picture(2, 3, 3).double().abs() * 3, picture(2, 3, 3, seed=1).double().abs() * 4

    def read(x: Tensor) -> Tensor:
        return bilinear(x, row, column)

    with deterministic(is_deterministic):
        assert ("_Sample" in type(read(x).grad_fn).__name__) is not is_deterministic
        assert torch.autograd.gradcheck(read, x)
        assert torch.autograd.gradgradcheck(read, x)


def test_the_deterministic_form_reads_the_same() -> None:
    x, row, column = picture(2, 3, 6, 8), picture(2, 9, 9).abs() * 5, picture(2, 9, 9, seed=1).abs() * 7
    row[0, 0], column[0, :, 0] = 5, 7  # the last row and column
    fast = bilinear(x, row, column)
    with deterministic(True):
        assert torch.allclose(bilinear(x, row, column), fast, atol=1e-5)


AUGMENTATIONS: list[Augment] = [EVERYTHING, *map(only, TRANSFORMS), DiffAugment(), NoAugment()]


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=str)
def test_a_gradient_penalty_goes_through(augment: Augment) -> None:
    """Augmentation is affine, A x + b: A's columns are differences of images, without any gradient.

    With D(y) = sum(y^3) / 6 the penalty |A^T y^2 / 2|^2 has the gradient 2 A^T (y A A^T y^2 / 2).
    """
    shape, size = (3, 4, 6), 72
    x = picture(1, *shape).double().requires_grad_()

    def augmented(images: Tensor) -> Tensor:
        return augment(images, Seeded(len(images), seed=3, same=True), number(1.0))

    with torch.no_grad():
        steps = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(-1, *shape)
        shown = augmented(x + steps).flatten(1)
        matrix, y = (shown[1:] - shown[0]).t(), shown[0]
    (gradient,) = torch.autograd.grad((augmented(x) ** 3).sum() / 6, x, create_graph=True)
    by_hand = matrix.t() @ (y**2 / 2)
    assert torch.allclose(gradient.flatten(), by_hand, atol=1e-6)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert torch.allclose(second.flatten(), 2 * matrix.t() @ (y * (matrix @ by_hand)), atol=1e-6)
    assert gradient.abs().sum() > 0


class Unknown:
    """Draws of no value: what would wait for one, or take its shape from one, fails."""

    def uniform(self, *shape: int) -> Tensor:
        return torch.empty(2, *shape, device="meta")

    normal = uniform


@pytest.mark.parametrize("augment", [EVERYTHING, DiffAugment()], ids=str)
def test_nothing_waits_for_the_device_and_everything_is_on_it(augment: Augment) -> None:
    x = torch.empty(2, 3, 8, 10, device="meta", requires_grad=True)
    y = augment(x, Unknown(), torch.empty([], device="meta"))
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    assert torch.autograd.grad(gradient.square().sum(), x)[0].shape == x.shape
    p = EVERYTHING.next_p(*torch.empty(2, device="meta"), images=8)
    assert p.device.type == "meta"


@pytest.mark.parametrize("augment", [EVERYTHING, DiffAugment(), NoAugment()], ids=str)
def test_bfloat16_images_are_computed_in_float32_and_come_back_as_they_came(augment: Augment) -> None:
    x = picture(3, 3, 8, 8).bfloat16()
    y = augment(x, Seeded(3), number(0.8))
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, augment(x.float(), Seeded(3), number(0.8)).bfloat16())


def test_channels_last_images_are_augmented_alike() -> None:
    x = picture(3, 3, 8, 8)
    last = x.contiguous(memory_format=torch.channels_last)
    for augment in (EVERYTHING, DiffAugment()):
        assert torch.allclose(
            augment(last, Seeded(3), number(0.8)), augment(x, Seeded(3), number(0.8)), atol=1e-5
        )


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 2, 8, 8), (2, 3, 7, 8), (2, 3, 8, 7)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    for augment in (Ada(), DiffAugment()):
        with pytest.raises(ValueError, match="1, 3 or 4 channels, even sides"):
            augment(torch.zeros(shape), Seeded(2), number(0.5))


def test_looking_first_does_not_spoil_training() -> None:
    x = picture(1, 3, 10, 10)
    with torch.inference_mode():
        EVERYTHING(x, Seeded(1), number(1.0))
    x.requires_grad_()
    EVERYTHING(x, Seeded(1), number(1.0)).sum().backward()
    assert x.grad is not None


# ---- the controller and the configuration


def test_p_follows_the_sign_of_the_difference_to_the_target() -> None:
    ada, p = Ada(target=0.6, full_images=1000, p_max=0.8), number(0.5)
    assert ada.next_p(p, number(0.7), 128).item() == pytest.approx(0.5 + 0.128)
    assert ada.next_p(p, number(0.5), 128).item() == pytest.approx(0.5 - 0.128)
    assert ada.next_p(p, number(0.6), 128).item() == 0.5
    assert ada.next_p(p, number(1.0), 400).item() == pytest.approx(0.8)
    assert ada.next_p(p, number(-1.0), 700).item() == 0


def test_a_fixed_p_stays() -> None:
    assert Ada(full_images=0, p_start=0.3).next_p(number(0.3), number(1.0), 10_000).item() == number(0.3)


def test_face_safe_leaves_faces_upright_in_their_colours() -> None:
    assert FACE_SAFE.p_max == 0.8
    off = [name for name in TRANSFORMS if getattr(FACE_SAFE, name) == 0]
    assert off == ["rotate_90", "luma_flip", "hue", "image_filter", "noise", "cutout"]


@pytest.mark.parametrize("augment", [NoAugment(), DiffAugment(cutout=False), FACE_SAFE], ids=str)
def test_an_augmentation_is_read_back_from_json_by_its_name(augment: Augment) -> None:
    assert union_from_json(Augment, to_json(augment), "augment") == augment


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"p_max": 1.5}, r"augment.p_max 1.5: 0 to 1"),
        ({"hue": -0.1}, r"augment.hue -0.1: 0 to 1"),
        ({"target": 2.0}, r"augment.target 2.0: 0 to 1"),
        ({"full_images": -1}, r"augment.full_images -1: 0 \(p stays at p_start\) or more"),
        ({"interval": 0}, r"augment.interval 0: 1 or more"),
        ({"p_start": 0.9, "p_max": 0.8}, r"augment.p_start 0.9: at most p_max 0.8"),
        ({"full_images": 0}, r"p would stay at 0; set p_start, or augment.name=none"),
        (dict.fromkeys(TRANSFORMS, 0.0), r"every transform's multiplier is 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Ada(**wrong)


def test_diffaugment_without_any_part_is_refused() -> None:
    with pytest.raises(UsageError, match=r"are off; set one, or augment.name=none"):
        DiffAugment(color=False, translation=False, cutout=False)
