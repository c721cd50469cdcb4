"""Labels: what is written of a drawn person is plain, in range, and true; a person survives JSON exactly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from facegan.config import UsageError
from facegan.people.labels import LENGTHS, TONE_WORDS, from_json, hair_colour, labels_of, to_json
from facegan.people.person import BEARDS, CHOICES, HAIR_STYLES, Person
from facegan.people.population import DYES, EYE_COLOURS, HAIR_COLOURS

LANDMARKS = np.linspace(0, 63.96, 136).reshape(68, 2)


@pytest.fixture(scope="module")
def people() -> list[Person]:
    """Two hundred of the population."""
    return [Person.sample(np.random.default_rng(number)) for number in range(200)]


@pytest.fixture(scope="module")
def young(people: list[Person]) -> Person:
    """Somebody of 25 years, before anything is grey, who looks straight ahead without expression."""
    return people[0].replace(age_years=25.0, greying_years=60.0, expression={})


def labels(person: Person) -> dict[str, Any]:
    return labels_of(person, LANDMARKS)


def test_labels_are_plain_json(people: list[Person]) -> None:
    for person in people:
        assert json.loads(json.dumps(labels(person), allow_nan=False)) == labels(person)


def test_every_label_is_within_its_range(people: list[Person]) -> None:
    hair = {*HAIR_COLOURS, "grey", "white", "dyed"}
    expressions = {
        "neutral", "slight smile", "smile", "open smile", "open mouth", "surprised", "stern", "sad",
        "pouting",
    }  # fmt: skip
    for found in map(labels, people):
        assert 18 <= found["age_years"] <= 90
        assert found["gender_presentation"] in ("female", "male")
        assert list(found["ancestry"]) == ["african", "asian", "caucasian"]
        assert sum(found["ancestry"].values()) == pytest.approx(1, abs=0.016)  # three times half a cent
        assert 0 <= found["skin_tone"] <= 6
        assert found["skin_tone_word"] in TONE_WORDS
        assert found["hair_colour"] in hair
        assert found["eye_colour"] in EYE_COLOURS
        assert found["hair_length"] in ("bald", "very short", "short", "medium", "long")
        assert 0 <= found["hair_greyness"] <= 1
        assert found["facial_hair"] in BEARDS
        for name in ("hair_style", "glasses", "hat", "clothes", "backdrop"):
            assert found[name] in CHOICES[name]
        for name in ("freckles", "makeup", "beard", "moustache", "smile", "mouth_open"):
            assert isinstance(found[name], bool)
        assert found["expression_name"] in expressions
        assert all(0.15 <= weight <= 1 for weight in found["expression"].values())
        for name in ("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch", "light_elevation"):
            assert -90 <= found[f"{name}_degrees"] <= 90
        assert -180 <= found["light_azimuth_degrees"] <= 180
        assert 0 <= found["light_hardness"] <= 1


def test_every_hair_style_has_a_length() -> None:
    assert LENGTHS.keys() == set(HAIR_STYLES)


@pytest.mark.parametrize(
    ("style", "length", "word"),
    [
        ("bald", 1.0, "bald"), ("buzz", 1.0, "very short"), ("pixie", 0.9, "short"), ("bob", 0.2, "medium"),
        ("long", 0.2, "medium"), ("long", 0.8, "long"), ("ponytail", 0.1, "long"),
    ],
)  # fmt: skip
def test_length_follows_from_style_and_length(young: Person, style: str, length: float, word: str) -> None:
    assert labels(young.replace(hair_style=style, hair_length=length))["hair_length"] == word


@pytest.mark.parametrize("name", HAIR_COLOURS)
def test_a_colour_of_the_palette_has_its_own_name(young: Person, name: str) -> None:
    assert hair_colour(young.replace(hair_colour=HAIR_COLOURS[name])) == name


@pytest.mark.parametrize("name", EYE_COLOURS)
def test_an_eye_colour_of_the_palette_has_its_own_name(young: Person, name: str) -> None:
    assert labels(young.replace(eye_colour=EYE_COLOURS[name]))["eye_colour"] == name


@pytest.mark.parametrize("dye", DYES)
def test_a_dye_is_called_dyed(young: Person, dye: tuple[float, float, float]) -> None:
    assert hair_colour(young.replace(hair_colour=dye)) == "dyed"


@pytest.mark.parametrize(("age", "word"), [(45.0, "red"), (61.0, "grey"), (80.0, "white")])
def test_hair_turns_grey_then_white_with_age(young: Person, age: float, word: str) -> None:
    """Half grey at 60, by a logistic curve of 4 years: 56 % at 61, 99 % at 80."""
    assert hair_colour(young.replace(hair_colour=HAIR_COLOURS["red"], age_years=age)) == word


@pytest.mark.parametrize(
    ("word", "beard", "moustache"),
    [
        ("none", False, False), ("stubble", False, False), ("moustache", False, True), ("goatee", True, True),
        ("beard", True, True),
    ],
)  # fmt: skip
def test_beard_and_moustache_are_said_apart(young: Person, word: str, beard: bool, moustache: bool) -> None:
    found = labels(young.replace(beard=word))
    assert (found["facial_hair"], found["beard"], found["moustache"]) == (word, beard, moustache)


def both(**units: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in units.items() for side in ("Left", "Right")}


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ({}, "neutral"),
        (both(mouthSmile=0.2), "slight smile"),
        (both(mouthSmile=0.6), "smile"),
        (both(mouthSmile=0.8, mouthUpperUp=0.4) | {"jawOpen": 0.1}, "open smile"),
        ({"jawOpen": 0.2}, "open mouth"),
        (both(browOuterUp=0.5, eyeWide=0.3) | {"browInnerUp": 0.5}, "surprised"),
        (both(browDown=0.6), "stern"),
        (both(mouthFrown=0.4), "sad"),
        ({"mouthPucker": 0.4}, "pouting"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_expression_is_named_by_its_units(young: Person, expression: dict[str, float], name: str) -> None:
    found = labels(young.replace(expression=expression))
    assert found["expression_name"] == name
    assert found["smile"] == (name in ("smile", "open smile"))
    assert found["mouth_open"] == name.startswith("open")


def test_only_units_that_one_can_see_are_listed(young: Person) -> None:
    expression = {"jawOpen": 0.14, "mouthPucker": 0.437, "browInnerUp": -0.5}
    assert labels(young.replace(expression=expression))["expression"] == {"mouthPucker": 0.44}


def test_landmarks_are_the_given_ones_to_a_tenth_of_a_pixel(young: Person) -> None:
    found = labels(young)["landmarks"]
    assert np.shape(found) == (68, 2)
    np.testing.assert_allclose(found, LANDMARKS, atol=0.0501)


# ---- a person as JSON


def test_a_person_survives_json_exactly(people: list[Person]) -> None:
    for person in people:
        assert from_json(json.loads(json.dumps(to_json(person)))) == person


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"age": 30}, "no 'age'"),
        ({"age_years": "old"}, "age_years 'old': expected a number"),
        ({"age_years": True}, "age_years True: expected a number"),
        ({"age_years": 17}, "age_years 17.0: need 18 to 90"),
        ({"seed": 1.5}, "seed 1.5: expected a whole number"),
        ({"hat": 3}, "hat 3: expected a word"),
        ({"hat": "caps"}, "did you mean 'cap'"),
        ({"ancestry": [1, 0]}, r"ancestry \(1\.0, 0\.0\): need three numbers, 0 to 1"),
        ({"eye_colour": [1, 0, "x"]}, "expected a list of numbers"),
        ({"features": [1]}, "expected an object of numbers"),
        ({"expression": {"jawOpen": None}}, "expected an object of numbers"),
    ],
    ids=str,
)
def test_wrong_json_is_refused_by_name(young: Person, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_json(to_json(young) | change)


def test_a_missing_field_is_refused_by_name(young: Person) -> None:
    data = to_json(young)
    del data["hat"]
    with pytest.raises(UsageError, match="needs 'hat'"):
        from_json(data)
    with pytest.raises(UsageError, match="expected an object"):
        from_json([])
