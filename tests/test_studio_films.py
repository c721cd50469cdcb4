"""The studio's films and mixtures of edited faces say so; of its films the newest are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image
from small_studio import face_of

from facegan.images import read_provenance
from facegan.serve.studio.animate import KEPT_FILMS, FilmFolder, write_film
from facegan.serve.studio.create import near
from facegan.serve.studio.desk import Desk, Opened
from facegan.serve.studio.edit import edited
from facegan.serve.studio.faces import Face
from facegan.serve.studio.mix import mix


@pytest.fixture
def stylegan(desk: Desk) -> Opened:
    return desk.open(desk.names[0])


@pytest.fixture
def smiling(stylegan: Opened) -> Face:
    return edited(stylegan, face_of(stylegan), {"smile": 3.0, "pca:0": -0.5})


def test_the_newest_films_are_kept() -> None:
    films = FilmFolder()
    made: list[Path] = []
    for number in range(KEPT_FILMS + 5):
        made.append(films.next(".gif"))
        made[-1].touch()
        os.utime(made[-1], (number, number))
        assert sorted(made[-1].parent.iterdir()) == made[-KEPT_FILMS:]
    films._folder.cleanup()


def test_a_film_says_how_its_faces_were_edited(stylegan: Opened, smiling: Face, tmp_path: Path) -> None:
    keys = [smiling, face_of(stylegan, 4)]
    write_film(stylegan, keys, tmp_path / "a.gif", seconds=0.1, easing="none", loop=True)
    with Image.open(tmp_path / "a.gif") as film:
        said = json.loads(film.info["comment"])
    assert said["seeds"] == "w 7 with smile=3 pca:0=-0.5; 4 of studio"


def test_a_mixture_says_how_its_faces_were_edited(stylegan: Opened, smiling: Face, tmp_path: Path) -> None:
    found = mix(stylegan, [smiling], [face_of(stylegan, 4)], "0-1")
    expected = "row 7 with smile=3 pca:0=-0.5, column 4, styles 0-1 of the column"
    assert found.cells[0].provenance("small").seeds == expected
    (tmp_path / "a.jpg").write_bytes(found.figure)
    said = read_provenance(tmp_path / "a.jpg")
    assert said is not None
    assert said.seeds == "rows 7 with smile=3 pca:0=-0.5, columns 4, styles 0-1 of the columns"


def test_faces_like_an_edited_one_say_how_it_was_edited(stylegan: Opened, smiling: Face) -> None:
    assert near(stylegan, smiling, 0.4, [1]).texts == (
        "7 with smile=3 pca:0=-0.5",
        "like 7 with smile=3 pca:0=-0.5, radius 0.4, seeds 1",
    )
