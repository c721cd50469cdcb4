"""Pages of the site (mkdocs.yml) that are files elsewhere: README, cards ...; words of links, formulas."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
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


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links from docs/ to files elsewhere as links between pages, with the pages' names; LaTeX as MathML."""
    elsewhere = ((f"{CARDS}/", "zoo/"), (NOTEBOOK, Path(NOTEBOOK).name), ("README.md", PAGES["README.md"]))
    for file, page_or_file in elsewhere:
        markdown = markdown.replace(f"](../{file}", f"]({page_or_file}")
    markdown = re.sub(r"^\$\$ (.+) \$\$$", formula, markdown, flags=re.MULTILINE)

    def named(link: re.Match[str]) -> str:
        target = files.get_file_from_path(normpath(join(dirname(page.file.src_uri), link[1])))
        return f"[{target.page.title}]({link[1]}{link[2] or ''})" if target and target.page else link[0]

    return re.sub(r"\[[\w./-]+\.md\]\(([^)#\s]+\.md)(#[^)]*)?\)", named, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Words of code stay in one line: browsers would break `--option` behind its hyphens."""

    def whole(code: re.Match[str]) -> str:
        return re.sub(r"(?<!\S)\S{1,32}(?!\S)", r'<span class="word">\g<0></span>', code[0])

    return re.sub(r"(?<=<code>)(?<!</span><code>)[^<\n]+(?=</code>)", whole, html)


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
