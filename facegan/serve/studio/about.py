"""About: what the model is, who may use it for what, how it was measured, and what faces are not for."""

from __future__ import annotations

import re
from pathlib import Path

from facegan.card import Card, Evaluation, as_words
from facegan.models import ZOO, describe
from facegan.serve.studio.common import Common
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.parts import QUIET, told

MISUSE = """
### Nobody in these pictures exists

A network drew them; where one looks like somebody, that is chance. Every picture and film made here says so
in its metadata (`facegan`, and IPTC's *trained algorithmic media*); please leave that in. Do not pass a face
off as a real person: no fake profiles, no false identities, no deceiving of people or of identity checks. A
model learns the faces of its data and their slant: who is rare there is rare or badly drawn here.

Nothing leaves this computer: the studio sends no telemetry and asks no other server for anything.
"""


def card_text(opened: Opened) -> str:
    """The model card as Markdown: the file beside a shipped model, else what the model's file says."""
    beside = Path(opened.path).with_suffix(".md")
    if beside.parent == ZOO and beside.is_file():
        return without_pictures(beside.read_text(encoding="utf-8"))
    model = opened.sampler.model
    facts = describe(model.config, model.card)
    labels = ", ".join(facts["labels"]) or "none"
    rows = {
        "architecture": facts["architecture"],
        "size": f"{facts['width']}x{facts['height']}",
        "labels": labels,
        "images seen": f"{facts['images_seen']:,}",
        "data": facts["data"] or "not stated",
        "licence": facts["licence"] or "not stated: ask whoever made it before you use it",
    }
    table = "\n".join(f"| {name} | {as_words(value)} |" for name, value in rows.items())
    about = f"\n{as_words(model.card.description)}\n" if model.card.description else ""
    return (
        f"# {as_words(opened.title)}\n{about}\n| what | value |\n|---|---|\n{table}\n{measured(model.card)}"
    )


def without_pictures(markdown: str) -> str:
    """The text without what is not where the page looks for it: pictures, their captions, links to files.

    A caption is a line in italics. Of a link in a sentence the words stay; one in brackets, or after a colon
    at the end of a line, is all that is said there.
    """
    beside = r"\[([^]]+)\]\((?!https?:)[^)]*\)"
    picture_or_link = re.compile(rf"!\[|\*[^*]+\*$|[^[]*: {beside}\.$")
    kept = [line for line in markdown.splitlines() if not picture_or_link.match(line)]
    return re.sub(beside, r"\1", re.sub(rf" \({beside}\)", "", "\n".join(kept)))


def measured(card: Card) -> str:
    """The numbers of a model's file, each with its protocol."""
    if not card.metrics:
        return "\nNot measured yet: `facegan evaluate --model ... --write`.\n"
    return "\n".join(["", "## Measured", "", *(_evaluation(each) for each in card.metrics)])


def _evaluation(found: Evaluation) -> str:
    numbers = ", ".join(f"{as_words(value.name)} **{value.value:.4g}**" for value in found.values)
    return (
        f"- {numbers}: {found.samples:,} samples, psi {found.psi:g}, against {found.reals:,} pictures of "
        f"{as_words(found.data)}, {as_words(found.features)}, {found.resolution} px, "
        f"facegan {as_words(found.version)}"
    )


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content."""
    import gradio as gr

    gr.Markdown(MISUSE)
    card = gr.Markdown(card_text(desk.open(desk.names[0])), elem_id="card")

    def show(model: str) -> str:
        return card_text(desk.open(model))

    common.model.change(told(show), [common.model], [card], **QUIET)
