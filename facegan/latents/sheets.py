"""Sheets of edited faces: a row a seed, or two directions of one seed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from facegan.config import UsageError
from facegan.images import Pixels
from facegan.latents.directions import Direction, moved
from facegan.synthesis import SEEDS, Sampler

MAX_PICTURES = 10_000  # of a sheet, which is held in memory
MAX_STEPS = 1000


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


def sheet(
    sampler: Sampler, seeds: Sequence[int], edit: Edit, psi: float = 0.7, noise: str = "const",
    label: str = "",
) -> tuple[Pixels, int]:  # fmt: skip
    """The pictures uint8 [N, H, W, C] of a sheet, row by row, and how many there are in a row.

    Raises:
        UsageError: two directions with several seeds, too many pictures, or whatever Sampler.sample refuses.
    """
    if len(edit.swept) == 2 and len(seeds) != 1:
        raise UsageError(f"two directions make a sheet of one seed, not of {len(seeds)}")
    cells = edit.cells()
    count = len(seeds) * len(cells) * len(cells[0])
    if count > MAX_PICTURES:
        raise UsageError(f"a sheet of {count:,} pictures: at most {MAX_PICTURES:,}")
    pictures = []
    for seed in seeds:
        w = SEEDS.w(sampler, [seed], psi, None, label)
        maps = sampler.noise_of([seed], noise)
        all_w = torch.cat([moved(w, cell) for row in cells for cell in row])
        for part in torch.split(all_w, sampler.batch):
            same = maps if isinstance(maps, str) else [m.expand(len(part), -1, -1, -1) for m in maps]
            pictures.append(sampler.images(part, same))
    return np.concatenate(pictures), len(cells[0])


def strengths(text: str, steps: int) -> list[float]:
    """So many strengths from one to another, both included: "-3..3"; or one: "2".

    Raises:
        UsageError: not of this form, or fewer than 2 steps of a range.
    """
    first, dots, last = text.partition("..")
    try:
        ends = [float(first), float(last if dots else first)]
    except ValueError:
        ends = [np.nan]
    if not np.isfinite(ends).all():
        raise UsageError(f"strength {text!r}: from one number to another, such as -3..3, or one number")
    if not dots:
        return ends[:1]
    if not 2 <= steps <= MAX_STEPS:
        raise UsageError(f"steps {steps}: 2 to {MAX_STEPS:,}")
    return [float(value) for value in np.linspace(ends[0], ends[1], steps)]
