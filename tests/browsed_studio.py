"""A studio as a process, its page in a browser, and what a hand does there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import SCREENS

ENTRY = "import sys, facegan.cli; sys.argv[0] = 'facegan'; facegan.cli.main()"


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """The address of a studio whose kept faces are in folder/kept; it must end well when interrupted."""
    words = ["studio", "--port", "0", "--gallery", str(folder / "kept"), "--runs", str(folder / "runs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder / "gradio")}
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *words, "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode in (0, 130)
    assert "Traceback" not in said
    assert "Warning" not in said


@contextmanager
def opened(browser: Any, address: str, script: str = "", **how: Any) -> Iterator[Any]:
    """The page, with a script before its own; nothing may come from elsewhere or be complained of."""
    elsewhere: list[str] = []
    said: list[str] = []
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | how)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.add_init_script(script)
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(address)
    page.locator("#faces .tile").first.wait_for()
    yield page
    context.close()
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []
    assert said == []


def shoot(page: Any, name: str) -> None:
    page.screenshot(path=SCREENS / f"studio-{name}.png", full_page=True)


def show(page: Any, tab: str) -> None:
    """Goes to a tab; on a phone some are in a menu."""
    if not page.get_by_role("tab", name=tab).is_visible():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=tab).click()
    else:
        page.get_by_role("tab", name=tab).click()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()


def caption(page: Any) -> Any:
    return page.locator("#large figcaption b")


def warned(page: Any, text: str) -> None:
    page.locator(".toast-body", has_text=text).first.wait_for()
