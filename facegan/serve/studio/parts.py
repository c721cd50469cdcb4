"""What the tabs are put together from: faces as buttons, the large picture, messages instead of tracebacks.

    tiles([Tile("0", face, picture), ...], label="Faces")    HTML of buttons; a click is (act, key)
    large(opened, face)                                      HTML of one face, large, with its downloads
    told(handler), picked(handler)                           handlers whose UsageError becomes one line
    Shown                                                    what a handler with several outputs returns

Pictures are in the page as data: URIs, so that a slider's new picture is one answer and no second request.
"""

from __future__ import annotations

import base64
import functools
import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facegan.config import UsageError, first_line
from facegan.images import Pixels, Provenance, encode, enlarged, rgb, scale_to
from facegan.serve.studio.desk import Opened
from facegan.serve.studio.faces import Face

Shown = dict[Any, Any]  # component -> what it shows next; those that are left out stay as they are
TILE_SIDE, LARGE_SIDE = 256, 384  # to which small pictures are enlarged for the page
MAX_VARIETY = 1.2  # psi, of the sliders
ACTS = {  # act -> (sign, how it is read out)
    "delete": ("&#10005;", "Delete"),
    "remove": ("&#10005;", "Take out"),
    "earlier": ("&#8592;", "Earlier"),
    "later": ("&#8594;", "Later"),
}

# a click, Enter or Space on anything with data-act is the event; arrow keys go from face to face
JS = """
element.addEventListener('click', (event) => {
    const pressed = event.target.closest('[data-act]');
    if (pressed) trigger('pick', {act: pressed.dataset.act, key: pressed.dataset.key});
});
element.addEventListener('keydown', (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: 'up', ArrowDown: 'down'}[event.key];
    if (!step || !event.target.matches('.tile')) return;
    const all = [...element.querySelectorAll('.tile')], at = all.indexOf(event.target);
    const column = (tile) => tile.getBoundingClientRect().left;
    const same = (tile) => Math.abs(column(tile) - column(event.target)) < 2;
    const next = step === 'up' ? all.slice(0, at).reverse().find(same)
        : step === 'down' ? all.slice(at + 1).find(same) : all[at + step];
    if (next) { next.focus(); event.preventDefault(); }
});
"""
LARGE_JS = """
element.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-large]');
    if (link) link.href = element.querySelector('img').src;
});
"""


QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}  # of a handler that is quick
AT_ONCE = QUIET | {"queue": False}
EACH = QUIET | {"trigger_mode": "multiple"}  # one after the other; else those during another are dropped


@dataclass(frozen=True)
class Tile:
    """A face as a button; `key` is what its event says."""

    key: str
    source: str  # data: URI
    alt: str
    caption: str = ""
    chosen: bool = False


# ---- pictures


def shown(pixels: Pixels, provenance: Provenance | None, side: int = TILE_SIDE) -> str:
    """uint8 [H, W, C] as a data: URI of a JPEG, enlarged by Lanczos to a short side of `side` or more."""
    shown_as = rgb(enlarged(pixels, scale_to(pixels.shape[:2], side)))
    return data_uri("image/jpeg", encode(np.ascontiguousarray(shown_as), "JPEG", provenance))


def data_uri(kind: str, data: bytes) -> str:
    """The bytes as a data: URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def face_tiles(opened: Opened, faces: Sequence[Face], chosen: int | None = None) -> list[Tile]:
    """Faces of a model, made now."""
    return [
        Tile(
            str(number),
            shown(picture, face.provenance(opened.title)),
            described(face),
            face.caption,
            number == chosen,
        )
        for number, (face, picture) in enumerate(zip(faces, opened.pictures(faces), strict=True))
    ]


def described(face: Face) -> str:
    """What a picture is, for those who do not see it."""
    edits = ", ".join(f"{name} {strength:+g}" for name, strength in face.edits)
    return f"Invented face: {face.origin}, variety {face.psi:g}{f', {edits}' if edits else ''}"


# ---- HTML


def tiles(
    items: Iterable[Tile], *, label: str, columns: int | None = None, acts: Sequence[str] = (),
    empty: str = "", act: str = "choose",
) -> str:  # fmt: skip
    """The tiles as HTML; acts: further buttons on each, of ACTS; empty: what is said where there are none."""
    cells = [_tile(item, act, acts) for item in items]
    if not cells:
        return f'<p class="quiet">{html.escape(empty)}</p>'
    style = f' style="grid-template-columns: repeat({columns}, 1fr)"' if columns else ""
    kind = "tiles" if columns else "tiles strip"
    return f'<div class="{kind}" role="group" aria-label="{html.escape(label)}"{style}>{"".join(cells)}</div>'


def _tile(item: Tile, act: str, acts: Sequence[str]) -> str:
    if not item.key:
        return '<div class="cell"></div>'  # a place without a face
    key, alt, caption = (html.escape(text) for text in (item.key, item.alt, item.caption))
    more = "".join(
        f'<button type="button" class="act" data-act="{name}" data-key="{key}" title="{ACTS[name][1]}" '
        f'aria-label="{ACTS[name][1]}: {alt}">{ACTS[name][0]}</button>'
        for name in acts
    )
    held = f'<span class="acts">{more}</span>' if more else ""
    return (
        f'<div class="cell"><button type="button" class="tile" data-act="{act}" data-key="{key}" '
        f'aria-pressed="{str(item.chosen).lower()}"><img src="{item.source}" alt="{alt}"></button>'
        f'<span class="said" title="{caption}">{caption}</span>{held}</div>'
    )


def large(opened: Opened, face: Face | None, pixels: Pixels | None = None) -> str:
    """One face, large, with links to its PNG, which can be opened again, and to the enlarged picture."""
    if face is None:
        return '<p class="quiet">Choose a face.</p>'
    picture = opened.pictures([face])[0] if pixels is None else pixels
    source = shown(picture, face.provenance(opened.title), LARGE_SIDE)
    height, width = picture.shape[:2]
    scale = scale_to((height, width), LARGE_SIDE)
    name = html.escape(file_stem(face))
    alt, caption = html.escape(described(face)), html.escape(face.origin)
    edits = " ".join(f"{each} {strength:+g}" for each, strength in face.edits)
    said = f"{html.escape(opened.title)}, variety {face.psi:g}{f', {html.escape(edits)}' if edits else ''}"
    png = data_uri("image/png", opened.png(face, picture))
    small, big = f"{width}x{height}", f"{scale * width}x{scale * height}"
    links = f'<a download="{name}.png" href="{png}">{small} PNG, to open again</a>'
    if scale > 1:
        links += f', <a download="{name}-{big}.jpg" data-large href="#">{big} JPEG</a>'
    return (
        f'<figure class="large"><img src="{source}" alt="{alt}">'
        f"<figcaption><b>{caption}</b><br><small>{said}</small></figcaption></figure>"
        f'<p class="links">Download {links}</p>'
    )


def file_stem(face: Face) -> str:
    """What a face's file is called when it is downloaded."""
    words = "".join(c if c.isalnum() and c.isascii() else "-" for c in face.origin)
    return "face-" + "-".join(part for part in words.split("-") if part)[:60]


# ---- handlers


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, whose wrong uses become one line on the page, and change nothing there."""

    @functools.wraps(handler)
    def asked(*inputs: Any) -> Any:
        import gradio as gr

        try:
            found = handler(*inputs)
            return gr.skip() if found == {} else found  # gradio takes no empty one
        except UsageError as error:
            gr.Warning(html.escape(first_line(error)), title="That did not work")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            gr.Warning(html.escape(f"{where}{error.strerror or error}"), title="That did not work")
        return gr.skip()

    return asked


def picked(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of (act, key, *inputs) for the event `pick` of tiles, told of wrong uses as `told` does."""
    import gradio as gr

    def asked(event: gr.EventData, *inputs: Any) -> Any:
        return told(handler)(str(event.act), str(event.key), *inputs)

    asked.__annotations__["event"] = gr.EventData  # as an object: gradio looks it up where `gr` is unknown
    return asked


def follow(slider: Any, handler: Callable[..., Any], inputs: list[Any], outputs: list[Any], how: Any) -> None:
    """Calls the handler when a slider is moved, and when its reset button is pressed, which is no input.

    It gets the numbers as they are typed into the sliders' boxes, for `within`: gradio would answer those
    beyond the slider's ends with a traceback on the terminal, and say nothing on the page.
    """
    import gradio as gr

    gr.on(
        [slider.input, slider.release], handler, inputs, outputs, trigger_mode="always_last",
        preprocess=False, **how,
    )  # fmt: skip


def within(value: float | None, low: float, high: float) -> float:
    """What a slider shows once the box beside it is left, whatever was typed there; None: nothing was."""
    return min(max(value or 0, low), high)
