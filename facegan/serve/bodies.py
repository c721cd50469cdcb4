"""What requests say, as FastAPI checks and documents it.

What depends on the model or on the settings is checked by the routes. A wrong body costs what its first
errors cost: lists end at their first wrong element or at their greatest length, and what has too many names
is not looked into. A million elements, or an error for each, would hold up the whole server.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from facegan.animation import MAX_SCALE
from facegan.known import DEFAULT_PSI
from facegan.latents.directions import MAX_STRENGTH
from facegan.synthesis import MAX_PSI, MAX_SEED

MAX_TEXT = 2000  # characters of a list of seeds
MAX_MOVES = 32
MAX_ROWS, MAX_LAYERS, MAX_DIM = 10_000, 100, 1024  # more than any settings allow and any model has
MAX_UNKNOWN = 8  # names beyond the known ones that are still told one by one

T = TypeVar("T")
Rows = Annotated[list[T], Field(fail_fast=True, max_length=MAX_ROWS)]
Layers = Annotated[list[T], Field(fail_fast=True, max_length=MAX_LAYERS)]
Format = Literal["png", "jpg", "webp"]
Noise = Literal["const", "random", "none"]
State = Literal["waiting", "working", "done", "failed"]  # of a film
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(fail_fast=True, max_length=MAX_DIM)]
Psi = Annotated[
    Number,
    Field(
        ge=-MAX_PSI,
        le=MAX_PSI,
        description=f"Truncation: 1 is the whole variety, 0 the average face. Default {DEFAULT_PSI}.",
    ),
]
Model = Annotated[
    str, Field(max_length=200, description="A name of GET /v1/models; empty: the server's first model.")
]
NoiseMode = Annotated[
    Noise, Field(description="The model's own maps, each seed's own, or none; of models with noise inputs.")
]
Cutoff = Annotated[
    int | None, Field(ge=0, le=100, description="Truncate the first so many layers only; default: all.")
]
Label = Annotated[
    str,
    Field(
        max_length=500, description="Of a model with labels: glasses=yes,age=old; each seed draws the rest."
    ),
]
Size = Annotated[
    int | None,
    Field(ge=1, description="Pixels of the longer side, resized by Lanczos; default: the model's."),
]
Seeds = Annotated[
    Rows[Seed] | Annotated[str, Field(max_length=MAX_TEXT)],
    Field(
        description="A list of numbers, or ranges and lists in text: 0-15 or 1,5,9-12.",
        examples=["0-3", [1, 5, 9]],
    ),
]


def _require_few(given: Any, most: int) -> Any:
    """What was given, unless it is an object of too many names: each would be an error of its own."""
    if isinstance(given, dict) and len(given) > most:
        raise PydanticCustomError(
            "too_many", "at most {most} names, not {count}", {"most": most, "count": len(given)}
        )
    return given


class Asked(BaseModel):
    """What a request may say, and nothing else."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, given: Any) -> Any:
        return _require_few(given, len(cls.model_fields) + MAX_UNKNOWN)


class Query(Asked):
    """How the face of a seed is made."""

    model: Model = ""
    psi: Psi = DEFAULT_PSI
    noise: NoiseMode = "const"
    cutoff: Cutoff = None
    label: Label = ""
    size: Size = None


class LatentRows(Asked):
    """w or z, one of the two, as `facegan generate --latents` reads them from a file."""

    w: Rows[Vector] | Rows[Layers[Vector]] | None = Field(
        None, description="[N, w_dim], or [N, layers, w_dim]; used as it is: without psi, cutoff and label."
    )
    z: Rows[Vector] | None = Field(None, description="[N, z_dim]; goes through the mapping.")
    seeds: Rows[Seed] | None = Field(None, description="Whose noise, and whose labels; default: 0, 1, ...")


class Pictures(Asked):
    """Pictures of seeds or of latents."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seeds": "0-3", "psi": 0.7, "format": "jpg"}]})

    model: Model = ""
    seeds: Seeds | None = None
    latents: LatentRows | None = None
    psi: Psi | None = None
    noise: NoiseMode = "const"
    cutoff: Cutoff = None
    label: Label = ""
    size: Size = None
    format: Format = "png"
    answer: Literal["json", "zip"] | None = Field(
        None, description="JSON with base64, or a zip; default: a zip where Accept asks for one."
    )


class Edited(Pictures):
    """Pictures whose w is moved along directions; without seeds and latents that of seed 0."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"seeds": [7], "directions": {"smile": 2, "pca:1": -1}}]},
    )

    directions: Annotated[
        dict[
            Annotated[str, Field(max_length=80)], Annotated[Number, Field(ge=-MAX_STRENGTH, le=MAX_STRENGTH)]
        ],
        BeforeValidator(lambda given: _require_few(given, MAX_MOVES)),
    ] = Field(
        min_length=1, max_length=MAX_MOVES,
        description="Name to strength, in standard deviations of w: a name of GET /v1/models, pca:0, sefa:3.",
    )  # fmt: skip
    styles: str | None = Field(
        None,
        max_length=200,
        description="The layers that move: coarse, middle, fine, A-B; default: the direction's.",
    )


class Mixed(Asked):
    """Each row's face with some layers of each column's, in one labelled picture."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rows": "0-2", "cols": "4-7", "styles": "coarse"}]}
    )

    model: Model = ""
    rows: Seeds
    cols: Seeds
    styles: str = Field(
        "coarse", max_length=200, description="The columns' layers: coarse, middle, fine, 4-7, or a list."
    )
    psi: Psi = DEFAULT_PSI
    noise: NoiseMode = "const"
    cutoff: Cutoff = None
    label: Label = ""
    format: Format = "png"


class Animated(Asked):
    """A film through the faces of seeds, and back to the first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"seeds": [1, 2, 3], "seconds_per_key": 1, "fps": 24}]},
    )

    model: Model = ""
    seeds: Seeds
    seconds_per_key: Annotated[Number, Field(gt=0, le=10_000)] = 2.0
    fps: int = Field(30, ge=1, le=240, description="Frames a second; of a gif at most 50.")
    path: Literal["z", "w"] = Field("z", description="Along arcs in z, or along a spline in w.")
    easing: Literal["smooth", "none"] = Field("smooth", description="smooth rests at the faces.")
    loop: bool = Field(True, description="Back to the first face, or end at the last.")
    psi: Psi = DEFAULT_PSI
    noise: Literal["const", "drift", "none"] = "const"
    label: Label = ""
    format: Literal["mp4", "webp", "gif"] = "mp4"
    scale: int | None = Field(
        None,
        ge=1,
        le=MAX_SCALE,
        description="Enlarged so many times; default: to a short side of 256 or more.",
    )


class JobState(BaseModel):
    """How far a film is."""

    id: str
    state: State
    frames: int
    made: int
    error: str = ""
    film: str | None = Field(None, description="Where the film is, once it is done.")


class Error(BaseModel):
    """What was wrong, in one line."""

    error: str
    request_id: str
