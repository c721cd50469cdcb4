"""Makes the pictures of README and docs from the shipped model.

python tools/make_pictures.py [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

from facegan import models
from facegan.animation import Motion, write_walks
from facegan.demo import MODEL
from facegan.images import Provenance, grid, save
from facegan.synthesis import Sampler

FACES = range(64)
WALK_KEYS = range(24)  # 4 x 2 walks of 3 faces each
FRAMES_PER_KEY = 24
FPS = 16


def main() -> None:
    """Writes the pictures into the folder named on the command line."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    out.mkdir(parents=True, exist_ok=True)
    sampler = Sampler(models.load(MODEL))
    for name, psi in ((f"{MODEL}.jpg", 0.7), (f"{MODEL}-psi1.jpg", 1.0)):
        save(out / name, grid(sampler.sample(FACES, psi)), Provenance(MODEL, "0-63", psi))
    write_walks(
        out / "walk.webp", sampler, WALK_KEYS, Motion(FRAMES_PER_KEY), rows=2, columns=4, fps=FPS, scale=2
    )


if __name__ == "__main__":
    main()
