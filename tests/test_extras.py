"""What says which extra is missing: in one form, of extras that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import facegan
from facegan.config import how_to_install

PACKAGE = Path(facegan.__file__).parent
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}


def test_an_extra_is_installed_from_the_index_or_from_a_checkout() -> None:
    assert how_to_install("onnx") == "pip install 'facegan[onnx]' (in a checkout: -e '.[onnx]')"


def test_no_message_words_an_extra_s_installation_itself() -> None:
    assert [name for name, text in SOURCES.items() if "pip install 'facegan[" in text] == ["config.py"]


def test_messages_name_extras_that_exist() -> None:
    named = {extra for text in SOURCES.values() for extra in re.findall(r"how_to_install\([\"'](\w+)", text)}
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert named
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in PACKAGE.parent.glob("docs/*.md"))])
def test_pages_name_extras_that_exist(page: str) -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    named = re.findall(r"'(?:facegan|\.)\[([\w,]+)\]'", (PACKAGE.parent / page).read_text())
    assert {extra for each in named for extra in each.split(",")} <= set(project["optional-dependencies"])
