"""What one can see of a drawn person, in words, years and degrees; and a person as JSON, for exact copies.

    labels_of(person, landmarks)    {"age_years": 43, "hair_colour": "red", "glasses": "round", ...}
    to_json(person), from_json      all that a person is, to the last digit

docs/people.md explains every field. Left and right are the subject's.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from facegan.config import UsageError, nearest
from facegan.people.eyes import gaze_degrees
from facegan.people.head import ANCESTRIES, Floats
from facegan.people.person import RGB, Person
from facegan.people.population import EYE_COLOURS, HAIR_COLOURS

Labels = dict[str, Any]

SHOWN_WEIGHT = 0.15  # of a face unit: what is weaker can hardly be seen
SMILE_WEIGHT = 0.3
OPENING = 0.15  # of the lips, as jawOpen weights
TONE_WORDS = ("very light", "light", "medium light", "medium", "medium dark", "dark", "very dark")
GREY, WHITE = 0.5, 0.9  # shares of grey hairs from which hair is called so
DYED_RATIO = 1.15  # of blue to green: natural hair has about 0.8, dyed hair 1.4 and more
LENGTHS = {  # of a style: in its shorter half, in its longer half
    "bald": ("bald", "bald"), "buzz": ("very short", "very short"), "short": ("short", "short"),
    "side-part": ("short", "short"), "slicked-back": ("short", "short"), "quiff": ("short", "short"),
    "fringe": ("short", "short"), "curly-top": ("short", "short"), "pixie": ("short", "short"),
    "afro": ("short", "medium"), "bob": ("medium", "medium"), "long": ("medium", "long"),
    "long-side-part": ("medium", "long"), "bangs": ("medium", "long"), "bun": ("long", "long"),
    "ponytail": ("long", "long"),
}  # fmt: skip


def labels_of(person: Person, landmarks: Floats) -> Labels:
    """The labels of a picture of this person, of plain JSON types.

    landmarks [68, 2]: x, y in pixels of the picture, in the 300-W layout of landmarks.landmark_vertices.
    """
    gaze_yaw, gaze_pitch = gaze_degrees(person)
    shown = {name: round(value, 2) for name, value in person.expression.items() if value > SHOWN_WEIGHT}
    return {
        "age_years": round(person.age_years),
        "gender_presentation": "male" if person.is_male else "female",
        "ancestry": {name: round(share, 2) for name, share in zip(ANCESTRIES, person.ancestry, strict=True)},
        "skin_tone": round(person.skin_tone, 1),
        "skin_tone_word": TONE_WORDS[round(person.skin_tone)],
        "freckles": person.freckles > 0,
        "makeup": person.makeup > 0,
        "eye_colour": _nearest_colour(person.eye_colour, EYE_COLOURS),
        "hair_style": person.hair_style,
        "hair_length": LENGTHS[person.hair_style][int(person.hair_length >= 0.5)],
        "hair_colour": hair_colour(person),
        "hair_greyness": round(person.greyness, 2),
        "facial_hair": person.beard,
        "beard": person.beard in ("goatee", "beard"),
        "moustache": person.beard in ("moustache", "goatee", "beard"),
        "glasses": person.glasses,
        "hat": person.hat,
        "clothes": person.clothes,
        "backdrop": person.backdrop,
        "smile": _smile(person) > SMILE_WEIGHT,
        "mouth_open": _opening(person) > OPENING,
        "expression_name": expression_name(person),
        "expression": shown,
        "yaw_degrees": round(person.yaw_degrees, 1),
        "pitch_degrees": round(person.pitch_degrees, 1),
        "roll_degrees": round(person.roll_degrees, 1),
        "gaze_yaw_degrees": round(gaze_yaw, 1),
        "gaze_pitch_degrees": round(gaze_pitch, 1),
        "light_azimuth_degrees": round(person.light_azimuth_degrees, 1),
        "light_elevation_degrees": round(person.light_elevation_degrees, 1),
        "light_hardness": round(person.light_hardness, 2),
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in landmarks],
    }


def hair_colour(person: Person) -> str:
    """grey and white by the share of grey hairs, else dyed, else the nearest natural colour."""
    if person.greyness >= GREY:
        return "white" if person.greyness >= WHITE else "grey"
    _, green, blue = person.hair_colour
    return "dyed" if blue > DYED_RATIO * green else _nearest_colour(person.hair_colour, HAIR_COLOURS)


def expression_name(person: Person) -> str:
    """What one would call this face: the first of these that its units show."""
    shown = {
        "smile": _smile(person) > SMILE_WEIGHT,
        "slight smile": _smile(person) > SHOWN_WEIGHT,
        "surprised": _both(person, "browOuterUp") > SHOWN_WEIGHT,
        "stern": _both(person, "browDown") > SHOWN_WEIGHT,
        "sad": max(_both(person, "mouthFrown"), person.expression.get("browInnerUp", 0.0)) > SHOWN_WEIGHT,
        "pouting": person.expression.get("mouthPucker", 0.0) > SHOWN_WEIGHT,
        "open mouth": _opening(person) > OPENING,
        "neutral": True,
    }
    name = next(name for name, seen in shown.items() if seen)
    return "open smile" if name == "smile" and _opening(person) > OPENING else name


def to_json(person: Person) -> Labels:
    """All fields of the person, in JSON's own types: dictionaries, lists, numbers, words."""
    plain: Labels = json.loads(json.dumps(dataclasses.asdict(person)))
    return plain


def from_json(data: object) -> Person:
    """The person that to_json gave, equal in every digit.

    Raises:
        UsageError: a missing or unknown field, or a value of another type or out of its range.
    """
    hints = typing.get_type_hints(Person)
    if not isinstance(data, dict):
        raise UsageError(f"a person: expected an object, got {data!r}")
    for name in data:
        if name not in hints:
            raise UsageError(f"a person has no {name!r}{nearest(str(name), hints)}")
    for name in hints:
        if name not in data:
            raise UsageError(f"a person needs {name!r}: it is missing")
    return Person(**{name: _value(name, hint, data[name]) for name, hint in hints.items()})


# ---- parts


def _value(name: str, hint: Any, value: object) -> Any:
    """JSON's value as the field's type wants it."""
    kind = typing.get_origin(hint) or hint
    if kind is tuple and isinstance(value, list) and all(map(_is_number, value)):
        return tuple(float(number) for number in value)
    if kind is Mapping and isinstance(value, dict) and all(map(_is_number, value.values())):
        return {str(word): float(number) for word, number in value.items()}
    if kind is float and _is_number(value):
        return float(typing.cast(float, value))
    if kind in (int, str) and type(value) is kind:
        return value
    wanted = {
        tuple: "a list of numbers",
        Mapping: "an object of numbers",
        float: "a number",
        int: "a whole number",
    }
    raise UsageError(f"{name} {value!r}: expected {wanted.get(kind, 'a word')}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _nearest_colour(colour: RGB, palette: Mapping[str, RGB]) -> str:
    """The palette's nearest name for linear RGB, compared on a perceptual scale (power 1/2.2)."""
    distances = {
        name: float(np.sum((np.power(colour, 1 / 2.2) - np.power(entry, 1 / 2.2)) ** 2))
        for name, entry in palette.items()
    }
    return min(distances, key=distances.__getitem__)


def _both(person: Person, unit: str) -> float:
    """The mean weight of a unit's two sides."""
    return sum(person.expression.get(unit + side, 0.0) for side in ("Left", "Right")) / 2


def _smile(person: Person) -> float:
    return _both(person, "mouthSmile")


def _opening(person: Person) -> float:
    """How far the lips are apart: lips that bare the teeth count half of what a jaw does."""
    lips = _both(person, "mouthUpperUp") + _both(person, "mouthLowerDown")
    return person.expression.get("jawOpen", 0.0) + lips / 2
