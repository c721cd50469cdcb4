"""Labels of a data set, from whichever of the field's layouts it has.

metadata.jsonl         one JSON object a line with file_name (Hugging Face's imagefolder)
dataset.json           {"labels": [["00000.png", 3], ...]} (NVIDIA's tools) -> {"class": 3}
list_attr_celeba.txt   a count, 40 names, then a line of 1 and -1 a picture (CelebA) -> booleans
sub-folders            cat/1.png -> {"class": "cat"}, where none of the files is there
"""

from __future__ import annotations

import json
from typing import Any

from facegan.data.source import Source

Labels = dict[str, Any]


def read_labels(source: Source) -> dict[str, Labels]:
    """Labels by picture name; pictures without any have no entry."""
    readers = {
        "metadata.jsonl": _metadata_jsonl,
        "dataset.json": _dataset_json,
        "list_attr_celeba.txt": _celeba_attributes,
    }
    labels: dict[str, Labels] = {}
    for entry in source.label_files:
        text = source.read(entry.name).decode("utf-8", errors="replace")
        for name, values in readers[entry.name](text).items():
            labels.setdefault(name, {}).update(values)
    if source.label_files:
        by_base_name = {name.rsplit("/", 1)[-1]: values for name, values in labels.items()}
        found = {
            e.name: labels.get(e.name, by_base_name.get(e.name.rsplit("/", 1)[-1])) for e in source.pictures
        }
        return {name: values for name, values in found.items() if values}
    in_folders = [entry.name for entry in source.pictures if "/" in entry.name]
    if len({name.split("/", 1)[0] for name in in_folders}) < 2:
        return {}
    return {name: {"class": name.split("/", 1)[0]} for name in in_folders}


def _metadata_jsonl(text: str) -> dict[str, Labels]:
    labels = {}
    for line in text.splitlines():
        try:
            values = json.loads(line)
            labels[str(values.pop("file_name"))] = values
        except (ValueError, KeyError, AttributeError, TypeError):
            continue  # a broken line costs its own picture's labels, not the run
    return labels


def _dataset_json(text: str) -> dict[str, Labels]:
    try:
        pairs = json.loads(text)["labels"]
        return {str(name): {"class": value} for name, value in pairs}
    except (ValueError, KeyError, TypeError):
        return {}


def _celeba_attributes(text: str) -> dict[str, Labels]:
    lines = text.splitlines()
    names = lines[1].split() if len(lines) > 1 else []
    labels = {}
    for line in lines[2:]:
        name, *values = line.split() or [""]
        if names and len(values) == len(names):
            labels[name] = {attribute: value == "1" for attribute, value in zip(names, values, strict=True)}
    return labels
