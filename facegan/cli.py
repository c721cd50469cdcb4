"""The command line: parse, call the public function, print. Nothing heavy is imported before a command runs.

Results go to stdout (JSON with --json), progress to stderr.
Exit status: 0 done, 2 wrong use (one line), 1 failed while working, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from facegan.config import UsageError, nearest

app = typer.Typer(
    name="facegan",
    help="Faces of people who do not exist.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# click's base class of parsing errors, found through typer: some versions bring their own copy of click
_ParseError: Any = typer.BadParameter.__mro__[2]


def _number(text: str) -> float:
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf)", str(text)):
        raise typer.BadParameter(f"{text!r} is not a number")
    return float(text)


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", str(text)):
        raise typer.BadParameter(f"{text!r} is not a whole number of at most 18 digits")
    return int(text)


# a place that cannot be what it should be; a disk that is full or fails is another matter
_WRONG_PLACE = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
MAX_MESSAGE = 600  # characters
Model = Annotated[str, typer.Option(help="A shipped name, .safetensors file, run folder or hf://owner/name.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main() -> None:
    """The console script: wrong use becomes one line and exit status 2."""
    warnings.showwarning = lambda message, *_: _say(f"facegan: note: {message}")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit status."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except _ParseError as error:
        return _fail(_parse_message(error), 2)
    except UsageError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):  # newer versions of typer return 130 themselves
        return 130
    except FloatingPointError as error:
        return _fail(f"training failed: {error}", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2 if isinstance(error, _WRONG_PLACE) else 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail("not enough memory; a smaller --batch needs less", 1)


def _parse_message(error: Any) -> str:
    """What was given, what is allowed, and the nearest right word, of an error in the words themselves."""
    text: str = error.format_message()
    command: Any = getattr(error.ctx, "command", None)
    where = "" if error.ctx is None or error.ctx.parent is None else f" {command.name}"
    unknown = re.match(r"No such (command|option):? '?([^' ]+?)'?[. ]*(\(|Did|$)", text)
    if unknown and unknown[1] == "command":
        words = list(command.commands)
        return f"no command {unknown[2]!r}: one of {', '.join(words)}{nearest(unknown[2], words)}"
    if unknown and command is not None:
        words = [word for parameter in command.params for word in parameter.opts]
        return f"no option {unknown[2]}{nearest(unknown[2], words)}; facegan{where} --help lists them"
    return text


def _is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch's CPU allocator or CUDA had no memory left; the last two raise RuntimeErrors."""
    texts = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def _fail(message: str, status: int) -> int:
    """Prints one line, of a readable length and without control characters, whatever a file's names hold."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(message.split()))
    if len(line) > MAX_MESSAGE:
        line = f"{line[: MAX_MESSAGE // 2]} ... {line[-MAX_MESSAGE // 2 :]}"
    print(f"facegan: {line}", file=sys.stderr)
    return status


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

    with ProgressReporter() as reporter, _interruptible() as stopped:
        written = run_demo(out, reporter=reporter, say=_say, stop=stopped)
    _print({name: str(path) for name, path in written.items()}, as_json)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    preset: Annotated[str | None, typer.Option(help="dcgan-32, dcgan-64 or dcgan-128.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or zip of pictures; default: the starter set.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, a.b=c; repeatable.")
    ] = None,
    crop: Annotated[str | None, typer.Option(help="center, pad or celeba.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --resume: accept a changed config.")] = False,
    batch: Annotated[
        int | None, typer.Option(parser=_whole_number, metavar="N", help="Images a step.")
    ] = None,
    stop_after: Annotated[
        str | None, typer.Option(help="Stop and save after this time: 90s, 20m, 2h.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(parser=_whole_number, metavar="N", help="Seed of the whole run.")
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

    seconds = _seconds(stop_after) if stop_after is not None else float("inf")
    if force and not resume:
        raise UsageError("--force has no effect without --resume")
    if resume and preset:
        raise UsageError("--preset with --resume: the run's own run.json is used; change values with --set")
    if not resume and not preset:
        raise UsageError("--preset is missing: which run? such as --preset dcgan-64")
    run = RunFolder(out).read_config() if resume else find_preset(preset or "").run
    given = {"data.path": data, "data.crop": crop, "seed": seed, "device": device, "precision": precision}
    assignments = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    run = override(
        run, [*assignments, *(_batch_settings(batch) if batch is not None else []), *(settings or [])]
    )
    try:
        with ProgressReporter() as reporter, _interruptible() as stopped:
            result = run_training(
                run,
                out,
                resume=resume,
                force=force,
                stop_after_seconds=seconds,
                stop_requested=stopped,
                reporter=reporter,
            )
    except OSError as error:
        if RunFolder(out).exists():
            how = f"{error.strerror or error}; what was saved before is kept; once that is solved: "
            raise OSError(error.errno, f"{how}facegan train --out {out} --resume", error.filename) from error
        raise
    if not result.finished:
        _say(f"saved; go on with: facegan train --out {out} --resume")
    _print({"run": str(out), "images_seen": result.images_seen, "finished": result.finished}, as_json)


@app.command()
def generate(
    seeds: Annotated[str, typer.Option(help="Ranges and lists: 0-63, 1,5,9-12.")] = "0-15",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("faces"),
    model: Model = "dcgan-64",
    psi: Annotated[
        float,
        typer.Option(
            parser=_number, metavar="X", help="Truncation: 1 is the whole variety, 0 the average face."
        ),
    ] = 0.7,
    noise: Annotated[str, typer.Option(help="const, random or none.")] = "const",
    as_grid: Annotated[bool, typer.Option("--grid", help="One grid.png instead of single pictures.")] = False,
    file_format: Annotated[str, typer.Option("--format", help="png, jpg or webp.")] = "png",
    batch: Annotated[
        int, typer.Option(parser=_whole_number, metavar="N", help="Pictures made at once.")
    ] = 32,
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
    if as_grid:
        path = write_grid(
            sampler, chosen, out, psi=psi, noise=noise, file_format=file_format, seeds_text=seeds
        )
        _print({"grid": str(path), "pictures": len(chosen)}, as_json)
    else:
        with _counter("pictures", len(chosen)) as advance:
            count = write_pictures(
                sampler, chosen, out, psi=psi, noise=noise, file_format=file_format, wrote=advance
            )
        _print({"folder": str(out), "pictures": count}, as_json)


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
            f"{name:16} {facts['architecture']} {facts['resolution']} px, {facts['images_seen']:,} images "
            f"of {facts['data']}, licence {facts['licence'] or 'not stated'}"
        )
    print("or a .safetensors file, a run folder (its newest EMA), or hf://owner/name")


# ---- small things


def _print(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text.strip())
    if not match:
        raise UsageError(f"--stop-after {text!r}: a number and s, m or h, such as 90s, 20m, 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _batch_settings(batch: int) -> list[str]:
    return [f"batch={batch}", f"micro_batch={batch}"]


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C (or SIGTERM) came; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        # not print: the signal may have come in the middle of one
        os.write(2, b"\nstopping as soon as everything is saved (again to stop at once)\n")

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _counter(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr; the function given moves it by one."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
