"""The studio's saved faces: what a PNG of one says, and the gallery that keeps them."""

from __future__ import annotations

import base64
import io
import itertools
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from small_studio import face_of

from facegan.config import UsageError
from facegan.images import Provenance, read_provenance
from facegan.serve.studio.common import kept_html
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.edit import edited
from facegan.serve.studio.faces import from_png
from facegan.serve.studio.gallery import Gallery, default_folder


@pytest.fixture
def stylegan(desk: Desk) -> Opened:
    return desk.open(desk.names[0])


# ---- saved faces


def test_a_face_is_the_same_after_its_png_is_read_back(desk: Desk, stylegan: Opened) -> None:
    face = edited(stylegan, face_of(stylegan), {"smile": 1.5})
    again = desk.read(stylegan.png(face))
    assert again.w.dtype == np.float32
    assert (again.w == face.w).all()
    assert (again.text, again.psi, again.seed, again.edits) == ("7", 0.7, None, (("smile", 1.5),))
    assert (stylegan.pictures([again]) == stylegan.pictures([face])).all()
    assert desk.read(stylegan.png(face_of(stylegan))).seed == 7


def test_a_saved_face_is_an_ordinary_png_that_says_what_it_is(stylegan: Opened, tmp_path: Path) -> None:
    face = edited(stylegan, face_of(stylegan), {"smile": 1.5})
    (tmp_path / "a.png").write_bytes(stylegan.png(face))
    assert read_provenance(tmp_path / "a.png") == Provenance("small", "7", 0.7, edit="smile=1.5")
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == stylegan.pictures([face])[0]).all()
        said = json.loads(image.text["facegan-latent"])  # type: ignore[attr-defined]
    w = np.frombuffer(base64.b64decode(said["w"]), "<f4").reshape(said["shape"])
    assert (w == face.w).all()


def test_a_face_with_a_long_history_can_be_opened_again(desk: Desk, stylegan: Opened) -> None:
    face = replace(face_of(stylegan), text="row 1, column " * 100, seed=None)
    assert (desk.read(stylegan.png(face)).w == face.w).all()


GOOD: dict[str, Any] = {
    "format": 1, "model": "small", "fingerprint": "", "seeds": "7", "seed": 7, "psi": 0.7, "edits": [],
    "shape": [6, 6], "w": base64.b64encode(bytes(144)).decode(),
}  # fmt: skip


def png_saying(text: str, key: str = "facegan-latent") -> bytes:
    """A PNG by Pillow with that text chunk."""
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text(key, text)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def changed_png(**changes: Any) -> bytes:
    return png_saying(json.dumps(GOOD | changes))


def spoilt(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


CHUNK_AT = png_saying("{}").index(b"facegan-latent")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a PNG"),
        (b"GIF89a" + bytes(100), "not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "ends too soon"),
        (changed_png()[:-60], "ends too soon"),
        (spoilt(changed_png(), CHUNK_AT - 8, b"\xff\xff\xff\xff"), "ends too soon"),
        (spoilt(changed_png(), CHUNK_AT + 30, b"?"), "a checksum is wrong"),
        (png_saying("{}", key="Comment"), "does not say what it was made of"),
        (png_saying("x" * 2**20), "at most 1,048,576"),
        (bytes(9 * 2**20), "at most 8,388,608"),
        (png_saying("{"), "not usable"),
        (png_saying("[" * 100_000), "nested too deeply"),
        (png_saying("[]"), "expected an object"),
        (png_saying("\xe4"), "not usable"),
        (png_saying("{}"), "missing"),
        (changed_png(more=1), "no such setting"),
        (changed_png(format=2), "this version reads 1"),
        (changed_png(psi=float("nan")), "expected a finite number"),
        (changed_png(psi=1e9), "beyond all sense"),
        (changed_png(seed=2**32), "0 to 4294967295"),
        (changed_png(seeds="x" * 501), "too long"),
        (changed_png(seeds="a\nb"), "not printable"),
        (changed_png(edits=[{"name": "smile", "strength": 1e6}]), "beyond all sense"),
        (changed_png(edits=[{"name": "smile", "strength": 1}] * 101), "beyond all sense"),
        (changed_png(w=5), "expected text"),
    ],
)
def test_a_png_that_is_no_saved_face_is_refused_in_a_line(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        from_png(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [6, 7]}, "this model wants"),
        ({"shape": [10**9, 10**9]}, "this model wants"),
        ({"shape": []}, "this model wants"),
        ({"w": GOOD["w"][:-4]}, "not base64 of 36 float32"),
        ({"w": GOOD["w"] + "AAAA"}, "not base64 of 36 float32"),
        ({"w": "*" * 192}, "not base64 of 36 float32"),
        ({"w": base64.b64encode(struct.pack("<f", np.nan) * 36).decode()}, "not all numbers"),
        ({"w": base64.b64encode(struct.pack("<f", 1e9) * 36).decode()}, "not all numbers"),
    ],
)
def test_a_w_that_does_not_fit_the_model_is_refused(changes: dict[str, Any], said: str) -> None:
    assert from_png(changed_png()).face("m", 6, 6).w.shape == (6, 6)
    with pytest.raises(UsageError, match=said):
        from_png(changed_png(**changes)).face("m", 6, 6)


def test_a_face_of_other_weights_or_of_an_unknown_model_is_not_opened(desk: Desk) -> None:
    with pytest.raises(UsageError, match="another version of 'small'"):
        desk.read(changed_png(fingerprint="0" * 32))
    with pytest.raises(UsageError, match="'big' is not open here"):
        desk.read(changed_png(model="big", fingerprint="0" * 32))


# ---- the gallery


def test_kept_faces_are_there_for_the_next_studio_newest_first(desk: Desk, stylegan: Opened) -> None:
    names = [desk.keep(face_of(stylegan, seed)) for seed in (1, 2, 3)]
    again = Gallery(desk.gallery.folder)
    assert again.names() == sorted(names, reverse=True)
    assert desk.read(again.read(names[1])).seed == 2
    page = kept_html(desk)
    assert page.index("seed 3") < page.index("seed 2") < page.index("seed 1")


def test_two_faces_of_one_millisecond_are_both_kept(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, clock=lambda: 1.5)
    names = [gallery.add(text) for text in (b"a", b"b")]
    assert [gallery.read(name) for name in names] == [b"a", b"b"]
    assert len(gallery.names()) == 2


def test_a_deleted_face_can_be_brought_back(tmp_path: Path) -> None:
    times = itertools.count(1.0)
    gallery = Gallery(tmp_path, clock=lambda: next(times))
    first, second = gallery.add(b"a"), gallery.add(b"b")
    gallery.delete(first)
    gallery.delete(second)
    assert gallery.names() == []
    assert gallery.bring_back() == second
    assert gallery.names() == [second]
    assert gallery.can_bring_back
    assert gallery.bring_back() == first
    assert not gallery.can_bring_back


def test_a_studio_that_starts_takes_away_only_what_was_deleted_a_day_ago(tmp_path: Path) -> None:
    now = 1e9
    gallery = Gallery(tmp_path, clock=lambda: now)
    early, late = (gallery.add(text) for text in (b"a", b"b"))
    gallery.delete(early)
    now += 24 * 3600
    gallery.delete(late)
    now += 1
    Gallery(tmp_path, clock=lambda: now)
    assert gallery.bring_back() == late
    assert gallery.read(late) == b"b"
    with pytest.raises(UsageError, match="not in the gallery any more"):
        gallery.bring_back()
    assert gallery.bring_back() is None


def test_a_face_that_could_not_be_brought_back_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(tmp_path)
    name = gallery.add(b"a")
    gallery.delete(name)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", Mock(side_effect=PermissionError))
        with pytest.raises(PermissionError):
            gallery.bring_back()
    assert gallery.bring_back() == name


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", ".deleted/a.png", "a.txt", "", "a\0.png"])
def test_only_the_gallery_s_own_names_are_read_and_deleted(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"outside")
    (tmp_path / "in").mkdir()
    gallery = Gallery(tmp_path / "in")
    for use in (gallery.read, gallery.delete):
        with pytest.raises(UsageError, match="no such face"):
            use(name)
    with pytest.raises(UsageError, match="not in the gallery any more"):
        gallery.read("gone.png")


def test_a_damaged_file_in_the_gallery_is_shown_as_such(desk: Desk) -> None:
    desk.gallery.add(b"no picture")
    assert "not usable" in kept_html(desk)


def test_the_gallery_s_place_is_the_user_s_data_folder_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEGAN_GALLERY", "here")
    assert default_folder() == Path("here")
    monkeypatch.delenv("FACEGAN_GALLERY")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert default_folder() == Path("data/facegan/gallery")
