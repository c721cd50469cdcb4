"""Which images are augmented and how often, DiffAugment, gradients, the controller."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from augmenting import (
    CENTERS,
    EVERYTHING,
    HIT,
    MISS,
    Prescribed,
    Seeded,
    cut_by_loop,
    number,
    only,
    picture,
)
from torch import Tensor

from facegan.augment import FACE_SAFE, Ada, Augment, DiffAugment, NoAugment
from facegan.augment.ada import GEOMETRY, TRANSFORMS
from facegan.augment.resampling import bilinear
from facegan.config import UsageError, to_json, union_from_json

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


@pytest.mark.parametrize(("size", "furthest"), [(4, 1), (12, 2), (20, 3)])
def test_diffaugment_s_largest_shift_is_rounded_half_up(size: int, furthest: int) -> None:
    """As the published code has it: int(size * 0.125 + 0.5)."""
    x = torch.ones(1, 1, size, size)
    y = DiffAugment(color=False, cutout=False)(x, Prescribed(1, 0.999, 0.0), number(0.0))
    expected = torch.zeros_like(x)
    expected[:, :, : size - furthest, furthest:] = 1
    assert torch.equal(y, expected)


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
