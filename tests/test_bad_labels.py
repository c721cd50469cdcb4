"""Bad label files: every line at fault is named, costs no other label, and is never fatal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fuzzing import any_json, fuzzed, thoroughly_fuzzed
from hypothesis import given
from hypothesis import strategies as st
from small_data import GOOD, folder_of, opened

from facegan.config import UsageError
from facegan.data import DataConfig, Dataset
from facegan.run import Run
from facegan.training.labels import labelled as labelled_run

DEEP = "[" * 100_000
METADATA_LINES = [
    '{"file_name": "a.png", "age": 30}',
    "words",
    "",
    "[1]",
    '{"age": 3}',
    DEEP,
    '{"file_name": "x.png", "age": 4}',
    '{"file_name": 7}',
    '{"file_name": "c.png", "age": ' + "9" * 5000 + "}",  # more digits than Python reads
    '{"file_name": "c.png", "age',
]
NO_OBJECT = "not an object with a file_name"


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    files = {"a.png": GOOD, "b.png": GOOD, "metadata.jsonl": "\n".join(METADATA_LINES).encode()}
    return opened(folder_of(files, tmp_path))


def test_every_bad_line_of_metadata_is_named_by_its_number(labelled: Dataset) -> None:
    assert labelled.label_problems == {
        "metadata.jsonl, line 2": "not JSON",
        "metadata.jsonl, line 4": NO_OBJECT,
        "metadata.jsonl, line 5": NO_OBJECT,
        "metadata.jsonl, line 6": "not JSON",
        "metadata.jsonl, line 7": "labels 'x.png', which is not there",
        "metadata.jsonl, line 8": NO_OBJECT,
        "metadata.jsonl, line 9": "not JSON",
        "metadata.jsonl, line 10": "not JSON",
        "b.png": "has no labels",
    }


def test_bad_lines_of_metadata_cost_no_other_labels(labelled: Dataset) -> None:
    assert labelled.labels == [{"age": 30}, {}]


def test_sound_metadata_has_no_problems(tmp_path: Path) -> None:
    line = b'{"file_name": "a.png", "age": 30}\r\n'
    assert opened(folder_of({"a.png": GOOD, "metadata.jsonl": line}, tmp_path)).label_problems == {}


def test_bad_lines_of_dataset_json_are_named(tmp_path: Path) -> None:
    content = b'{"labels": [["a.png", 1], "b.png", ["x.png", 2]]}'
    data = opened(folder_of({"a.png": GOOD, "b.png": GOOD, "dataset.json": content}, tmp_path))
    assert data.label_problems == {
        "dataset.json, label 2": "not a pair of name and class",
        "dataset.json, label 3": "labels 'x.png', which is not there",
        "b.png": "has no labels",
    }


@pytest.mark.parametrize("vector", ["[0.5, 0.5]", "[1, 1]", "[0, 0]", "[]", '[1, "a"]', "[1, 2]", "[0, 2]"])
def test_a_vector_that_is_not_one_hot_is_named_and_a_run_that_asks_for_it_says_why(
    vector: str, tiny_run_config: Run, tmp_path: Path
) -> None:
    content = f'{{"labels": [["a.png", {vector}], ["b.png", {vector}]]}}'.encode()
    data = opened(folder_of({"a.png": GOOD, "b.png": GOOD, "dataset.json": content}, tmp_path))
    why = "a vector that is not one 1 and else 0: it names no class"
    assert data.label_problems == {f"dataset.json, label {number}": why for number in (1, 2)}
    run = replace(tiny_run_config, data=DataConfig("x", labels=("class",)))
    with pytest.raises(UsageError, match=f"they have none at all; labels of pictures: .* label 1: {why}"):
        labelled_run(run, data, warn=print)


def test_bad_lines_of_celeba_attributes_are_named(tmp_path: Path) -> None:
    content = b"3\nSmiling Young\na.png 1 -1\nb.png 1 2\nc.png 1\nx.png 1 1\n"
    files = {"a.png": GOOD, "b.png": GOOD, "list_attr_celeba.txt": content}
    assert opened(folder_of(files, tmp_path)).label_problems == {
        "list_attr_celeba.txt, line 4": "not a name and 2 times 1 or -1",
        "list_attr_celeba.txt, line 5": "not a name and 2 times 1 or -1",
        "list_attr_celeba.txt, line 6": "labels 'x.png', which is not there",
        "b.png": "has no labels",
    }


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("metadata.jsonl", b"\x89\xff\x00\xfe", "line 1"),
        ("dataset.json", b"\x89\xff\x00\xfe", "all of it"),
        ("dataset.json", DEEP.encode(), "all of it"),
        ("dataset.json", b'{"labels": 3}', "labels"),
        ("list_attr_celeba.txt", b"\x89\xff\x00\xfe", "line 2"),
    ],
)
def test_label_file_of_rubbish_is_named(tmp_path: Path, name: str, content: bytes, place: str) -> None:
    data = opened(folder_of({"a.png": GOOD, name: content}, tmp_path))
    assert list(data.label_problems) == [f"{name}, {place}"]


label_text = st.text(max_size=60) | any_json.map(json.dumps) | st.sampled_from(METADATA_LINES)
label_lines = st.lists(label_text, max_size=4).map("\n".join)
label_bytes = st.binary(max_size=60) | label_lines.map(lambda text: text.encode("utf-8", "surrogatepass"))


def check_labels(folder: Path, name: str, content: bytes) -> None:
    """Two pictures have labels, and problems of one line each; no text is so bad as to be fatal."""
    (folder / name).write_bytes(content)
    data = opened(folder)
    assert [type(labels) for labels in data.labels] == [dict, dict]
    assert all(len(problem.splitlines()) == 1 for problem in data.label_problems.values())
    (folder / name).unlink()


@pytest.fixture(scope="module")
def two_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png and b.png, in a map: label files are no part of it."""
    return folder_of({"a.png": GOOD, "b.png": GOOD}, tmp_path_factory.mktemp("two"))


LABEL_FILES = ["metadata.jsonl", "dataset.json", "list_attr_celeba.txt"]


@pytest.mark.parametrize("name", LABEL_FILES)
@fuzzed
@given(content=label_bytes)
def test_any_label_file_is_read_or_read_over(two_pictures: Path, name: str, content: bytes) -> None:
    check_labels(two_pictures, name, content)


@pytest.mark.slow
@pytest.mark.parametrize("name", LABEL_FILES)
@thoroughly_fuzzed
@given(content=label_bytes)
def test_any_of_many_label_files_is_read_or_read_over(two_pictures: Path, name: str, content: bytes) -> None:
    check_labels(two_pictures, name, content)
