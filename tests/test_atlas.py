"""The atlas: its lookup against a slow reference, masks and lid rims where they belong, folds of old age."""

from __future__ import annotations

import numpy as np
import pytest

from facegan.people import atlas
from facegan.people.atlas import CHANNELS, RIM_FAR, folds, looked_up
from facegan.people.head import Floats, Part, head
from facegan.people.landmarks import landmark_vertices

pytestmark = pytest.mark.usefixtures("kernels")

EYE_POINTS, INNER_LIPS = slice(36, 48), slice(60, 68)
OUTER_LIPS = [49, 50, 51, 52, 53, 55, 56, 57, 58, 59]  # without the corners
FOREHEAD, CHEEK_APPLE = (0.0, 7.85, 1.47), (0.47, 6.99, 1.35)


def texture_points(vertices: np.ndarray) -> Floats:
    """One texture point [N, 2] of each skin vertex [N]."""
    skin = head().parts == Part.SKIN
    corners, uv = head().triangles[skin].ravel(), head().uv[skin].reshape(-1, 2)
    return np.stack([uv[np.flatnonzero(corners == vertex)[0]] for vertex in vertices])


def nearest_vertex(place: tuple[float, float, float]) -> int:
    skin = head().part_vertices(Part.SKIN)
    return int(skin[((head().vertices[skin] - place) ** 2).sum(axis=1).argmin()])


@pytest.fixture(scope="module")
def at_landmarks() -> dict[str, Floats]:
    """All channels at the 68 landmarks."""
    return looked_up(texture_points(landmark_vertices()))


def at(place: tuple[float, float, float]) -> dict[str, float]:
    values = looked_up(texture_points(np.array([nearest_vertex(place)])))
    return {name: float(value[0]) for name, value in values.items()}


def test_the_lookup_equals_a_slow_bilinear_reference() -> None:
    random = np.random.default_rng(0)
    texels, uv = random.random((16, 16, 3)).astype(np.float32), random.uniform(0.05, 0.95, (50, 2))
    texels.setflags(write=False)  # as the atlas is: its type is then compiled already
    expected = np.zeros((50, 3))
    for n, (u, v) in enumerate(uv):
        x, y = u * 16 - 0.5, (1 - v) * 16 - 0.5  # texel (row, column) has its centre at + 0.5
        for row in (int(y), int(y) + 1):
            for column in (int(x), int(x) + 1):
                expected[n] += (1 - abs(x - column)) * (1 - abs(y - row)) * texels[row, column]
    np.testing.assert_allclose(atlas._lookup_kernel(texels, uv), expected, atol=1e-6)  # float32 texels


def test_lookups_at_the_edges_stay_inside() -> None:
    texels = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    texels.setflags(write=False)
    corners = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(atlas._lookup_kernel(texels, corners)[:, 0], [0, 3, 12, 15], atol=0.01)


def test_every_channel_is_finite_and_masks_are_shares() -> None:
    values = looked_up(np.random.default_rng(1).random((5000, 2)))
    assert list(values) == list(CHANNELS)
    for name in CHANNELS[:4]:
        assert 0 <= values[name].min() <= values[name].max() <= 1
    assert 0 <= values["rim"].min() <= values["rim"].max() <= RIM_FAR + 1e-6
    assert all(np.isfinite(column).all() for column in values.values())


def test_lips_begin_at_the_outer_lip_landmarks_and_are_full_at_the_inner_ones(
    at_landmarks: dict[str, Floats],
) -> None:
    """The landmarks were clicked on the border of the mask (landmarks.py), where it is about a half."""
    outer, inner = at_landmarks["lips"][OUTER_LIPS], at_landmarks["lips"][INNER_LIPS]
    assert ((outer > 0.4) & (outer < 0.8)).all()
    assert (inner > 0.9).all()
    assert at_landmarks["lips"][:48].max() == 0
    assert at(FOREHEAD)["lips"] == at(CHEEK_APPLE)["lips"] == 0


def test_ears_and_lids_are_where_they_belong(at_landmarks: dict[str, Floats]) -> None:
    assert at((0.8, 7.2, 0.5))["ears"] == at((-0.8, 7.2, 0.5))["ears"] == 1
    assert at_landmarks["eyelids"][EYE_POINTS].min() > 0.7
    assert at(FOREHEAD)["eyelids"] == at(FOREHEAD)["ears"] == 0


def test_rim_distance_is_zero_at_the_lids_and_grows_towards_the_brows(
    at_landmarks: dict[str, Floats],
) -> None:
    rim = at_landmarks["rim"]
    assert rim[EYE_POINTS].max() < 0.02  # dm: half the width of a texel is 0.002
    assert (rim[17:27] > 0.1).all()
    assert rim[:17] == pytest.approx(RIM_FAR)
    assert at(FOREHEAD)["rim"] == pytest.approx(RIM_FAR)


def test_rim_distance_is_at_most_the_distance_between_two_places() -> None:
    """|rim(a) - rim(b)| <= |a - b|: it is a distance in space."""
    skin = head().part_vertices(Part.SKIN)
    x, y, z = head().vertices[skin].T
    lids = skin[(abs(x) < 0.6) & (abs(y - 7.28) < 0.25) & (z > 1.0)]
    rim, points = looked_up(texture_points(lids))["rim"], head().vertices[lids]
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    assert (abs(rim[:, None] - rim[None]) <= apart + 0.02).all()  # texels near a seam are filled in


@pytest.fixture(scope="module")
def skin_points() -> Floats:
    return head().vertices[head().part_vertices(Part.SKIN)]


def test_folds_are_the_same_on_both_sides_but_for_the_noise(
    skin_points: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atlas, "clouds", lambda points, size, seed: np.zeros(len(points)))
    left, right = folds(skin_points), folds(skin_points * (-1, 1, 1))
    assert np.abs(left).max() > 0.005
    np.testing.assert_array_equal(left, right)


def test_folds_are_on_forehead_eyes_mouth_and_throat_but_not_on_cheek_and_nose() -> None:
    def deepest(place: tuple[float, float, float], radius: float) -> float:
        around = np.random.default_rng(0).normal(size=(300, 3))
        ball = place + radius * around / np.linalg.norm(around, axis=1, keepdims=True)
        return float(np.abs(folds(ball)).max())

    for place in ((0.1, 7.80, 1.45), (0.58, 7.27, 1.2), (0.27, 6.76, 1.45), (0.0, 5.9, 0.7)):
        assert deepest(place, 0.1) > 1e-3, place
    for place in ((0.5, 6.92, 1.3), (0.0, 6.94, 1.68), (0.0, 7.2, -0.6)):
        assert deepest(place, 0.05) < 1e-4, place


def test_stored_slopes_are_the_derivatives_of_the_folds() -> None:
    """Against central differences at vertices of the forehead, within the texture's resolution."""
    skin = head().part_vertices(Part.SKIN)
    x, y, z = head().vertices[skin].T
    chosen = skin[(abs(x) < 0.3) & (y > 7.6) & (y < 8.0) & (z > 1.2)]
    stored, points = looked_up(texture_points(chosen)), head().vertices[chosen]
    for axis, name in enumerate(("fold_x", "fold_y")):
        step = np.eye(3)[axis] * 1e-4
        slope = (folds(points + step) - folds(points - step)) / 2e-4
        assert np.abs(stored[name] - slope).max() < 0.05
    assert np.abs(slope).max() > 0.1
