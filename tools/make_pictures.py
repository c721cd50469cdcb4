"""Makes the pictures of README and docs from the shipped models.

python tools/make_pictures.py [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

from facegan import models
from facegan.animation import Motion, write_walks
from facegan.cli import run
from facegan.images import Provenance, grid, save
from facegan.synthesis import Sampler

DCGAN, STYLEGAN, TINY, STYLEGAN2 = "dcgan-64", "stylegan-64", "stylegan2-64-tiny", "stylegan2-64-small"
FACES = range(64)
WALK_KEYS = range(24)  # 4 x 2 walks of 3 faces each
FRAMES_PER_KEY = 24
FPS = 16
MIX = ["mix", "--model", STYLEGAN2, "--rows", "0-2", "--cols", "3-8", "--figure", "stylegan"]
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
    statuses = [
        run([*MIX, "--out", str(out / "mix.jpg")]),
        run([*EDIT, "--direction", "pca:0", "--out", str(out / "edit-pca.jpg")]),
    ]
    sys.exit(max(statuses))


if __name__ == "__main__":
    main()
