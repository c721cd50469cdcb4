"""Makes the pictures of README and docs from the shipped models.

python tools/make_pictures.py [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from facegan import models
from facegan.animation import Motion, write_walks
from facegan.cli import run
from facegan.images import Provenance, enlarged, grid, save
from facegan.latents.direction_file import beside, read
from facegan.latents.directions import moved
from facegan.latents.inversion import invert, tune
from facegan.mixing import write_figure
from facegan.people.person import Person
from facegan.people.render import render
from facegan.synthesis import Sampler

DCGAN, STYLEGAN, TINY, STYLEGAN2 = "dcgan-64", "stylegan-64", "stylegan2-64-tiny", "stylegan2-64-small"
FACES = range(64)
WALK_KEYS = range(24)  # 4 x 2 walks of 3 faces each
FRAMES_PER_KEY = 24
FPS = 16
MIXED = {"first": (0,), "second": (1,), "next two": (2, 3)}
GIVEN_SEED, GIVEN = 2, range(7)  # people whom the models have not seen
SMILE = 1.5
EDIT = ["edit", "--model", STYLEGAN2, "--seeds", "0-5", "--steps", "9"]


def main() -> None:
    """Writes the pictures into the folder named on the command line."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    out.mkdir(parents=True, exist_ok=True)
    for model in (DCGAN, STYLEGAN, TINY, STYLEGAN2):
        sampler = Sampler(models.load(model))
        for name, psi in ((f"{model}-psi05.jpg", 0.5), (f"{model}.jpg", 0.7), (f"{model}-psi1.jpg", 1.0)):
            save(out / name, grid(sampler.sample(FACES, psi)), Provenance(model, "0-63", psi))
    sampler = Sampler(models.load(STYLEGAN2))
    write_walks(
        out / "walk.webp", sampler, WALK_KEYS, Motion(FRAMES_PER_KEY), rows=2, columns=4, fps=FPS, scale=2
    )
    write_figure(out / "mix.jpg", sampler, range(3), range(3, 9), MIXED, psi=0.7)
    inversion_figure(out / "inversion.jpg", sampler)
    sys.exit(run([*EDIT, "--direction", "pca:0", "--out", str(out / "edit-pca.jpg")]))


def inversion_figure(path: Path, sampler: Sampler) -> None:
    """Given people, the nearest faces in w and w+, those of a tuned model, and these with a smile."""
    people = [Person.numbered(GIVEN_SEED, number) for number in GIVEN]
    given = np.stack([render(person, sampler.generator.image_shape[1]).image for person in people])
    in_w, in_w_plus = (invert(sampler, given, space=space) for space in ("w", "w+"))
    tuned = Sampler(tune(sampler, in_w_plus.w, given))
    directions = read(beside(models.find(STYLEGAN2)), sampler.generator).directions
    smiling = moved(in_w_plus.w, [(directions["smile"], SMILE)])
    rows = [given, in_w.pictures, in_w_plus.pictures, tuned.images(in_w_plus.w), tuned.images(smiling)]
    sheet = enlarged(grid(np.concatenate(rows), len(GIVEN)), 2)
    save(path, sheet, Provenance(STYLEGAN2, "", 1.0, edit="inverted from pictures of drawn people"))


if __name__ == "__main__":
    main()
