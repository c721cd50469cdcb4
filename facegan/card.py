"""What a model file says of itself, and the numbers that were measured of it, each with its protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass

ARCHITECTURES = {"dcgan": "DCGAN", "stylegan": "StyleGAN", "stylegan2": "StyleGAN2"}  # as people write them


@dataclass(frozen=True)
class Value:
    """One number: its name says which features it is of, `low` and `high` bound it where that is known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Numbers of one set of pictures against another, with all that is needed to get them again."""

    subject: str  # the model, or the set of pictures, that was measured
    subject_key: str  # of a set of pictures
    images_seen: int  # of the model; 0 for a set of pictures
    samples: int  # pictures of the subject: of a model those of seeds seed .. seed + samples - 1
    seed: int
    psi: float
    precision: str  # the convolutions' while sampling
    data: str  # the real pictures' name, key and number
    data_key: str
    reals: int
    resolution: int  # the height
    crop: str
    features: str  # the extractor's protocol: weights, resize, normalisation, layer
    version: str  # of facegan
    values: tuple[Value, ...]
    width: int | None = None  # where it is not the height
    noise: str = "const"  # of the model's noise inputs; of one that has none, none


@dataclass(frozen=True)
class Card:
    """What a model file says of itself, in its metadata."""

    data: str = ""
    images_seen: int = 0
    licence: str = ""
    description: str = ""
    metrics: tuple[Evaluation, ...] = ()


def as_words(text: object) -> str:
    """Text of somebody's file that stays text in a page: in one line, without Markdown or HTML."""
    return re.sub(r"([\\`*{}\[\]<>|#!])", lambda match: f"&#{ord(match[1])};", " ".join(str(text).split()))
