"""A head and shoulders that can be shaped: the MakeHuman base mesh and its morphs.

    rest vertices + sum over morphs of weight * displacement -> vertices [V, 3]

Three kinds of morphs, each with a function that turns public values into weights by target name:

    macro_weights       gender, age, ancestry, muscle, weight (MakeHuman's macro formula)
    local_weights       one signed value per feature ("nose/nose-hump": -1 .. 1), the same for left and right
    expression_weights  face units by their ARKit names ("jawOpen": 0 .. 1)

Space: decimetres, x to the subject's left, y up, z out of the face; the subject's right (x < 0) is the
picture's left. Letters: V vertices, T triangles, K vertices a target moves.
The data is CC0: see assets.md beside this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facegan.config import UsageError, nearest
from facegan.people.raster import compiled

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Weights = dict[str, float]

ASSETS = Path(__file__).with_name("assets.npz")
DTYPES = {  # of the arrays that are stored smaller than they are used
    "vertices": np.float64, "uv": np.float64, "target_deltas": np.float64,
    "ambient_transfer": np.float64,
    "triangles": np.intp, "target_vertices": np.intp, "target_starts": np.intp,
}  # fmt: skip
AGES_YEARS = (1.0, 10.0, 25.0, 90.0)  # baby, child, young, old
AGE_POSITIONS = (0.0, 0.1875, 0.5, 1.0)  # the same on MakeHuman's scale
AGE_NAMES = ("baby", "child", "young", "old")
ANCESTRIES = ("african", "asian", "caucasian")
AVERAGE_BUILD = "-averagemuscle-averageweight"  # the rest head's own build: it has no target
SHARES_TOLERANCE = 1e-6  # how far the sum of the ancestry shares may be from 1
OPPOSITES = (  # (what a negative value does, what a positive one does)
    ("decr", "incr"), ("l", "r"), ("down", "up"), ("in", "out"), ("backward", "forward"),
    ("concave", "convex"), ("compress", "uncompress"),
)  # fmt: skip
PLAIN_OPPOSITES = OPPOSITES[:2]  # the pair's name is the stem alone


class Part(IntEnum):
    """What a triangle belongs to; left and right are the subject's."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    UPPER_TEETH = 3
    LOWER_TEETH = 4
    TONGUE = 5
    LEFT_LOWER_LASHES = 6
    LEFT_UPPER_LASHES = 7
    RIGHT_LOWER_LASHES = 8
    RIGHT_UPPER_LASHES = 9
    CLOTHES = 10  # MakeHuman's tights helper: a tight shirt
    HAIR_HULL = 11  # MakeHuman's hair helper: a long-hair hull, not to be drawn


class Target(NamedTuple):
    """A sparse morph: the vertices [K] it moves, each once, and their displacements [K, 3] in decimetres."""

    vertices: Indices
    deltas: Floats
    number: int  # among all targets


class LocalPair(NamedTuple):
    """The targets that a negative and a positive value use: one each, or one per side of the face."""

    negative: tuple[str, ...]
    positive: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Head:
    """The rest head and everything that can be done to it; arrays are read-only.

    vertices [V, 3] in decimetres, triangles [T, 3], uv [T, 3, 2] per corner in [0, 1] with v upward,
    parts [T] of Part, masks name -> uint8 [1024, 1024] with row 0 at v = 1, targets by name,
    ambient_transfer [V, 9]: how much of each spherical harmonic reaches a vertex (light.harmonics).
    """

    vertices: Floats
    triangles: Indices
    uv: Floats
    parts: NDArray[np.int8]
    masks: Mapping[str, NDArray[np.uint8]]
    targets: Mapping[str, Target]
    ambient_transfer: Floats
    flat_targets: tuple[
        Indices, Indices, Floats
    ]  # starts [targets + 1], and all targets' rows one after another

    def part_vertices(self, *parts: Part) -> Indices:
        """Indices [N] of the vertices that triangles of these parts use, ascending; read-only."""
        return _part_vertices(self, parts)


@lru_cache(maxsize=64)
def _part_vertices(of: Head, parts: tuple[Part, ...]) -> Indices:
    vertices = np.unique(of.triangles[np.isin(of.parts, parts)])
    vertices.setflags(write=False)
    return vertices


@lru_cache(maxsize=1)
def head() -> Head:
    """The one head, read from assets.npz at the first call."""
    with np.load(ASSETS) as file:
        arrays = {name: file[name] for name in file.files}
    for name, dtype in DTYPES.items():
        arrays[name] = arrays[name].astype(dtype)
    for array in arrays.values():
        array.setflags(write=False)
    starts = arrays["target_starts"]
    targets = {
        str(name): Target(arrays["target_vertices"][start:end], arrays["target_deltas"][start:end], number)
        for number, (name, start, end) in enumerate(
            zip(arrays["target_names"], starts[:-1], starts[1:], strict=True)
        )
    }
    return Head(
        vertices=arrays["vertices"],
        triangles=arrays["triangles"],
        uv=arrays["uv"],
        parts=arrays["parts"],
        masks={name.removeprefix("mask_"): arrays[name] for name in arrays if name.startswith("mask_")},
        targets=targets,
        ambient_transfer=arrays["ambient_transfer"],
        flat_targets=(starts, arrays["target_vertices"], arrays["target_deltas"]),
    )


# Weights


def age_position(age_years: float) -> float:
    """MakeHuman's 0 .. 1 for an age in years; linear between 1, 10, 25 and 90.

    Raises:
        UsageError: below 1 or above 90.
    """
    _check_range("age_years", age_years, AGES_YEARS[0], AGES_YEARS[-1])
    return float(np.interp(age_years, AGES_YEARS, AGE_POSITIONS))


def age_years(position: float) -> float:
    """Years for MakeHuman's 0 .. 1: the inverse of age_position.

    Raises:
        UsageError: below 0 or above 1.
    """
    _check_range("age position", position, 0.0, 1.0)
    return float(np.interp(position, AGE_POSITIONS, AGES_YEARS))


def macro_weights(
    gender: float, age: float, ancestry: Sequence[float], muscle: float, weight: float
) -> Weights:
    """Weights of MakeHuman's macro targets, in two groups that sum to 1 each.

    gender 0 female .. 1 male; age in years, 1 .. 90; ancestry shares of ANCESTRIES; muscle and weight 0 .. 1,
    0.5 average. The groups are the products ancestry * gender * age ("macro/asian-male-old") and
    gender * age * muscle * weight ("macro/universal-male-old-maxmuscle-minweight").
    Zero weights are left out.

    Raises:
        UsageError: a value out of range, or shares that are negative or do not sum to 1.
    """
    for name, value in ("gender", gender), ("muscle", muscle), ("weight", weight):
        _check_range(name, value, 0.0, 1.0)
    shares = np.asarray(ancestry, np.float64)
    if shares.shape != (len(ANCESTRIES),) or not (
        shares.min() >= 0 and abs(shares.sum() - 1) <= SHARES_TOLERANCE
    ):
        raise UsageError(
            f"ancestry {list(ancestry)}: need the shares of {', '.join(ANCESTRIES)}, none negative, sum 1"
        )
    genders = {"female": 1 - gender, "male": gender}
    ages = dict(zip(AGE_NAMES, _hats(age_position(age), AGE_POSITIONS), strict=True))
    muscles, builds = _build("muscle", muscle), _build("weight", weight)
    weights: Weights = {}
    for sex, sex_share in genders.items():
        for age_name, age_share in ages.items():
            share = sex_share * age_share
            for name, ancestry_share in zip(ANCESTRIES, shares, strict=True):
                weights[f"macro/{name}-{sex}-{age_name}"] = share * float(ancestry_share)
            for muscle_name, muscle_share in muscles.items():
                for build_name, build_share in builds.items():
                    name = f"macro/universal-{sex}-{age_name}-{muscle_name}-{build_name}"
                    weights[name] = share * muscle_share * build_share
    return {name: value for name, value in weights.items() if value}


@lru_cache(maxsize=1)
def local_pairs() -> Mapping[str, LocalPair]:
    """The bipolar morphs of single features by name, left and right merged.

    Named by the common stem ("nose/nose-hump" of -decr and -incr, "asym/asym-jaw-1" of -l and -r),
    with other endings behind it, since one stem may have several pairs: "nose/nose-trans-down-up",
    "nose/nose-trans-in-out".
    A negative asym value uses the -l target, a positive one -r. Targets without an opposite are no pairs:
    head_shapes() has those of the head; those of the ears and the chin are left out.
    """
    names = [name for name in head().targets if not name.startswith(("macro/", "expr/"))]
    pairs: dict[str, LocalPair] = {}
    for name in names:
        stem, _, ending = name.rpartition("-")
        opposite = dict(OPPOSITES).get(ending)
        if opposite is None or f"{stem}-{opposite}" not in head().targets or "/r-" in stem:
            continue
        stems = (stem, stem.replace("/l-", "/r-")) if "/l-" in stem else (stem,)
        negative, positive = (tuple(f"{side}-{end}" for side in stems) for end in (ending, opposite))
        axis = "" if (ending, opposite) in PLAIN_OPPOSITES else f"-{ending}-{opposite}"
        pairs[stem.replace("/l-", "/") + axis] = LocalPair(negative, positive)
    return pairs


@lru_cache(maxsize=1)
def head_shapes() -> tuple[str, ...]:
    """The unipolar head shapes: "head/head-oval", "head/head-square" ..."""
    paired = {name for pair in local_pairs().values() for name in (*pair.negative, *pair.positive)}
    return tuple(name for name in head().targets if name.startswith("head/") and name not in paired)


@lru_cache(maxsize=1)
def expression_names() -> tuple[str, ...]:
    """The face units by their ARKit names: "jawOpen", "eyeBlinkLeft" ...; left is the subject's."""
    return tuple(name.removeprefix("expr/") for name in head().targets if name.startswith("expr/"))


def local_weights(values: Mapping[str, float]) -> Weights:
    """Weights of local targets: a signed value for each name of local_pairs(), one >= 0 for head_shapes().

    Raises:
        UsageError: an unknown name, or a head shape below 0.
    """
    weights: Weights = {}
    pairs, shapes = local_pairs(), head_shapes()
    for name, value in values.items():
        _check_known("local morph", name, (*pairs, *shapes))
        if name in pairs:
            side = pairs[name].positive if value > 0 else pairs[name].negative
            weights |= dict.fromkeys(side, abs(value))
        elif value < 0:
            raise UsageError(f"head shape {name!r} {value}: it has no opposite; give 0 or more")
        else:
            weights[name] = value
    return weights


def expression_weights(values: Mapping[str, float]) -> Weights:
    """Weights of face units: 0 at rest, 1 full; negative does the opposite (eyeBlinkLeft -0.2: wider).

    Raises:
        UsageError: an unknown name.
    """
    for name in values:
        _check_known("expression", name, expression_names())
    return {f"expr/{name}": value for name, value in values.items()}


def morphed(weights: Mapping[str, float]) -> Floats:
    """Vertices [V, 3] of the head with these targets: rest + sum of weight * displacement.

    Raises:
        UsageError: an unknown target, or a weight that is not finite.
    """
    vertices = head().vertices.copy()
    chosen: list[tuple[int, float]] = []
    for name, weight in weights.items():
        if name.startswith("macro/universal-") and name.endswith(AVERAGE_BUILD):
            continue
        _check_known("target", name, head().targets)
        if not np.isfinite(weight):
            raise UsageError(f"target {name!r}: weight {weight} is not finite")
        chosen.append((head().targets[name].number, weight))
    if chosen:
        numbers, factors = zip(*chosen, strict=True)
        _add_targets(vertices, *head().flat_targets, np.array(numbers), np.array(factors, np.float64))
    return vertices


@compiled
def _add_targets(
    vertices: Floats, starts: Indices, moved: Indices, deltas: Floats, numbers: Indices, weights: Floats
) -> None:
    for n in range(len(numbers)):
        for row in range(starts[numbers[n]], starts[numbers[n] + 1]):
            for axis in range(3):
                vertices[moved[row], axis] += weights[n] * deltas[row, axis]


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} {value}: need {low:g} to {high:g}")


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if name not in known:
        examples = ", ".join(known[:3])
        raise UsageError(f"no {what} {name!r}{nearest(name, known)}: one of {len(known)}, such as {examples}")


def _hats(position: float, knots: Sequence[float]) -> list[float]:
    """Linear interpolation weights of the knots at a position among them; they sum to 1."""
    return [float(np.interp(position, knots, row)) for row in np.eye(len(knots))]


def _build(what: str, value: float) -> dict[str, float]:
    """Shares of min, average and max of muscle or weight."""
    names = (f"min{what}", f"average{what}", f"max{what}")
    return dict(zip(names, _hats(value, (0.0, 0.5, 1.0)), strict=True))
