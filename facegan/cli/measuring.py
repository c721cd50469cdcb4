"""The commands about models: evaluate, models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson, Device, opened_model
from facegan.config import UsageError
from facegan.known import DEFAULT_MODEL
from facegan.terminal import number, say, stages, whole_number


def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="The real pictures: folder or zip; default: the starter set.")
    ] = "starter",
    metrics: Annotated[str, typer.Option(help="A list of fd, kid, pr and auth.")] = "fd,kid,pr",
    samples: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Pictures of the model.")
    ] = 10_000,
    psi: Annotated[
        float | None, typer.Option(parser=number, metavar="X", help="Truncation; default: 1, none.")
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="random, const or none; default: random, each picture its own.")
    ] = None,
    seed: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="The first seed.")] = 0,
    features: Annotated[
        str, typer.Option(help="efficientnet, fid, clean-fid, dinov2, random or pixels.")
    ] = "efficientnet",
    features_file: Annotated[
        Path | None,
        typer.Option(help="Weights of efficientnet, fid, clean-fid or dinov2; default: packaged or cached."),
    ] = None,
    pictures: Annotated[
        str | None, typer.Option(help="Measure this folder or zip instead of a model.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="With --pictures: compare at this.")
    ] = None,
    crop: Annotated[str, typer.Option(help="center, pad or celeba.")] = "center",
    batch: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Pictures made at once.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    closest: Annotated[
        Path | None,
        typer.Option(help="A picture of those nearest to real ones, above these: are they copies?"),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Add the result to the model file's card.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model, or a set of pictures, against real ones."""
    from facegan import images
    from facegan.config import to_json
    from facegan.files import require_writable_file
    from facegan.metrics.closest import Pair
    from facegan.metrics.evaluate import check_request, measure
    from facegan.metrics.report import add_to_card, as_text, card_file
    from facegan.metrics.subjects import model_subject, opened, pictures_subject
    from facegan.synthesis import DEFAULT_BATCH, Sampler

    name = model or DEFAULT_MODEL
    if (pictures is None) != (resolution is None):
        raise UsageError("--pictures and --resolution go together: two sets are compared at one size")
    of_a_model = {
        "model": model,
        "psi": psi,
        "noise": noise,
        "batch": batch,
        "precision": precision,
        "write": write or None,
    }
    if pictures is not None and (idle := [word for word, value in of_a_model.items() if value is not None]):
        raise UsageError(f"--{idle[0]} has no effect with --pictures: it is for models")
    chosen = metrics.split(",")
    check_request(chosen, samples, features, features_file)
    target = card_file(name) if write else None
    if closest is not None:
        images.save_format(closest)
        require_writable_file(closest, "--closest")

    def show(pairs: Sequence[Pair], sheet: images.Pixels) -> None:
        assert closest is not None
        closest.parent.mkdir(parents=True, exist_ok=True)
        images.save(closest, sheet)
        first = pairs[0]
        say(
            f"wrote {closest}: made pictures above the real ones they are nearest to; the first is "
            f"{first.made_name}, {first.nearness:.2f} times as far from {first.real_name} as the nearest "
            "other real picture is"
        )

    with stages() as progress:
        if pictures is not None and resolution is not None:
            made = opened(
                pictures,
                crop,
                size=(resolution, resolution),
                channels=3,
                progress=lambda done, total: progress(f"reading {pictures}", done, total),
            )
            subject = pictures_subject(made, seed=seed)
        else:
            sampler = Sampler(
                opened_model(name),
                device=device,
                precision=precision or "auto",
                batch=DEFAULT_BATCH if batch is None else batch,
            )
            subject = model_subject(sampler, psi=1.0 if psi is None else psi, seed=seed, noise=noise)
        result = measure(
            subject,
            data,
            crop=crop,
            features=features,
            features_file=features_file,
            metrics=chosen,
            samples=samples,
            device=device,
            closest=show if closest is not None else None,
            progress=progress,
        )
    print(json.dumps(to_json(result)) if as_json else as_text(result), flush=True)
    if target is not None:
        add_to_card(target, result)
        say(f"added to the card of {target}")


def models(as_json: AsJson = False) -> None:
    """What --model can be: the shipped models and the other forms; and the public ones to import."""
    from dataclasses import asdict

    from facegan.known import KNOWN
    from facegan.models import describe, read_header, shipped

    table = {name: describe(*read_header(path)) for name, path in shipped().items()}
    if as_json:
        print(json.dumps(table | {"public": {name: asdict(known) for name, known in KNOWN.items()}}))
        return
    for name, facts in table.items():
        print(
            f"{name:18} {facts['architecture']} {facts['height']}x{facts['width']}, "
            f"{facts['images_seen']:,} images of {facts['data']}, licence {facts['licence'] or 'not stated'}"
        )
    print("or a .safetensors file, a run folder (its newest EMA), or hf://owner/name")
    print("\npublic, each for `facegan import NAME --out FILE.safetensors`:")
    for name, known in KNOWN.items():
        size = f"{known.resolution}x{known.resolution}"
        print(f"{name:30} {known.architecture} {size}, {known.data}, {known.licence}")
