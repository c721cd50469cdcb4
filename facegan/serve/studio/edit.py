"""Edit: a face moved along directions of its model, several at once, each by a slider.

face = current(opened, face)                         where its directions were fitted again: unedited
base = unedited(opened, face)                        its w without what it was edited by
edited(opened, base, {"smile": 2.0, "pca:0": -1.0})  a new face
face = nearest_to(opened, data)                      that of a picture
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from facegan.config import UsageError
from facegan.images import decode, fit
from facegan.known import DEFAULT_PSI
from facegan.latents.directions import KINDS, moved
from facegan.latents.inversion import Advance, invert
from facegan.serve.studio.common import Common, Instead
from facegan.serve.studio.create import FIRST_SEEDS, of_seeds
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.faces import Face
from facegan.serve.studio.parts import AT_ONCE, LARGE_JS, QUIET, Shown, follow, large, shown, told, within

MAX_NAMED, COMPONENTS, MAX_STRENGTH = 16, 6, 4.0
KIND_TITLES = {
    "pca": "Components: along what faces vary most (PCA)",
    "sefa": "Components: what the layers amplify most (SeFa)",
}
CHANGED = "Its edits were along directions that have changed since: they stay, and **before** is with them."


def slider_names(opened: Opened) -> list[str]:
    """The directions of the sliders in their order, "" for a slider that is not used.

    Raises:
        UsageError: a model without styles.
    """
    named = list(opened.directions.given)[:MAX_NAMED]
    count = min(COMPONENTS, opened.sampler.generator.w_dim)
    components = [
        f"{kind}:{number}" if number < count else "" for kind in KINDS for number in range(COMPONENTS)
    ]
    return [*named, *[""] * (MAX_NAMED - len(named)), *components]


def title(name: str) -> str:
    """How a direction is called on the page: Mouth open, PCA 1."""
    kind, colon, number = name.partition(":")
    return f"{kind.upper()} {int(number) + 1}" if colon else name.replace("_", " ").capitalize()


def mark(opened: Opened, names: Iterable[str]) -> str:
    """A fingerprint of those directions that are of a file, "" for none: components are the weights' own."""
    given = opened.directions.given
    found = [given[name] for name in names if name in given]
    digest = hashlib.sha256()
    for each in found:
        digest.update(f"{each.name} {each.deviation} {each.layers}".encode())
        digest.update(each.vector.astype("<f4").tobytes())
    return digest.hexdigest()[:32] if found else ""


def current(opened: Opened, face: Face) -> Face:
    """The face; one that was edited along directions that are others now is a face without edits.

    To take them back along today's directions would show a face that never was as the one before.
    """
    if not face.directions or face.directions == mark(opened, [name for name, _ in face.edits]):
        return face
    return replace(face, text=f"{face.full_text} of earlier directions", edits=(), directions="")


def unedited(opened: Opened, face: Face) -> Face:
    """The face without its edits.

    Raises:
        UsageError: it was moved along a direction that the model has no more.
    """
    if not face.edits:
        return face
    back = [(opened.directions.named(name), -strength) for name, strength in face.edits]
    w = moved(opened.tensor([face]), back)[0].cpu().numpy()
    return replace(face, w=w, edits=(), directions="")


def edited(opened: Opened, base: Face, strengths: Mapping[str, float]) -> Face:
    """The face moved along directions, each by its strength.

    Raises:
        UsageError: no such direction, or a strength beyond all sense.
    """
    asked = [(name, strength) for name, strength in strengths.items() if name and strength]
    if not asked:
        return base
    along = [(opened.directions.named(name), strength) for name, strength in asked]
    w = moved(opened.tensor([base]), along)[0].cpu().numpy()
    names = [name for name, _ in asked]
    return replace(base, w=w, edits=tuple(asked), seed=None, directions=mark(opened, names))


def nearest_to(opened: Opened, data: bytes, advance: Advance | None = None) -> Face:
    """The model's face that is nearest to an encoded picture, in w+.

    Raises:
        UsageError: not a picture.
    """
    channels, height, width = opened.sampler.generator.image_shape
    try:
        pixels = fit(decode(data, channels), (height, width), "center")
    except ValueError as error:
        raise UsageError(str(error)) from None
    found = invert(opened.sampler, pixels[None], advance=advance)
    return Face(opened.name, found.w[0].numpy(), "a picture", 1.0)


def before_html(opened: Opened, base: Face) -> str:
    """The face as it was."""
    picture = shown(opened.pictures([base])[0], base.provenance(opened.title))
    said = "<figcaption>before</figcaption>"
    return f'<figure class="before"><img src="{picture}" alt="The face before">{said}</figure>'


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content."""
    import gradio as gr

    base = gr.State(None)
    instead = Instead(desk, common.model)
    sliders: list[Any] = []

    def slider() -> None:
        sliders.append(
            gr.Slider(-MAX_STRENGTH, MAX_STRENGTH, 0, step=0.1, label="", buttons=["reset"], min_width=240)
        )

    with gr.Row(equal_height=False, elem_id="editing") as all_of_it:
        with gr.Column(scale=2, min_width=300, elem_id="edited"):
            with gr.Row(elem_id="pair"):
                before = gr.HTML("", elem_id="before", apply_default_css=False)
                after = gr.HTML("", js_on_load=LARGE_JS, elem_id="after", apply_default_css=False)
            reset = common.buttons("Reset")
        with gr.Column(scale=3, min_width=320):
            gr.Markdown(
                "Move a slider; they add up. Directions are learned, and drag other things along when taken "
                "far. **Click a kept face** below to edit that one, or begin with a picture of a face that "
                "fills it as the model's own do: the nearest face of the model is found."
            )
            given = gr.UploadButton(
                "Begin with a picture", file_types=["image"], type="filepath", size="sm", min_width=160
            )
            with gr.Row():
                for _ in range(MAX_NAMED):
                    slider()
            for kind in KINDS:
                with gr.Accordion(KIND_TITLES[kind], open=False), gr.Row():
                    for _ in range(COMPONENTS):
                        slider()

    def show(face: Face, model: str) -> Shown:
        """A face with its edits on the sliders; what its model lacks is said instead."""
        opened = desk.open(model)
        try:
            names = slider_names(opened)
        except UsageError as error:
            return instead.shown(all_of_it, opened.title, str(error))
        if face.model != model:
            face = of_seeds(opened, FIRST_SEEDS).faces(DEFAULT_PSI)[0]
        kept, face = face, current(opened, face)
        own, at = unedited(opened, face), dict(face.edits)
        whole = instead.hidden(all_of_it, "" if face is kept else CHANGED)
        moves = {
            each: gr.update(label=title(name), value=at.get(name, 0), visible=bool(name))
            for each, name in zip(sliders, names, strict=True)
        }
        pair = {base: own, before: before_html(opened, own)} | after_edits(opened, face)
        return whole | pair | moves

    def after_edits(opened: Opened, face: Face) -> Shown:
        """The face as it is now, large."""
        return {after: large(opened, face), common.face: face}

    def move(own: Face, *values: float) -> Shown:
        opened = desk.open(own.model)
        strengths = [within(value, -MAX_STRENGTH, MAX_STRENGTH) for value in values]
        face = edited(opened, own, dict(zip(slider_names(opened), strengths, strict=True)))
        return after_edits(opened, face)

    def put_back(own: Face) -> Shown:
        return after_edits(desk.open(own.model), own) | dict.fromkeys(sliders, 0)

    def here(face: Face, model: str, tab: str) -> Shown:
        """The same where this tab is the one that is looked at."""
        return show(face, model) if tab == "edit" else {}

    def begin(
        path: str,
        model: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how gradio is told
    ) -> Shown:
        def advance(what: str, done: int, total: int) -> None:
            progress((done, total), desc="Looking for the nearest face")

        face = nearest_to(desk.open(model), Path(path).read_bytes(), advance)
        return {common.opening: face, common.face: face}

    shows = [all_of_it, instead.note, instead.button, base, common.face, before, after, *sliders]
    for each in sliders:
        follow(each, told(move), [base, *sliders], [after, common.face], AT_ONCE)
    reset.click(told(put_back), [base], [after, common.face, *sliders], **QUIET)
    common.shown("edit").select(told(show), [common.face, common.model], shows, **QUIET)
    common.model.change(told(here), [common.face, common.model, common.tab], shows, **QUIET)
    common.opening.change(told(here), [common.opening, common.model, common.tab], shows, **QUIET)
    given.upload(
        told(begin), [given, common.model], [common.opening, common.face], show_progress_on=after,
        api_visibility="private",
    )  # fmt: skip
