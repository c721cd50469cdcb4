"""Labels as a model knows them: vectors, words, and what seeds draw (facegan.labels)."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from facegan.config import UsageError, from_json, to_json
from facegan.labels import Attribute, LabelSpace, label_space

# 10 pictures: glasses go with age
LABELS: list[dict[str, Any]] = [
    *[{"glasses": "none", "age": 20, "smile": True}] * 4,
    *[{"glasses": "round", "age": 70, "smile": False}] * 3,
    *[{"glasses": "square", "age": 70, "smile": True}] * 2,
    {"glasses": "none", "age": 40, "smile": True},
]
SPECS = ["glasses", "age:young<35<adult<60<old", "smile"]
NAMES = ["none", "round", "square", "young", "adult", "old", "no", "yes"]


@pytest.fixture
def space() -> LabelSpace:
    return label_space(SPECS, LABELS)


def words(vector: Any) -> list[str]:
    return [name for name, value in zip(NAMES, vector, strict=True) if value]


# ---- of the data


def test_the_space_holds_every_value_that_a_picture_has(space: LabelSpace) -> None:
    assert [attribute.values for attribute in space.attributes] == [
        ("none", "round", "square"),
        ("young", "adult", "old"),
        ("no", "yes"),
    ]
    assert space.dim == len(NAMES)


def test_several_attributes_are_one_multi_hot_vector(space: LabelSpace) -> None:
    vectors = space.encode(LABELS)
    assert vectors.dtype == np.float32
    assert words(vectors[0]) == ["none", "young", "yes"]
    assert words(vectors[4]) == ["round", "old", "no"]
    assert set(np.unique(vectors)) == {0.0, 1.0}


@pytest.mark.parametrize(("age", "word"), [(34.9, "young"), (35, "adult"), (59, "adult"), (60, "old")])
def test_a_range_begins_with_its_lower_number(space: LabelSpace, age: float, word: str) -> None:
    assert word in words(space.encode([{"age": age}])[0])


@pytest.mark.parametrize("label", [{}, {"glasses": None}, {"glasses": "monocle"}, {"age": "old"}])
def test_what_is_not_known_is_all_zero(space: LabelSpace, label: dict[str, Any]) -> None:
    assert words(space.encode([label])[0]) == []


def test_pictures_without_a_label_are_counted(space: LabelSpace) -> None:
    labels = [{"glasses": "none", "age": 9}, {"glasses": "round", "smile": True}, {}, {"glasses": math.nan}]
    assert space.unknown(space.encode(labels)) == {"glasses": 2, "age": 3, "smile": 3}


def test_numbers_that_are_few_are_classes_in_their_order() -> None:
    space = label_space(["class"], [{"class": number} for number in (10, 9, 2)])
    assert space.attributes[0].values == ("2", "9", "10")


def test_classes_by_number_may_be_many() -> None:
    space = label_space(["class"], [{"class": number} for number in range(100)])
    assert space.attributes[0].values == tuple(map(str, range(100)))


def test_combinations_are_counted_the_most_frequent_first(space: LabelSpace) -> None:
    assert space.combinations[0] == (0, 0, 1)
    assert sorted(space.counts, reverse=True) == list(space.counts) == [4, 3, 2, 1]


def test_a_space_makes_a_json_round_trip(space: LabelSpace) -> None:
    assert from_json(LabelSpace, to_json(space)) == space


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["glases"], r"'glases': no picture has such a label; they have glasses, age, smile .did you mean"),
        (["age:young"], "expected NAME:WORD<NUMBER<WORD"),
        (["age:young<35"], "expected NAME:WORD<NUMBER<WORD"),
        (["age:young<many<old"], "expected NAME:WORD<NUMBER<WORD"),
        (["age:young<50<adult<40<old"], "rising"),
        (["age:young<nan<old"], "rising"),
        (["age:young<inf<old"], "rising"),
        (["age:young<35<"], "words without a comma"),
        (["age:young<200<old"], "all pictures are 'young'"),
        (["glasses:a<1<b"], "'none' is no number"),
        (["glasses", "glasses"], "named twice"),
    ],
)
def test_impossible_specs_are_refused(specs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        label_space(specs, LABELS)


def test_labels_that_say_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="all pictures have 'yes'"):
        label_space(["smile"], [{"smile": True}] * 3)
    with pytest.raises(UsageError, match="neither a word nor a number"):
        label_space(["landmarks"], [{"landmarks": [[1, 2]]}])
    with pytest.raises(UsageError, match="'unknown' is no number"):
        label_space(["age:young<35<old"], [{"age": 20}, {"age": "unknown"}])
    with pytest.raises(UsageError, match="25 different numbers; name ranges"):
        label_space(["age"], [{"age": age} for age in range(25)])
    with pytest.raises(UsageError, match="they have none at all"):
        label_space(["age"], [{}])


def test_a_space_of_a_damaged_file_is_refused() -> None:
    attribute = Attribute("glasses", ("no", "yes"))
    wrong: list[tuple[Any, Any]] = [
        (((2,),), (1,)),
        (((0, 1),), (1,)),
        (((0,),), ()),
        (((0,),), (0,)),
        (((0,), (1,)), (2**62, 2**62)),
        (((0,),) * 5000, (1,) * 5000),
    ]
    for combinations, counts in wrong:
        with pytest.raises(UsageError, match="do not fit"):
            LabelSpace((attribute,), combinations, counts)
    with pytest.raises(UsageError, match=r"1,001 values"):
        LabelSpace((Attribute("n", tuple(map(str, range(1001)))),))


def test_a_value_s_own_case_comes_first() -> None:
    space = label_space(["sex"], [{"sex": "Male"}, {"sex": "male"}])
    assert [space.parse(f"sex={word}")["sex"] for word in ("Male", "male")] == [(0,), (1,)]


# ---- what is asked for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("glasses=round", {"glasses": (1,)}),
        ("glasses=ROUND, age=old", {"glasses": (1,), "age": (2,)}),
        ("glasses=yes", {"glasses": (1, 2)}),
        ("glasses=no", {"glasses": (0,)}),
        ("smile=true", {"smile": (1,)}),
        ("gl=sq", {"glasses": (2,)}),
        ("Glasses=Square", {"glasses": (2,)}),
    ],
)
def test_a_text_asks_for_values(space: LabelSpace, text: str, expected: dict[str, Any]) -> None:
    assert {name: tuple(numbers) for name, numbers in space.parse(text).items()} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glasses", "expected NAME=VALUE"),
        ("hat=yes", "label 'hat': one of glasses, age, smile"),
        ("glasses=blue", "label glasses 'blue': one of none, round, square"),
        ("age=yes", "label age 'yes'"),
        ("glasses=", "label glasses ''"),
        ("glasses=no,glasses=yes", "given twice"),
    ],
)
def test_what_the_model_does_not_know_is_refused(space: LabelSpace, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space.parse(text)


def test_a_model_without_labels_knows_none() -> None:
    assert LabelSpace().parse(" ") == {}
    with pytest.raises(UsageError, match="trained without labels"):
        LabelSpace().parse("glasses=yes")


def test_a_number_is_no_beginning_of_another() -> None:
    space = label_space(["class"], [{"class": number} for number in (0, 2, 10)])
    assert space.parse("class=10") == {"class": (2,)}
    with pytest.raises(UsageError, match="label class '1': one of 0, 2, 10"):
        space.parse("class=1")
    ages = label_space(["age"], [{"age": "infant"}, {"age": "nanny"}])  # as float reads inf and nan
    assert [ages.parse(f"age={word}")["age"] for word in ("inf", "nan")] == [(0,), (1,)]


# ---- what seeds draw


def test_a_seed_draws_the_same_whatever_its_company(space: LabelSpace) -> None:
    together = space.drawn({}, range(5))
    assert np.array_equal(together[3], space.drawn({}, [3])[0])


def test_seeds_draw_combinations_as_often_as_the_data_has_them(space: LabelSpace) -> None:
    drawn = Counter(tuple(words(vector)) for vector in space.drawn({}, range(1000)))
    for label, share in ((0, 0.4), (4, 0.3), (7, 0.2), (9, 0.1)):
        name = tuple(words(space.encode(LABELS)[label]))
        assert abs(drawn[name] / 1000 - share) < 0.05  # three standard deviations
    assert (
        sum(drawn.values())
        == 1000
        == sum(drawn[tuple(words(v))] for v in np.unique(space.encode(LABELS), axis=0))
    )


def test_what_is_not_asked_for_goes_with_what_is(space: LabelSpace) -> None:
    for vector in space.drawn(space.parse("glasses=yes"), range(50)):
        assert "old" in words(vector)  # as all with glasses are


def test_a_combination_that_the_data_lacks_is_made_all_the_same(space: LabelSpace) -> None:
    drawn = [words(vector) for vector in space.drawn(space.parse("glasses=yes,age=young"), range(50))]
    assert all("young" in row and len(row) == 3 for row in drawn)
    assert {row[0] for row in drawn} == {"round", "square"}


def test_without_counts_every_value_is_as_likely() -> None:
    space = LabelSpace((Attribute("class", ("a", "b", "c")),))
    shares = space.drawn({}, range(900)).mean(axis=0)
    assert np.allclose(shares, 1 / 3, atol=0.05)
