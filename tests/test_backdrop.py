"""Backdrops: plausible values, one picture at all sizes, a function of kind and seed alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from facegan.people.backdrop import BRIGHTEST, backdrop
from facegan.people.person import BACKDROPS, Person

SIZE = 64
SEEDS = range(6)


@pytest.fixture(scope="module")
def person() -> Person:
    return Person.sample(np.random.default_rng(3))


@pytest.fixture(scope="module")
def pictures(person: Person) -> dict[str, np.ndarray]:
    """Some of each kind: [6, SIZE, SIZE, 3]."""
    return {
        kind: np.stack([backdrop(person.replace(backdrop=kind, seed=seed), SIZE) for seed in SEEDS])
        for kind in BACKDROPS
    }


@pytest.mark.parametrize("kind", BACKDROPS)
def test_values_are_finite_and_within_the_film(pictures: dict[str, np.ndarray], kind: str) -> None:
    assert pictures[kind].shape == (len(SEEDS), SIZE, SIZE, 3)
    assert pictures[kind].dtype == np.float64
    assert np.isfinite(pictures[kind]).all()
    assert pictures[kind].min() >= 0
    assert pictures[kind].max() <= BRIGHTEST + 1e-6  # float32


@pytest.mark.parametrize("kind", BACKDROPS)
def test_no_kind_is_nearly_constant(pictures: dict[str, np.ndarray], kind: str) -> None:
    """Light falls off over the evenest paper by more than 8-bit steps; seeds differ in the mean."""
    deviation = pictures[kind].std(axis=(1, 2)).mean(axis=1) / pictures[kind].mean(axis=(1, 2, 3))
    assert deviation.min() > 0.005
    assert pictures[kind].mean(axis=(1, 2, 3)).std() > 0.003


@pytest.mark.parametrize("kind", [kind for kind in BACKDROPS if kind != "window"])
def test_few_pixels_are_overexposed(pictures: dict[str, np.ndarray], kind: str) -> None:
    assert (pictures[kind] >= BRIGHTEST - 1e-3).mean() < 0.05


@pytest.mark.parametrize("kind", BACKDROPS)
def test_colours_are_muted(pictures: dict[str, np.ndarray], kind: str) -> None:
    """The mean chroma, (max - min) / max of a pixel's channels, is that of photographs."""
    highest, lowest = pictures[kind].max(axis=3), pictures[kind].min(axis=3)
    assert ((highest - lowest) / np.maximum(highest, 0.02)).mean() < 0.65


@pytest.mark.parametrize("kind", BACKDROPS)
def test_a_small_picture_is_the_large_one_made_smaller(person: Person, kind: str) -> None:
    person = person.replace(backdrop=kind, seed=1)
    large, small = backdrop(person, 4 * SIZE), backdrop(person, SIZE)
    smaller = large.reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3))
    # the lens leaves nothing finer than a pixel of 64: edges differ by a little, areas not at all
    assert np.abs(smaller - small).mean() < 0.003
    assert np.abs(smaller - small).max() < 0.08


def test_paper_is_less_varied_than_a_street(pictures: dict[str, np.ndarray]) -> None:
    assert pictures["studio"].std(axis=(1, 2)).mean() < 0.5 * pictures["street"].std(axis=(1, 2)).mean()


def test_nights_are_dark_and_windows_bright(pictures: dict[str, np.ndarray]) -> None:
    assert np.median(pictures["night"]) < 0.08
    assert np.median(pictures["window"].max(axis=(1, 2))) > 0.8


@pytest.mark.parametrize("kind", BACKDROPS)
def test_the_same_person_stands_before_the_same_thing_in_another_pose(person: Person, kind: str) -> None:
    person = person.replace(backdrop=kind, seed=5)
    turned = person.replace(yaw_degrees=20, hat="cap", age_years=80, exposure=2, distance_dm=30)
    np.testing.assert_array_equal(backdrop(person, SIZE), backdrop(turned, SIZE))


@pytest.mark.parametrize("kind", BACKDROPS)
def test_another_seed_is_another_picture(pictures: dict[str, np.ndarray], kind: str) -> None:
    assert np.abs(pictures[kind][0] - pictures[kind][1]).mean() > 0.003
