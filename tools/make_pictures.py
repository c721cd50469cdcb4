"""Makes the pictures of README and docs from the shipped model.

python tools/make_pictures.py [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

from facegan import models
from facegan.demo import MODEL, side_by_side
from facegan.images import Provenance, grid, save
from facegan.synthesis import Sampler, walk
from facegan.video import write_film

FACES = range(64)
WALK_KEYS = [range(first, first + 3) for first in range(0, 24, 3)]  # 4 x 2 walks of 3 faces each
FRAMES_PER_KEY = 24
FPS = 16


def main() -> None:
    """Writes the pictures into the folder named on the command line."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    out.mkdir(parents=True, exist_ok=True)
    sampler = Sampler(models.load(MODEL))
    for name, psi in ((f"{MODEL}.jpg", 0.7), (f"{MODEL}-psi1.jpg", 1.0)):
        save(out / name, grid(sampler.sample(FACES, psi)), Provenance(MODEL, "0-63", psi))
    walks = [walk(sampler, keys, FRAMES_PER_KEY, psi=0.7) for keys in WALK_KEYS]
    write_film(
        out / "walk.webp", side_by_side(walks), fps=FPS, description="synthetic faces, made by facegan"
    )


if __name__ == "__main__":
    main()
