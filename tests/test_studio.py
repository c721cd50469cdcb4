"""The studio without its page: faces that are kept and opened again, and what each tab computes."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import struct
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from small_stylegan2 import SHAPE, networks

from facegan import cli, models
from facegan.card import Card
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.images import Provenance, decode, read_provenance
from facegan.latents.direction_file import DirectionCard, DirectionFile, beside, fingerprint, write
from facegan.latents.directions import Direction
from facegan.latents.near import Near
from facegan.mixing import mixtures
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.run import Run
from facegan.serve.studio.about import card_text
from facegan.serve.studio.animate import changed, started, write_film
from facegan.serve.studio.create import fresh_seeds, near, of_seeds, spread_of
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.edit import edited, slider_names, title, unedited
from facegan.serve.studio.faces import Face, from_png
from facegan.serve.studio.gallery import Gallery, default_folder
from facegan.serve.studio.mix import mix, mixture_html, sources, why_not, with_styles
from facegan.serve.studio.parts import MAX_KEYS, Tile, kept_html, large, tiles, with_key
from facegan.serve.studio.train import curves_html, facts_html, look, runs_in, sample_html, sample_state
from facegan.synthesis import SEEDS, Sampler
from facegan.training.record import Record
from facegan.training.run_folder import RunFolder

SMILE = Direction("smile", np.eye(6)[2], 0.5, (0, 1, 2), "a test")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StyleGAN2 of 16 px, 6 layers and w of 6 numbers, with a direction beside it."""
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    card = Card(description="Of <b>tests</b> | only", licence="CC0 1.0")
    models.save(path, models.Model(networks()[0], StyleGAN2Config(**SHAPE), card))
    generator = models.load(str(path)).generator
    found = DirectionFile(DirectionCard("small", fingerprint(generator), "a test"), {"smile": SMILE})
    write(beside(path), found)
    return path


@pytest.fixture
def desk(model_file: Path, tiny_run: Path, tmp_path: Path) -> Desk:
    gallery = Gallery(tmp_path / "gallery")
    return Desk([str(model_file), str(tiny_run)], gallery=gallery, runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def stylegan(desk: Desk) -> Opened:
    return desk.open(desk.names[0])


@pytest.fixture
def dcgan(desk: Desk) -> Opened:
    return desk.open(desk.names[1])


def face_of(opened: Opened, seed: int = 7, psi: float = 0.7) -> Face:
    return of_seeds(opened, str(seed)).faces(psi)[0]


def sampler_of(opened: Opened) -> Sampler:
    """Another sampler of the same model, as the command line has it."""
    return Sampler(models.load(opened.name), device="cpu")


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
        (changed_png(w=5), "expected str"),
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


def test_a_deleted_face_can_be_brought_back_until_the_next_start(tmp_path: Path) -> None:
    times = iter([1.0, 2.0])
    gallery = Gallery(tmp_path, clock=lambda: next(times))
    first, second = gallery.add(b"a"), gallery.add(b"b")
    gallery.delete(first)
    gallery.delete(second)
    assert gallery.names() == []
    assert gallery.bring_back() == second
    assert gallery.names() == [second]
    assert gallery.can_bring_back
    assert list(tmp_path.rglob(first)) != []
    Gallery(tmp_path)
    assert list(tmp_path.rglob(first)) == []


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


# ---- create


def test_the_faces_of_seeds_are_those_that_generate_makes(stylegan: Opened) -> None:
    crowd = of_seeds(stylegan, "3,5,3,9")
    for psi in (0.7, 1.0):
        expected = sampler_of(stylegan).sample([3, 5, 9], psi)
        assert (stylegan.pictures(crowd.faces(psi)) == expected).all()
    assert [face.seed for face in crowd.faces(0.5)] == [3, 5, 9]


def test_more_like_a_seed_is_latents_near_with_the_face_itself_first(stylegan: Opened) -> None:
    crowd = near(stylegan, face_of(stylegan, 7), 0.4, [1, 2])
    expected = sampler_of(stylegan).sample([1, 2], 0.7, start=Near(7, 0.4))
    made = stylegan.pictures(crowd.faces(0.7))
    assert (made[0] == sampler_of(stylegan).sample([7], 0.7)[0]).all()
    assert np.abs(made[1:].astype(int) - expected.astype(int)).max() <= 1  # another batch
    assert crowd.texts == ("7", "like 7, radius 0.4, seeds 1", "like 7, radius 0.4, seeds 2")


def test_more_like_any_other_face_is_the_same_formula_in_w(dcgan: Opened) -> None:
    """A DCGAN's w is z, where latents.near has it."""
    face = replace(face_of(dcgan, 7), seed=None)
    crowd = near(dcgan, face, 0.4, [1, 2])
    expected = torch.cat([w for _, w in sampler_of(dcgan).stream_w([1, 2], 0.7, start=Near(7, 0.4))])
    made = np.stack([each.w for each in crowd.faces(0.7)])
    assert np.abs(made[0] - face.w).max() < 1e-6
    assert np.abs(made[1:] - expected.numpy()).max() < 1e-6


def test_more_like_the_average_face_begins_with_it(stylegan: Opened) -> None:
    """At psi 0 a face says nothing of how far others are from it."""
    for psi in (0.0, -0.5, 0.7):
        face = replace(face_of(stylegan, 7, psi), seed=None)
        crowd = near(stylegan, face, 0.4, [1])
        assert np.abs(crowd.faces(spread_of(face))[0].w - face.w).max() < 1e-5


def test_one_thread_at_a_time_is_in_a_model(stylegan: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []
    most = 0
    meeting = threading.Barrier(2)

    def images(self: Sampler, w: torch.Tensor, noise: Any = "const") -> np.ndarray[Any, Any]:
        nonlocal most
        inside.append(1)
        most = max(most, len(inside))
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)  # two that are in at once meet here
        inside.pop()
        return np.zeros((1, 16, 16, 3), np.uint8)

    monkeypatch.setattr(Sampler, "images", images)
    face = face_of(stylegan)
    threads = [threading.Thread(target=stylegan.pictures, args=([face],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_wrong_seeds_and_radii_are_refused(stylegan: Opened) -> None:
    with pytest.raises(UsageError, match="65; at most 64"):
        of_seeds(stylegan, "0-64")
    with pytest.raises(UsageError, match="radius 2"):
        near(stylegan, face_of(stylegan), 2.0, [1])
    with pytest.raises(UsageError, match="radius 2"):
        near(stylegan, replace(face_of(stylegan), seed=None), 2.0, [1])


def test_new_faces_are_so_many_seeds_in_a_row() -> None:
    first, last = fresh_seeds(9, random.Random(0)).split("-")
    assert int(last) - int(first) == 8


# ---- mix


def test_mixtures_are_those_of_facegan_mix(stylegan: Opened) -> None:
    found = mix(stylegan, sources(stylegan, "3,11", 0.7), sources(stylegan, "7,2,5", 0.7), "coarse")
    expected = np.stack([*mixtures(sampler_of(stylegan), [3, 11], [7, 2, 5], [0, 1, 2, 3], psi=0.7)])
    made = found.pictures[found.first_cell() :]
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1  # another batch
    assert found.cells[4].text == "row 11, column 2, styles coarse of the column"


def test_the_sheet_has_a_blank_corner_sources_at_the_edges_and_one_chosen(stylegan: Opened) -> None:
    found = mix(stylegan, sources(stylegan, "3,11", 0.7), sources(stylegan, "7,2,5", 0.7), "0-1")
    assert [tile.key for tile in found.sheet] == ["", "0", "1", "2", "3", *"567", "4", "8", "9", "10"]
    assert [tile.caption for tile in found.sheet[:5]] == ["", "seed 7", "seed 2", "seed 5", "seed 3"]
    page = mixture_html(found, 5)
    assert page.count('aria-pressed="true"') == 1
    assert "repeat(4, 1fr)" in page


def test_the_sheet_to_download_says_what_it_is(stylegan: Opened, tmp_path: Path) -> None:
    found = mix(stylegan, sources(stylegan, "3", 0.7), sources(stylegan, "7,2", 0.7), "0-1")
    (tmp_path / "mix.jpg").write_bytes(found.figure)
    said = read_provenance(tmp_path / "mix.jpg")
    assert said == Provenance("small", "rows 3, columns 7, 2, styles 0-1 of the columns", 0.7)
    assert min(decode(found.figure).size) > 128  # enlarged


def test_a_model_of_one_layer_says_why_it_has_no_styles(desk: Desk, stylegan: Opened, dcgan: Opened) -> None:
    assert "single layer" in why_not(dcgan)
    assert why_not(stylegan) == ""
    assert with_styles(desk) == stylegan.name
    assert with_styles(Desk([dcgan.name], gallery=desk.gallery)) is None
    with pytest.raises(UsageError, match="9 faces; at most 8 a side"):
        sources(stylegan, "0-8", 0.7)


# ---- animate


def test_the_film_s_faces_can_be_put_in_order(stylegan: Opened) -> None:
    a, b, c = keys = tuple(of_seeds(stylegan, "1-3").faces(0.7))
    assert changed(keys, "remove", 1) == (a, c)
    assert changed(keys, "earlier", 1) == (b, a, c)
    assert changed(keys, "later", 1) == (a, c, b)
    assert changed(keys, "earlier", 0) == changed(keys, "later", 2) == keys
    assert changed(keys, "remove", 7) == changed(keys, "stay", 0) == keys


def test_a_film_of_plain_seeds_goes_through_z_and_any_other_through_w(stylegan: Opened) -> None:
    keys = of_seeds(stylegan, "4,2").faces(0.6)
    assert started(keys) == (SEEDS, [4, 2], 0.6, "z")
    for other in (edited(stylegan, keys[0], {"smile": 1}), face_of(stylegan, 9, 0.5)):
        start, numbers, psi, path = started([*keys, other])
        assert (numbers, psi, path) == ([0, 1, 2], 1.0, "w")
        w = start.w(stylegan.sampler, numbers, psi, None, "")
        assert (w.numpy() == np.stack([face.w for face in [*keys, other]])).all()


def test_a_film_begins_with_its_first_face_and_says_what_it_is(stylegan: Opened, tmp_path: Path) -> None:
    keys = [edited(stylegan, face_of(stylegan), {"smile": 1}), face_of(stylegan, 2)]
    ticks: list[int] = []
    film = write_film(
        stylegan, keys, tmp_path / "a.mp4", seconds=0.2, easing="smooth", loop=True,
        wrote=lambda: ticks.append(1),
    )  # fmt: skip
    assert film.frames == len(ticks) == 12  # 30 frames a second, 6 from face to face
    with av.open(str(film.path)) as container:
        frame = next(container.decode(video=0)).to_image()
        assert '"synthetic": true' in container.metadata["comment"]
    first = np.asarray(frame.resize((16, 16), Image.Resampling.BOX), int)
    assert np.abs(first - stylegan.pictures(keys[:1])[0]).mean() < 12  # compressed; another face is 60 away


def test_films_that_cannot_be_are_refused(stylegan: Opened, dcgan: Opened, tmp_path: Path) -> None:
    keys = of_seeds(stylegan, "0-1").faces(0.7)
    how: dict[str, Any] = {"seconds": 1.0, "easing": "smooth", "loop": True}
    with pytest.raises(UsageError, match="2 faces or more, and has 1"):
        write_film(stylegan, keys[:1], tmp_path / "a.mp4", **how)
    with pytest.raises(UsageError, match="not of"):
        write_film(dcgan, keys, tmp_path / "a.mp4", **how)
    with pytest.raises(UsageError, match="films 120 at most"):
        write_film(stylegan, keys, tmp_path / "a.mp4", **how | {"seconds": 61})
    with pytest.raises(UsageError, match="of one model"):
        with_key(keys, face_of(dcgan))
    with pytest.raises(UsageError, match="24 faces at most"):
        with_key(keys[:1] * MAX_KEYS, keys[0])
    assert with_key(keys, keys[0]) == (*keys, keys[0])
    assert list(tmp_path.glob("*.mp4")) == []


# ---- edit


def test_an_edit_adds_strength_times_deviation_in_the_direction_s_layers(stylegan: Opened) -> None:
    face = face_of(stylegan)
    step = np.zeros((6, 6), np.float32)
    step[:3, 2] = 2.0 * 0.5
    found = edited(stylegan, face, {"smile": 2.0, "": 3.0, "pca:0": 0.0})
    assert np.abs(found.w - (face.w + step)).max() < 1e-6
    assert (found.edits, found.seed) == ((("smile", 2.0),), None)
    assert edited(stylegan, face, {"smile": 0.0}) is face


def test_edits_can_be_taken_back(stylegan: Opened) -> None:
    face = face_of(stylegan)
    back = unedited(stylegan, edited(stylegan, face, {"smile": 2.0}))
    assert np.abs(back.w - face.w).max() < 1e-5
    assert back.edits == ()


def test_the_sliders_are_the_model_s_directions_and_components(stylegan: Opened, dcgan: Opened) -> None:
    names = slider_names(stylegan)
    assert [name for name in names if name][:3] == ["smile", "pca:0", "pca:1"]
    assert len(names) == 16 + 12
    assert title("hair_length") == "Hair length"
    assert title("sefa:0") == "SEFA 1"
    with pytest.raises(UsageError, match="no styles"):
        slider_names(dcgan)


# ---- train


@pytest.fixture
def run_folder(desk: Desk) -> RunFolder:
    """A run of 1000 images that has seen 400, at 20 a second."""
    folder = RunFolder(desk.runs / "<b>run")
    folder.start(Run(DCGANConfig(resolution=8), data=DataConfig("x"), total_images=1000))
    for images in (200, 400):
        folder.append_log(
            {"images_seen": images, "seconds": images / 20, "images_per_second": 20, "D_real": 0.5}
        )
    return folder


def test_a_run_is_seen_with_its_speed_and_the_time_left(desk: Desk, run_folder: RunFolder) -> None:
    with run_folder.locked():
        seen = look(desk.runs, "<b>run")
        later = look(desk.runs, "<b>run", now=os.stat(run_folder.log_path).st_mtime + 3600)
    assert seen.seconds_left == 600 / 20
    assert seen.state == "is training"
    page = facts_html(seen)
    assert "400 of 1,000 images seen" in page
    assert "0:00:30 left" in page
    assert "&lt;b&gt;run" in page
    assert "<b>run" not in page
    assert "D_real" in curves_html(seen.record)
    for resting in (later, look(desk.runs, "<b>run")):  # silent for an hour; stopped
        assert resting.state == "rests"
        assert "left" not in facts_html(resting)


def test_the_grids_of_a_run_can_be_gone_through(desk: Desk, run_folder: RunFolder) -> None:
    assert "No sample grid yet" in sample_html(look(desk.runs, "<b>run").record, None)
    for images in (200, 400):
        run_folder.save_samples(np.zeros((8, 8, 3), np.uint8), images, "0-63")
    record = look(desk.runs, "<b>run").record
    assert "after 400 images" in sample_html(record, None)
    assert "after 200 images" in sample_html(record, 0)
    record.samples[0][1].unlink()
    assert "not there any more" in sample_html(record, 0)


def test_a_grid_has_another_state_once_its_picture_is_another(desk: Desk, run_folder: RunFolder) -> None:
    """So the page asks for it again then, and only then."""

    def record() -> Record:
        return look(desk.runs, "<b>run").record

    states = [sample_state(record(), None)]
    for images in (200, 400):
        run_folder.save_samples(np.zeros((8, 8, 3), np.uint8), images, "0-63")
        states.append(sample_state(record(), None))
        run_folder.append_log({"images_seen": images + 100, "seconds": 1.0})
        assert sample_state(record(), None) == states[-1]
    assert sample_state(record(), 0) == states[1]
    path = record().samples[0][1]
    os.utime(path, (1, 1))
    states.append(sample_state(record(), 0))
    gone = record()
    path.unlink()
    states.append(sample_state(gone, 0))
    assert len(set(states)) == 5


def test_runs_are_listed_the_one_that_wrote_last_first(desk: Desk, run_folder: RunFolder) -> None:
    assert runs_in(desk.runs / "nowhere") == []
    RunFolder(desk.runs / "older").start(Run(DCGANConfig(resolution=8)))
    os.utime(desk.runs / "older" / "run.json", (1, 1))
    assert runs_in(desk.runs) == ["<b>run", "older"]
    assert runs_in(desk.runs / "older") == ["."]
    assert curves_html(look(desk.runs, "older").record) == '<p class="quiet">No log line yet.</p>'
    with pytest.raises(UsageError, match="not in"):
        look(desk.runs, "../runs")


# ---- about, and the page's parts


def test_a_card_says_the_licence_and_stays_text(stylegan: Opened) -> None:
    text = card_text(stylegan)
    assert "| licence | CC0 1.0 |" in text
    assert "Not measured yet" in text
    assert "<b>" not in text
    shipped = card_text(Opened("dcgan-64", "cpu"))
    assert "CC0 1.0" in shipped
    assert "](" not in shipped


def test_tiles_are_buttons_whose_texts_are_escaped() -> None:
    page = tiles([Tile('"k', "data:,", "<a>", "<c>", chosen=True)], label="<l>", acts=["delete"])
    assert page.count("<button type=") == 2
    for word in (
        "&quot;k",
        "&lt;a&gt;",
        "&lt;c&gt;",
        "&lt;l&gt;",
        'aria-pressed="true"',
        "Delete: &lt;a&gt;",
    ):
        assert word in page
    assert "<a>" not in page
    assert tiles([], label="", empty="none & nothing") == '<p class="quiet">none &amp; nothing</p>'


def test_the_large_picture_can_be_downloaded_in_its_own_size_and_enlarged(stylegan: Opened) -> None:
    page = large(stylegan, face_of(stylegan))
    assert 'download="face-seed-7.png" href="data:image/png' in page
    assert "16x16 PNG" in page
    assert "384x384 JPEG" in page


# ---- the command


def test_the_studio_without_gradio_names_the_extra(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.run(["studio", "--model", str(model_file), "--gallery", str(tmp_path)]) == 2
    assert "pip install 'facegan[studio]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "dcgn-64"], "did you mean 'dcgan-64'"),
        (["--gallery", "file/folder"], "is not a folder"),
        (["--device", "tpu"], "one of auto, cpu, cuda, mps"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEGAN_GALLERY", "kept")
    (tmp_path / "file").touch()
    assert cli.run(["studio", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
