"""Mix: rows and columns of faces, and between them each row's face with some styles of each column's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from PIL import ImageFont

from facegan.config import UsageError
from facegan.images import Pixels, Provenance, encode, enlarged, scale_to
from facegan.known import DEFAULT_PSI
from facegan.layers import parse_layers, require_several_layers
from facegan.mixing import Figure, Layout, mixed
from facegan.serve.studio.common import Common, Instead
from facegan.serve.studio.create import fresh_seeds, of_seeds, seeds_or
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.faces import Face
from facegan.serve.studio.parts import (
    EACH,
    JS,
    LARGE_JS,
    MAX_VARIETY,
    QUIET,
    Shown,
    Tile,
    data_uri,
    described,
    follow,
    large,
    picked,
    shown,
    tiles,
    told,
    within,
)
from facegan.synthesis import parse_seeds

ROWS, COLUMNS, MAX_SIDE = "0-3", "4-8", 8
STYLES = {  # what the page says -> layers
    "First layer": "0",
    "Coarse layers": "coarse",
    "Middle layers": "middle",
    "Fine layers": "fine",
}
OWN = "Layers of your own"
SHEET_SIDE, FIGURE_SIDE = 128, 128  # pixels of a picture on the page, and in the sheet to download


@dataclass(frozen=True, eq=False)  # the page tells states apart by identity
class Mixture:
    """Column faces, row faces, and the mixtures between them, row by row, with all their pictures."""

    title: str  # the model's own name
    columns: tuple[Face, ...]
    rows: tuple[Face, ...]
    cells: tuple[Face, ...]
    styles: str
    pictures: Pixels

    @property
    def faces(self) -> tuple[Face, ...]:
        """All, in the order of the pictures."""
        return self.columns + self.rows + self.cells

    @property
    def places(self) -> list[tuple[int, int]]:
        """(row, column) of each; -1 for the sources."""
        rows, columns = range(len(self.rows)), range(len(self.columns))
        sources = [(-1, column) for column in columns] + [(row, -1) for row in rows]
        return sources + [(row, column) for row in rows for column in columns]

    @cached_property
    def sheet(self) -> list[Tile]:
        """The sheet's tiles, row by row, the column sources on top; a tile's key is its number in `faces`."""
        found = {
            place: Tile(
                str(number),
                shown(picture, face.provenance(self.title), SHEET_SIDE),
                described(face),
                face.caption if -1 in place else "",
            )
            for number, (place, face, picture) in enumerate(
                zip(self.places, self.faces, self.pictures, strict=True)
            )
        }
        ways = range(-1, len(self.rows)), range(-1, len(self.columns))
        return [found.get((row, column), Tile("", "", "")) for row in ways[0] for column in ways[1]]

    @cached_property
    def figure(self) -> bytes:
        """The sheet with its labels, as `facegan mix` draws it, as a JPEG that says what it is."""
        height, width = self.pictures.shape[1:3]
        scale = scale_to((height, width), FIGURE_SIDE)
        font = ImageFont.load_default(size=16)
        assert isinstance(font, ImageFont.FreeTypeFont)  # what it is when a size is asked for
        rows, columns = ([face.text[:24] for face in side] for side in (self.rows, self.columns))
        drawn = Figure(Layout(font, rows, columns, [self.styles], (scale * height, scale * width)))
        for (row, column), picture in zip(self.places, self.pictures, strict=True):
            drawn.put(enlarged(picture, scale), 0, row, column)
        rows, columns = ([face.full_text for face in side] for side in (self.rows, self.columns))
        said = f"rows {', '.join(rows)}, columns {', '.join(columns)}, styles {self.styles} of the columns"
        return encode(drawn.pixels, "JPEG", Provenance(self.title, said, self.columns[0].psi))

    def first_cell(self) -> int:
        """The number of the first mixture."""
        return len(self.columns) + len(self.rows)


def sources(opened: Opened, text: str, psi: float) -> tuple[Face, ...]:
    """The faces of seeds.

    Raises:
        UsageError: not of the form of seeds, or more than MAX_SIDE.
    """
    faces = of_seeds(opened, text).faces(psi)
    if len(faces) > MAX_SIDE:
        raise UsageError(f"seeds {text[:40]!r}: {len(faces)} faces; at most {MAX_SIDE} a side")
    return tuple(faces)


def mix(opened: Opened, rows: Sequence[Face], columns: Sequence[Face], styles: str) -> Mixture:
    """Each row's face with those layers of each column's: "coarse", "4-7", "coarse,9".

    Raises:
        UsageError: a model with one layer, or layers that it lacks.
    """
    layers = parse_layers(styles, opened.num_ws)
    w_rows, w_columns = opened.tensor(rows), opened.tensor(columns)
    cells = [
        Face(
            opened.name,
            mixed(w_rows[row : row + 1], w_columns[column : column + 1], layers)[0].cpu().numpy(),
            f"row {own.full_text}, column {other.full_text}, styles {styles} of the column",
            own.psi,
        )
        for row, own in enumerate(rows)
        for column, other in enumerate(columns)
    ]
    pictures = opened.pictures([*columns, *rows, *cells])
    return Mixture(opened.title, tuple(columns), tuple(rows), tuple(cells), styles, pictures)


def mixture_html(found: Mixture, chosen: int) -> str:
    """The sheet as buttons, and a link to the sheet as one picture."""
    marked = [replace(tile, chosen=tile.key == str(chosen)) for tile in found.sheet]
    sheet = tiles(marked, label="Mixtures: choose one", columns=len(found.columns) + 1)
    link = data_uri("image/jpeg", found.figure)
    return (
        f'<div class="mixture">{sheet}</div>'
        f'<p class="links">Download <a download="mix.jpg" href="{link}">the sheet, JPEG</a></p>'
    )


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content."""
    import gradio as gr

    found = gr.State(None)
    own_rows = gr.State(())  # kept faces down the side, instead of seeds
    instead = Instead(desk, common.model)
    with gr.Column() as all_of_it:
        gr.Markdown(
            "Each picture has the face of its **row**, and some styles of its **column**. Choose one to see "
            "it large and keep it."
        )
        with gr.Row():
            rows = gr.Textbox(ROWS, label="Rows: seeds", max_lines=1, max_length=400, min_width=120)
            columns = gr.Textbox(COLUMNS, label="Columns: seeds", max_lines=1, max_length=400, min_width=120)
            again = gr.Button("Other faces", variant="primary", min_width=120)
        with gr.Row():
            styles = gr.Radio(
                [*STYLES, OWN],
                value=next(iter(STYLES)),
                label="What comes from the columns",
                scale=3,
                info="The first layers decide most; what each one does depends on the model.",
            )
            layers = gr.Textbox(
                "0-3", label="Layers", info="Such as 0-3 or coarse,9", visible=False, max_length=100,
                min_width=140,
            )  # fmt: skip
        psi = gr.Slider(0, MAX_VARIETY, DEFAULT_PSI, step=0.01, label="Variety", buttons=["reset"])
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                sheet = gr.HTML("", js_on_load=JS, elem_id="mixture", apply_default_css=False)
            with gr.Column(scale=2, min_width=300):
                picture = gr.HTML("", js_on_load=LARGE_JS, elem_id="mixed", apply_default_css=False)
                edit = common.buttons("Edit it")

    def show(
        model: str, own: tuple[Face, ...], rows: str, columns: str, styles: str, layers: str, psi: float
    ) -> Shown:
        """The mixtures, the first of them large; of a model that has no styles, why not."""
        opened, psi = desk.open(model), within(psi, 0, MAX_VARIETY)
        try:
            require_several_layers(opened.num_ws)
        except UsageError as error:
            return instead.shown(all_of_it, opened.title, str(error))
        side = own if own and own[0].model == model else sources(opened, rows, psi)
        mixture = mix(opened, side, sources(opened, columns, psi), STYLES.get(styles, layers))
        return {found: mixture} | instead.hidden(all_of_it) | shown_at(mixture, mixture.first_cell())

    def shown_at(mixture: Mixture, number: int) -> Shown:
        """The sheet with one face chosen, and that one large."""
        face = mixture.faces[number]
        one = large(desk.open(face.model), face, mixture.pictures[number])
        return {sheet: mixture_html(mixture, number), picture: one, common.face: face}

    def show_seeds(model: str, _own: tuple[Face, ...], *inputs: Any) -> Shown:
        return {own_rows: ()} | show(model, (), *inputs)

    def show_others(model: str, own: tuple[Face, ...], _rows: str, _columns: str, *inputs: Any) -> Shown:
        first, second = fresh_seeds(len(parse_seeds(ROWS))), fresh_seeds(len(parse_seeds(COLUMNS)))
        return {rows: first, columns: second} | show_seeds(model, own, first, second, *inputs)

    def choose(act: str, key: str, mixture: Mixture) -> Shown:
        return shown_at(mixture, min(int(key), len(mixture.faces) - 1))

    def add_row(face: Face, tab: str, _model: str, own: tuple[Face, ...], *inputs: Any) -> Shown:
        if tab != "mix":
            return {}
        side = (*(each for each in own if each.model == face.model), face)[-MAX_SIDE:]
        return {own_rows: side} | show(face.model, side, *inputs)

    def here(
        tab: str, model: str, own: tuple[Face, ...], asked_rows: str, asked_columns: str, *inputs: Any
    ) -> Shown:
        """The same where this tab is the one that is looked at; for seeds that are refused, the first."""
        if tab != "mix":
            return {}
        first, second = seeds_or(asked_rows, ROWS, MAX_SIDE), seeds_or(asked_columns, COLUMNS, MAX_SIDE)
        return {rows: first, columns: second} | show(model, own, first, second, *inputs)

    def restyle(styles: str, *inputs: Any) -> Any:
        return gr.update(visible=styles == OWN)

    asked = [common.model, own_rows, rows, columns, styles, layers, psi]
    shows = [all_of_it, instead.note, instead.button, found, sheet, picture, common.face]
    for event in (rows.submit, columns.submit):
        event(told(show_seeds), asked, [own_rows, *shows], **QUIET)
    again.click(told(show_others), asked, [rows, columns, own_rows, *shows], **QUIET)
    styles.input(restyle, [styles], [layers], **QUIET)
    for event in (styles.input, layers.submit):
        event(told(show), asked, shows, **QUIET)
    common.model.change(told(here), [common.tab, *asked], [rows, columns, *shows], **QUIET)
    follow(psi, told(show), asked, shows, QUIET)
    common.shown("mix").select(told(show), asked, shows, **QUIET)
    common.opening.change(told(add_row), [common.opening, common.tab, *asked], [own_rows, *shows], **QUIET)
    sheet.pick(picked(choose), [found], [sheet, picture, common.face], **EACH)
    edit.click(told(common.to_edit), [common.face], [common.opening, common.tabs, common.tab], **QUIET)
