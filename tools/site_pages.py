"""Pages of the site (mkdocs.yml) that are files elsewhere: README, the models' cards ...; formulas."""

from __future__ import annotations

import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
CARDS = "facegan/zoo"
NOTEBOOK = "examples/face_generation.ipynb"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages in docs/, and those of elsewhere with their links set to each other."""
    pages = PAGES | {f"{CARDS}/{path.name}": f"zoo/{path.name}" for path in (ROOT / CARDS).glob("*.md")}
    for source, page in pages.items():
        text = relinked((ROOT / source).read_text(encoding="utf-8"), source, pages)
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, Path(NOTEBOOK).name, abs_src_path=str(ROOT / NOTEBOOK)))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """Links from docs/ to files elsewhere as links between pages, LaTeX as MathML."""
    for file, page_or_file in ((f"{CARDS}/", "zoo/"), (NOTEBOOK, Path(NOTEBOOK).name)):
        markdown = markdown.replace(f"](../{file}", f"]({page_or_file}")
    return re.sub(r"^\$\$ (.+) \$\$$", formula, markdown, flags=re.MULTILINE)


def formula(latex: re.Match[str]) -> str:
    """What browsers show by themselves: a script for LaTeX would come from elsewhere."""
    return f'<div style="overflow-x: auto">{convert(latex[1], display="block")}</div>'


def relinked(text: str, source: str, pages: dict[str, str]) -> str:
    """The text with links between files of the repository as links between pages, else as their words."""
    here = Path(source).parent

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        path = (ROOT / here / target).resolve().relative_to(ROOT).as_posix()
        if path not in pages and not path.startswith("docs/"):
            return words
        page = pages.get(path, path.removeprefix("docs/"))
        return f"[{words}]({'../' * pages[source].count('/')}{page}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)", link, text)
