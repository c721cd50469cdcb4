"""The demo and the shipped files, as a new user meets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegan import load
from facegan.demo import demo, demo_run, new_run_folder
from facegan.images import read_provenance


@pytest.mark.slow
def test_the_demo_makes_faces_a_film_and_a_run(tmp_path: Path) -> None:
    said: list[str] = []
    written = demo(tmp_path, seconds=5.0, say=said.append)
    assert len(said) == 3
    assert set(written) == {"faces", "film", "run", "trained faces", "losses"}
    assert all(path.exists() for path in written.values())
    with Image.open(written["faces"]) as faces:
        assert faces.size == (512, 512)
    provenance = read_provenance(written["faces"])
    assert provenance is not None
    assert provenance.synthetic

    import av

    with av.open(str(written["film"])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 144


def test_a_second_demo_keeps_the_first_one_s_run(tmp_path: Path) -> None:
    assert new_run_folder(tmp_path).name == "run-1"
    (tmp_path / "run-1").mkdir()
    assert new_run_folder(tmp_path).name == "run-2"


def test_the_demo_trains_on_the_shipped_faces() -> None:
    assert demo_run().data.path == "starter"


def test_the_shipped_model_gives_different_faces_to_different_seeds() -> None:
    faces = load("dcgan-64", device="cpu").sample(range(8), psi=1.0).astype(float)
    assert faces.shape == (8, 64, 64, 3)
    differences = [np.abs(a - b).mean() for i, a in enumerate(faces) for b in faces[:i]]
    assert min(differences) > 10  # grey levels, on average over a picture
