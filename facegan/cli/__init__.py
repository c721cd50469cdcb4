"""The command line: parse, call the public function, print. Nothing heavy is imported before a command runs.

Results go to stdout (JSON with --json), progress to stderr.
Exit status: 0 done, 2 wrong use (one line), 1 failed while working, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import io
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated, Any

import typer

from facegan.cli.animating import animate
from facegan.cli.browsing import studio
from facegan.cli.drawing import people
from facegan.cli.editing import edit
from facegan.cli.exporting import export
from facegan.cli.importing import import_
from facegan.cli.inverting import invert
from facegan.cli.measuring import evaluate, models
from facegan.cli.publishing import push
from facegan.cli.reporting import report
from facegan.cli.sampling import generate, mix
from facegan.cli.serving import serve
from facegan.cli.training import demo, train
from facegan.config import UsageError
from facegan.terminal import WRONG_PLACE, fail, is_out_of_memory, parse_message, say

app = typer.Typer(
    name="facegan",
    help="Faces of people who do not exist.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# as the help text lists them
for command in (
    demo,
    train,
    report,
    generate,
    mix,
    animate,
    edit,
    invert,
    evaluate,
    import_,
    export,
    push,
    studio,
    serve,
    models,
    people,
):
    app.command(command.__name__.rstrip("_"))(command)

# click's base class of parsing errors, found through typer: some versions bring their own copy of click
_ParseError: Any = typer.BadParameter.__mro__[2]


def main() -> None:
    """The console script: wrong use becomes one line and exit status 2."""
    warnings.showwarning = lambda message, *_: say(f"facegan: note: {message}")
    signal.signal(signal.SIGTERM, _end)  # so that nothing half-written is left
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that its encoding lacks
    sys.exit(run(sys.argv[1:]))


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


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
