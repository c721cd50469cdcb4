"""A photograph: exposure by its formula, a tone curve that only rises, averaged supersamples, noise."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people.head import Floats
from facegan.people.person import Detail, Person
from facegan.people.photograph import FACE_LIGHT, REFERENCE_ALBEDO, developed, exposure

PERSON = Person.sample(np.random.default_rng(0)).replace(exposure=1.0)
WHITE_LIGHT = np.ones((100, 3))
GREY_CARD = np.full(3, REFERENCE_ALBEDO)
SIZE = 32


def grey(value: float, size: int = SIZE) -> Floats:
    return np.full((size, size, 3), value)


# ---- exposure


def test_a_face_of_the_reference_albedo_in_light_of_one_gets_the_films_own_level() -> None:
    assert exposure(PERSON, WHITE_LIGHT, GREY_CARD) == pytest.approx(FACE_LIGHT)


def test_twice_the_light_is_exposed_half_as_long() -> None:
    short = exposure(PERSON, 2 * WHITE_LIGHT, GREY_CARD)
    assert short == pytest.approx(exposure(PERSON, WHITE_LIGHT, GREY_CARD) / 2)


def test_dark_skin_is_exposed_longer_by_its_power() -> None:
    """albedo^-0.32 (photograph.TONE_COMPENSATION): a quarter of the albedo, 1.56 times the light."""
    longer = exposure(PERSON, WHITE_LIGHT, GREY_CARD / 4) / exposure(PERSON, WHITE_LIGHT, GREY_CARD)
    assert longer == pytest.approx(4**0.32)


def test_the_persons_exposure_is_a_factor() -> None:
    brighter = PERSON.replace(exposure=1.5)
    assert exposure(brighter, WHITE_LIGHT, GREY_CARD) == pytest.approx(1.5 * FACE_LIGHT)


def test_a_face_half_in_shade_is_metered_by_its_lit_half() -> None:
    """Percentiles 55, 80 and 93: where more than 45 % are lit, the dark ones do not count."""
    half_lit = np.concatenate([np.full((52, 3), 0.02), np.ones((48, 3))])
    assert exposure(PERSON, half_lit, GREY_CARD) == pytest.approx(FACE_LIGHT)


def test_the_light_of_a_face_is_its_luminance() -> None:
    """Rec. 709: 0.2126 red, 0.7152 green, 0.0722 blue."""
    green = np.tile([0.0, 1.0, 0.0], (100, 1))
    assert exposure(PERSON, green, GREY_CARD) == pytest.approx(FACE_LIGHT / 0.7152)


def test_no_face_and_no_light_give_a_finite_exposure() -> None:
    assert exposure(PERSON, np.zeros((0, 3)), GREY_CARD) == pytest.approx(FACE_LIGHT)
    assert np.isfinite(exposure(PERSON, np.zeros((50, 3)), GREY_CARD))


# ---- development


def test_middle_grey_stays_middle_grey() -> None:
    """0.5 is the fixed point of contrast and saturation: it comes from 1 - exp(-1.35 x) = 0.5^2.2."""
    light = -np.log(1 - 0.5**2.2) / 1.35
    image = developed(grey(light), 1.0, PERSON, 1)
    # uint8 of 127.5 + 0.5; noise of at most 0.01 * 255 over 3072 values
    assert image.mean() == pytest.approx(127.5, abs=0.25)


def test_contrast_and_curve_are_as_the_formulas_say() -> None:
    """The curve, then (v - 0.5) * contrast + 0.5; grey has no saturation. Noise cancels in the mean."""
    contrast = PERSON.detail(Detail.SENSOR).uniform(1.04, 1.22)
    for light in (0.1, 0.5, 1.0):
        value = ((1 - np.exp(-1.35 * light)) ** (1 / 2.2) - 0.5) * contrast + 0.5
        assert developed(grey(light), 1.0, PERSON, 1).mean() == pytest.approx(255 * value, abs=0.3)


def test_more_light_is_never_darker() -> None:
    levels = np.linspace(0, 4, 60)
    means = [developed(grey(level, 8), 1.0, PERSON, 1).mean() for level in levels]
    assert (np.diff(means) >= 0).all()
    assert means[0] < 5
    assert means[-1] > 250


def test_a_factor_is_so_much_light() -> None:
    np.testing.assert_array_equal(developed(grey(0.3), 2.0, PERSON, 1), developed(grey(0.6), 1.0, PERSON, 1))


def test_the_same_picture_is_developed_alike_and_with_another_persons_noise_otherwise() -> None:
    picture = np.random.default_rng(0).random((SIZE, SIZE, 3))
    first = developed(picture, 1.0, PERSON, 2)
    np.testing.assert_array_equal(first, developed(picture, 1.0, PERSON, 2))
    assert (first != developed(picture, 1.0, PERSON.replace(seed=PERSON.seed + 1), 2)).any()


@pytest.mark.parametrize("supersample", [2, 3, 4])
def test_equal_samples_of_a_pixel_are_that_pixel(supersample: int) -> None:
    picture = np.random.default_rng(0).random((12, 12, 3))
    enlarged = picture.repeat(supersample, axis=0).repeat(supersample, axis=1)
    small, large = developed(picture, 1.0, PERSON, 1), developed(enlarged, 1.0, PERSON, supersample)
    assert large.shape == (12, 12, 3)
    assert np.abs(small.astype(int) - large).max() <= 1  # float32 means


def test_samples_are_averaged_after_the_curve() -> None:
    """Half black, half white samples give the middle of both pixels' values, not of their light."""
    checks = np.indices((2 * SIZE, 2 * SIZE)).sum(axis=0) % 2
    mixed = developed(checks[..., None] * np.full(3, 0.8), 1.0, PERSON, 2).mean()
    black, white = (developed(grey(light), 1.0, PERSON, 1).mean() for light in (0.0, 0.8))
    contrast = PERSON.detail(Detail.SENSOR).uniform(1.04, 1.22)
    unclipped = 255 * (0.5 - 0.5 * contrast)  # what black is before it is clipped to 0
    assert mixed == pytest.approx((unclipped + white) / 2, abs=0.6)
    assert black < 3


def test_images_are_bytes_and_negative_light_is_black() -> None:
    image = developed(np.full((4, 4, 3), -1.0), 1.0, PERSON, 1)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, developed(np.zeros((4, 4, 3)), 1.0, PERSON, 1))


def test_grey_stays_grey_and_colours_keep_their_order() -> None:
    """Saturation scales the distance from grey by 0.82 to 1.02, so no channel overtakes another."""
    image = developed(np.tile([0.5, 0.3, 0.1], (SIZE, SIZE, 1)), 1.0, PERSON, 1).mean(axis=(0, 1))
    assert image[0] > image[1] > image[2]
    even = developed(grey(0.4), 1.0, PERSON, 1).mean(axis=(0, 1))
    assert np.ptp(even) < 0.6
