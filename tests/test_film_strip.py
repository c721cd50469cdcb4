"""The report's pictures: frames spread over the run, strips of the same faces."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegan.images import Provenance, save
from facegan.training.film_strip import film, spread, strip


def grids(folder: Path, moments: Iterable[int], side: int = 64) -> list[tuple[int, Path]]:
    """Grids of 8x8 faces of one grey level each: the number of the face times 4; random pixels on top."""
    made = []
    random = np.random.default_rng(0)
    for moment in moments:
        grey = np.repeat(np.repeat(np.arange(64).reshape(8, 8) * 4, side // 8, 0), side // 8, 1)
        noise = random.integers(-2, 3, (side, side, 3))
        path = folder / f"{moment:09d}.jpg"
        save(path, (grey[:, :, None] + noise).clip(0, 255).astype(np.uint8), Provenance("m", "0-63", 1.0))
        made.append((moment, path))
    return made


def pixels_of(address: str) -> np.ndarray:
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


def test_frames_are_spread_over_the_run_with_first_and_last() -> None:
    samples = [(number, Path(str(number))) for number in range(101)]
    assert [seen for seen, _ in spread(samples, 5)] == [0, 25, 50, 75, 100]
    assert spread(samples[:3], 5) == samples[:3]


def test_frames_are_the_grids_and_keep_saying_what_they_are(tmp_path: Path) -> None:
    frames, damaged = film(grids(tmp_path, [5, 9]))
    assert ([frame.images_seen for frame in frames], damaged) == ([5, 9], 0)
    assert pixels_of(frames[0].address)[4::8, 4::8].mean(axis=2) == pytest.approx(
        np.arange(64).reshape(8, 8) * 4, abs=6
    )
    data = base64.b64decode(frames[0].address.partition(",")[2])
    assert Image.open(io.BytesIO(data)).getexif()[0x0131] == "facegan"


def test_a_grid_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    samples = grids(tmp_path, [5, 9])
    samples[0][1].write_bytes(b"no picture")
    frames, damaged = film(samples)
    assert ([frame.images_seen for frame in frames], damaged) == ([9], 1)


def test_a_strip_holds_the_same_faces_at_each_moment(tmp_path: Path) -> None:
    made = strip(grids(tmp_path, [5, 9, 12]), (8, 8))
    assert made is not None
    sheet, moments = made
    assert moments == [5, 9, 12]
    middles = pixels_of(sheet.address)[40::80, 40::80].mean(axis=2)
    assert middles == pytest.approx(np.repeat(np.arange(7)[:, None] * 4, 3, axis=1), abs=4)


def test_transparent_grids_are_shown_over_white(tmp_path: Path) -> None:
    path = tmp_path / "000000005.png"
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(path)
    (frame,), _ = film([(5, path)])
    assert (pixels_of(frame.address) > 250).all()
