"""Makes the screenshots of README from build/screens, which the browser tests write, and from a run's report.

python tools/make_screens.py REPORT.html [docs/images]
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image

SCREENS = Path("build/screens")
WIDTH = 960  # pixels
HEIGHTS = {"studio": 900, "web": 740, "report": 740}  # of the picture's upper part that is shown
TAKEN = {"studio": "studio-create.png", "web": "web.png"}


def main() -> None:
    """Writes studio.jpg, web.jpg and report.jpg."""
    report, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images")
    pictures = {name: Image.open(SCREENS / file) for name, file in TAKEN.items()}
    pictures["report"] = Image.open(io.BytesIO(screenshot(report)))
    for name, picture in pictures.items():
        height = round(WIDTH * picture.height / picture.width)
        small = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
        small.crop((0, 0, WIDTH, min(height, HEIGHTS[name]))).save(out / f"{name}.jpg", quality=85)


def screenshot(page: Path) -> bytes:
    """The upper part of a page, as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(page.resolve().as_uri())
        image: bytes = tab.screenshot()
        browser.close()
    return image


if __name__ == "__main__":
    main()
