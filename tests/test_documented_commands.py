"""Every command line that the documentation names is one: program, options, values, settings, models, files.

Nothing is run here: `test_documented_sessions.py` does that.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import ROOT, Command, commands, inline_code, pages
from safetensors import safe_open
from test_documented_sessions import by_hand, left_out

from facegan import cli, hub, models
from facegan.animation import parse_walks
from facegan.cli.exporting import FORMATS
from facegan.config import choose, override, to_json
from facegan.known import KNOWN
from facegan.latents.sheets import strengths
from facegan.layers import parse_layers
from facegan.perception.features import EXTRACTORS
from facegan.presets import PRESETS, preset
from facegan.run import Run
from facegan.serve.settings import Settings
from facegan.synthesis import parse_seeds
from facegan.terminal import seconds

PAGES = pages()
COMMANDS = [command for page, text in PAGES.items() for command in commands(page, text)]
APP: Any = typer.main.get_command(cli.app)
WRONG_WORDS: Any = typer.BadParameter.__mro__[2]  # what the parser raises
RUNS = [each.run for each in PRESETS.values()]
DIRECTIONS = ROOT / "facegan" / "zoo" / "stylegan2-64-tiny.directions.safetensors"
TO_SHIP = {  # by what a page says before
    Path(command.words[3]).stem for command in COMMANDS if "tools/ship_model.py" in command.words
}
MEANT_OF_ANY = {"a.b=c", "a=b"}  # how a setting is written, not one


def of(*programs: str) -> Any:
    """A parameter `command`: each documented one of these programs."""
    chosen = [command for command in COMMANDS if command.program in programs]
    return pytest.mark.parametrize("command", chosen, ids=str)


FACEGAN = pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.arguments is not None], ids=str
)


def parsed(command: Command) -> tuple[str, dict[str, Any]] | None:
    """The command's name and its options as the real parser reads them; None where prose names only a part.

    Raises:
        UsageError of typer: the parser would refuse the line, and not only because something is left out.
    """
    name, *rest = command.arguments or []
    if name.startswith("-"):
        APP.make_context("facegan", [name, *rest], resilient_parsing=True)
        return None
    assert name in APP.commands, f"{command}: no command {name!r}"
    try:
        return name, APP.commands[name].make_context(name, [*rest]).params
    except WRONG_WORDS as error:
        if command.is_open and type(error).__name__ == "MissingParameter":
            return None
        if command.is_open and rest[-1].startswith("--") and "requires an argument" in error.message:
            return None
        raise


def is_model(name: str) -> None:
    """A shipped model, a name on the hub, or a path of the reader's."""
    if name.startswith("hf://"):
        hub.parse(name)
    elif "/" not in name and not name.endswith(".safetensors") and not name.isupper():
        choose("model", name, {*models.shipped(), *TO_SHIP})


def is_source(name: str) -> None:
    """A file's name, an address, or a public model."""
    if not name.endswith((".pkl", ".pt")):
        choose("model", name, KNOWN)


def is_direction(text: str) -> None:
    """One that the shipped model has, or of those that are computed."""
    name = text.partition("=")[0]
    if not re.fullmatch(r"(pca|sefa):\d+", name):
        with safe_open(DIRECTIONS, "np") as file:
            entries = json.loads(file.metadata()["header"])["entries"]
        choose("direction", name, [entry["name"] for entry in entries])


# what the parser takes as words, and the command itself looks at
MEANINGS: dict[tuple[str, str] | str, Callable[[str], object]] = {
    "seeds": parse_seeds,
    "rows": parse_seeds,
    "cols": parse_seeds,
    "styles": lambda text: parse_layers(text, 18),
    "strength": lambda text: strengths(text, 7),
    "walks": parse_walks,
    "stop_after": seconds,
    "preset": preset,
    "model": is_model,
    "init": is_model,
    "source": is_source,
    "direction": is_direction,
    "features": lambda text: choose("features", text, EXTRACTORS),
    ("export", "file_format"): lambda text: choose("format", text, FORMATS),
    ("push", "name"): hub.parse,
}


def settings_fit(assignments: list[str], configs: list[Any]) -> None:
    """That one of the configs takes all settings; of `a.b=...` and `a.b=N` only the name is looked at."""
    settings = [text for text in assignments if text not in MEANT_OF_ANY]
    for name, _, value in (text.partition("=") for text in settings):
        if re.fullmatch(r"\.\.\.|[A-Z]+", value):
            assert any(has_setting(to_json(config), name) for config in configs), f"no setting {name}"
    whole = [text for text in settings if not re.search(r"=(\.\.\.|[A-Z]+)$", text)]
    errors = []
    for config in configs:
        try:
            override(config, whole)
        except ValueError as error:
            errors.append(str(error))
        else:
            return
    raise AssertionError(errors[0])


def has_setting(config: dict[str, Any], name: str) -> bool:
    first, _, rest = name.partition(".")
    value = config.get(first)
    return has_setting(value, rest) if rest and isinstance(value, dict) else first in config and not rest


def runs_meant(command: Command, options: dict[str, Any]) -> list[Run]:
    """The preset's run, or with --resume that of the page's command which began the same run; else any."""
    if options["preset"] is not None:
        return [preset(options["preset"]).run]
    begun = [
        other[1]
        for earlier in COMMANDS
        if earlier.page == command.page and earlier.line < command.line
        if (earlier.arguments or [""])[0] == "train" and (other := parsed(earlier)) is not None
    ]
    same = [each for each in begun if each["out"] == options["out"] and each["preset"] is not None]
    return [override(preset(each["preset"]).run, each["settings"] or []) for each in same] or RUNS


def check(command: Command) -> None:
    """Fails where `facegan` would refuse the line before it begins to work.

    Raises:
        UsageError: of typer's parser, or of the values' own.
    """
    found = parsed(command)
    if found is None:
        return
    name, options = found
    for option, value in options.items():
        meaning = MEANINGS.get((name, option)) or MEANINGS.get(option)
        for word in value if isinstance(value, (list, tuple)) else [value]:
            if meaning is not None and word is not None:
                meaning(word)
    if name == "train":
        given = [f"init={json.dumps(options['init'])}"] if options["init"] else []
        settings_fit([*given, *(options["settings"] or [])], runs_meant(command, options))
    elif options.get("settings"):
        settings_fit(options["settings"], [Settings()])


def test_the_documentation_is_read() -> None:
    found = {command.page for command in COMMANDS}
    assert {"README.md", "CONTRIBUTING.md", "docs/training.md", "facegan/zoo/dcgan-64.md"} <= found
    assert {"examples/face_generation.ipynb", "examples/training.py", "tools/ship_model.py"} <= found
    assert sum(command.arguments is not None for command in COMMANDS) > 130


def test_comments_assignments_pipes_and_continued_lines_are_understood() -> None:
    page = """Prose with `facegan edit
    --list` and `facegan: an error`, `facegan/cli/`.

```
facegan generate --seeds 0-3 \\
    --label "a=b,c=#d"   # seeds, facegan mix
THREADS=1 time .venv/bin/python -m facegan models --json | tool > facegan.json && make demo
name  other      facegan train --data faces/ ...
```
"""
    assert [(found.line, found.words, found.is_block) for found in commands("page", page)] == [
        (1, ("facegan", "edit", "--list"), False),
        (5, ("facegan", "generate", "--seeds", "0-3", "--label", "a=b,c=#d"), True),
        (7, (".venv/bin/python", "-m", "facegan", "models", "--json"), True),
        (7, ("tool",), True),
        (7, ("make", "demo"), True),
        (8, ("facegan", "train", "--data", "faces/", "..."), True),
    ]


@FACEGAN
def test_a_command_line_is_one(command: Command) -> None:
    check(command)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("facegan generte --seeds 1", "no command 'generte'"),
        ("facegan generate --sedes 1", "No such option"),
        ("facegan generate 0-3", "unexpected extra argument"),
        ("facegan report runs/faces [--out page.html]", "unexpected extra argument"),
        ("facegan generate --seeds 5-3", "write 3-5"),
        ("facegan generate --psi much", "not a number"),
        ("facegan generate --model dcgan-46", "did you mean 'dcgan-64'"),
        ("facegan train --preset dcgan-64", "Missing option"),
        ("facegan train --preset dcgan-46 --out RUN", "did you mean 'dcgan-64'"),
        ("facegan train --preset dcgan-64 --out RUN --set optimiser.lr=1", "no such group of settings"),
        ("facegan train --preset dcgan-64 --out RUN --set optimizer.rate=1", "no such setting"),
        ("facegan train --preset dcgan-64 --out RUN --set batch=100", "must be a multiple"),
        ("facegan train --out RUN --resume --set optimizer.rate=1", "no such setting"),
        ("facegan serve --set max_pictures=many", "max_pictures"),
        ("facegan edit --direction smiel", "did you mean 'smile'"),
        ("facegan mix --styles rough", "rough"),
        ("facegan export --format omnx --out f", "did you mean 'onnx'"),
        ("facegan import ffqh --out f.safetensors", "did you mean 'ffhq'"),
        ("facegan push owner/name --model M", "owner/name"),
        ("torchrun --nproc-per-node 2 -m facegan train --presets dcgan-64 --out RUN", "No such option"),
    ],
)
def test_a_wrong_line_is_found(line: str, said: str) -> None:
    (command,) = commands("page.md", f"```\n{line}\n```\n")
    with pytest.raises((WRONG_WORDS, ValueError, AssertionError)) as caught:
        check(command)
    error: Any = caught.value
    assert said in (error.format_message() if isinstance(error, WRONG_WORDS) else str(error))


OPTIONS = {option for each in APP.commands.values() for one in each.params for option in one.opts}
ALONE = [
    (f"{page}:{line}", code)
    for page, text in PAGES.items()
    for line, code in inline_code(text)
    if page not in ("docs/compared.md", "docs/checked-commands.md", "benchmarks/README.md")
    and (code.startswith("--") or re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+=[^ =]+", code))
]
# of docker, stylegan3 and torchrun
OF_OTHERS = {"--build-arg", "--cfg", "--nnodes", "--node-rank", "--master-addr", "--master-port"}


@pytest.mark.parametrize(("where", "code"), ALONE, ids=[where for where, _ in ALONE])
def test_options_and_settings_that_prose_names_are_there(where: str, code: str) -> None:
    words = code.split()
    named = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    assert named <= OPTIONS | OF_OTHERS, where
    given = [after for word, after in itertools.pairwise(words) if word == "--set"]
    given += [] if code.startswith("--") else [code]
    if given and all("=" in text for text in given):
        settings_fit(given, [*RUNS, Settings()])


@of("python")
def test_a_script_is_there_and_has_the_options(command: Command) -> None:
    script = command.words[1]
    if script in ("-m", "-c") or "/" not in script:
        return
    source = (ROOT / script).read_text()
    for word in command.words[2:]:
        if re.match(r"--[a-z]", word):
            assert f'"{word}"' in source, f"{command}: {script} has no {word}"


@of("make")
def test_a_target_is_in_the_makefile(command: Command) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command.words[1] in targets or "=" in command.words[1]


def test_every_extra_that_is_named_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        (page, extra)
        for page, text in PAGES.items()
        for found in re.findall(r"(?:facegan|[ '\"]\.)\[([a-z,]+)\]", text)
        for extra in found.split(",")
    }
    assert {extra for _, extra in named} >= {"studio", "onnx", "metrics", "people", "track"}
    assert [each for each in named if each[1] not in project["optional-dependencies"]] == []


def test_what_no_test_runs_stands_in_the_table_of_checks() -> None:
    told = by_hand()
    assert [f"{command}: {command.text}" for command in left_out() if command.text not in told] == []
    in_docs = {command.text for command in COMMANDS if command.is_block}
    assert [text for text in told if text not in in_docs] == []
