"""Films hold the frames they were given, at the rate asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facegan.config import UsageError
from facegan.images import Pixels, Provenance, read_provenance
from facegan.video import _describe_webp, write_film

SUFFIXES = [".mp4", ".webp", ".gif"]


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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_film_holds_the_frames_it_was_given(tmp_path: Path, suffix: str) -> None:
    write_film(tmp_path / f"a{suffix}", film_frames(5), fps=10)
    expected = np.stack(list(film_frames(5)))
    frames = np.stack(read_film(tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(frames, expected, atol=6)  # lossy, and through 8-bit YUV of limited range


@pytest.mark.parametrize("suffix", SUFFIXES)
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


@pytest.mark.parametrize(("suffix", "even"), [(".mp4", True), (".webp", True), (".gif", False)])
def test_an_odd_side_repeats_its_last_row_or_column_where_the_codec_needs_it(
    tmp_path: Path, suffix: str, even: bool
) -> None:
    write_film(tmp_path / f"a{suffix}", film_frames(2, 15, 31), fps=10)
    frames = np.stack(read_film(tmp_path / f"a{suffix}"))
    assert frames.shape == ((2, 16, 32, 3) if even else (2, 15, 31, 3))
    height, width = frames.shape[1:3]
    np.testing.assert_allclose(frames, np.stack(list(film_frames(2, height, width))), atol=6)


def test_mp4_is_what_browsers_play_from_its_first_bytes_on(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", film_frames(3), fps=25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index stands before the pictures


def test_webp_says_what_it_is_as_a_saved_picture_does(tmp_path: Path) -> None:
    for text in ("model", "model2"):  # chunks of odd and of even length
        provenance = Provenance(text, "1,2", 0.7)
        write_film(tmp_path / "a.webp", film_frames(3), fps=20, description=provenance.as_text())
        assert read_provenance(tmp_path / "a.webp") == provenance
        assert len(read_film(tmp_path / "a.webp")) == 3
        content = (tmp_path / "a.webp").read_bytes()
        assert len(content) == 8 + int.from_bytes(content[4:8], "little")
        assert len(content) % 2 == 0  # as RIFF wants its chunks


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("side", [15, 64])
def test_a_webp_of_equal_frames_is_a_picture_that_says_what_it_is(
    tmp_path: Path, count: int, side: int
) -> None:
    """Its encoder makes a still picture of them, without the chunk that announces metadata."""
    provenance = Provenance("model", "3,3", 0.7)
    frame = next(film_frames(1, side, side))
    write_film(tmp_path / "a.webp", [frame] * count, fps=20, description=provenance.as_text())
    assert read_provenance(tmp_path / "a.webp") == provenance
    even = side + side % 2
    (found,) = read_film(tmp_path / "a.webp")
    np.testing.assert_allclose(found, np.full((even, even, 3), frame[0, 0]), atol=6)
    content = (tmp_path / "a.webp").read_bytes()
    assert len(content) == 8 + int.from_bytes(content[4:8], "little")
    assert content[20] == 0x08  # metadata, and no alpha
    assert content[24:30] == 2 * (even - 1).to_bytes(3, "little")


@pytest.mark.parametrize(("mode", "flags"), [("RGB", 0x08), ("RGBA", 0x18)])
def test_a_still_lossless_webp_keeps_its_alpha_when_it_is_described(
    tmp_path: Path, mode: str, flags: int
) -> None:
    image = Image.new(mode, (5, 3), "#00ff0080" if mode == "RGBA" else "#00ff00")
    image.save(tmp_path / "a.webp", lossless=True)
    assert (tmp_path / "a.webp").read_bytes()[12:16] == b"VP8L"
    with open(tmp_path / "a.webp", "r+b") as file:
        _describe_webp(file, "text")
    with Image.open(tmp_path / "a.webp") as described:
        assert (described.getexif()[0x010E], described.mode) == ("text", mode)
        assert described.tobytes() == image.tobytes()
    assert (tmp_path / "a.webp").read_bytes()[20] == flags


@pytest.mark.parametrize("length", [5, 255, 256, 600])
def test_gif_has_a_comment_of_any_length(tmp_path: Path, length: int) -> None:
    text = "synthetic "[:length].ljust(length, "x")
    write_film(tmp_path / "a.gif", film_frames(2), fps=10, description=text)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["comment"] == text.encode()


def test_gif_loops_for_ever_and_its_delays_add_up_at_any_rate(tmp_path: Path) -> None:
    write_film(tmp_path / "a.gif", film_frames(5, 4, 4), fps=30)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert durations == [30, 40, 30, 30, 40]  # whole hundredths of a second; 5/30 s = 170 ms


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_film_that_does_not_loop_plays_once(tmp_path: Path, suffix: str) -> None:
    """WebP counts plays, 0 for ever (RFC 9649, sec. 2.7.1.2); a GIF without Netscape's block plays once."""
    said = []
    for loop in (True, False):
        write_film(tmp_path / f"a{suffix}", film_frames(3), fps=10, loop=loop)
        with Image.open(tmp_path / f"a{suffix}") as image:
            said.append(image.info.get("loop"))
    assert said == [0, {".gif": None, ".webp": 1}[suffix]]


def test_gif_frames_have_palettes_of_their_own(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    frames = [np.stack([ramp, 0 * ramp, 0 * ramp], axis=2), np.stack([0 * ramp, ramp, 255 - ramp], axis=2)]
    write_film(tmp_path / "a.gif", frames, fps=10)
    np.testing.assert_array_equal(np.stack(read_film(tmp_path / "a.gif")), np.stack(frames))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_holds_no_more_frames_the_longer_it_is(tmp_path: Path, suffix: str) -> None:
    """At most three: what is being encoded, the next, and the first, which gives the size."""
    made: list[weakref.ref[Pixels]] = []
    alive = []

    def frames() -> Iterator[Pixels]:
        for number in range(600):
            alive.append(sum(frame() is not None for frame in made))
            frame = np.full((8, 8, 3), number % 256, np.uint8)
            made.append(weakref.ref(frame))
            yield frame
            del frame

    assert write_film(tmp_path / f"a{suffix}", frames(), fps=30) == 600
    assert max(alive) <= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_film_leaves_the_old_one_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    def frames() -> Iterator[Pixels]:
        yield from film_frames(3)
        raise KeyboardInterrupt

    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_film(path, frames(), fps=10)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["walk:1.mp4", "sub:dir/w.mp4", "a%d.mp4", "a%d.webp", "file:a.webp"])
def test_names_that_are_addresses_or_patterns_elsewhere_are_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """FFmpeg's protocols are before a colon, and the numbers of its files behind a percent sign."""
    monkeypatch.chdir(tmp_path)
    write_film(Path(name), film_frames(3), fps=10)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert len(read_film(tmp_path / name)) == 3


def test_frames_too_large_for_players_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8194x2: a film is at most 8192"):
        write_film(tmp_path / "a.gif", film_frames(1, 2, 8194), fps=10)


def test_unknown_film_suffix_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\.mp5': one of \.mp4, \.webp, \.gif .did you mean '\.mp4'"):
        write_film(tmp_path / "a.mp5", film_frames(2), fps=10)


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one frame"):
        write_film(tmp_path / "a.mp4", [], fps=10)
    with pytest.raises(UsageError, match=r"fps 0: 1 to 240 in \.mp4"):
        write_film(tmp_path / "a.mp4", film_frames(2), fps=0)
    with pytest.raises(UsageError, match=r"fps 60: 1 to 50 in \.gif"):
        write_film(tmp_path / "a.gif", film_frames(2), fps=60)
    assert list(tmp_path.iterdir()) == []
