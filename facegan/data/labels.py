"""Labels of a data set, from whichever of the field's layouts it has.

metadata.jsonl         one JSON object a line with file_name (Hugging Face's imagefolder)
dataset.json           {"labels": [["00000.png", 3], ...]} (NVIDIA's tools) -> {"class": 3}
list_attr_celeba.txt   a count, 40 names, then a line of 1 and -1 a picture (CelebA) -> booleans
sub-folders            cat/1.png -> {"class": "cat"}, where none of the files is there
"""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import Any

from facegan.config import UsageError, first_line
from facegan.data.source import Source

Labels = dict[str, Any]


def read_labels(source: Source) -> dict[str, Labels]:
    """Labels by picture name; pictures without any have no entry.

    Raises:
        UsageError: a label file cannot be read from its zip (damaged or encrypted).
    """
    readers = {
        "metadata.jsonl": _metadata_jsonl,
        "dataset.json": _dataset_json,
        "list_attr_celeba.txt": _celeba_attributes,
    }
    if not source.label_files:
        return _folders_as_classes(source)
    labels: dict[str, Labels] = {}
    for entry in source.label_files:
        try:
            text = source.read(entry.name).decode("utf-8-sig", errors="replace")
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise UsageError(f"{source.path}: cannot read its {entry.name} ({first_line(error)})") from None
        for name, values in readers[entry.name.removeprefix(source.root)](text).items():
            labels.setdefault(name, {}).update(values)
    found = {}
    for picture in source.pictures:
        name = picture.name.removeprefix(source.root)
        # a label file may name its pictures without their folders, as CelebA's does
        found[picture.name] = labels.get(name) or labels.get(name.rsplit("/", 1)[-1], {})
    return {name: values for name, values in found.items() if values}


def _folders_as_classes(source: Source) -> dict[str, Labels]:
    relative = {entry.name: entry.name.removeprefix(source.root) for entry in source.pictures}
    classes = {name: path.split("/", 1)[0] for name, path in relative.items() if "/" in path}
    return (
        {name: {"class": folder} for name, folder in classes.items()}
        if len(set(classes.values())) > 1
        else {}
    )


def _metadata_jsonl(text: str) -> dict[str, Labels]:
    labels = {}
    for line in text.split("\n"):
        try:
            values = json.loads(line)
            labels[str(values.pop("file_name"))] = values
        except (ValueError, KeyError, AttributeError, TypeError):
            continue  # a broken line costs its own picture's labels, not the run
    return labels


def _dataset_json(text: str) -> dict[str, Labels]:
    try:
        pairs = json.loads(text)["labels"]
    except (ValueError, KeyError, TypeError):
        return {}
    pairs = pairs if isinstance(pairs, list) else []
    good = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2]
    return {str(name): {"class": value} for name, value in good}


def _celeba_attributes(text: str) -> dict[str, Labels]:
    lines = text.splitlines()
    names = lines[1].split() if len(lines) > 1 else []
    labels = {}
    for line in lines[2:]:
        name, *values = line.split() or [""]
        if names and len(values) == len(names):
            labels[name] = {attribute: value == "1" for attribute, value in zip(names, values, strict=True)}
    return labels
