"""The head: what its data says, its morphs against a slow reference, and landmarks where they belong."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from facegan.config import UsageError
from facegan.people import head as heads
from facegan.people import landmarks as marks
from facegan.people.head import (
    Part,
    expression_names,
    expression_weights,
    head,
    head_shapes,
    local_pairs,
    local_weights,
    macro_weights,
    morphed,
)
from facegan.people.landmarks import MIRROR, landmarks

FULL = {"gender": 0.3, "age": 40.0, "ancestry": (0.2, 0.3, 0.5), "muscle": 0.4, "weight": 0.9}
REST = landmarks(head().vertices)


def test_arrays_have_their_shapes_and_indices_are_in_range() -> None:
    vertices, triangles = head().vertices, head().triangles
    assert vertices.shape == (6525, 3)
    assert vertices.dtype == np.float64
    assert triangles.shape == (12196, 3)
    assert head().uv.shape == (12196, 3, 2)
    assert (triangles.min(), triangles.max()) == (0, 6524)
    assert 0 <= head().uv.min() <= head().uv.max() <= 1
    assert set(head().masks) == {"lips", "eyelids", "ears", "face", "inside_mouth"}
    assert all(mask.shape == (1024, 1024) and mask.max() == 255 for mask in head().masks.values())


def test_every_part_has_triangles_and_left_is_at_positive_x() -> None:
    assert set(np.unique(head().parts)) == set(Part)
    for part in Part:
        x = head().vertices[head().part_vertices(part), 0]
        if "LEFT" in part.name:
            assert x.min() > 0
        if "RIGHT" in part.name:
            assert x.max() < 0


def test_upper_teeth_and_lashes_are_above_lower_ones() -> None:
    for upper in (part for part in Part if "UPPER" in part.name):
        lower = Part[upper.name.replace("UPPER", "LOWER")]
        above, below = (head().vertices[head().part_vertices(part), 1].mean() for part in (upper, lower))
        assert above > below


def test_no_target_is_degenerate() -> None:
    for name, target in head().targets.items():
        assert len(target.vertices) == len(np.unique(target.vertices)) > 0, name
        assert target.vertices.max() < len(head().vertices), name
        assert np.isfinite(target.deltas).all(), name
        assert np.abs(target.deltas).max() > 1e-4, name  # decimetres


def test_the_head_cannot_be_changed_by_accident() -> None:
    for array in (head().vertices, next(iter(head().targets.values())).deltas):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_loading_is_quick() -> None:
    began = time.process_time()
    heads.head.__wrapped__()
    assert time.process_time() - began < 0.5  # 0.05 s on an idle core


@pytest.mark.parametrize("age", [1, 4.5, 10, 18, 25, 60, 90])
def test_both_macro_groups_sum_to_one(age: float) -> None:
    weights = macro_weights(**{**FULL, "age": age})
    universal = [value for name, value in weights.items() if name.startswith("macro/universal-")]
    ancestry = [value for name, value in weights.items() if not name.startswith("macro/universal-")]
    assert sum(universal) == pytest.approx(1)
    assert sum(ancestry) == pytest.approx(1)
    assert min(weights.values()) > 0


def test_macro_weights_are_the_products_of_shares() -> None:
    weights = macro_weights(gender=0.25, age=57.5, ancestry=(0.2, 0.3, 0.5), muscle=0.75, weight=0.5)
    # half young and half old; half average and half max muscle; all of average weight
    assert weights["macro/asian-male-old"] == pytest.approx(0.25 * 0.5 * 0.3)
    assert weights["macro/universal-female-young-maxmuscle-averageweight"] == pytest.approx(0.75 * 0.5 * 0.5)
    assert len(weights) == 2 * 2 * 3 + 2 * 2 * 2


def test_every_macro_weight_has_a_target_but_the_average_build() -> None:
    names: set[str] = set()
    for gender in (0.0, 1.0):
        for age in (5, 50):
            for muscle in (0.2, 0.8):
                for weight in (0.2, 0.8):
                    names |= set(macro_weights(gender, age, (0.2, 0.3, 0.5), muscle, weight))
    macro = {name for name in head().targets if name.startswith("macro/")}
    average = {name for name in names if name.endswith("-averagemuscle-averageweight")}
    assert names - average == macro
    assert not average & macro


@pytest.mark.parametrize(
    "wrong",
    [
        {"gender": 1.1}, {"age": 0.5}, {"age": float("nan")}, {"muscle": -0.1}, {"weight": 2},
        {"ancestry": (0.5, 0.5, 0.5)}, {"ancestry": (-0.5, 0.5, 1)}, {"ancestry": (0.5, 0.5)},
    ],
)  # fmt: skip
def test_macro_values_out_of_range_are_usage_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        macro_weights(**{**FULL, **wrong})


def test_the_age_map_is_monotone_and_inverts() -> None:
    years = np.linspace(1, 90, 179)
    positions = np.array([heads.age_position(age) for age in years])
    assert (np.diff(positions) > 0).all()
    np.testing.assert_allclose([heads.age_years(position) for position in positions], years, rtol=1e-12)
    assert [heads.age_position(age) for age in (1, 10, 25, 90)] == [0, 0.1875, 0.5, 1]


def test_every_local_target_is_in_exactly_one_pair_shape_or_known_leftover() -> None:
    used = [name for pair in local_pairs().values() for side in pair for name in side] + list(head_shapes())
    local = {name for name in head().targets if not name.startswith(("macro/", "expr/"))}
    leftover = {"chin/chin-triangle"} | {name for name in local if "-ear-shape-" in name}
    assert sorted(used) == sorted(local - leftover)


def test_head_shapes_are_makehumans_seven() -> None:
    shapes = {"diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular"}
    assert set(head_shapes()) == {f"head/head-{shape}" for shape in shapes}


def test_the_sign_of_a_local_value_picks_the_side() -> None:
    assert local_weights({"nose/nose-hump": -0.4}) == {"nose/nose-hump-decr": 0.4}
    assert local_weights({"eyes/eye-trans-down-up": 0.3}) == {
        "eyes/l-eye-trans-up": 0.3,
        "eyes/r-eye-trans-up": 0.3,
    }
    assert local_weights({"head/head-oval": 0.2}) == {"head/head-oval": 0.2}
    with pytest.raises(UsageError, match="no opposite"):
        local_weights({"head/head-oval": -0.2})


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda: local_weights({"nose/nose-hum": 1}), "nose/nose-hump"),
        (lambda: expression_weights({"jawOpn": 1}), "jawOpen"),
        (lambda: morphed({"expr/jawOpn": 1}), "expr/jawOpen"),
    ],
)
def test_an_unknown_name_is_a_usage_error_with_the_nearest(call: Callable[[], object], near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        call()


def test_weights_that_are_not_finite_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="not finite"):
        morphed({"expr/jawOpen": float("nan")})


def test_zero_weights_give_the_rest_head() -> None:
    np.testing.assert_array_equal(morphed({}), head().vertices)
    np.testing.assert_array_equal(morphed(dict.fromkeys(head().targets, 0.0)), head().vertices)


def test_morphed_is_the_dense_sum_of_displacements() -> None:
    random = np.random.default_rng(0)
    names = random.choice(list(head().targets), 12, replace=False)
    weights = {str(name): float(random.normal()) for name in names}
    expected = head().vertices.tolist()
    for name, weight in weights.items():
        target = head().targets[name]
        for vertex, delta in zip(target.vertices.tolist(), target.deltas.tolist(), strict=True):
            for axis in range(3):
                expected[vertex][axis] += weight * delta[axis]
    np.testing.assert_allclose(morphed(weights), expected, atol=1e-12)  # float64, sums of 12


def test_morphed_is_linear() -> None:
    first, second = macro_weights(**FULL), expression_weights({"jawOpen": 0.7, "mouthPucker": 0.2})
    both = morphed({**first, **{name: 2 * weight for name, weight in second.items()}})
    rest = head().vertices
    expected = rest + (morphed(first) - rest) + 2 * (morphed(second) - rest)
    np.testing.assert_allclose(both, expected, atol=1e-10)  # macro displacements reach 11, cancelling


def test_68_different_skin_vertices_are_landmarks_near_where_they_were_placed() -> None:
    assert REST.shape == (68, 3)
    assert len(set(marks.landmark_vertices().tolist())) == 68
    assert np.isin(marks.landmark_vertices(), head().part_vertices(Part.SKIN)).all()
    for point, position in marks.HALF_LANDMARKS.items():
        np.testing.assert_allclose(REST[point], position, atol=1e-3)  # the table's three decimals


def test_rest_landmarks_are_mirror_images() -> None:
    assert [MIRROR[MIRROR[point]] for point in range(68)] == list(range(68))
    np.testing.assert_allclose(REST[list(MIRROR)] * (-1, 1, 1), REST, atol=1e-6)  # the mesh is symmetric


def test_jaw_brows_and_lips_run_from_the_pictures_left_to_its_right() -> None:
    for first, last in (0, 17), (17, 27), (31, 36), (48, 55), (60, 65):
        assert (np.diff(REST[first:last, 0]) > 0).all()
    for first, last in (54, 60), (64, 68):
        assert (np.diff(REST[first:last, 0]) < 0).all()


@pytest.mark.parametrize("age", [4, 25, 80])
def test_brows_eyes_nose_and_mouth_follow_from_top_to_bottom(age: float) -> None:
    y = landmarks(morphed(macro_weights(**{**FULL, "age": age})))[:, 1]
    assert y[17:27].min() > y[36:48].max()
    assert y[36:48].min() > y[31:36].max()
    assert y[31:36].min() > y[48:60].max()
    assert y[48:60].min() > y[8]
    assert (np.diff(y[27:31]) < 0).all()
    assert (np.diff(y[:9]) < 0).all()


def test_inner_lips_are_inside_outer_lips() -> None:
    for points in (REST, landmarks(morphed(expression_weights({"jawOpen": 0.5})))):
        assert points[48, 0] < points[60:68, 0].min() < points[60:68, 0].max() < points[54, 0]
        for upper_outer, upper_inner, lower_inner, lower_outer in (50, 61, 67, 58), (51, 62, 66, 57):
            column = points[[upper_outer, upper_inner, lower_inner, lower_outer], 1]
            assert (np.diff(column) < 0).all()


def test_each_eye_centre_is_inside_its_ring_of_landmarks() -> None:
    left, right = marks.eye_centres(head().vertices)
    for centre, ring in (left, REST[36:42]), (right, REST[42:48]):
        assert (ring[:, :2].min(axis=0) < centre[:2]).all()
        assert (centre[:2] < ring[:, :2].max(axis=0)).all()
    assert left[0] < 0 < right[0]


def test_mouth_corners_are_the_ends_of_the_outer_lips() -> None:
    np.testing.assert_array_equal(marks.mouth_corners(head().vertices), REST[[48, 54]])


def test_opening_the_jaw_lowers_chin_and_lower_lip_and_leaves_the_eyes() -> None:
    moved = landmarks(morphed(expression_weights({"jawOpen": 1.0}))) - REST
    assert moved[8, 1] < -0.1
    assert moved[57, 1] < -0.1
    assert moved[66, 1] < -0.1
    np.testing.assert_allclose(moved[36:48], 0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("eyeBlinkRight", ((37, 41), (38, 40))), ("eyeBlinkLeft", ((43, 47), (44, 46)))],
)
def test_a_blink_closes_the_subjects_own_eye(name: str, pairs: tuple[tuple[int, int], ...]) -> None:
    blink = landmarks(morphed(expression_weights({name: 0.8})))
    other = slice(42, 48) if name.endswith("Right") else slice(36, 42)
    for upper, lower in pairs:
        assert abs(blink[upper, 1] - blink[lower, 1]) < 0.25 * (REST[upper, 1] - REST[lower, 1])
    np.testing.assert_allclose(blink[other], REST[other], atol=1e-3)


def test_expressions_have_their_arkit_names() -> None:
    assert len(expression_names()) == 52
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight", "tongueOut"} <= set(expression_names())
