"""An invented person as plain numbers: who it is, how it looks today, and how its picture was taken.

    person = Person.sample(numpy.random.default_rng(7))
    older = person.replace(age_years=80)                 the same person, grey and wrinkled
    turned = person.replace(yaw_degrees=30, hat="cap")

Every field has one meaning and does not depend on another, so changing one changes one thing. What is not a
field (where a freckle lies, how a strand falls) is drawn from `seed` by purpose: see `detail`.
Colours are linear RGB, 0 .. 1. Left and right are the subject's.

How people are distributed stands in population.py, what the fields look like in the modules that draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from facegan.config import UsageError, nearest
from facegan.randomness import Purpose, numpy_generator

RGB = tuple[float, float, float]

HAIR_STYLES = (
    "bald", "buzz", "short", "side-part", "slicked-back", "quiff", "fringe", "curly-top", "afro",
    "pixie", "bob", "long", "long-side-part", "bangs", "bun", "ponytail",
)  # fmt: skip
BEARDS = ("none", "stubble", "moustache", "goatee", "beard")
GLASSES = ("none", "round", "oval", "square", "half-rim")
HATS = ("none", "beanie", "cap", "brimmed-hat", "headscarf")
CLOTHES = ("t-shirt", "v-neck", "turtleneck", "shirt", "jacket", "scarf")
BACKDROPS = ("studio", "wall", "room", "window", "foliage", "sky", "street", "night")
RESOLUTIONS = (16, 1024)  # pixels of a side that a person can be drawn at
CHOICES = {
    "hair_style": HAIR_STYLES, "beard": BEARDS, "glasses": GLASSES, "hat": HATS,
    "clothes": CLOTHES, "backdrop": BACKDROPS,
}  # fmt: skip
RANGES = {  # of numbers that are not 0 .. 1
    "age_years": (18.0, 90.0), "skin_tone": (0.0, 6.0), "yellowness": (-1.0, 1.0),
    "hair_parting": (-1.0, 1.0), "brow_slant": (-1.0, 1.0), "light_warmth": (-1.0, 1.0),
    "greying_years": (18.0, 150.0), "iris_pattern": (0.0, 1000.0),
    "yaw_degrees": (-60.0, 60.0), "pitch_degrees": (-35.0, 35.0), "roll_degrees": (-35.0, 35.0),
    "body_yaw_degrees": (-40.0, 40.0), "gaze_yaw_degrees": (-35.0, 35.0),
    "gaze_pitch_degrees": (-25.0, 25.0), "distance_dm": (5.0, 60.0),
    "light_azimuth_degrees": (-180.0, 180.0), "light_elevation_degrees": (-60.0, 90.0),
    "exposure": (0.25, 4.0),
}  # fmt: skip


class Detail(IntEnum):
    """What the small things of a person are drawn for, so that one never shifts the others."""

    SCALP_HAIR = 0
    BROWS = 1
    BEARD = 2
    LASHES = 3
    SKIN = 4
    EYES = 5
    WEAR = 6
    BACKDROP = 7
    SENSOR = 8


@dataclass(frozen=True)
class Person:
    """One person in one picture.

    Numbers are 0 .. 1 unless RANGES or a unit in the name says otherwise; words are those of CHOICES.
    Weights of an expression and of what has an opposite are -1 .. 1.
    """

    # who it is: head.macro_weights and head.local_weights
    age_years: float
    gender: float  # 0 female .. 1 male
    ancestry: tuple[float, float, float]  # shares of head.ANCESTRIES
    muscle: float
    weight: float
    features: Mapping[str, float]  # names of head.local_pairs() and head.head_shapes()
    # skin
    skin_tone: float  # 0 lightest .. 6 darkest: skin.TONES
    redness: float
    yellowness: float
    freckles: float
    blemishes: float
    # eyes
    eye_colour: RGB
    iris_pattern: float
    # hair on the head; what is grey of it follows from age
    hair_style: str
    hair_colour: RGB  # without grey
    hair_length: float  # within what the style allows
    hair_curl: float
    hair_parting: float  # -1 .. 1: to the subject's right .. left
    hair_volume: float
    recession: float  # of the hairline, at an age of 75
    greying_years: float  # the age at which half of it is grey
    # brows and beard
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    brow_darkness: float  # 0 as light as the hair .. 1 dark
    beard: str
    beard_length: float
    # what is put on
    makeup: float
    lipstick: RGB
    glasses: str
    glasses_colour: RGB
    glasses_size: float
    hat: str
    hat_colour: RGB
    clothes: str
    clothes_colour: RGB
    second_colour: RGB  # what is under a jacket, stripes
    # this moment
    expression: Mapping[str, float]  # names of head.expression_names()
    yaw_degrees: float  # see camera.rotation
    pitch_degrees: float
    roll_degrees: float
    body_yaw_degrees: float
    gaze_yaw_degrees: float  # how far the eyes turn away, > 0 to the subject's left: see eyes.gaze_degrees
    gaze_pitch_degrees: float  # > 0 down
    # the picture
    distance_dm: float
    light_azimuth_degrees: float  # of the main light, from the viewer's direction; > 0 the subject's left
    light_elevation_degrees: float
    light_hardness: float  # 0 a bright sky .. 1 one lamp in the dark
    light_warmth: float
    rim_light: float
    exposure: float
    backdrop: str
    seed: int  # of everything small

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    words = CHOICES[name]
                    raise UsageError(
                        f"{name} {value!r}{nearest(str(value), words)}: one of {', '.join(words)}"
                    )
            elif isinstance(value, Mapping):
                _check_weights(name, value)
            elif isinstance(value, tuple):
                _check_three(name, value)
            elif name == "seed":
                if not isinstance(value, (int, np.integer)) or value < 0:
                    raise UsageError(f"seed {value}: need a whole number, 0 or more")
            else:
                low, high = RANGES.get(name, (0.0, 1.0))
                if not low <= value <= high:
                    raise UsageError(f"{name} {value}: need {low:g} to {high:g}")

    @staticmethod
    def sample(rng: np.random.Generator) -> Person:
        """Somebody drawn from population.py's distribution; a function of the generator's state alone."""
        from facegan.people.population import sample

        return sample(rng)

    @classmethod
    def numbered(cls, seed: int, number: int) -> Person:
        """Person `number` of a seed: the one that `facegan people` draws."""
        return cls.sample(numpy_generator(seed, number, Purpose.PERSON))

    def replace(self, **changes: Any) -> Person:
        """The same person with other values in some fields.

        Raises:
            UsageError: an unknown field, or a value out of range.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise UsageError(f"a person has no {name!r}{nearest(name, names)}")
        return dataclasses.replace(self, **changes)

    def detail(self, purpose: Detail) -> np.random.Generator:
        """The generator of one kind of small things: the same for this person in every picture."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, int(purpose)]))

    @property
    def is_male(self) -> bool:
        """Whether the presentation is nearer to male."""
        return self.gender > 0.5

    @property
    def greyness(self) -> float:
        """The share of grey hairs at this age."""
        return float(1 / (1 + np.exp(-(self.age_years - self.greying_years) / 4)))

    @property
    def ageing(self) -> float:
        """0 up to 30 years .. 1 at 90: how much of old age skin and hairline show."""
        return float(np.clip((self.age_years - 30) / 60, 0, 1))


def _check_three(name: str, numbers: tuple[float, ...]) -> None:
    """A colour, or the shares of ancestry."""
    from facegan.people.head import SHARES_TOLERANCE

    if len(numbers) != 3 or not all(0 <= number <= 1 for number in numbers):
        raise UsageError(f"{name} {numbers}: need three numbers, 0 to 1")
    if name == "ancestry" and abs(sum(numbers) - 1) > SHARES_TOLERANCE:
        raise UsageError(f"ancestry {numbers}: need shares of sum 1")


def _check_weights(of: str, weights: Mapping[str, float]) -> None:
    """The weights of features or of an expression, by name."""
    from facegan.people.head import expression_names, head_shapes, local_pairs

    lowest = dict.fromkeys(local_pairs() if of == "features" else expression_names(), -1.0)
    if of == "features":
        lowest |= dict.fromkeys(head_shapes(), 0.0)
    for name, weight in weights.items():
        if name not in lowest:
            raise UsageError(
                f"{of} {name!r}{nearest(name, lowest)}: one of {len(lowest)}, such as {next(iter(lowest))}"
            )
        if not lowest[name] <= weight <= 1:
            raise UsageError(f"{of} {name!r} {weight}: need {lowest[name]:g} to 1")
