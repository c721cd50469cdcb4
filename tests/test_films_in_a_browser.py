"""Films are for looking at: a browser plays each format that facegan writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium, needs_chromium, served

from facegan import cli

FRAMES_PER_KEY, FPS, SIDE = 10, 10, 256

PLAYS_TO_ITS_END = """
async (name) => {
    const film = document.createElement("video");
    film.muted = true;
    film.src = name;
    document.body.append(film);
    const ended = new Promise((resolve, reject) => { film.onended = resolve; film.onerror = reject; });
    await film.play();
    await ended;
    return [film.videoWidth, film.videoHeight, film.duration, film.currentTime];
}
"""

# every frame that the browser itself decodes
DECODED = """
async ([name, type]) => {
    const data = await (await fetch(name)).arrayBuffer();
    const decoder = new ImageDecoder({data, type});
    await decoder.tracks.ready;
    await decoder.completed;
    const track = decoder.tracks.selectedTrack;
    const {image} = await decoder.decode({frameIndex: track.frameCount - 1});
    return [image.displayWidth, image.displayHeight, track.frameCount, track.repetitionCount];
}
"""


@pytest.mark.slow
@needs_chromium
def test_films_play_in_a_browser(tiny_run: Path, tmp_path: Path) -> None:
    words = ["animate", "--model", str(tiny_run), "--seeds", "1,2", "--fps", str(FPS), "--device", "cpu"]
    words += ["--seconds-per-key", str(FRAMES_PER_KEY / FPS), "--no-loop"]
    for name in ("a.mp4", "a.gif", "a.webp"):
        assert cli.run([*words, "--out", str(tmp_path / name)]) == 0
    (tmp_path / "index.html").write_text("<!doctype html><title>films</title><link rel=icon href=data:,>")
    said: list[str] = []
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)
        width, height, duration, at = page.evaluate(PLAYS_TO_ITS_END, "a.mp4")
        images = [page.evaluate(DECODED, [f"a.{kind}", f"image/{kind}"]) for kind in ("gif", "webp")]
    frames = FRAMES_PER_KEY + 1  # both ends
    assert (width, height) == (SIDE, SIDE)
    assert duration == pytest.approx(frames / FPS, abs=0.01)
    assert at == pytest.approx(duration, abs=0.05)
    assert [image[:3] for image in images] == [[SIDE, SIDE, frames]] * 2
    assert [image[3] for image in images] == [0, 0]  # shown once, without a repetition
    assert said == []
