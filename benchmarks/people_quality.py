"""Whether drawn people look like faces, with right labels, and like different people; measured with dlib.

    python benchmarks/people_quality.py PEOPLE.zip [--limit 1000] [--json]      what `facegan people` wrote
    python benchmarks/people_quality.py --draw 200 --seed 1 [--json]            people drawn here, normalised

blank      pictures of nearly one grey: none is allowed
found      pictures in which dlib's HOG detector finds a face about the middle
landmarks  dlib's 68 points against the labels': mean distance in % of the distance between the eye centres;
           raw, and after each point's mean offset is removed (two annotators agree on a point, not on
           where on a jaw it lies); the goal is 5 % after that
labels     the shares of ages, genders, ancestries and skin tones against population.py, chi-square tests
identity   only for people drawn here, who all look straight ahead under one light: distances of dlib's
           128-number embedding between all pairs; below 0.6 dlib calls two pictures one person

A picture is enlarged to at least 256 px (dlib's detector needs faces of 80) and gets a mirrored margin of a
quarter on each side (a face fills an FFHQ crop, and the detector wants some room). Embedding: dlib's own
landmarks, get_face_chip at 150 px with padding 0.25, dlib_face_recognition_resnet_model_v1.

Needs `pip install dlib-bin face-recognition-models` beside facegan[people]; torch is not needed. dlib's
68-point model was trained on pictures that are not for commercial use: it measures here and is never shipped.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from facegan.config import UsageError
from facegan.people import population
from facegan.people.head import ANCESTRIES
from facegan.people.labels import labels_of
from facegan.people.person import Person
from facegan.people.render import render

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

ENLARGED = 256  # the least resolution that the detector gets, before the margin
MARGIN = 0.25  # of the enlarged picture, on each side
BETWEEN_EYES = (
    0.5,
    0.5,
)  # a place in an FFHQ crop that the box of its face contains; others are chance finds
BLANK_DEVIATION, BLACK_MEAN, WHITE_MEAN = 8.0, 12.0, 243.0  # of grey values 0 .. 255
GROUPS = {
    "jaw": range(17), "brows": range(17, 27), "nose": range(27, 36), "eyes": range(36, 48),
    "outer lips": range(48, 60), "inner lips": range(60, 68),
}  # fmt: skip
PICTURE_LEFT_EYE, PICTURE_RIGHT_EYE = slice(36, 42), slice(42, 48)
FRONTAL_DEGREES = 10.0  # of yaw: a jaw line that keeps to the skin is no outline in heads turned further
SAME_PERSON = 0.6  # dlib's threshold
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
TONE_THIRDS = (0.0, 2.0, 4.0, 6.0)
TRIALS = 200_000  # draws that turn the ancestry and tone tables into shares
NORMALISED: Mapping[str, Any] = {
    "yaw_degrees": 0.0, "pitch_degrees": 0.0, "roll_degrees": 0.0, "body_yaw_degrees": 0.0,
    "gaze_yaw_degrees": 0.0, "gaze_pitch_degrees": 0.0, "expression": {}, "distance_dm": 11.0,
    "light_azimuth_degrees": 20.0, "light_elevation_degrees": 35.0, "light_hardness": 0.4,
    "light_warmth": 0.0, "rim_light": 0.0, "exposure": 1.0, "backdrop": "studio",
    "glasses": "none", "hat": "none", "makeup": 0.0,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Portrayed:
    """A picture uint8 [R, R, 3] with what is known of it; landmarks [68, 2] in pixels, or None."""

    name: str
    pixels: Pixels
    landmarks: Floats | None
    labels: Mapping[str, Any]


# ---- pictures


def read_set(path: Path) -> Iterator[Portrayed]:
    """The labelled pictures of a zip or folder, in the order of its metadata.jsonl."""
    with zipfile.ZipFile(path) if path.is_file() else _Folder(path) as files:
        for line in files.read("metadata.jsonl").decode().splitlines():
            labels = json.loads(line)
            name = labels.pop("file_name")
            points = np.asarray(labels.pop("landmarks", None) or [], np.float64)
            with Image.open(io.BytesIO(files.read(name))) as image:
                pixels = np.asarray(image.convert("RGB"))
            yield Portrayed(name, pixels, points if points.shape == (68, 2) else None, labels)


class _Folder:
    """A folder that reads like a zip file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def draw(count: int, seed: int, resolution: int) -> Iterator[Portrayed]:
    """The first people of a seed in one pose and light, without expression, hats, glasses and make-up."""
    for number in range(count):
        person = Person.numbered(seed, number).replace(**NORMALISED)
        portrait = render(person, resolution)
        labels = labels_of(person, portrait.landmarks)
        yield Portrayed(str(number), portrait.image, portrait.landmarks, labels)


# ---- dlib


@dataclass(frozen=True, eq=False)
class Seen:
    """What dlib sees in a picture: landmarks [68, 2] in the picture's pixels, and the embedding [128]."""

    landmarks: Floats
    embedding: Floats


class Observer:
    """dlib's detector, landmarks and embedding."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(
            "face_recognition_models"
        )  # importing it needs the lost pkg_resources
        if spec is None or spec.origin is None or importlib.util.find_spec("dlib") is None:
            sys.exit("this needs dlib and its models: pip install dlib-bin face-recognition-models")
        models = Path(spec.origin).parent / "models"
        self._dlib: Any = importlib.import_module("dlib")
        self._detector = self._dlib.get_frontal_face_detector()
        self._landmarks = self._dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self._embedder = self._dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def __call__(self, pixels: Pixels, *, embed: bool) -> Seen | None:
        """What is seen in uint8 [R, R, 3], or None if no face is found; embedding 0 unless asked for."""
        resolution = len(pixels)
        scale = max(1, -(-ENLARGED // resolution))
        side = scale * resolution
        margin = round(MARGIN * side)
        large = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
        large = np.ascontiguousarray(np.pad(large, ((margin, margin), (margin, margin), (0, 0)), "reflect"))
        x, y = (round(margin + place * side) for place in BETWEEN_EYES)
        boxes = [box for box in self._detector(large, 0) if box.contains(x, y)]
        if not boxes:
            return None
        shape = self._landmarks(large, max(boxes, key=lambda box: box.area()))
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
        embedding = np.zeros(128)
        if embed:
            chip = self._dlib.get_face_chip(large, shape, size=150, padding=0.25)
            embedding = np.array(self._embedder.compute_face_descriptor(chip))
        return Seen((points + 0.5 - margin) / scale, embedding)  # dlib counts from the middle of a pixel


# ---- measures


def blank(pixels: Pixels) -> bool:
    """Whether a picture shows nearly nothing: almost one grey, black or white."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    return bool(grey.std() < BLANK_DEVIATION or not BLACK_MEAN < grey.mean() < WHITE_MEAN)


def landmark_errors(found: Floats, labelled: Floats) -> dict[str, dict[str, float]]:
    """Mean distances of landmarks [N, 68, 2] by group, in % of the eye distance.

    raw: as they are; centred: after each landmark's mean offset, in the frame of the eyes, is removed.
    """
    places = labelled @ (1, 1j)  # [N, 68] as complex numbers: dividing by the eyes' vector turns and scales
    eyes = places[:, PICTURE_RIGHT_EYE].mean(axis=1) - places[:, PICTURE_LEFT_EYE].mean(axis=1)
    offsets = (found @ (1, 1j) - places) / eyes[:, None]
    raw, centred = 100 * np.abs(offsets), 100 * np.abs(offsets - offsets.mean(axis=0))
    return {
        name: {"raw": float(raw[:, points].mean()), "centred": float(centred[:, points].mean())}
        for name, points in {"all": range(68), **GROUPS}.items()
    }


def distances(embeddings: Floats) -> Floats:
    """Euclidean distances [N, N] between embeddings [N, 128]."""
    return np.asarray(np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2))


def identity(embeddings: Floats, names: list[str], nearest: int) -> dict[str, Any]:
    """How far people are from each other: statistics over all pairs, and the nearest pairs.

    The error of the mean is that of a mean over pairs of independent people: 2 deviation(h) / sqrt(N), where
    h is a person's mean distance to the others (Hoeffding 1948).
    """
    table = distances(embeddings)
    rows, columns = np.triu_indices(len(table), 1)
    pairs = table[rows, columns]
    own = table.sum(axis=1) / (len(table) - 1)
    return {
        "people": len(table),
        "mean": float(pairs.mean()),
        "error_of_mean": float(2 * own.std(ddof=1) / np.sqrt(len(table))),
        "share_below_0.6": float((pairs < SAME_PERSON).mean()),
        "min": float(pairs.min()),
        **{f"p{point}": float(value) for point, value in _percentiles(pairs).items()},
        "nearest": [
            (names[rows[pair]], names[columns[pair]], round(float(pairs[pair]), 3))
            for pair in np.argsort(pairs)[:nearest]
        ],
        "most_common_face": names[int(own.argmin())],
        "rarest_face": names[int(own.argmax())],
    }


def _percentiles(values: Floats) -> dict[int, float]:
    return dict(zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True))


# ---- labels


def expected_shares() -> dict[str, dict[str, float]]:
    """The share of each bin of each histogram by population.py's tables, of labels as they are rounded."""
    rng = np.random.default_rng(0)
    ancestry = rng.dirichlet(population.ANCESTRY_CONCENTRATION, TRIALS)
    tones = ancestry @ population.TONE_OF_ANCESTRY + rng.normal(0, population.TONE_DEVIATION, TRIALS)
    thirds = np.bincount(_third(np.round(tones, 1)), minlength=3) / TRIALS
    largest = np.bincount(ancestry.argmax(axis=1), minlength=3) / TRIALS
    ages = [low for low, _, _ in population.AGE_TABLE]
    older = np.cumsum([0.0, *(share for _, _, share in population.AGE_TABLE)])
    edges = [*ages, population.AGE_TABLE[-1][1]]
    # an age of 29.6 is labelled 30: each bin but the last ends half a year earlier
    passed = np.interp([low - 0.5 for low in ages[1:]], edges, older)
    return {
        "age": dict(zip(_age_names(), np.diff([0.0, *passed, 1.0]).tolist(), strict=True)),
        "gender": {name: share for name, _, _, share in population.GENDER_TABLE},
        "ancestry": dict(zip(ANCESTRIES, largest.tolist(), strict=True)),
        "skin_tone": {_third_name(third): float(share) for third, share in enumerate(thirds)},
    }


def bins_of(labels: Mapping[str, Any]) -> dict[str, str]:
    """In which bin of each histogram a picture falls, as far as it has labels."""
    bins: dict[str, str] = {}
    if "age_years" in labels:
        ages = [low for low, _, _ in population.AGE_TABLE]
        bins["age"] = _age_names()[int(np.digitize(labels["age_years"], ages[1:]))]
    if "gender_presentation" in labels:
        bins["gender"] = labels["gender_presentation"]
    if "ancestry" in labels:
        bins["ancestry"] = max(labels["ancestry"], key=labels["ancestry"].__getitem__)
    if "skin_tone" in labels:
        bins["skin_tone"] = _third_name(int(_third(np.array(labels["skin_tone"]))))
    return bins


def histograms(pictures: list[Mapping[str, Any]]) -> dict[str, Any]:
    """For each label: bin -> (count, share, expected share), and the chi-square test's p-value."""
    from scipy.stats import chisquare

    result: dict[str, Any] = {}
    all_bins = [bins_of(labels) for labels in pictures]
    for what, shares in expected_shares().items():
        found = [bins[what] for bins in all_bins if what in bins]
        if not found:
            continue
        unknown = set(found) - set(shares)
        if unknown:
            raise UsageError(f"label {what}: {sorted(unknown)} is none of {', '.join(shares)}")
        counts = [found.count(name) for name in shares]
        expected = np.array(list(shares.values())) * len(found)
        result[what] = {
            "p": float(chisquare(counts, expected * (sum(counts) / expected.sum())).pvalue),
            "bins": {
                name: {"count": count, "share": count / len(found), "expected": share}
                for (name, share), count in zip(shares.items(), counts, strict=True)
            },
        }
    return result


def _age_names() -> list[str]:
    return [f"{low:g}-{high:g}" for low, high, _ in population.AGE_TABLE]


def _third(tones: Floats) -> npt.NDArray[np.intp]:
    return np.digitize(tones, TONE_THIRDS[1:-1])


def _third_name(third: int) -> str:
    return f"{TONE_THIRDS[third]:g}-{TONE_THIRDS[third + 1]:g}"


# ---- all of it


def measure(pictures: Iterator[Portrayed], *, drawn: bool, nearest: int) -> dict[str, Any]:
    """All measures of some pictures, as plain numbers; identity only where they were drawn here."""
    look = Observer()
    names, blanks, missed, labels = [], [], [], []
    found: list[Seen] = []
    known: list[Portrayed] = []
    for picture in pictures:
        names.append(picture.name)
        labels.append(picture.labels)
        if blank(picture.pixels):
            blanks.append(picture.name)
        seen = look(picture.pixels, embed=drawn)
        if seen is None:
            missed.append(picture.name)
        else:
            found.append(seen)
            known.append(picture)
    if not names:
        raise UsageError("no pictures to measure")
    result: dict[str, Any] = {
        "pictures": len(names),
        "blank": {"count": len(blanks), "names": blanks},
        "found": {"share": len(found) / len(names), "missed": missed},
    }
    pairs = [
        (seen.landmarks, picture.landmarks, abs(picture.labels.get("yaw_degrees", 0.0)) < FRONTAL_DEGREES)
        for seen, picture in zip(found, known, strict=True)
        if picture.landmarks is not None
    ]
    for name, chosen in (
        ("landmarks", pairs),
        ("landmarks_frontal", [pair for pair in pairs if pair[2]]),
    ):
        if len(chosen) > 1 and (name == "landmarks" or len(chosen) < len(pairs)):
            ours, theirs = (np.stack([pair[side] for pair in chosen]) for side in (0, 1))
            result[name] = {"pictures": len(chosen), **landmark_errors(ours, theirs)}
    result["labels"] = histograms(labels)
    if drawn and len(found) > 2:
        embeddings = np.stack([seen.embedding for seen in found])
        result["identity"] = identity(embeddings, [picture.name for picture in known], nearest)
    return result


def table(result: dict[str, Any]) -> str:
    """The measures as text."""
    few = 20
    lines = [
        f"pictures             {result['pictures']}",
        f"blank or black       {result['blank']['count']}  {' '.join(result['blank']['names'][:few])}",
        f"face found           {result['found']['share']:.1%}"
        f"  missed: {' '.join(result['found']['missed'][:few]) or 'none'}",
    ]
    for key, title in ("landmarks", "all"), ("landmarks_frontal", f"yaw below {FRONTAL_DEGREES:g} degrees"):
        if key in result:
            lines += [
                "",
                f"landmark error in % of the eye distance; {title}, {result[key]['pictures']} pictures",
                f"  {'':12}{'raw':>8}{'offset removed':>18}",
            ]
            lines += [
                f"  {name:12}{errors['raw']:8.2f}{errors['centred']:18.2f}"
                for name, errors in result[key].items()
                if name != "pictures"
            ]
    for what, histogram in result["labels"].items():
        lines += ["", f"{what}: chi-square p = {histogram['p']:.3f}"]
        lines += [
            f"  {name:12}{row['count']:6}{row['share']:8.1%}  expected {row['expected']:.1%}"
            for name, row in histogram["bins"].items()
        ]
    if "identity" in result:
        values = result["identity"]
        lines += [
            "",
            f"identity: distances between {values['people']} people",
            f"  mean {values['mean']:.3f} +- {values['error_of_mean']:.3f}"
            f"   below {SAME_PERSON:g}: {values['share_below_0.6']:.1%}   min {values['min']:.3f}",
            "  percentiles  " + "  ".join(f"{point}: {values[f'p{point}']:.3f}" for point in PERCENTILES),
            f"  most common face {values['most_common_face']}, rarest {values['rarest_face']}",
            "  nearest pairs",
            "  " + ", ".join(f"{one}-{other} {distance:.3f}" for one, other, distance in values["nearest"]),
        ]
    return "\n".join(lines)


def main() -> None:
    """Prints a table, or one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", nargs="?", type=Path, help="zip or folder that `facegan people` wrote")
    parser.add_argument("--limit", type=int, help="measure this many pictures of the set")
    parser.add_argument("--draw", type=int, metavar="N", help="draw N people in one pose and light instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--nearest", type=int, default=10, help="how many of the nearest pairs to list")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if (arguments.set is None) == (arguments.draw is None):
        parser.error("give a set or --draw N")
    try:
        if arguments.set is not None:
            pictures: Iterator[Portrayed] = islice(read_set(arguments.set), arguments.limit)
        else:
            pictures = draw(arguments.draw, arguments.seed, arguments.resolution)
        result = measure(pictures, drawn=arguments.draw is not None, nearest=arguments.nearest)
    except (UsageError, OSError, KeyError) as error:
        sys.exit(f"{arguments.set or 'drawing'}: {error}")
    print(json.dumps(result) if arguments.json else table(result))


if __name__ == "__main__":
    main()
