"""What each tab of the studio computes and shows; the runs' tab is in test_studio_runs.py."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from small_studio import face_of, sampler_of
from small_stylegan2 import SHAPE, networks

from facegan import models
from facegan.animation import Motion, walk
from facegan.config import UsageError
from facegan.images import Provenance, decode, read_provenance
from facegan.labels import label_space
from facegan.latents import inversion
from facegan.latents.direction_file import beside, read, write
from facegan.latents.near import Near
from facegan.mixing import mixtures
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.serve.studio.about import card_text, without_pictures
from facegan.serve.studio.animate import changed, started, write_film
from facegan.serve.studio.common import MAX_KEYS, with_key, with_styles
from facegan.serve.studio.create import fresh_seeds, near, of_seeds, seeds_or, spread_of
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.edit import current, edited, mark, nearest_to, slider_names, title, unedited
from facegan.serve.studio.faces import from_png
from facegan.serve.studio.mix import mix, mixture_html, sources
from facegan.serve.studio.parts import Tile, large, tiles, within
from facegan.synthesis import SEEDS, Sampler


@pytest.fixture
def stylegan(desk: Desk) -> Opened:
    return desk.open(desk.names[0])


@pytest.fixture
def dcgan(desk: Desk) -> Opened:
    return desk.open(desk.names[1])


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


def test_seeds_that_are_refused_are_those_from_before() -> None:
    assert seeds_or("3,5", "0-8") == "3,5"
    assert seeds_or("0-64", "0-8") == seeds_or("5-3", "0-8") == seeds_or("", "0-8") == "0-8"
    assert seeds_or("0-8", "0-3", most=8) == "0-3"


@pytest.mark.parametrize(("typed", "shown"), [(99, 4), (-99, -4), (2.5, 2.5), (None, 0), (0, 0), (4, 4)])
def test_a_number_beyond_a_slider_s_ends_is_the_end(typed: float | None, shown: float) -> None:
    """As the page's box shows it once it is left; an empty one is 0, or the end that is next to it."""
    assert within(typed, -4, 4) == shown
    assert within(None, 0.25, 5) == 0.25


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


def test_the_model_to_switch_to_is_the_first_with_styles(desk: Desk, stylegan: Opened, dcgan: Opened) -> None:
    assert with_styles(desk) == stylegan.name
    assert with_styles(Desk([dcgan.name], gallery=desk.gallery)) is None


def test_a_side_of_a_mixture_has_an_end(stylegan: Opened) -> None:
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
    assert started(stylegan, keys) == (SEEDS, [4, 2], 0.6, "z")
    for other in (edited(stylegan, keys[0], {"smile": 1}), face_of(stylegan, 9, 0.5)):
        start, numbers, psi, path = started(stylegan, [*keys, other])
        assert (numbers, psi, path) == ([0, 1, 2], 1.0, "w")
        w = start.w(stylegan.sampler, numbers, psi, None, "")
        assert (w.numpy() == np.stack([face.w for face in [*keys, other]])).all()


def test_a_film_of_a_model_with_labels_passes_each_of_its_faces(tmp_path: Path) -> None:
    """Each seed has labels of its own; arcs in z would keep those of the first."""
    space = label_space(["hat"], [{"hat": "none"}, {"hat": "cap"}])
    config = StyleGAN2Config(**SHAPE, labels=space)
    models.save(tmp_path / "small.safetensors", models.Model(networks(labels=space)[0], config))
    opened = Opened(str(tmp_path / "small.safetensors"), "cpu")
    labels = opened.sampler.label_vectors(range(4), "")
    assert labels is not None
    assert len(labels.unique(dim=0)) == 2
    keys = of_seeds(opened, "0-3").faces(0.7)
    start, numbers, psi, path = started(opened, keys)
    frames = list(walk(opened.sampler, numbers, Motion(2, path), psi=psi, start=start))
    expected = opened.pictures(keys).astype(int)
    assert np.abs(np.stack(frames[::2]) - expected).max() <= 1  # another batch


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


def test_the_face_nearest_to_a_picture_is_one_of_w_plus(
    stylegan: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion.invert, "__kwdefaults__", inversion.invert.__kwdefaults__ | {"steps": 20})
    far = face_of(stylegan, seed=100_000, psi=1.0)
    face = nearest_to(stylegan, stylegan.png(far))
    picture, target = stylegan.pictures([face, far])
    first = stylegan.pictures([face_of(stylegan)])[0]
    assert np.abs(picture - target.astype(float)).mean() < 0.7 * np.abs(first - target.astype(float)).mean()
    assert face.w.shape == far.w.shape
    assert not (face.w == face.w[:1]).all()
    assert (face.caption, face.psi, face.seed) == ("a picture", 1.0, None)
    assert from_png(stylegan.png(face)).seeds == "a picture"
    with pytest.raises(UsageError, match="not a PNG, JPEG or WebP picture"):
        nearest_to(stylegan, b"no picture")


def test_edits_can_be_taken_back(stylegan: Opened) -> None:
    face = face_of(stylegan)
    back = unedited(stylegan, edited(stylegan, face, {"smile": 2.0}))
    assert np.abs(back.w - face.w).max() < 1e-5
    assert back.edits == ()


def fitted_again(opened: Opened, folder: Path, **changes: Any) -> Opened:
    """A copy of the model, with another direction smile in the file beside it."""
    path = Path(shutil.copy(opened.path, folder))
    found = read(beside(opened.path), opened.sampler.generator)
    smile = replace(found.directions["smile"], **changes)
    write(beside(path), replace(found, directions={smile.name: smile}))
    return Opened(str(path), "cpu")


@pytest.mark.parametrize(
    "changes", [{"vector": np.eye(6)[3]}, {"deviation": 0.25}, {"layers": (0, 1)}, {"name": "grin"}]
)
def test_edits_along_directions_that_were_fitted_again_are_not_taken_back(
    stylegan: Opened, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Taking them back along other ones would show another face as the one before."""
    face = edited(stylegan, face_of(stylegan), {"smile": 2.0})
    again = fitted_again(stylegan, tmp_path, **changes)
    own = current(again, from_png(stylegan.png(face)).face(again.name, 6, 6))
    assert (own.w == face.w).all()
    assert (own.edits, own.text) == ((), "7 with smile=2 of earlier directions")
    assert unedited(again, own) is own
    assert current(again, own) is own


def test_edits_along_the_same_directions_can_be_taken_back_after_a_restart(
    stylegan: Opened, tmp_path: Path
) -> None:
    face = edited(stylegan, face_of(stylegan), {"smile": 2.0})
    again = fitted_again(stylegan, tmp_path)
    opened = from_png(stylegan.png(face)).face(again.name, 6, 6)
    assert current(again, opened) is opened
    assert np.abs(unedited(again, opened).w - face_of(stylegan).w).max() < 1e-5


def test_components_are_of_the_weights_and_need_no_mark(stylegan: Opened) -> None:
    assert mark(stylegan, ["pca:0", "sefa:3"]) == ""
    assert mark(stylegan, ["pca:0", "smile"]) == mark(stylegan, ["smile"]) != ""


def test_a_face_that_was_kept_before_its_directions_were_noted_is_taken_as_it_was(stylegan: Opened) -> None:
    face = replace(edited(stylegan, face_of(stylegan), {"smile": 2.0}), directions="")
    assert current(stylegan, face) is face
    assert b'"directions"' not in stylegan.png(face)


def test_the_sliders_are_the_model_s_directions_and_components(stylegan: Opened, dcgan: Opened) -> None:
    names = slider_names(stylegan)
    assert [name for name in names if name][:3] == ["smile", "pca:0", "pca:1"]
    assert len(names) == 16 + 12
    assert title("hair_length") == "Hair length"
    assert title("sefa:0") == "SEFA 1"
    with pytest.raises(UsageError, match="no styles"):
        slider_names(dcgan)


# ---- about, and what several tabs show


def test_a_card_says_the_licence_and_stays_text(stylegan: Opened) -> None:
    text = card_text(stylegan)
    assert "| licence | CC0 1.0 |" in text
    assert "Not measured yet" in text
    assert "<b>" not in text
    shipped = card_text(Opened("dcgan-64", "cpu"))
    assert "CC0 1.0" in shipped
    assert "](" not in shipped


@pytest.mark.parametrize("name", sorted(models.shipped()))
def test_a_shipped_card_points_at_nothing_that_the_page_lacks(name: str) -> None:
    text = without_pictures((models.ZOO / f"{name}.md").read_text(encoding="utf-8"))
    for word in ("![", "](", "psi 0.5", "How it grew", "its report", "the report", "the page about it", "()"):
        assert word not in text
    for word in ("Measured", "What it is for.", "The recipe", "ship_model.py", "FD-efficientnet"):
        assert word in text


def test_a_link_in_a_sentence_leaves_its_words_and_one_into_the_web_stays() -> None:
    text = (
        "For more take [that](a.md), or [this](https://example.org/a).\nSeen: [its report](b.html).\n*Below:*"
    )
    assert without_pictures(text) == "For more take that, or [this](https://example.org/a)."


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
