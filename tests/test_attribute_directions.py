"""Directions that change one attribute: in a linear world that is known, and on a small model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from small_stylegan2 import small_sampler

from facegan.config import UsageError
from facegan.images import Pixels
from facegan.latents import attributes as module
from facegan.latents.attributes import (
    Samples,
    attribute_directions,
    best_layers,
    conditional,
    fit_directions,
    layer_choices,
    leakage,
    normals,
    sampled,
    spill,
)
from facegan.latents.direction_file import fingerprint
from facegan.latents.directions import Direction, moved
from facegan.perception.attributes import Attributes
from facegan.synthesis import Sampler, latent

NAMES = ("age", "smile", "asian", "caucasian")


class Colours(Attributes):
    """Reads the mean red and green of a picture, and their difference."""

    names: tuple[str, ...] = ("red", "green", "contrast")

    def __init__(self) -> None:
        pass

    def scores(self, pictures: Pixels) -> npt.NDArray[np.float32]:
        means = pictures.mean(axis=(1, 2), dtype=np.float64)
        red, green = means[:, 0], means[:, 1]
        return np.stack([red, green, red - green], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return small_sampler(batch=32)


def linear_world(noise: float = 0.05) -> tuple[Samples, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """w with a covariance C, scores w A' + noise of very different sizes -> samples, A, C."""
    random = np.random.default_rng(5)
    mixing = random.normal(size=(8, 8)) * np.linspace(0.3, 2, 8)
    covariance = mixing @ mixing.T
    lines = random.normal(size=(4, 8)) * [[10.0], [0.1], [1.0], [1.0]]
    lines[3] = 0.02 * random.normal(size=8) - lines[2]  # the two shares go nearly against each other
    w = random.normal(size=(20_000, 8)) @ mixing.T
    clean = w @ lines.T
    scores = clean + noise * clean.std(axis=0) * random.normal(size=clean.shape)
    return Samples(w + 3.0, scores + 7.0, NAMES), lines, covariance


# ---- fitting


def test_normals_are_the_lines_behind_the_scores() -> None:
    samples, lines, _ = linear_world()
    expected = lines / samples.scores.std(axis=0)[:, None]
    np.testing.assert_allclose(normals(samples, ridge=0), expected, atol=0.005)  # noise / sqrt(20,000)
    plain = np.linalg.lstsq(
        np.column_stack([samples.w, np.ones(len(samples.w))]), samples.scores, rcond=None
    )[0]
    np.testing.assert_allclose(
        normals(samples, ridge=0), plain[:8].T / samples.scores.std(axis=0)[:, None], atol=1e-9
    )


def test_ridge_shrinks_what_hardly_varies() -> None:
    samples, _, _ = linear_world()
    narrow = replace(samples, w=samples.w * np.where(np.arange(8) == 0, 1e-6, 1.0))
    assert np.abs(normals(narrow, ridge=0)[:, 0]).max() > 1000 * np.abs(normals(narrow)[:, 0]).max()


def test_a_score_that_never_changes_has_no_normal() -> None:
    samples, _, _ = linear_world()
    constant = replace(samples, scores=np.full_like(samples.scores, 2.0))
    np.testing.assert_allclose(normals(constant), 0.0, atol=1e-12)


def test_without_covariance_it_is_the_projection_of_interfacegan() -> None:
    normal, held = np.array([1.0, 2.0, 3.0]), np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    np.testing.assert_allclose(conditional(normal, held, np.eye(3)), [0, 0, 1], atol=1e-12)
    held = np.array([[0.6, 0.8, 0.0]])  # n1 - (n1 . n2) n2 for n2 of length 1
    expected = normal - (normal @ held[0]) * held[0]
    found = conditional(normal, held, np.eye(3))
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-12)


def test_of_all_steps_that_hold_the_others_it_is_the_likeliest() -> None:
    _, lines, covariance = linear_world()
    found = conditional(lines[0], lines[1:3], covariance)
    assert np.linalg.norm(found) == pytest.approx(1)
    np.testing.assert_allclose(lines[1:3] @ found, 0, atol=1e-9)
    assert lines[0] @ found > 0
    inverse = np.linalg.inv(covariance)
    free = np.linalg.svd(lines[:3])[2][3:]  # steps that change none of the three
    for other in free:
        for much in (-0.1, 0.1):
            assert (found + much * other) @ inverse @ (found + much * other) > found @ inverse @ found


def test_the_same_attribute_held_twice_is_held_once() -> None:
    _, lines, covariance = linear_world()
    once = conditional(lines[0], lines[1:2], covariance)
    twice = conditional(lines[0], lines[[1, 1]], covariance)
    np.testing.assert_allclose(once, twice, atol=1e-6)


def test_in_a_linear_world_a_direction_changes_its_own_score_alone() -> None:
    samples, lines, covariance = linear_world()
    found = attribute_directions(samples, covariance, range(3, 5))
    assert [each.name for each in found] == ["age", "smile"]  # shares are held, not moved
    for own, each in enumerate(found):
        assert each.layers == (3, 4)
        assert np.linalg.norm(each.vector) == pytest.approx(1)
        assert each.deviation == pytest.approx(np.sqrt(each.vector @ covariance @ each.vector))
        change = lines @ each.vector * each.deviation / samples.scores.std(axis=0)
        assert change[own] > 0.3
        np.testing.assert_allclose(np.delete(change, own)[:2], 0, atol=0.02)


def test_too_few_samples_are_refused() -> None:
    samples, _, covariance = linear_world()
    few = Samples(samples.w[:99], samples.scores[:99], NAMES)
    with pytest.raises(UsageError, match="samples 99: at least 100"):
        attribute_directions(few, covariance, range(2))


# ---- measuring


def test_samples_are_truncated_w_and_what_their_pictures_show(sampler: Sampler) -> None:
    found = sampled(sampler, Colours(), range(40, 80), psi=0.5)
    z = np.stack([latent(seed, 7) for seed in range(40, 80)])
    np.testing.assert_allclose(found.w, sampler.w(z, 0.5)[:, 0], atol=1e-6)
    expected = Colours().scores(sampler.sample(range(40, 80), psi=0.5))
    np.testing.assert_allclose(found.scores, expected, atol=0.1)


def test_leakage_is_the_mean_change_over_the_faces(sampler: Sampler) -> None:
    directions = [Direction("a", np.eye(6)[0], 0.5, (0, 1)), Direction("b", np.eye(6)[1], 2.0, (4,))]
    deviations = np.array([2.0, 4.0, 8.0])
    found = leakage(
        sampler, Colours(), directions, range(7, 40), deviations=deviations, psi=0.8, strength=1.5
    )
    for row, direction in enumerate(directions):
        changes = []
        for seed in range(7, 40):
            w = sampler.w(latent(seed, 7)[None], 0.8)
            before, after = (sampler.images(each) for each in (w, moved(w, [(direction, 1.5)])))
            changes.append((Colours().scores(after) - Colours().scores(before))[0])
        np.testing.assert_allclose(found[row], np.mean(changes, axis=0) / deviations, atol=0.02)


def test_spill_is_the_rest_over_its_own() -> None:
    assert spill(np.array([3.0, -2.0, 4.0]), 1) == pytest.approx(2.5)
    assert spill(np.array([0.0, 2.0]), 1) == 0.0


def test_layers_that_spill_least_win_unless_they_do_little() -> None:
    weak_and_clean, strong, cleaner = [0.1, 0.0], [1.0, 0.5], [0.8, 0.2]
    assert best_layers(np.array([weak_and_clean, strong, cleaner]), 0) == 2
    assert best_layers(np.array([[-1.0, 0.0], [-0.5, 9.0]]), 0) == 1  # the strongest, whatever it does


def test_layers_to_choose_from_are_neighbouring_bands() -> None:
    everything, coarse, middle, fine = tuple(range(10)), (0, 1, 2, 3), (4, 5, 6, 7), (8, 9)
    assert layer_choices(10) == [everything, coarse + middle, middle + fine, coarse, middle, fine]
    assert layer_choices(6) == [tuple(range(6)), coarse, (4, 5)]


def test_fitting_a_model_finds_what_makes_it_redder(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAYER_SEEDS", 16)
    monkeypatch.setattr(module, "LEAKAGE_SEEDS", 32)

    class RedGreen(Colours):
        names = ("red", "green")

        def scores(self, pictures: Pixels) -> npt.NDArray[np.float32]:
            return super().scores(pictures)[:, :2]

    told: list[tuple[str, int, int]] = []
    found = fit_directions(
        sampler, RedGreen(), samples=300, psi=0.7, progress=lambda *words: told.append(words)
    )
    assert list(found.directions) == ["red", "green"]
    changes = np.array(found.card.leakage)
    assert changes[0, 0] > 0.5
    assert changes[1, 1] > 0.5
    assert abs(changes[0, 1]) < changes[0, 0] / 2
    assert abs(changes[1, 0]) < changes[1, 1] / 2
    assert found.card.faces == 32
    assert found.card.fingerprint == fingerprint(sampler.generator)
    assert {("faces read", 300, 300), ("faces moved", 32, 32)} <= set(told)
