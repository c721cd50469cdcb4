"""A film that goes through three faces and back, without a seam."""

from pathlib import Path

import facegan
from facegan.animation import Motion, write_walks

sampler = facegan.load("stylegan2-64-small")
film = write_walks(Path("film.mp4"), sampler, [1, 2, 3], Motion(frames_per_key=24, path="w"), fps=24)
print(f"{film.path}: {film.frames} frames, {film.seconds:.0f} s")
