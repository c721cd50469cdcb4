"""The labels that a model is asked for: which attributes it knows, what their values are called.

    known = label_space(["glasses", "age_years:young<35<adult<60<old"], labels_of_the_pictures)
    known.encode(labels)                       [n, dim]: an attribute is one-hot, 0 where it is not known
    wanted = known.parse("glasses=yes,age=old")
    known.drawn(wanted, seeds)                 [n, dim]: the rest as it goes together in the training data

A picture with several attributes has one multi-hot vector: theirs, one after the other.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facegan.config import UsageError, choose, nearest
from facegan.randomness import Purpose, numpy_generator

Floats = npt.NDArray[np.float32]
Wanted = Mapping[str, Sequence[int]]  # by attribute: the numbers of its values that will do

MAX_VALUES = 1000  # of all attributes together
MAX_COMBINATIONS = 4096
MAX_PICTURES = 2**53  # a float's whole numbers
MAX_CLASSES = 20  # different numbers that need no ranges
UNKNOWN = -1
CLASS = "class"  # how NVIDIA's data sets and sub-folders name theirs (data/labels.py)
_EXAMPLE = "age_years:young<35<adult<60<old"
NO_WORDS = ("no", "none", "false")


@dataclass(frozen=True)
class Attribute:
    """Something that pictures differ in: its values, and of numbers where one ends and the next begins."""

    name: str
    values: tuple[str, ...]
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise UsageError(f"attribute {self.name!r}: needs a name and at least two different values")
        if not all(value == value.strip() != "" and "," not in value for value in self.values):
            raise UsageError(f"attribute {self.name}: values {self.values}: words without a comma")
        ascending = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        finite = all(map(math.isfinite, self.edges))
        if self.edges and not (ascending and finite and len(self.edges) == len(self.values) - 1):
            raise UsageError(f"attribute {self.name}: edges {self.edges}: rising, one between two values")

    def number_of(self, value: object) -> int:
        """Which of the values a picture's one is; UNKNOWN where it is none of them."""
        if self.edges:
            return bisect.bisect(self.edges, float(str(value))) if _is_number(value) else UNKNOWN
        word = _word(value)
        return self.values.index(word) if _is_known(value) and word in self.values else UNKNOWN

    def named(self, word: str) -> tuple[int, ...]:
        """The values that a word stands for: one by its name or the name's beginning; yes is all but no.

        A number is no beginning: class 1 is not class 10.

        Raises:
            UsageError: none is called so.
        """
        if word.strip() in self.values:
            return (self.values.index(word.strip()),)
        wanted = word.strip().lower()
        names = [value.lower() for value in self.values]
        if wanted in names:
            return (names.index(wanted),)
        nos = tuple(number for number, name in enumerate(names) if name in NO_WORDS)
        if nos and wanted in ("yes", "true"):
            return tuple(number for number in range(len(names)) if number not in nos)
        if nos and wanted in NO_WORDS:
            return nos
        is_beginning = bool(wanted) and not _reads_as_number(wanted)
        begun = [number for number, name in enumerate(names) if is_beginning and name.startswith(wanted)]
        if len(begun) != 1:
            choose(f"label {self.name}", word.strip(), self.values)
        return (begun[0],)


@dataclass(frozen=True)
class LabelSpace:
    """The attributes a model knows, and how often the training pictures had which values together.

    combinations: the values' numbers, UNKNOWN where one is not, the most frequent first; counts: of pictures.
    """

    attributes: tuple[Attribute, ...] = ()
    combinations: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dim > MAX_VALUES:
            raise UsageError(f"labels with {self.dim:,} values in all: at most {MAX_VALUES:,}")
        fitting = len(self.combinations) <= MAX_COMBINATIONS and all(
            len(row) == len(self.attributes)
            and all(UNKNOWN <= n < len(a.values) for n, a in zip(row, self.attributes, strict=True))
            for row in self.combinations
        )
        countable = len(self.counts) == len(self.combinations) and sum(self.counts) < MAX_PICTURES
        if not (fitting and countable and all(count > 0 for count in self.counts)):
            raise UsageError("labels: the combinations and counts do not fit the attributes")
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) < len(names):
            raise UsageError(f"labels {', '.join(names)}: one is named twice")

    @property
    def dim(self) -> int:
        """The length of a picture's vector."""
        return sum(len(attribute.values) for attribute in self.attributes)

    def encode(self, labels: Sequence[Mapping[str, Any]]) -> Floats:
        """The vectors [n, dim] of pictures with these labels."""
        return self._vectors([_numbers(self.attributes, label) for label in labels])

    def unknown(self, vectors: Floats) -> dict[str, int]:
        """Of how many pictures with these vectors [n, dim] each attribute is not known."""
        ends = np.cumsum([len(attribute.values) for attribute in self.attributes])
        parts = np.split(vectors, ends[:-1], axis=1)
        counts = [int((part.sum(axis=1) == 0).sum()) for part in parts]
        return {attribute.name: count for attribute, count in zip(self.attributes, counts, strict=True)}

    def parse(self, text: str) -> Wanted:
        """What "glasses=yes,age=old" asks for; an attribute may be named by the beginning of its name.

        Raises:
            UsageError: not of this form, or an attribute or value that the model does not know.
        """
        wanted: dict[str, Sequence[int]] = {}
        for part in text.split(",") if text.strip() else []:
            name, equals, value = part.partition("=")
            if not self.attributes:
                raise UsageError(f"label {part.strip()!r}: this model was trained without labels")
            if not equals:
                raise UsageError(f"label {part.strip()!r}: expected NAME=VALUE, such as glasses=yes")
            attribute = self._named(name.strip())
            if attribute.name in wanted:
                raise UsageError(f"label {attribute.name}: given twice")
            wanted[attribute.name] = attribute.named(value)
        return wanted

    def _named(self, name: str) -> Attribute:
        by_name = {attribute.name: attribute for attribute in self.attributes}
        begun = [known for known in by_name if name and known.lower().startswith(name.lower())]
        if name not in by_name and len(begun) == 1:
            return by_name[begun[0]]
        return by_name[choose("label", name, by_name)]

    def drawn(self, wanted: Wanted, seeds: Sequence[int]) -> Floats:
        """A vector [n, dim] for each seed: what is wanted, all else as it goes with that in the data.

        A combination that the data has nowhere is made all the same, its other attributes as in all data.
        """
        rows, weights = self._fitting(wanted)
        numbers = []
        for seed in seeds:
            random = numpy_generator(seed, 0, Purpose.LABEL)
            position, uniform = random.random(), random.random(len(self.attributes))
            row = list(rows[_pick(position, weights)]) if rows else [UNKNOWN] * len(self.attributes)
            for place, attribute in enumerate(self.attributes):
                allowed = wanted.get(attribute.name, () if rows else range(len(attribute.values)))
                if allowed and row[place] not in allowed:
                    row[place] = allowed[int(uniform[place] * len(allowed))]
            numbers.append(row)
        return self._vectors(numbers)

    def _fitting(self, wanted: Wanted) -> tuple[Sequence[tuple[int, ...]], Sequence[int]]:
        """The combinations that have what is wanted, and their counts; all where none has."""
        places = {attribute.name: place for place, attribute in enumerate(self.attributes)}
        found = [
            (row, count)
            for row, count in zip(self.combinations, self.counts, strict=True)
            if all(row[places[name]] in allowed for name, allowed in wanted.items())
        ]
        if not found:
            return self.combinations, self.counts
        return [row for row, _ in found], [count for _, count in found]

    def _vectors(self, numbers: Iterable[Sequence[int]]) -> Floats:
        rows = list(numbers)
        vectors = np.zeros((len(rows), self.dim), np.float32)
        starts = np.cumsum([0, *(len(attribute.values) for attribute in self.attributes)])
        for vector, row in zip(vectors, rows, strict=True):
            for start, number in zip(starts, row, strict=False):
                if number != UNKNOWN:
                    vector[start + number] = 1.0
        return vectors


def label_space(specs: Sequence[str], labels: Sequence[Mapping[str, Any]]) -> LabelSpace:
    """The space of the named attributes, with the values that pictures with these labels have.

    A spec is a name, or for numbers name:value<number<value..., such as age_years:young<35<adult<60<old.

    Raises:
        UsageError: no picture has such a label, all have the same, or it is neither words nor numbers.
    """
    attributes = tuple(_attribute(spec, labels) for spec in specs)
    counted = Counter(tuple(_numbers(attributes, label)) for label in labels)
    common = counted.most_common(MAX_COMBINATIONS)
    return LabelSpace(attributes, tuple(row for row, _ in common), tuple(count for _, count in common))


def _attribute(spec: str, labels: Sequence[Mapping[str, Any]]) -> Attribute:
    name, colon, ranges = (part.strip() for part in spec.partition(":"))
    found = [label[name] for label in labels if _is_known(label.get(name))]
    if not found:
        known = list(dict.fromkeys(key for label in labels for key in label))
        there = f"they have {', '.join(known)}" if known else "they have none at all"
        raise UsageError(f"data.labels {name!r}: no picture has such a label; {there}{nearest(name, known)}")
    if colon:
        parts = ranges.split("<")
        try:
            edges = tuple(float(part) for part in parts[1::2])
        except ValueError:
            edges = ()
        if not edges or len(parts) % 2 == 0:
            raise UsageError(f"data.labels {spec!r}: expected NAME:WORD<NUMBER<WORD, such as {_EXAMPLE}")
        for value in found:
            if not _is_number(value):
                raise UsageError(f"data.labels {name}: {str(value)[:40]!r} is no number, so it has no range")
        attribute = Attribute(name, tuple(part.strip() for part in parts[::2]), edges)
        used = {attribute.number_of(value) for value in found}
        if len(used) < 2:
            raise UsageError(f"data.labels {name}: all pictures are {attribute.values[used.pop()]!r}")
        return attribute
    for value in found:
        if isinstance(value, (dict, list)):
            raise UsageError(f"data.labels {name}: {str(value)[:40]!r} is neither a word nor a number")
    words = Counter(_word(value) for value in found)
    if len(words) > MAX_CLASSES and name != CLASS and all(map(_is_number, found)):
        raise UsageError(f"data.labels {name}: {len(words)} different numbers; name ranges, as in {_EXAMPLE}")
    if len(words) < 2:
        raise UsageError(f"data.labels {name}: all pictures have {next(iter(words))!r}")
    return Attribute(name, tuple(sorted(words, key=_natural)))


def _numbers(attributes: Sequence[Attribute], label: Mapping[str, Any]) -> list[int]:
    return [attribute.number_of(label.get(attribute.name)) for attribute in attributes]


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).strip()


def _natural(word: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by the alphabet; no before yes."""
    try:
        return False, float(word), word
    except ValueError:
        return True, 0.0, word


def _reads_as_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_known(value: object) -> bool:
    """Neither missing nor empty nor JSON's NaN."""
    return value is not None and _word(value) not in ("", "nan")


def _pick(position: float, weights: Sequence[int]) -> int:
    """The index that a position in [0, 1) falls on."""
    ends = np.cumsum(weights)
    return int(np.searchsorted(ends, position * ends[-1], side="right"))
