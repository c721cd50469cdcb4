"""A person's body: the head turns as one piece, the shoulders as another, whatever the morphs moved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from facegan.people.camera import rotation
from facegan.people.head import (
    ANCESTRIES,
    Floats,
    Part,
    expression_weights,
    head,
    local_weights,
    macro_weights,
    morphed,
)
from facegan.people.landmarks import landmark_vertices
from facegan.people.person import Person
from facegan.people.shape import Posture, Shape, body_rows, posture_of, shape_of, smoothstep

pytestmark = pytest.mark.usefixtures("kernels")

TURNED = {"yaw_degrees": 25.0, "pitch_degrees": -10.0, "roll_degrees": 8.0, "body_yaw_degrees": -15.0}
STRAIGHT = dict.fromkeys(TURNED, 0.0)
HEAD_PARTS = (Part.LEFT_EYE, Part.RIGHT_EYE, Part.UPPER_TEETH)


def somebody(seed: int, **changes: object) -> Person:
    return Person.sample(np.random.default_rng(seed)).replace(**changes)


@pytest.fixture(scope="module")
def people() -> list[tuple[Person, Shape]]:
    """Thirty of the population."""
    crowd = [somebody(seed) for seed in range(30)]
    return [(person, shape_of(person)) for person in crowd]


Extreme = tuple[Shape, Posture]


@pytest.fixture(scope="module")
def extremes() -> list[Extreme]:
    """The ends of age, gender, ancestry and build, turned: MakeHuman's targets move heads by decimetres."""
    found = []
    for age, gender, ancestry, build in itertools.product((18.0, 90.0), (0.0, 1.0), range(3), (0.0, 1.0)):
        person = somebody(
            0, age_years=age, gender=gender, weight=build, muscle=build, features={},
            ancestry=tuple(float(n == ancestry) for n in range(len(ANCESTRIES))), **TURNED,
        )  # fmt: skip
        shape = shape_of(person)
        found.append((shape, posture_of(person, shape)))
    return found


def distances(points: Floats) -> Floats:
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))


def test_who_is_not_turned_stays_where_the_shape_is() -> None:
    person = somebody(3, **STRAIGHT)
    shape = shape_of(person)
    posture = posture_of(person, shape)
    np.testing.assert_allclose(posture.points(shape.vertices), shape.vertices, atol=1e-12)
    np.testing.assert_allclose(posture.vectors(shape.normals, shape.vertices), shape.normals, atol=1e-12)


def test_morphs_move_heads_by_decimetres(extremes: list[Extreme]) -> None:
    """What makes the next tests worth having: the chin's height differs by more than a head is high."""
    chins = [shape.vertices[landmark_vertices()[8], 1] for shape, _ in extremes]
    assert max(chins) - min(chins) > 3.0


def test_faces_turn_as_one_piece(extremes: list[Extreme]) -> None:
    eyes_and_teeth = head().part_vertices(*HEAD_PARTS)[::5]
    chosen = np.concatenate([landmark_vertices(), eyes_and_teeth])
    for shape, posture in extremes:
        before = shape.vertices[chosen]
        after = posture.points(shape.vertices)[chosen]
        np.testing.assert_allclose(distances(after), distances(before), atol=1e-9)
        turn = rotation(*np.radians([25.0, -10.0, 8.0]))
        np.testing.assert_allclose(after - after[0], (before - before[0]) @ turn.T, atol=1e-9)


def test_shoulders_turn_with_the_body_alone(extremes: list[Extreme]) -> None:
    clothes = head().part_vertices(Part.CLOTHES)
    shoulders = clothes[(np.abs(head().vertices[clothes, 0]) > 1.2) & (head().vertices[clothes, 1] < 5.3)]
    assert len(shoulders) > 50
    turn = rotation(np.radians(-15.0), 0, 0)
    for shape, posture in extremes:
        before, after = shape.vertices[shoulders], posture.points(shape.vertices)[shoulders]
        np.testing.assert_allclose(after - after[0], (before - before[0]) @ turn.T, atol=1e-9)


def test_every_landmark_of_the_face_turns_wholly_with_the_head(people: list[tuple[Person, Shape]]) -> None:
    for person, shape in people:
        share = posture_of(person, shape).share(shape.vertices[landmark_vertices()])
        assert share.min() == 1


def test_the_pivot_stays_where_it_is(people: list[tuple[Person, Shape]]) -> None:
    for person, shape in people[:5]:
        posture = posture_of(person.replace(**TURNED), shape)
        np.testing.assert_allclose(posture.points(posture.pivot), posture.pivot, atol=1e-12)


def test_the_share_goes_from_zero_to_one_up_the_neck() -> None:
    posture = Posture(np.eye(3), np.eye(3), np.zeros(3), (5.0, 6.0))
    heights = np.array([4.0, 5.0, 5.25, 5.5, 6.0, 7.0])
    points = np.stack([0 * heights, heights, 0 * heights], axis=1)
    # t^2 (3 - 2t) at t = 0, 0, 1/4, 1/2, 1, 1
    np.testing.assert_allclose(posture.share(points), [0, 0, 0.15625, 0.5, 1, 1])


def test_vectors_turn_by_both_rotations_in_proportion_to_their_share() -> None:
    """v (s H + (1 - s) B), written out with matrices."""
    random = np.random.default_rng(0)
    turns = rotation(0.4, 0.1, -0.2), rotation(-0.3, 0, 0)
    posture = Posture(*turns, np.array([0.1, 6.0, 0.2]), (5.0, 6.0))
    vectors, at = random.normal(size=(20, 3)), random.uniform(4.5, 6.5, (20, 3))
    share = posture.share(at)[:, None]
    expected = share * (vectors @ turns[0].T) + (1 - share) * (vectors @ turns[1].T)
    np.testing.assert_allclose(posture.vectors(vectors, at), expected, atol=1e-12)
    np.testing.assert_allclose(posture.vectors(vectors, at, np.zeros(20)), vectors @ turns[1].T, atol=1e-12)


def test_normals_are_of_unit_length_and_point_outwards(people: list[tuple[Person, Shape]]) -> None:
    _, shape = people[0]
    used = np.unique(head().triangles[body_rows()])
    np.testing.assert_allclose(np.linalg.norm(shape.normals[used], axis=1), 1, atol=1e-9)
    nose, crown = landmark_vertices()[30], used[shape.vertices[used, 1].argmax()]
    assert shape.normals[nose, 2] > 0.7
    assert shape.normals[crown, 1] > 0.7


def test_the_lining_of_the_mouth_steps_back_and_nothing_else_moves() -> None:
    """By 0.04 dm (shape.LINING_DEPTH), within the mouth: between its corners and the lips' outer borders."""
    person = somebody(3)
    plain = morphed(
        macro_weights(person.gender, person.age_years, person.ancestry, person.muscle, person.weight)
        | local_weights(person.features)
        | expression_weights(person.expression)
    )
    moved = shape_of(person).vertices - plain
    changed = np.abs(moved).max(axis=1) > 0
    np.testing.assert_allclose(moved[changed], [[0, 0, -0.04]] * changed.sum(), atol=1e-12)
    assert 10 < changed.sum() < 300
    assert not changed[landmark_vertices()[:60]].any()
    rest, marks = head().vertices[changed], head().vertices[landmark_vertices()]
    assert np.abs(rest[:, 0]).max() < 0.32
    assert (rest[:, 2] < marks[51, 2]).all()


def test_smoothstep_runs_either_way() -> None:
    values = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(smoothstep(0.0, 2.0, values), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smoothstep(2.0, 0.0, values), [1, 1, 0.5, 0, 0])
