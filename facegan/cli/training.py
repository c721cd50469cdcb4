"""The commands that train: demo, train."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import AsJson, print_result
from facegan.config import UsageError
from facegan.terminal import AUTO, batch_size, fail, interruptible, say, seconds, whole_number

PRESET_NAMES = (
    "dcgan-32, dcgan-64, dcgan-128, stylegan-64, stylegan-128, stylegan-ffhq-1024, stylegan-celebahq-1024, "
    "stylegan2-64-tiny, stylegan2-64-small, low-data, stylegan2-64, stylegan2-128, stylegan2-ffhq-256, "
    "stylegan2-ffhq-512, stylegan2-ffhq-1024 or stylegan2-config-f."
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """The tour: sample the shipped model, make a film, train a small model for 100 s."""
    from facegan.demo import demo as run_demo
    from facegan.training.progress import ProgressReporter

    with ProgressReporter() as reporter, interruptible() as stopped:
        written = run_demo(out, reporter=reporter, say=say, stop=stopped)
    print_result({name: str(path) for name, path in written.items()}, as_json)


def train(
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    preset: Annotated[str | None, typer.Option(help=PRESET_NAMES)] = None,
    config: Annotated[
        Path | None, typer.Option(help="Instead of a preset: all settings of this run or run.json.")
    ] = None,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print all settings as JSON, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model; Ctrl-C saves and stops, --resume goes on exactly."""
    from facegan.config import override, to_json
    from facegan.presets import preset as find_preset
    from facegan.training.distributed import ProcessError
    from facegan.training.joining import joined
    from facegan.training.loop import train as run_training
    from facegan.training.progress import ProgressReporter
    from facegan.training.run_folder import RunFolder, read_run

    limit = seconds(stop_after) if stop_after is not None else float("inf")
    if force and not resume:
        raise UsageError("--force has no effect without --resume")
    if (resume, preset is not None, config is not None).count(True) > 1:
        raise UsageError(
            "--preset, --config, --resume: one of them; --resume uses the run's own run.json; "
            "change values with --set"
        )
    if init is not None and (resume or not init):
        raise UsageError("--init needs a model's name, and a new run: with --resume it goes on from its own")
    if resume:
        run = RunFolder(out).read_config()
    elif config is not None:
        run = read_run(config)
    elif preset:
        run = find_preset(preset).run
    else:
        raise UsageError("--preset is missing: which run? such as --preset dcgan-64")
    given = {"data.path": data, "data.crop": crop, "init": init, "seed": seed, "device": device}
    given |= {"precision": precision, "track": None if resume else "auto"}
    assignments = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    run = override(
        run, [*assignments, *(_batch_settings(batch) if batch is not None else []), *(settings or [])]
    )
    if dry_run:
        print(json.dumps(to_json(run), indent=2))
        return
    try:
        with ExitStack() as stack:
            world = stack.enter_context(joined(run.device))
            stopped = stack.enter_context(interruptible())
            shows = world.rank == 0
            result = run_training(
                run,
                out,
                resume=resume,
                force=force,
                stop_after_seconds=limit,
                stop_requested=stopped,
                reporter=stack.enter_context(ProgressReporter()) if shows else None,
                world=world,
            )
    except ProcessError as error:
        how = f"; what was saved is kept, go on with --out {out} --resume" if RunFolder(out).exists() else ""
        raise typer.Exit(fail(f"training failed: {error}{how}", 1)) from None
    except OSError as error:
        if RunFolder(out).exists():
            how = f"{error.strerror or error}; what was saved before is kept; once that is solved: "
            raise OSError(error.errno, f"{how}facegan train --out {out} --resume", error.filename) from error
        raise
    if not shows:
        return
    if not result.finished:
        say(f"saved; go on with: facegan train --out {out} --resume")
    print_result({"run": str(out), "images_seen": result.images_seen, "finished": result.finished}, as_json)


def _batch_settings(batch: int) -> list[str]:
    return ["micro_batch=0"] if batch == AUTO else [f"batch={batch}", f"micro_batch={batch}"]
