"""The documentation site: complete, and it asks nobody else for anything."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from browser import chromium, needs_chromium

import facegan

ROOT = Path(facegan.__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = {"readme.md", "contributing.md", "changelog.md"}


def pages_of(entries: list[dict[str, object]]) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        for value in entry.values():
            found |= pages_of(value) if isinstance(value, list) else {str(value)}
    return found


def test_every_page_is_in_the_site_s_contents() -> None:
    navigation = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    cards = {f"zoo/{path.name}" for path in (ROOT / "facegan" / "zoo").glob("*.md")}
    assert navigation == {path.name for path in DOCS.glob("*.md")} | cards | GENERATED


def test_the_reference_has_every_public_name() -> None:
    written = (DOCS / "api.md").read_text()
    described = {name.rsplit(".", 1)[-1] for name in re.findall(r"^::: (\S+)$", written, re.MULTILINE)}
    assert described == set(facegan.__all__) - {"__version__"}


@pytest.mark.parametrize("name", re.findall(r"`(facegan(?:\.\w+)+)", (DOCS / "api.md").read_text()))
def test_a_name_in_the_reference_s_table_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the site was built in, without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|source|iframe)[^>]+src=\"?(?:https?:)?//", text)
        loaded += re.findall(r"<link[^>]+rel=\"?stylesheet[^>]+href=\"?(?:https?:)?//", text)
        assert not loaded, page.name


@pytest.mark.slow
def test_formulas_are_shown_without_a_script_and_the_notebook_is_there_to_take(site: Path) -> None:
    text = (site / "notebook.html").read_text()
    assert text.count("<math ") == 2
    assert "$$" not in text
    assert 'href="face_generation.ipynb"' in text
    assert (site / "face_generation.ipynb").read_bytes() == (
        ROOT / "examples" / "face_generation.ipynb"
    ).read_bytes()


@pytest.mark.slow
def test_links_that_name_a_file_are_shown_with_the_page_s_name(site: Path) -> None:
    text = (site / "sampling.html").read_text()
    assert '<a href="few-pictures.html">Few pictures, labels, shapes</a>' in text
    assert not re.findall(r">[\w/-]+\.md</a>", text)


@pytest.mark.slow
def test_options_in_a_sentence_are_not_broken_and_blocks_of_code_are_as_they_were(site: Path) -> None:
    text = (site / "sampling.html").read_text()
    assert '<code><span class="word">--noise</span> <span class="word">const</span></code>' in text
    blocks = re.findall(r"<pre>.*?</pre>", text, re.DOTALL)
    assert blocks
    assert 'class="word"' not in "".join(blocks)


@pytest.mark.slow
def test_the_front_page_leads_to_what_one_can_do_with_pictures(site: Path) -> None:
    text = (site / "index.html").read_text()
    pictured = re.findall(r'<a href="([\w-]+)\.html[^"]*"><img', text)
    assert {"sampling", "editing", "animation", "studio", "export", "people", "stylegan", "training"} <= set(
        pictured
    )
    assert not [page for page in pictured if not (site / f"{page}.html").is_file()]


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_pages_opened_from_a_folder_can_be_searched(site: Path, width: int, height: int) -> None:
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        if width < 1000:
            page.locator("label.md-header__button[for=__search]").click()
        page.locator(".md-search__input").click()
        page.keyboard.type("Lanczos")
        found = page.locator(".md-search-result__link").first
        found.wait_for()
        found.click()
        page.wait_for_load_state()
        assert page.locator("article").get_by_text("Lanczos").count() > 0
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]


@pytest.mark.slow
@needs_chromium
def test_no_page_is_wider_than_a_phone_or_lacks_a_picture(site: Path) -> None:
    pages = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    wrong: list[tuple[str, int, list[str]]] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(120_000)
        for path in pages:
            page.goto(path.as_uri())
            width = page.evaluate("document.documentElement.scrollWidth")
            missing = page.evaluate(
                "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
            )
            if width > 390 or missing:
                wrong.append((path.name, width, missing))
    assert len(pages) > 30
    assert not wrong
