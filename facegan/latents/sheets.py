"""Sheets of edited faces: a row a seed, or two directions of one seed against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from facegan.config import UsageError
from facegan.images import Pixels
from facegan.known import DEFAULT_PSI
from facegan.latents.directions import Direction, moved
from facegan.mixing import Figure, Layout, label_font
from facegan.output import MAX_GRID
from facegan.synthesis import SEEDS, Sampler, Start

USUAL_STEPS, MAX_STEPS = 7, 1000
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Edit:
    """What a sheet shows: up to two directions swept over the strengths, and others that are held."""

    swept: Sequence[Direction]
    held: Sequence[tuple[Direction, float]]
    strengths: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.swept) > 2:
            raise UsageError(
                f"{len(self.swept)} directions to sweep: at most 2; the others need a strength, as in pca:1=2"
            )

    def cells(self) -> list[list[list[tuple[Direction, float]]]]:
        """Of each row of one seed and each column: the directions and their strengths.

        One swept direction: a row. Two: the first along the rows, the second down the columns. None: the
        seed as it is, then with what is held.
        """
        held = list(self.held)
        if not self.swept:
            return [[[], held]]
        first, *more = self.swept
        rows: list[list[tuple[Direction, float]]] = [[(d, s)] for d in more for s in self.strengths]
        return [[[*held, (first, s), *row] for s in self.strengths] for row in rows or [[]]]

    def labels(self, seeds: Sequence[int]) -> tuple[list[str], list[str]]:
        """What stands beside the rows, and above the columns."""
        columns = [f"{strength:.3g}" for strength in self.strengths] if self.swept else ["before", "after"]
        if len(self.swept) < 2:
            return [str(seed) for seed in seeds], columns
        return [f"{self.swept[1].name} {strength}" for strength in columns], columns


def sheet(
    sampler: Sampler, seeds: Sequence[int], edit: Edit, psi: float = DEFAULT_PSI, noise: str = "const",
    label: str = "", start: Start = SEEDS,
) -> tuple[Pixels, int]:  # fmt: skip
    """The pictures uint8 [N, H, W, C] of a sheet, row by row, and how many there are in a row.

    start: what the seeds stand for.

    Raises:
        UsageError: two directions with several seeds, too many pictures, or whatever Sampler.sample refuses.
    """
    cells = _cells(seeds, edit)
    pictures = []
    for seed in seeds:
        w = start.w(sampler, [seed], psi, None, label)
        maps = sampler.noise_of(start.noise_seeds([seed]), noise)
        all_w = torch.cat([moved(w, cell) for row in cells for cell in row])
        pictures.append(sampler.pictures(all_w, maps))
    return np.concatenate(pictures), len(cells[0])


def _cells(seeds: Sequence[int], edit: Edit) -> list[list[list[tuple[Direction, float]]]]:
    if len(edit.swept) == 2 and len(seeds) != 1:
        raise UsageError(f"two directions make a sheet of one seed, not of {len(seeds)}")
    cells = edit.cells()
    count = len(seeds) * len(cells) * len(cells[0])
    if count > MAX_GRID:
        raise UsageError(f"a sheet of {count:,} pictures: at most {MAX_GRID:,}")
    return cells


def layout_of(seeds: Sequence[int], edit: Edit, picture: tuple[int, int]) -> Layout:
    """The layout of the `figure` of a sheet whose pictures have that height and width.

    Raises:
        UsageError: two directions with several seeds, or too many pictures.
    """
    _cells(seeds, edit)
    rows, columns = edit.labels(seeds)
    return Layout(label_font(picture[0]), rows, columns, [""], picture, sources=False)


def figure(pictures: Pixels, layout: Layout) -> Pixels:
    """The pictures of a `sheet` in one [H, W, 3], with their seeds and strengths at the edges."""
    drawn = Figure(layout)
    for number, picture in enumerate(pictures):
        drawn.put(picture, 0, *divmod(number, len(layout.columns)))
    return drawn.pixels


def strengths(text: str, steps: int | None = None) -> list[float]:
    """So many strengths from one to another, both included: "-3..3"; or one: "2".

    steps: None: USUAL_STEPS of a range.

    Raises:
        UsageError: not of this form, fewer than 2 steps of a range, or steps of one strength.
    """
    first, dots, last = (part.strip() for part in text.partition(".."))
    words = [first, last if dots else first]
    are_numbers = "..." not in text and all(map(_NUMBER.fullmatch, words))  # -3...3: to 3, or to .3?
    ends = [float(word) for word in words] if are_numbers else [np.nan]
    if not np.isfinite(ends).all():
        raise UsageError(f"strength {text!r}: from one number to another, such as -3..3, or one number")
    if not dots:
        if steps is not None:
            raise UsageError(f"steps {steps}: no effect with one strength; a range has steps, such as -3..3")
        return ends[:1]
    steps = USUAL_STEPS if steps is None else steps
    if not 2 <= steps <= MAX_STEPS:
        raise UsageError(f"steps {steps}: 2 to {MAX_STEPS:,}")
    return [float(value) for value in np.linspace(ends[0], ends[1], steps)]
