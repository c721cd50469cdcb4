"""Create: nine faces or more, from seeds or around a face; variety moves them all at once.

crowd = of_seeds(opened, "0-8")            w before truncation: kept, so that a slider costs no mapping
crowd = near(opened, face, 0.3, seeds)     the face itself, and some like it
crowd.faces(psi)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from facegan.config import UsageError
from facegan.known import DEFAULT_PSI
from facegan.latents.near import DEFAULT_RADIUS, Near
from facegan.serve.studio.common import Common
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.faces import MAX_TEXT, Face
from facegan.serve.studio.parts import (
    AT_ONCE,
    EACH,
    JS,
    LARGE_JS,
    MAX_VARIETY,
    QUIET,
    Shown,
    face_tiles,
    follow,
    large,
    picked,
    tiles,
    told,
    within,
)
from facegan.synthesis import SEEDS, Start, parse_seeds

FIRST_SEEDS = "0-8"
USUAL, MAX_FACES = 9, 64
LEAST_SPREAD = 0.1  # a psi below it says nothing of how far a face is from the average one


@dataclass(frozen=True, eq=False)  # the page tells states apart by identity
class Crowd:
    """Faces of a model before truncation: w [N, num_ws, w_dim], pulled towards the centre by psi."""

    model: str
    w: Tensor
    centre: Tensor
    texts: tuple[str, ...]  # what each comes from
    seeds: tuple[int | None, ...]  # where it is a seed's

    def faces(self, psi: float) -> list[Face]:
        """The faces, truncated as `Sampler.w` does."""
        w = self.w if psi == 1 else self.centre + psi * (self.w - self.centre)
        rows = w.cpu().numpy()
        return [
            Face(self.model, np.ascontiguousarray(row), text, psi, seed)
            for row, text, seed in zip(rows, self.texts, self.seeds, strict=True)
        ]


def of_seeds(opened: Opened, text: str) -> Crowd:
    """The faces of seeds, such as "0-8" or "3,5,9".

    Raises:
        UsageError: not of this form, or more than MAX_FACES.
    """
    seeds = list(dict.fromkeys(parse_seeds(text, MAX_FACES)))
    return _crowd(opened, SEEDS, seeds, [str(seed) for seed in seeds], seeds)


def seeds_or(text: str, before: str, most: int = MAX_FACES) -> str:
    """The text where it names so many seeds at most, else those from before."""
    try:
        parse_seeds(text, most)
    except UsageError:
        return before
    return text


def near(opened: Opened, face: Face, radius: float, seeds: Sequence[int]) -> Crowd:
    """The face itself, then faces near it, one a seed: those of `latents.near` where it is a seed's.

    Of any other w the same formula, around the centre c of truncation, with w_seed at the face's psi:

        w' = c + sqrt(1 - r^2) (w - c) + r (w_seed - c)

    Raises:
        UsageError: the radius is not in 0 .. 1.
    """
    if face.seed is not None:
        start = Near(face.seed, radius)
        texts = [str(face.seed), *(start.text(str(seed)) for seed in seeds)]
        itself = of_seeds(opened, str(face.seed))
        around = _crowd(opened, start, seeds, texts[1:], [None] * len(seeds))
        return replace(
            itself,
            w=torch.cat([itself.w, around.w]),
            texts=itself.texts + around.texts,
            seeds=itself.seeds + around.seeds,
        )
    if not 0 <= radius <= 1:
        raise UsageError(f"radius {radius:g}: 0 (the face itself) to 1 (any other)")
    spread = max(abs(face.psi), LEAST_SPREAD)
    others = _crowd(opened, SEEDS, seeds, ["" for _ in seeds], [None] * len(seeds))
    centre = others.centre if others.centre.ndim == 1 else others.centre[:1]
    own = (opened.tensor([face]) - centre) / spread
    mixed = (1 - radius**2) ** 0.5 * own + radius * (others.w - others.centre)
    of = face.full_text.removeprefix("like ")[: MAX_TEXT - 80]
    texts = [face.full_text, *(f"like {of}, radius {radius:g}, seeds {seed}" for seed in seeds)]
    w = centre + torch.cat([own, mixed])
    return Crowd(opened.name, w, centre, tuple(texts), (None,) * (1 + len(seeds)))


def spread_of(face: Face) -> float:
    """The psi at which `near` shows a face as it is."""
    return face.psi if face.seed is not None else max(abs(face.psi), LEAST_SPREAD)


def _crowd(
    opened: Opened, start: Start, numbers: Sequence[int], texts: Sequence[str], seeds: Sequence[int | None]
) -> Crowd:
    sampler = opened.sampler
    w = torch.cat([w for _, w in sampler.stream_w(numbers, start=start)])
    centre = sampler.generator.centre(sampler.label_vectors(start.noise_seeds(numbers)))
    return Crowd(opened.name, w, centre, tuple(texts), tuple(seeds))


def fresh_seeds(count: int = USUAL, random_number: random.Random | None = None) -> str:
    """So many seeds that follow each other, from anywhere below a million: short enough to be told."""
    first = (random_number or random.SystemRandom()).randrange(1_000_000)
    return f"{first}-{first + count - 1}"


def crowd_html(opened: Opened, faces: Sequence[Face], chosen: int | None) -> str:
    """The faces as tiles."""
    columns = 3 if len(faces) <= USUAL else 4 if len(faces) <= 16 else 6
    return tiles(face_tiles(opened, faces, chosen), label="Faces: choose one", columns=columns)


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content."""
    import gradio as gr

    opened = desk.open(desk.names[0])
    first = of_seeds(opened, FIRST_SEEDS)
    now = first.faces(DEFAULT_PSI)
    crowd, chosen, good = gr.State(first), gr.State(0), gr.State(FIRST_SEEDS)
    common.face.value = now[0]
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            with gr.Row(elem_classes="bar"):
                new = gr.Button("New faces", variant="primary", min_width=120)
                seeds = gr.Textbox(
                    FIRST_SEEDS,
                    label="Seeds",
                    info="Each number names a face: 7, 0-8 or 3,5,9, then Enter.",
                    max_lines=1,
                    max_length=400,
                    min_width=180,
                )
            psi = gr.Slider(
                0, MAX_VARIETY, DEFAULT_PSI, step=0.01, label="Variety", buttons=["reset"], elem_id="variety",
                info="Left: near the average face. Right: bolder, with more mistakes.",
            )  # fmt: skip
            faces = gr.HTML(
                crowd_html(opened, now, 0), js_on_load=JS, elem_id="faces", apply_default_css=False
            )
        with gr.Column(scale=2, min_width=300):
            picture = gr.HTML(
                large(opened, now[0]), js_on_load=LARGE_JS, elem_id="large", apply_default_css=False
            )
            edit = common.buttons("Edit it")
            alike = gr.Button("More like this")
            radius = gr.Slider(
                0.05, 1, DEFAULT_RADIUS, step=0.05, label="How different they are", buttons=["reset"]
            )

    def pictures(found: Crowd, psi: float, number: int | None) -> Shown:
        """The faces, the chosen one large, and that one; where none is, an opened one stays where it is."""
        opened, each = desk.open(found.model), found.faces(psi)
        sheet = {faces: crowd_html(opened, each, number)}
        if number is None:
            return sheet
        return sheet | {picture: large(opened, each[number]), common.face: each[number]}

    def show(found: Crowd, psi: float, number: int | None) -> Shown:
        """Other faces."""
        return {crowd: found, chosen: number} | pictures(found, psi, number)

    def show_seeds(model: str, text: str, psi: float) -> Shown:
        return {good: text} | show(of_seeds(desk.open(model), text), psi, 0)

    def show_fresh(model: str, psi: float) -> Shown:
        text = fresh_seeds()
        return {seeds: text} | show_seeds(model, text, psi)

    def show_alike(face: Face, radius: float) -> Shown:
        found = near(desk.open(face.model), face, radius, parse_seeds(fresh_seeds(USUAL - 1)))
        spread = spread_of(face)
        return {psi: spread} | show(found, spread, 0)

    def vary(found: Crowd, number: int | None, psi: float) -> Shown:
        return pictures(found, within(psi, 0, MAX_VARIETY), number)

    def choose(act: str, key: str, found: Crowd, psi: float) -> Shown:
        number = min(int(key), len(found.texts) - 1)
        return {chosen: number} | pictures(found, psi, number)

    def open_face(face: Face) -> Shown:
        """A kept face, large; none of those beside it is chosen any more."""
        return {chosen: None, picture: large(desk.open(face.model), face)}

    def switch(model: str, found: Crowd, face: Face, text: str, last_good: str, psi: float) -> Shown:
        """The seeds' faces by another model; one of that model that was opened stays."""
        if found.model == model:
            return {}
        text = seeds_or(text, last_good)  # what is refused would leave the faces of the model from before
        shown = show(of_seeds(desk.open(model), text), psi, None if face.model == model else 0)
        return {seeds: text, good: text} | shown

    pictured = [faces, picture, common.face]
    shows = [crowd, chosen, *pictured]
    seeds.submit(told(show_seeds), [common.model, seeds, psi], [good, *shows], **QUIET)
    new.click(told(show_fresh), [common.model, psi], [seeds, good, *shows], **QUIET)
    alike.click(told(show_alike), [common.face, radius], [psi, *shows], **QUIET)
    follow(psi, told(vary), [crowd, chosen, psi], pictured, AT_ONCE)
    faces.pick(picked(choose), [crowd, psi], [chosen, *pictured], **EACH)
    common.opening.change(told(open_face), [common.opening], [chosen, picture], **QUIET)
    now_by = [common.model, crowd, common.face, seeds, good, psi]
    common.model.change(told(switch), now_by, [seeds, good, *shows], **QUIET)
    edit.click(told(common.to_edit), [common.face], [common.opening, common.tabs, common.tab], **QUIET)
