"""A model made ready for the hub: the file, a card for people, a picture of samples, its config.

model_card(name, config, card, ...)             README.md, with the front matter that the hub reads
stage("runs/mine", "hf://me/faces", folder)     model.safetensors, README.md, samples.jpg, config.json
push("runs/mine", "hf://me/faces")              the same as one commit
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from facegan import hub, models
from facegan.card import ARCHITECTURES, Card, Evaluation, as_words
from facegan.config import UsageError, to_json
from facegan.files import new_folder, require_empty, write_text
from facegan.images import Provenance, grid, rgb, save
from facegan.known import DEFAULT_PSI
from facegan.networks import NetworkConfig
from facegan.synthesis import Sampler

SAMPLES = "samples.jpg"
MESSAGE = "A model of facegan"  # the commit's
MAX_COLUMNS, MAX_SIDE = 8, 2048  # of the sample picture; pixels, for models that are not larger themselves
# the hub's own words for licences, as far as weights have them; any other is "other" with a name
_LICENCES = {
    "apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "openrail", "unlicense",
}  # fmt: skip


def push(
    model: str, name: str, *, private: bool = False, message: str = MESSAGE, licence: str = "", data: str = ""
) -> str:
    """The address of the commit that publishes a model on the hub.

    licence, data: what its card is to say instead of what it says.

    Raises:
        UsageError: no such model, no licence, or the hub does not take it.
    """
    hub.require_token(name)  # before the samples are made
    with TemporaryDirectory() as folder:
        files = stage(model, name, Path(folder), licence=licence, data=data)
        return hub.upload(name, files, message, private=private)


def stage(model: str, name: str, folder: Path, *, licence: str = "", data: str = "") -> list[Path]:
    """Writes what is to be published as `name` into a folder, and returns the files.

    Raises:
        UsageError: no such model, `name` is not hf://owner/name, no licence, an unwritable place.
    """
    repository = hub.repository_of(name)
    require_empty(folder, "--dry-run")
    source = models.find(model)
    files = hub.MODEL_FILE, "README.md", SAMPLES, "config.json"
    with new_folder(folder) as staged:
        copied = _copied(source, staged / files[0], licence, data)
        config, card = copied.config, copied.card
        if card.licence in ("", "unknown"):
            raise UsageError(
                f"model {model!r}: its card names no licence, so none may use it; add --licence, such as "
                "CC0-1.0"
            )
        sampler = Sampler(copied)
        parameters = sum(parameter.numel() for parameter in sampler.generator.parameters())
        columns = max(2, min(MAX_COLUMNS, MAX_SIDE // max(config.image_shape[1:])))
        seeds = range(columns * columns)
        pictures = rgb(grid(sampler.sample(seeds, DEFAULT_PSI), columns))
        text = model_card(repository, config, card, parameters=parameters, seeds=seeds)
        write_text(staged / files[1], text)
        save(staged / files[2], pictures, Provenance(repository, f"0-{seeds[-1]}", DEFAULT_PSI))
        write_text(
            staged / files[3], json.dumps({"library_name": "facegan"} | to_json(config), indent=1) + "\n"
        )
    return [folder / file for file in files]


def _copied(source: Path, copy: Path, licence: str, data: str) -> models.Model:
    """The model in a copy of its file, whose card says what was given.

    All that is published is of the copy: a run that is still training replaces its file meanwhile.

    Raises:
        UsageError: it cannot be read; said of the source.
    """
    shutil.copyfile(source, copy)
    try:
        model = models.load(str(copy))
        card = replace(model.card, licence=licence or model.card.licence, data=data or model.card.data)
        models.rewrite_card(copy, card)
    except UsageError as error:
        raise UsageError(str(error).replace(str(copy), str(source))) from None
    return replace(model, card=card)


def model_card(
    repository: str, config: NetworkConfig, card: Card, *, parameters: int, seeds: Sequence[int]
) -> str:
    """README.md of a model on the hub: the front matter, then what it is, how to use it, all its numbers.

    parameters: how many the generator has; seeds: those in the sample picture.
    """
    channels, height, width = config.image_shape
    title = ARCHITECTURES.get(config.architecture, config.architecture)
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    lines = [
        *_front_matter(config, card),
        "",
        f"# {repository.partition('/')[2]}",
        "",
        f"Synthetic faces: a {title} that makes {kind} pictures of {width}x{height} pixels, for facegan.",
        "",
        f"![{len(seeds)} samples]({SAMPLES})",
        "",
        f"*Seeds {seeds[0]}-{seeds[-1]} at psi {DEFAULT_PSI}.*",
        "",
        *([as_words(card.description), ""] if card.description else []),
        "## Use",
        "",
        "```python",
        "import facegan",
        "",
        f'sampler = facegan.load("hf://{repository}")',
        f"faces = sampler.sample(seeds=range(16), psi={DEFAULT_PSI})"
        f"  # uint8 [16, {height}, {width}, {channels}]",
        "```",
        "",
        "```",
        f"facegan generate --model hf://{repository} --seeds 0-63 --grid",
        "```",
        "",
        "The file holds tensors and text; loading it executes nothing.",
        "",
        *_labels(config),
        "## Network",
        "",
        f"The generator has {parameters:,} parameters.",
        "",
        *_table(("setting", "value"), _settings(to_json(config))),
        "",
        "## Training",
        "",
        *_table(
            ("what", "value"),
            [
                ("data", card.data or "not stated"),
                ("images seen", f"{card.images_seen:,}" if card.images_seen else "not stated"),
                ("licence", card.licence or "not stated"),
            ],
        ),
        "",
        "## Measured",
        "",
        *_metrics(card.metrics),
        "## What it is for, and what not",
        "",
        "For research, teaching, tests, art and placeholders. The people in its pictures do not exist, but "
        "what a model learned from photographs may resemble those in them.",
        "",
        "Do not pass its pictures off as photographs of real people: not as profile pictures of invented "
        "accounts, not as evidence, not in the name of anybody. facegan marks each picture as synthetic in "
        "its metadata (IPTC `trainedAlgorithmicMedia`); leave the marks in. The model shows the faces of its "
        "data, with their gaps: it says nothing about what people look like.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(config: NetworkConfig, card: Card) -> list[str]:
    """The lines of YAML in front."""
    return [
        "---",
        *licence_lines(card.licence),
        "library_name: facegan",
        "pipeline_tag: unconditional-image-generation",
        "tags:",
        *(f"- {tag}" for tag in ("facegan", "gan", "image-generation", config.architecture)),
        "---",
    ]


def licence_lines(licence: str) -> list[str]:
    """A licence in the hub's words, as YAML; any text is quoted as JSON, which YAML takes.

    One without ASCII letters and digits is named by itself.
    """
    word = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    if word in _LICENCES:
        return [f"license: {word}"]
    return ["license: other", f"license_name: {json.dumps(word or licence.strip() or 'not-stated')}"]


def _labels(config: NetworkConfig) -> list[str]:
    if not config.labels.attributes:
        return []
    rows = [(attribute.name, ", ".join(attribute.values)) for attribute in config.labels.attributes]
    return [
        "It knows labels, which `--label NAME=VALUE` asks for:",
        "",
        *_table(("label", "values"), rows),
        "",
    ]


def _metrics(metrics: Sequence[Evaluation]) -> list[str]:
    """A table of the numbers and one of its protocol, for each evaluation."""
    if not metrics:
        return ["Nothing yet: `facegan evaluate --write` adds numbers.", ""]
    lines = []
    for number, evaluation in enumerate(metrics, 1):
        protocol = [
            (field.name.replace("_", " "), str(getattr(evaluation, field.name)))
            for field in fields(Evaluation)
            if field.name != "values" and getattr(evaluation, field.name) not in ("", None)
        ]
        values = [(v.name, f"{v.value:.4g}", _interval(v.low, v.high)) for v in evaluation.values]
        lines += [
            *([f"### {number}", ""] if len(metrics) > 1 else []),
            *_table(("number", "value", "95 % interval"), values),
            "",
            *_table(("protocol", "value"), protocol),
            "",
        ]
    return lines


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The config's values as text; labels have a table of their own."""
    for name, value in config.items():
        if name != "labels":
            yield name, value if isinstance(value, str) else json.dumps(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [head, ("---",) * len(head), *(tuple(map(as_words, row)) for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]
