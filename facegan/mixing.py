"""Style mixing: the styles of some layers from one face, the rest from another.

Karras et al. 2019 (arXiv 1812.04948), sec. 3.1.

                  columns    c0      c1     ...
        rows  r0           r0|c0   r0|c1           r|c: w of r, the chosen layers replaced by those of c
              r1           r1|c0   r1|c1                (of several bands: the rows once for each, fig. 3)

    mixed(w, source, layers)                        w with those layers of another
    mixtures(sampler, rows, columns, layers)        the pictures r|c, one by one
    write_figure(path, sampler, rows, columns, bands)   all of them in one, with the sources and their seeds

Both faces are truncated before they are mixed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from facegan.config import UsageError
from facegan.files import require_writable_file
from facegan.images import Pixels, Provenance, rgb, save, save_format
from facegan.layers import BANDS, layers_text, parse_layers, require_several_layers
from facegan.output import MAX_GRID, require_sides
from facegan.synthesis import Sampler

Bands = Mapping[str, Sequence[int]]  # by name: the layers that come from the columns


def mixed(w: Tensor, source: Tensor, layers: Sequence[int]) -> Tensor:
    """w [N, num_ws, w_dim] with these layers replaced by those of the source [N or 1, num_ws, w_dim]."""
    result = w.clone(memory_format=torch.contiguous_format)
    result[:, list(layers)] = source[:, list(layers)]
    return result


def mixtures(
    sampler: Sampler, rows: Sequence[int], columns: Sequence[int], layers: Sequence[int], *,
    psi: float = 1.0, noise: str = "const", cutoff: int | None = None, label: str = "",
) -> Iterator[Pixels]:  # fmt: skip
    """Pictures uint8 [H, W, C] of the row seeds with these layers of the column seeds, row by row.

    Noise and the number of pictures held are as in `Sampler.stream`; "random" noise is the row's.

    Raises:
        UsageError: a model with one layer, a layer that it lacks, and as `Sampler.stream`.
    """
    _require_layers(sampler, layers)
    w_rows, w_columns = (
        torch.cat([w for _, w in sampler.stream_w(seeds, psi, cutoff, label)]) for seeds in (rows, columns)
    )
    cells = iter(product(range(len(rows)), range(len(columns))))
    while chunk := list(islice(cells, sampler.batch)):
        row_of, column_of = [row for row, _ in chunk], [column for _, column in chunk]
        maps = sampler.noise_of([rows[row] for row in row_of], noise)
        yield from sampler.images(mixed(w_rows[row_of], w_columns[column_of], layers), maps)


def _require_layers(sampler: Sampler, layers: Sequence[int]) -> None:
    num_ws = sampler.generator.num_ws
    require_several_layers(num_ws)
    if not all(0 <= layer < num_ws for layer in layers):
        raise UsageError(f"layers {list(layers)}: this model has layers 0-{num_ws - 1}")


# ---- a figure


def stylegan_bands(num_ws: int) -> dict[str, tuple[int, ...]]:
    """The bands of StyleGAN's figure 3: coarse, middle and fine styles.

    Raises:
        UsageError: a model without fine layers: one of less than 64 pixels.
    """
    return {name: parse_layers(name, num_ws) for name in BANDS}


@dataclass(frozen=True)
class Layout:
    """Where things stand in a figure of `rows` x `columns` mixtures for each band, in pixels.

    Labels have margins of their own, and cells are as wide as the widest label where pictures are narrower.
    """

    font: ImageFont.FreeTypeFont
    rows: Sequence[str]
    columns: Sequence[str]
    bands: Sequence[str]  # headings; a single one has none
    picture: tuple[int, int]  # height, width
    sources: bool = True  # a row and a column of them, before the mixtures

    @property
    def line(self) -> int:
        """The height of a line of text with the space around it."""
        return round(1.5 * self.font.size)

    @property
    def gap(self) -> int:
        """Between sources and mixtures."""
        return self.line if len(self.bands) > 1 else max(4, self.picture[1] // 16)

    @property
    def pitch(self) -> tuple[int, int]:
        """From one picture to the next, down and across."""
        return max(self.picture[0], self.line), max(self.picture[1], self._widest(self.columns))

    @property
    def left(self) -> int:
        """The width of the margin with the row labels."""
        return self._widest(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all."""
        height = self.y(len(self.bands) - 1, len(self.rows))
        width = self.x(len(self.columns))
        headings = self.left + self._widest(self.bands) if len(self.bands) > 1 else 0
        return height, max(width, headings)

    def y(self, band: int, row: int) -> int:
        """The top of a row of cells; row -1 of band 0 holds the column sources."""
        down, gap = self.pitch[0], self.gap
        if row < 0:
            return self.line
        before = down + gap if self.sources else 0
        return self.line + before + band * (gap + len(self.rows) * down) + row * down

    def x(self, column: int) -> int:
        """The left of a column of cells; -1 holds the row sources."""
        across = self.pitch[1]
        if column < 0:
            return self.left
        before = across + self.gap if self.sources else 0
        return self.left + before + column * across

    def _widest(self, texts: Sequence[str]) -> int:
        return int(max(self.font.getlength(text) for text in texts) + self.font.size)


class Figure:
    """A white sheet [H, W, 3] with labels, on which pictures are put as they are made."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.pixels = np.full((*layout.size, 3), 255, np.uint8)
        self._write_labels()

    def put(self, picture: Pixels, band: int, row: int, column: int) -> None:
        """A picture [H, W, C] into the middle of its cell."""
        (height, width), (down, across) = self.layout.picture, self.layout.pitch
        top = self.layout.y(band, row) + (down - height) // 2
        left = self.layout.x(column) + (across - width) // 2
        self.pixels[top : top + height, left : left + width] = rgb(picture)

    def _write_labels(self) -> None:
        at = self.layout
        image = Image.fromarray(self.pixels)
        draw = ImageDraw.Draw(image)

        def write(x: float, y: float, text: str, anchor: str) -> None:
            draw.text((x, y), text, fill="black", font=at.font, anchor=anchor)

        down, across = at.pitch
        for column, text in enumerate(at.columns):
            write(at.x(column) + across / 2, at.line / 2, text, "mm")
        for band, heading in enumerate(at.bands):
            if len(at.bands) > 1:
                write(at.left, at.y(band, 0) - at.line / 2, heading, "lm")
            for row, text in enumerate(at.rows):
                write(at.left - at.font.size / 2, at.y(band, row) + down / 2, text, "rm")
        self.pixels = np.array(image)


def figure(
    sampler: Sampler, rows: Sequence[int], columns: Sequence[int], bands: Bands, *, psi: float = 1.0,
    noise: str = "const", cutoff: int | None = None, label: str = "",
    made: Callable[[], None] = lambda: None,
) -> Pixels:  # fmt: skip
    """The mixtures of each band below the column sources and beside the row sources, uint8 [H, W, 3].

    The seeds stand at the edges. Pictures are made a batch at a time; what is held is the sheet.

    Raises:
        UsageError: as `mixtures`; no seeds, or more than MAX_GRID pictures.
    """
    for layers in bands.values():
        _require_layers(sampler, layers)
    how = {"psi": psi, "noise": noise, "cutoff": cutoff, "label": label}
    sheet = Figure(layout_of(sampler, rows, columns, bands))
    for column, (_, picture) in enumerate(sampler.stream(columns, psi, noise, cutoff, label)):
        sheet.put(picture, 0, -1, column)
        made()
    for row, (_, picture) in enumerate(sampler.stream(rows, psi, noise, cutoff, label)):
        for band in range(len(bands)):
            sheet.put(picture, band, row, -1)
        made()
    for band, layers in enumerate(bands.values()):
        cells = product(range(len(rows)), range(len(columns)))
        pictures = mixtures(sampler, rows, columns, layers, **how)  # type: ignore[arg-type]
        for (row, column), picture in zip(cells, pictures, strict=True):
            sheet.put(picture, band, row, column)
            made()
    return sheet.pixels


def count_pictures(rows: Sequence[int], columns: Sequence[int], bands: Bands) -> int:
    """How many pictures such a figure holds, the sources once."""
    return len(rows) + len(columns) + len(bands) * len(rows) * len(columns)


def layout_of(sampler: Sampler, rows: Sequence[int], columns: Sequence[int], bands: Bands) -> Layout:
    """The layout of a figure.

    Raises:
        UsageError: no seeds or bands, or more than MAX_GRID pictures.
    """
    if not (rows and columns and bands):
        raise UsageError("a mixing figure needs row seeds, column seeds and layers")
    if (count := count_pictures(rows, columns, bands)) > MAX_GRID:
        raise UsageError(f"a mixing figure of {count:,} pictures: at most {MAX_GRID:,}")
    _, height, width = sampler.generator.image_shape
    headings = [
        f"{name}: {'layer' if len(layers) == 1 else 'layers'} {layers_text(layers)} of the column"
        for name, layers in bands.items()
    ]
    return Layout(
        label_font(height),
        [str(seed) for seed in rows],
        [str(seed) for seed in columns],
        headings,
        (height, width),
    )


def label_font(height: int) -> ImageFont.FreeTypeFont:
    """The font of the labels beside pictures of that height."""
    font = ImageFont.load_default(size=min(max(height // 6, 13), 48))
    assert isinstance(font, ImageFont.FreeTypeFont)  # what it is when a size is asked for
    return font


def write_figure(
    path: str | os.PathLike[str], sampler: Sampler, rows: Sequence[int], columns: Sequence[int],
    bands: Bands, *,
    psi: float, noise: str = "const", cutoff: int | None = None, label: str = "", seeds_text: str = "",
    made: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Writes the `figure` with its provenance.

    seeds_text: how the rows and columns were asked for, for the provenance.

    Raises:
        UsageError: as `figure`; an unknown picture format or one too small for it; an unwritable place.
    """
    path = Path(path)
    kind = save_format(path)
    require_writable_file(path, "--out")
    require_sides(kind, *layout_of(sampler, rows, columns, bands).size)
    pixels = figure(
        sampler, rows, columns, bands, psi=psi, noise=noise, cutoff=cutoff, label=label, made=made
    )
    text = seeds_text or f"rows {','.join(map(str, rows))}, columns {','.join(map(str, columns))}"
    styles = "; ".join(f"{name}: layers {layers_text(layers)}" for name, layers in bands.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    made_of = f"{text}, styles {styles} of the columns"
    save(path, pixels, Provenance(sampler.model.name, made_of, psi, label=label, cutoff=cutoff))
