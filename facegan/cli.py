"""The command line: parse, call the public function, print. Nothing heavy is imported before a command runs.

Results go to stdout (JSON with --json), progress to stderr.
Exit status: 0 done, 2 wrong use (one line), 1 failed while working, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from facegan.config import UsageError
from facegan.terminal import (
    AUTO,
    WRONG_PLACE,
    batch_size,
    counter,
    fail,
    interruptible,
    is_out_of_memory,
    number,
    pace,
    parse_message,
    say,
    seconds,
    stages,
    whole_number,
)

app = typer.Typer(
    name="facegan",
    help="Faces of people who do not exist.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# click's base class of parsing errors, found through typer: some versions bring their own copy of click
_ParseError: Any = typer.BadParameter.__mro__[2]

Model = Annotated[str, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
PRESET_NAMES = (
    "dcgan-32, dcgan-64, dcgan-128, stylegan-64, stylegan-128, stylegan-ffhq-1024, stylegan-celebahq-1024, "
    "stylegan2-64-tiny, low-data, stylegan2-64, stylegan2-128, stylegan2-ffhq-256, stylegan2-ffhq-512, "
    "stylegan2-ffhq-1024 or stylegan2-config-f."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main() -> None:
    """The console script: wrong use becomes one line and exit status 2."""
    warnings.showwarning = lambda message, *_: say(f"facegan: note: {message}")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit status."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except _ParseError as error:
        return fail(parse_message(error), 2)
    except UsageError as error:
        return fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):  # newer versions of typer return 130 themselves
        return 130
    except FloatingPointError as error:
        return fail(f"training failed: {error}", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}", 2 if isinstance(error, WRONG_PLACE) else 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return fail("not enough memory; a smaller --batch needs less", 1)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from facegan import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """The tour: sample the shipped model, make a film, train a small model for 100 s."""
    from facegan.demo import demo as run_demo
    from facegan.training.progress import ProgressReporter

    with ProgressReporter() as reporter, interruptible() as stopped:
        written = run_demo(out, reporter=reporter, say=say, stop=stopped)
    _print({name: str(path) for name, path in written.items()}, as_json)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    preset: Annotated[str | None, typer.Option(help=PRESET_NAMES)] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or zip of pictures; default: the starter set.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, a.b=c; repeatable.")
    ] = None,
    crop: Annotated[str | None, typer.Option(help="center, pad or celeba.")] = None,
    init: Annotated[str | None, typer.Option(help="Start from this model's weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --resume: accept a changed config.")] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            parser=batch_size,
            metavar="N",
            help="Images a step; auto: the preset's, in parts that fit into memory.",
        ),
    ] = None,
    stop_after: Annotated[
        str | None, typer.Option(help="Stop and save after this time: 90s, 20m, 2h.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Seed of the whole run.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model; Ctrl-C saves and stops, --resume goes on exactly."""
    from facegan.config import override
    from facegan.presets import preset as find_preset
    from facegan.training.loop import train as run_training
    from facegan.training.progress import ProgressReporter
    from facegan.training.run_folder import RunFolder

    limit = seconds(stop_after) if stop_after is not None else float("inf")
    if force and not resume:
        raise UsageError("--force has no effect without --resume")
    if resume and preset:
        raise UsageError("--preset with --resume: the run's own run.json is used; change values with --set")
    if init is not None and (resume or not init):
        raise UsageError("--init needs a model's name, and a new run: with --resume it goes on from its own")
    if not resume and not preset:
        raise UsageError("--preset is missing: which run? such as --preset dcgan-64")
    run = RunFolder(out).read_config() if resume else find_preset(preset or "").run
    given = {"data.path": data, "data.crop": crop, "init": init, "seed": seed, "device": device}
    given |= {"precision": precision}
    assignments = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    run = override(
        run, [*assignments, *(_batch_settings(batch) if batch is not None else []), *(settings or [])]
    )
    try:
        with ProgressReporter() as reporter, interruptible() as stopped:
            result = run_training(
                run,
                out,
                resume=resume,
                force=force,
                stop_after_seconds=limit,
                stop_requested=stopped,
                reporter=reporter,
            )
    except OSError as error:
        if RunFolder(out).exists():
            how = f"{error.strerror or error}; what was saved before is kept; once that is solved: "
            raise OSError(error.errno, f"{how}facegan train --out {out} --resume", error.filename) from error
        raise
    if not result.finished:
        say(f"saved; go on with: facegan train --out {out} --resume")
    _print({"run": str(out), "images_seen": result.images_seen, "finished": result.finished}, as_json)


@app.command()
def generate(
    seeds: Annotated[str, typer.Option(help="Ranges and lists: 0-63, 1,5,9-12.")] = "0-15",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("faces"),
    model: Model = "dcgan-64",
    psi: Annotated[
        float,
        typer.Option(
            parser=number, metavar="X", help="Truncation: 1 is the whole variety, 0 the average face."
        ),
    ] = 0.7,
    noise: Annotated[str, typer.Option(help="const, random or none.")] = "const",
    label: Annotated[
        str, typer.Option(help="Of a model with labels: glasses=yes,age=old; each seed draws the rest.")
    ] = "",
    as_grid: Annotated[bool, typer.Option("--grid", help="One grid.png instead of single pictures.")] = False,
    file_format: Annotated[str, typer.Option("--format", help="png, jpg or webp.")] = "png",
    batch: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Pictures made at once.")] = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: AsJson = False,
) -> None:
    """Make pictures: OUT/seed0000.png and so on, or one grid."""
    from facegan import models
    from facegan.output import write_grid, write_pictures
    from facegan.synthesis import Sampler, parse_seeds

    chosen = parse_seeds(seeds)
    sampler = Sampler(models.load(model), device=device, precision=precision, batch=batch)
    how: dict[str, Any] = {"psi": psi, "noise": noise, "label": label, "file_format": file_format}
    if as_grid:
        path = write_grid(sampler, chosen, out, seeds_text=seeds, **how)
        _print({"grid": str(path), "pictures": len(chosen)}, as_json)
    else:
        with counter("pictures", len(chosen)) as advance:
            count = write_pictures(sampler, chosen, out, wrote=advance, **how)
        _print({"folder": str(out), "pictures": count}, as_json)


@app.command()
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="The real pictures: folder or zip; default: the starter set.")
    ] = "starter",
    metrics: Annotated[str, typer.Option(help="A list of fd, kid and pr.")] = "fd,kid,pr",
    samples: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Pictures of the model.")
    ] = 10_000,
    psi: Annotated[
        float | None, typer.Option(parser=number, metavar="X", help="Truncation; default: 1, none.")
    ] = None,
    seed: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="The first seed.")] = 0,
    features: Annotated[
        str, typer.Option(help="efficientnet, fid, clean-fid, dinov2, random or pixels.")
    ] = "efficientnet",
    features_file: Annotated[
        Path | None, typer.Option(help="The network of fid, clean-fid and dinov2, where it is not cached.")
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
    write: Annotated[bool, typer.Option("--write", help="Add the result to the model file's card.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model, or a set of pictures, against real ones."""
    from facegan import models
    from facegan.config import to_json
    from facegan.metrics.evaluate import measure
    from facegan.metrics.report import add_to_card, as_text, card_file
    from facegan.metrics.subjects import model_subject, opened, pictures_subject
    from facegan.synthesis import DEFAULT_BATCH, Sampler

    name = model or "dcgan-64"
    if (pictures is None) != (resolution is None):
        raise UsageError("--pictures and --resolution go together: two sets are compared at one size")
    of_a_model = {"model": model, "psi": psi, "batch": batch, "precision": precision, "write": write or None}
    if pictures is not None and (idle := [word for word, value in of_a_model.items() if value is not None]):
        raise UsageError(f"--{idle[0]} has no effect with --pictures: it is for models")
    target = card_file(name) if write else None
    with stages() as progress:
        if pictures is not None and resolution is not None:
            made = opened(pictures, crop, size=(resolution, resolution), channels=3)
            subject = pictures_subject(made, seed=seed)
        else:
            sampler = Sampler(
                models.load(name),
                device=device,
                precision=precision or "auto",
                batch=DEFAULT_BATCH if batch is None else batch,
            )
            subject = model_subject(sampler, psi=1.0 if psi is None else psi, seed=seed)
        result = measure(
            subject,
            data,
            crop=crop,
            features=features,
            features_file=features_file,
            metrics=metrics.split(","),
            samples=samples,
            device=device,
            progress=progress,
        )
    print(json.dumps(to_json(result)) if as_json else as_text(result), flush=True)
    if target is not None:
        add_to_card(target, result)
        say(f"added to the card of {target}")


@app.command()
def models(as_json: AsJson = False) -> None:
    """What --model can be: the shipped models, and the other forms."""
    from facegan.models import describe, read_header, shipped

    table = {name: describe(*read_header(path)) for name, path in shipped().items()}
    if as_json:
        print(json.dumps(table))
        return
    for name, facts in table.items():
        print(
            f"{name:16} {facts['architecture']} {facts['height']}x{facts['width']}, "
            f"{facts['images_seen']:,} images of {facts['data']}, licence {facts['licence'] or 'not stated'}"
        )
    print("or a .safetensors file, a run folder (its newest EMA), or hf://owner/name")


@app.command()
def people(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The set to draw: a name that ends in .zip, or a folder's."),
    ],
    count: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Pictures in all.")] = 1000,
    resolution: Annotated[
        int, typer.Option(parser=whole_number, metavar="R", help="Pixels of a side, 16 to 1024.")
    ] = 64,
    seed: Annotated[
        int, typer.Option(parser=whole_number, metavar="S", help="Another seed draws other people.")
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="W", help="Processes; default: one a core.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="png, webp (both lossless) or jpg.")] = "png",
    as_json: AsJson = False,
) -> None:
    """Draw people who do not exist, with labels; stopped or killed, the same command goes on."""
    from facegan.people.draw import draw_people

    compiling = "the first picture takes up to a minute: the drawing code is being compiled, once a machine"
    with pace("pictures", compiling) as progress, interruptible() as stopped:
        drawn = draw_people(
            out,
            count=count,
            resolution=resolution,
            seed=seed,
            workers=workers,
            file_format=file_format,
            progress=progress,
            stop=stopped,
        )
    if not drawn.finished:
        options = f"--count {count} --resolution {resolution} --seed {seed} --format {file_format}"
        say(f"saved; go on with: facegan people {out} {options}")
    elif not drawn.new:
        say(f"{out}: all {count:,} pictures are there already")
    result = {"path": str(out), "pictures": drawn.pictures, "finished": drawn.finished}
    times = {"seconds": drawn.seconds, "pictures_per_second": drawn.pictures_per_second}
    _print(result | {name: round(value, 2) for name, value in times.items()}, as_json)


# ---- small things


def _print(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


def _batch_settings(batch: int) -> list[str]:
    return ["micro_batch=0"] if batch == AUTO else [f"batch={batch}", f"micro_batch={batch}"]
