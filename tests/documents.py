"""What the documentation tells one to type: the command lines of its code blocks and of its inline code."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import facegan

ROOT = Path(facegan.__file__).parent.parent
PROGRAMS = "facegan|python|make|torchrun|srun|pip|curl|docker|tensorboard|chmod|time"
_START = re.compile(rf"(?:[A-Z_]+=\S* )*(?:[./\w]*/)?(?:{PROGRAMS}) ")
_SECOND = re.compile(r"\s{2,}(?=(?:facegan|python) )")  # behind a name or a word, in the same line
_PUNCTUATION = "();<>|&"


@dataclass(frozen=True)
class Command:
    """One command line: where it stands, and its words; comments, assignments before it and pipes are gone.

    `is_block`: in a code block, and so to be typed as it is; else prose names it, perhaps in part.
    """

    page: str
    line: int
    words: tuple[str, ...]
    is_block: bool = True

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def text(self) -> str:
        """As it is typed, but for quotes and spaces that make no difference."""
        return shlex.join(self.words)

    @property
    def program(self) -> str:
        """The first word, without its folder."""
        return self.words[0].rpartition("/")[2]

    @property
    def is_open(self) -> bool:
        """Whether something is left out: `...`, or what prose does not say."""
        return not self.is_block or "..." in self.words

    @property
    def arguments(self) -> list[str] | None:
        """The words behind `facegan` or `-m facegan`; None of another program."""
        pairs = list(itertools.pairwise(self.words))
        if self.program == "facegan":
            behind = 1
        elif ("-m", "facegan") in pairs:
            behind = pairs.index(("-m", "facegan")) + 2
        else:
            return None
        return [word for word in self.words[behind:] if word != "..."]


def pages() -> dict[str, str]:
    """The pages that name commands, by their path; a notebook and scripts as what they say in words."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    paths += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "facegan" / "zoo").glob("*.md"))]
    found = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        said = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[str(path.relative_to(ROOT))] = "\n\n".join(said)
    for folder in ("examples", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            usage = ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""
            found[str(path.relative_to(ROOT))] = f"```{usage}\n```"
    return found


def commands(page: str, text: str) -> list[Command]:
    """All command lines of a page, in their order."""
    found = [
        Command(page, number, words)
        for number, line in _block_lines(text)
        for part in _SECOND.split(line)
        if _START.match(f"{part} ")
        for words in _simple(part, is_usage=page.endswith(".py"))
    ]
    for number, code in inline_code(text):
        if _START.match(f"{code} ") and " " in code:
            found += [Command(page, number, words, is_block=False) for words in _simple(code)]
    return sorted(found, key=lambda command: command.line)


def inline_code(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each `...` outside of code blocks."""
    outside = re.sub(r"^ *```.*?^ *```", lambda block: "\n" * block[0].count("\n"), text, flags=re.S | re.M)
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", outside):
        yield outside.count("\n", 0, match.start()) + 1, " ".join(match[1].split())


def _block_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line of the code blocks that are not Python's; continued ones are one line."""
    inside, begun, parts = "", 0, [""]
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip().startswith("```"):
            inside = "" if inside else line.strip()
            if inside.startswith("```") and len(inside) > 3 and not inside.startswith("```python"):
                yield number, inside[3:].strip()  # a script's usage begins in its docstring's first line
        elif inside and not inside.startswith("```python"):
            begun = begun or number
            parts.append(line.strip().removesuffix("\\").strip())
            if not line.endswith("\\"):
                yield begun, " ".join(parts).strip()
                begun, parts = 0, [""]


def _simple(text: str, *, is_usage: bool = False) -> Iterator[tuple[str, ...]]:
    """The words of each command of a pipe or list; in a script's usage, `[--option]` as if it were given."""
    if is_usage:
        text = re.sub(r"\[(-[^\[\]]*)\]", r"\1", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split = True
    words: list[str] = []
    is_file = False
    for word in [*lexer, ";"]:
        if not set(word) <= set(_PUNCTUATION):
            if not is_file and (words or not re.match(r"[A-Z_]+=|time$", word)):
                words.append(word)
            is_file = False
        elif set(word) <= set("<>"):
            is_file = True
        elif words:
            yield tuple(words)
            words = []
