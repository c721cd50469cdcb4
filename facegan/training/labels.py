"""The labels of a run: read from its data when it begins, checked whenever it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from facegan.config import UsageError
from facegan.data import Dataset
from facegan.labels import label_space
from facegan.run import Run


def labelled(run: Run, dataset: Dataset, warn: Callable[[str], None]) -> Run:
    """The run, its model's labels read from the data where it asks for some and has none yet.

    warn: is told what is wrong with them.

    Raises:
        UsageError: the data lacks one of the labels altogether.
    """
    if run.data.labels and not run.model.labels.dim:
        try:
            labels = label_space(run.data.labels, dataset.labels)
        except UsageError as error:  # a label file that cannot be used may be why
            raise UsageError("; ".join([str(error), *_first(dataset)])) from None
        run = replace(run, model=replace(run.model, labels=labels))
    space = run.model.labels
    if space.dim:
        for problem in _first(dataset):
            warn(problem)
        count = len(dataset.names)
        vectors = dataset.label_vectors(space, range(count))
        for name, missing in space.unknown(vectors.numpy()).items():
            if missing == count:
                raise UsageError(
                    f"{dataset.name}: none of its pictures has a label {name} that the model knows"
                )
            if missing:
                warn(f"{missing:,} of {count:,} pictures have no label {name}: it is left open for them")
    return run


def _first(dataset: Dataset) -> list[str]:
    """The first problem of its labels in a line; [] where there is none."""
    problems = dataset.label_problems
    more = f" (the first of {len(problems):,} problems)" if len(problems) > 1 else ""
    return [f"labels of {dataset.name}: {place}: {what}{more}" for place, what in problems.items()][:1]


def data_identity(dataset: Dataset, run: Run) -> dict[str, str | int]:
    """What a checkpoint remembers of the data; its labels too, where the model learns them."""
    if not run.model.labels.dim:
        return dataset.identity()
    vectors = dataset.label_vectors(run.model.labels, range(len(dataset.names)))
    return dataset.identity() | {"labels": hashlib.sha256(vectors.numpy().tobytes()).hexdigest()[:24]}
