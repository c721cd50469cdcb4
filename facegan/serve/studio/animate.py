"""Animate: kept and chosen faces in an order, and the film that passes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from facegan.animation import Film, Motion, frames_per_key, write_walks
from facegan.config import UsageError
from facegan.known import DEFAULT_PSI
from facegan.latents.files import Latents
from facegan.serve.studio.common import Common, with_key
from facegan.serve.studio.create import fresh_seeds, of_seeds
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.faces import Face
from facegan.serve.studio.parts import EACH, JS, QUIET, Shown, face_tiles, picked, tiles, told
from facegan.synthesis import SEEDS, Start

FPS = {".mp4": 30, ".webp": 25, ".gif": 25}
EASINGS = {"Rest at each face": "smooth", "Flow through them": "none"}
SURPRISE, MAX_SECONDS, KEPT_FILMS = 4, 120.0, 20


def changed(keys: Sequence[Face], act: str, number: int) -> tuple[Face, ...]:
    """The film's faces after a button of one of them: remove, earlier, later."""
    found = list(keys)
    if not 0 <= number < len(found):
        return tuple(found)
    face = found.pop(number)
    if act == "remove":
        return tuple(found)
    step = {"earlier": -1, "later": 1}.get(act, 0)
    found.insert(min(max(number + step, 0), len(found)), face)
    return tuple(found)


def started(opened: Opened, keys: Sequence[Face]) -> tuple[Start, list[int], float, str]:
    """What a film of these faces starts from: seeds along arcs in z where all are plain seeds', else w.

    Start, its numbers, psi, and the path of a `Motion`. A walk in z keeps the labels of its first seed, so
    that of a model with labels it would not pass the others.
    """
    seeds = [face.seed for face in keys]
    plain = [seed for seed in seeds if seed is not None]
    one_psi = len({face.psi for face in keys}) == 1
    if len(plain) == len(seeds) and one_psi and not opened.sampler.generator.label_dim:
        return SEEDS, plain, keys[0].psi, "z"
    rows = np.stack([face.w for face in keys]).astype(np.float64)
    return Latents("studio", w_rows=rows), list(range(len(keys))), 1.0, "w"


def write_film(
    opened: Opened, keys: Sequence[Face], path: Path, *, seconds: float, easing: str, loop: bool,
    wrote: Callable[[], None] = lambda: None,
) -> Film:  # fmt: skip
    """Writes the film of faces of this model, in the format of the path's suffix.

    Raises:
        UsageError: fewer than 2 faces, of another model, or longer than MAX_SECONDS.
    """
    if len(keys) < 2:
        raise UsageError(
            f"a film needs 2 faces or more, and has {len(keys)}: click kept faces, or Surprise me"
        )
    if keys[0].model != opened.name:
        raise UsageError(f"the film's faces are of {keys[0].model}, not of {opened.name}")
    if seconds * len(keys) > MAX_SECONDS:
        raise UsageError(f"{seconds * len(keys):g} seconds: the studio films {MAX_SECONDS:g} at most")
    start, numbers, psi, way = started(opened, keys)
    fps = FPS[path.suffix]
    motion = Motion(frames_per_key(seconds, fps), way, easing, loop)
    text = "; ".join(face.full_text for face in keys)
    return write_walks(
        path,
        opened.sampler,
        numbers,
        motion,
        fps=fps,
        psi=psi,
        start=start,
        keys_text=text[:500],
        wrote=wrote,
    )


class FilmFolder:
    """A folder of films that lasts as long as the studio does; the newest KEPT_FILMS are kept."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="facegan-films-")
        self._numbers = itertools.count(1)

    def next(self, suffix: str) -> Path:
        """A new name; what would then be too many, the oldest, is deleted."""
        folder = Path(self._folder.name)
        films = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in films[: max(0, len(films) - KEPT_FILMS + 1)]:
            old.unlink(missing_ok=True)
        return folder / f"film-{next(self._numbers):03d}{suffix}"


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content."""
    import gradio as gr

    films = FilmFolder()
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            gr.Markdown(
                "The film passes these faces from left to right. **Click kept faces** below to add them."
            )
            order = gr.HTML(_order(desk, ()), js_on_load=JS, elem_id="order", apply_default_css=False)
            with gr.Row():
                surprise = gr.Button("Surprise me", min_width=120)
                clear = gr.Button("Clear", min_width=120)
            seconds = gr.Slider(
                0.25, 5, 1.5, step=0.25, label="Seconds from face to face", buttons=["reset"],
                elem_id="seconds",
            )  # fmt: skip
            easing = gr.Radio(list(EASINGS), value=next(iter(EASINGS)), label="Movement")
            loop = gr.Checkbox(True, label="Back to the first face, round and round")
            make = gr.Button("Make the film", variant="primary")
        with gr.Column(scale=2, min_width=300):
            film = gr.Video(
                label="The film", autoplay=True, loop=True, interactive=False, buttons=["download"],
                height=384, elem_id="film",
            )  # fmt: skip
            with gr.Row():
                gif = gr.Button("Also as GIF", min_width=120)
                webp = gr.Button("Also as WebP", min_width=120)
            files = gr.File(
                label="Downloads", file_count="multiple", interactive=False, visible=False, elem_id="films"
            )

    def render(keys: tuple[Face, ...]) -> str:
        return _order(desk, keys)

    def change(act: str, key: str, keys: tuple[Face, ...]) -> tuple[Face, ...]:
        return changed(keys, act, int(key))

    def add_kept(face: Face, tab: str, keys: tuple[Face, ...]) -> Any:
        return with_key(keys, face) if tab == "animate" else gr.skip()

    def surprised(model: str) -> tuple[Face, ...]:
        return tuple(of_seeds(desk.open(model), fresh_seeds(SURPRISE)).faces(DEFAULT_PSI))

    def film_of(
        keys: tuple[Face, ...], seconds: float, easing: str, loop: bool, suffix: str, progress: gr.Progress
    ) -> Path:
        if not keys:
            raise UsageError("the film has no faces yet: click kept faces below, or Surprise me")
        total = len(keys) * seconds * FPS[suffix]
        made = itertools.count(1)
        progress(0, desc="Filming")

        def wrote() -> None:
            progress(min(next(made) / total, 1.0), desc="Filming")

        path = films.next(suffix)
        write_film(
            desk.open(keys[0].model),
            keys,
            path,
            seconds=seconds,
            easing=EASINGS[easing],
            loop=loop,
            wrote=wrote,
        )
        return path

    def downloads(found: list[str]) -> Shown:
        return {made: found, files: gr.update(value=found, visible=True)}

    def make_film(
        keys: tuple[Face, ...], seconds: float, easing: str, loop: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how gradio is told
    ) -> Shown:  # fmt: skip
        path = str(film_of(keys, seconds, easing, loop, ".mp4", progress))
        return {film: path} | downloads([path])

    def also(suffix: str) -> Any:
        def make_other(
            keys: tuple[Face, ...], seconds: float, easing: str, loop: bool, earlier: list[str],
            progress: gr.Progress = gr.Progress(),  # noqa: B008
        ) -> Shown:  # fmt: skip
            found = [*earlier, str(film_of(keys, seconds, easing, loop, suffix, progress))]
            return downloads(found)

        return make_other

    made = gr.State([])
    asked = [common.keys, seconds, easing, loop]
    visible: dict[str, Any] = {"api_visibility": "private"}
    common.keys.change(told(render), [common.keys], [order], **QUIET)
    order.pick(picked(change), [common.keys], [common.keys], **EACH)
    common.opening.change(told(add_kept), [common.opening, common.tab, common.keys], [common.keys], **QUIET)
    surprise.click(told(surprised), [common.model], [common.keys], **QUIET)
    clear.click(lambda: (), None, [common.keys], **QUIET)
    make.click(told(make_film), asked, [film, made, files], show_progress_on=film, **visible)
    gif.click(told(also(".gif")), [*asked, made], [made, files], show_progress_on=film, **visible)
    webp.click(told(also(".webp")), [*asked, made], [made, files], show_progress_on=film, **visible)


def _order(desk: Desk, keys: Sequence[Face]) -> str:
    """The film's faces as tiles with their buttons."""
    items = face_tiles(desk.open(keys[0].model), keys) if keys else []
    return tiles(
        items,
        label="The film's faces, in their order",
        acts=["earlier", "later", "remove"],
        act="stay",
        empty="No faces yet. Keep some in Create, then click them below; or Surprise me.",
    )
