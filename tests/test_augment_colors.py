"""Colours against 4x4 matrices, the image filter against spectra, noise and cutout against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from augmenting import (
    CENTERS,
    EVERYTHING,
    HIT,
    Array,
    Prescribed,
    Seeded,
    cut_by_loop,
    number,
    only,
    picture,
    single,
)
from torch import Tensor

from facegan.augment.ada import BLIT, COLOR, DAMAGE, GEOMETRY
from facegan.augment.bands import SYM2, filter_bank

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
