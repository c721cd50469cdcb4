"""What the tabs have in common: the chosen face, the film's, the kept ones, and what is shown for no styles.

edit = common.buttons("Edit it")           keep, add to the film, and one more, below a large face
instead = Instead(desk, common.model)      in the place of a tab's content: why a model has no styles
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facegan import models
from facegan.config import UsageError
from facegan.images import decode
from facegan.serve.studio.desk import Desk
from facegan.serve.studio.faces import Face, from_png, origin
from facegan.serve.studio.gallery import MAX_SHOWN
from facegan.serve.studio.parts import QUIET, Shown, Tile, shown, tiles, told

KEPT_SIDE = 192  # to which kept faces are enlarged for the page
MAX_KEYS = 24


@dataclass
class Common:
    """Components and states that several tabs use, and what several buttons do."""

    desk: Desk
    model: Any  # the switcher
    face: Any  # the chosen Face
    opening: Any  # a Face that was opened: Create and Edit show it
    keys: Any  # the film's faces, a tuple
    tabs: Any
    shown: Callable[[str], Any]  # the tab of an id, whose `select` comes when it is shown
    tab: Any  # the id of the tab that is shown
    strip: Any  # the kept faces
    undo: Any  # brings a deleted one back

    def buttons(self, last: str) -> Any:
        """Those below a large face: they keep it and put it into the film; the last one is returned."""
        import gradio as gr

        keep = gr.Button("Keep this face", variant="primary")
        with gr.Row():
            film = gr.Button("Add to the film", min_width=120)
            made = gr.Button(last, min_width=120)
        keep.click(told(self.keep), [self.face], [self.strip, self.undo], **QUIET)
        film.click(told(self.add_key), [self.face, self.keys], [self.keys], **QUIET)
        return made

    def keep(self, face: Face) -> Shown:
        """Writes a face into the gallery."""
        import gradio as gr

        self.desk.keep(face)
        gr.Info("It is among your kept faces, below.", title="Kept", duration=3)
        return self.kept()

    def kept(self) -> Shown:
        """The strip of kept faces, and the button that undoes."""
        import gradio as gr

        undo = gr.update(visible=self.desk.gallery.can_bring_back)
        return {self.strip: kept_html(self.desk), self.undo: undo}

    def add_key(self, face: Face, keys: tuple[Face, ...]) -> tuple[Face, ...]:
        """A face at the end of the film."""
        import gradio as gr

        found = with_key(keys, face)
        gr.Info(f"The film has {len(found)} faces; go on in Animate.", title="Added", duration=3)
        return found

    def to_edit(self, face: Face) -> Shown:
        """Opens a face in Edit."""
        import gradio as gr

        return {self.opening: replace(face), self.tabs: gr.Tabs(selected="edit"), self.tab: "edit"}


class Instead:
    """A note in the place of a tab's content, for models without styles, with a button to one that has."""

    def __init__(self, desk: Desk, switcher: Any) -> None:
        import gradio as gr

        self._desk = desk
        self.note = gr.Markdown("", visible=False, elem_classes="note")
        self.button = gr.Button(visible=False)
        self.button.click(lambda: with_styles(desk), None, [switcher], **QUIET)

    def shown(self, content: Any, title: str, why: str) -> Shown:
        """The note instead of the content."""
        import gradio as gr

        other = with_styles(self._desk)
        return {
            content: gr.update(visible=False),
            self.note: gr.update(value=f"**{title}**: {why}.", visible=True),
            self.button: gr.update(visible=other is not None, value=f"Switch to {other}"),
        }

    def hidden(self, content: Any, note: str = "") -> Shown:
        """The content, below a note if there is one."""
        import gradio as gr

        return {
            content: gr.update(visible=True),
            self.note: gr.update(value=note, visible=bool(note)),
            self.button: gr.update(visible=False),
        }


def with_styles(desk: Desk) -> str | None:
    """The first model of the studio that has several layers, by its header alone."""
    for name in desk.names:
        config, _ = models.read_header(models.find(name))
        if config.architecture != "dcgan":
            return name
    return None


def with_key(keys: Sequence[Face], face: Face) -> tuple[Face, ...]:
    """The keys of a film, and one more.

    Raises:
        UsageError: it is of another model than they, or too many.
    """
    if keys and keys[0].model != face.model:
        raise UsageError(
            f"this face is of {face.model}, the film's are of {keys[0].model}: a film is of one model; clear "
            "it first"
        )
    if len(keys) >= MAX_KEYS:
        raise UsageError(f"a film of the studio passes {MAX_KEYS} faces at most; facegan animate takes more")
    return (*keys, face)


def kept_html(desk: Desk) -> str:
    """The kept faces, the newest first."""
    names = desk.gallery.names()
    html_of_tiles = tiles(
        [_kept_tile(desk, name) for name in names[:MAX_SHOWN]],
        label="Kept faces",
        acts=["delete"],
        act="open",
        empty="None yet. Keep one, and it stays here when you close the page.",
    )
    rest = len(names) - MAX_SHOWN
    folder = html.escape(str(desk.gallery.folder))
    more = f" The newest {MAX_SHOWN} are shown; {rest:,} more are there." if rest > 0 else ""
    return f'{html_of_tiles}<p class="quiet small">Ordinary PNG files in {folder}.{more}</p>'


def _kept_tile(desk: Desk, name: str) -> Tile:
    path = desk.gallery.folder / name
    try:
        return _read_tile(path, name, path.stat().st_mtime_ns)
    except (OSError, ValueError):  # deleted meanwhile, or not a picture
        return Tile(name, "", f"{name} is not a usable picture", "not usable")


@functools.lru_cache(maxsize=4 * MAX_SHOWN)
def _read_tile(path: Path, name: str, changed_ns: int) -> Tile:
    data = path.read_bytes()
    pixels = np.asarray(decode(data), np.uint8)
    try:
        saved = from_png(data)
        caption = origin(saved.seeds, bool(saved.edits))
        alt = f"Kept face: {caption} of {saved.model}"
    except UsageError:
        caption = alt = name
    return Tile(name, shown(pixels, None, KEPT_SIDE), alt, caption)
