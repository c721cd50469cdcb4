"""Films hold the frames they were given, at the rate asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facegan.config import UsageError
from facegan.images import Pixels
from facegan.video import write_film


def film_frames(count: int, height: int = 16, width: int = 32) -> Iterator[Pixels]:
    """Flat frames that turn from blue to orange."""
    for number in range(count):
        yield np.full((height, width, 3), (40 + 40 * number, 100, 220 - 40 * number), np.uint8)


def read_film(path: Path) -> list[Pixels]:
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(path) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
        return frames


@pytest.mark.parametrize("suffix", [".mp4", ".webp"])
def test_film_holds_the_frames_it_was_given(tmp_path: Path, suffix: str) -> None:
    write_film(tmp_path / f"a{suffix}", film_frames(5), fps=10)
    expected = np.stack(list(film_frames(5)))
    frames = np.stack(read_film(tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(frames, expected, atol=6)  # lossy, and through 8-bit YUV of limited range


@pytest.mark.parametrize("suffix", [".mp4", ".webp"])
def test_write_film_returns_the_number_of_frames(tmp_path: Path, suffix: str) -> None:
    assert write_film(tmp_path / f"a{suffix}", film_frames(4), fps=10) == 4


def test_mp4_plays_at_the_given_rate_and_says_what_it_is(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", film_frames(3), fps=25, description="synthetic & <fake>")
    with av.open(str(tmp_path / "a.mp4")) as container:
        rate, comment = container.streams.video[0].average_rate, container.metadata["comment"]
    assert (rate, comment) == (25, "synthetic & <fake>")


def test_webp_film_loops_for_ever_at_the_given_rate(tmp_path: Path) -> None:
    write_film(tmp_path / "a.webp", film_frames(3), fps=20)
    with Image.open(tmp_path / "a.webp") as image:
        image.load()
        assert (image.info["loop"], image.info["duration"]) == (0, 50)  # 0: no end; 1000 ms / 20


@pytest.mark.parametrize("suffix", [".mp4", ".webp"])
@pytest.mark.parametrize(("height", "width"), [(15, 32), (16, 31)])
def test_film_with_an_odd_side_is_refused(tmp_path: Path, suffix: str, height: int, width: int) -> None:
    with pytest.raises(UsageError, match=f"{width}x{height}: .*even"):
        write_film(tmp_path / f"a{suffix}", film_frames(2, height, width), fps=10)


def test_unknown_film_suffix_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\.mp5': one of \.mp4, \.webp .did you mean '\.mp4'"):
        write_film(tmp_path / "a.mp5", film_frames(2), fps=10)


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs frames"):
        write_film(tmp_path / "a.mp4", [], fps=10)
    with pytest.raises(UsageError, match="fps 0"):
        write_film(tmp_path / "a.mp4", film_frames(2), fps=0)
    assert list(tmp_path.iterdir()) == []
