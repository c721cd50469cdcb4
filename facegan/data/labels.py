"""Labels of a data set, from whichever of the field's layouts it has.

metadata.jsonl         one JSON object a line with file_name (Hugging Face's imagefolder)
dataset.json           {"labels": [["00000.png", 3], ...]} (NVIDIA's tools) -> {"class": 3}
                       a vector with a single 1, [0, 0, 0, 1], is the same
list_attr_celeba.txt   a count, 40 names, then a line of 1 and -1 a picture (CelebA) -> booleans
sub-folders            cat/1.png -> {"class": "cat"}, where none of the files is there

A top folder that all pictures share is no class, and label files may lie in it or beside it. One in another
folder is for the pictures in it and below, which it names from there: train/metadata.jsonl, for instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from facegan.config import UsageError, parse_json
from facegan.data.source import Source, folders_above, reason

Labels = dict[str, Any]
_Key = tuple[str, str, str]  # a label file's shard, the folder it is for, the name that it gives a picture
# (where in the file, name of the picture, its labels or what is wrong with them)
_Line = tuple[str, str, Labels | str]


def read_labels(source: Source) -> tuple[dict[str, Labels], dict[str, str]]:
    """Labels by picture name, and what was wrong: by place in the label files, or by picture.

    Pictures without labels have no entry. A broken line costs its own picture's labels, not the run.

    Raises:
        UsageError: a label file cannot be read at all.
    """
    if not source.label_files:
        return _folders_as_classes(source), {}
    labels: dict[_Key, Labels] = {}
    places: dict[_Key, str] = {}
    problems: dict[str, str] = {}
    for entry in source.label_files:
        kind = entry.inner.removeprefix(entry.folder)
        folder = entry.folder if "/" in source.below_root(entry) else source.root_of(entry)
        try:
            text = source.read(entry).decode("utf-8-sig", errors="replace")
        except Exception as error:  # a damaged or encrypted zip can answer with nearly any of them
            raise UsageError(f"{source.path}: cannot read its {entry.name} ({reason(error)})") from None
        for place, name, values in _READERS[kind](text):
            if isinstance(values, str):
                problems[f"{entry.name}, {place}"] = values
            else:
                labels.setdefault((entry.shard, folder, name), {}).update(values)
                places[entry.shard, folder, name] = f"{entry.name}, {place}"
    labelled = {(shard, folder) for shard, folder, _ in labels}
    found: dict[str, Labels] = {}
    for picture in source.pictures:
        whole = picture.inner
        mine: Labels = {}
        # what lies beside shards is for all of them, what lies in one is for its own pictures
        for shard, folder in product(dict.fromkeys(("", picture.shard)), folders_above(whole)):
            if (shard, folder) not in labelled:
                continue
            # a label file may name its pictures without their folders, as CelebA's does
            names = (whole.removeprefix(folder), whole, whole.removeprefix(picture.folder))
            keys = ((shard, folder, name) for name in names)
            if known := next((key for key in keys if key in labels), None):
                places.pop(known, None)
                mine = mine | labels[known]
        if mine:
            found[picture.name] = mine
        elif labels:
            problems[picture.name] = "has no labels"
    problems |= {place: f"labels {name!r}, which is not there" for (*_, name), place in places.items()}
    return found, problems


def _folders_as_classes(source: Source) -> dict[str, Labels]:
    """Classes below each shard's own top folder or, where one has none there, below what all share.

    The latter are shards of one class each: cat.zip with cat/1.png, dog.zip with dog/1.png.
    """
    pictures = source.pictures
    own = {entry.name: source.below_root(entry) for entry in pictures}
    shared = {entry.name: entry.inner.removeprefix(source.root) for entry in pictures}
    for paths in (own, shared):
        classes = {name: path.split("/", 1)[0] for name, path in paths.items() if "/" in path}
        everywhere = {e.shard for e in pictures if e.name in classes} == {e.shard for e in pictures}
        if len(set(classes.values())) > 1 and (everywhere or paths is shared):
            return {name: {"class": folder} for name, folder in classes.items()}
    return {}


def _metadata_jsonl(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            values = parse_json(line)
        except ValueError:
            yield place, "", "not JSON"
            continue
        if not isinstance(values, dict) or not isinstance(values.get("file_name"), str):
            yield place, "", "not an object with a file_name"
        else:
            yield place, values.pop("file_name"), values


def _dataset_json(text: str) -> Iterator[_Line]:
    try:
        data = parse_json(text)
    except ValueError:
        yield "all of it", "", "not JSON"
        return
    pairs = data.get("labels") if isinstance(data, dict) else data
    if pairs is None:  # NVIDIA's tools write null for a set without labels
        return
    if not isinstance(pairs, list):
        yield "labels", "", "not a list"
        return
    for number, pair in enumerate(pairs, 1):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            yield f"label {number}", "", "not a pair of name and class"
        elif not isinstance(pair[1], list):
            yield f"label {number}", pair[0], {"class": pair[1]}
        elif pair[1].count(1) == 1 and pair[1].count(0) == len(pair[1]) - 1:  # one-hot
            yield f"label {number}", pair[0], {"class": pair[1].index(1)}
        else:
            yield f"label {number}", pair[0], "a vector that is not one 1 and else 0: it names no class"


def _celeba_attributes(text: str) -> Iterator[_Line]:
    lines = text.splitlines()
    attributes = lines[1].split() if len(lines) > 1 else []
    if not attributes:
        yield "line 2", "", "no names of attributes"
        return
    for number, line in enumerate(lines[2:], 3):
        name, *values = line.split() or [""]
        if not name:
            continue
        if len(values) == len(attributes) and set(values) <= {"1", "-1"}:
            yield f"line {number}", name, {a: v == "1" for a, v in zip(attributes, values, strict=True)}
        else:
            yield f"line {number}", name, f"not a name and {len(attributes)} times 1 or -1"


_READERS = {
    "metadata.jsonl": _metadata_jsonl,
    "dataset.json": _dataset_json,
    "list_attr_celeba.txt": _celeba_attributes,
}
