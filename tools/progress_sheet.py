"""A picture of a training run: a row of faces for each of some moments, the same seeds in every row.

python tools/progress_sheet.py RUN docs/images/stylegan2-64-tiny-training.jpg --images 25600,102400,204800
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

FACES = 12


def row(path: Path, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The first faces of a sample grid of 8 a row [size, FACES * size, 3]; smaller ones in larger pixels."""
    with Image.open(path) as opened:
        grid = opened.convert("RGB").resize((8 * size, 8 * size), Image.Resampling.NEAREST)
    pixels = np.asarray(grid)
    places = [divmod(number, 8) for number in range(FACES)]
    return np.hstack([pixels[y * size : (y + 1) * size, x * size : (x + 1) * size] for y, x in places])


def main() -> None:
    """Reads the run's sample grids, writes one picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", required=True, help="the moments, in images seen, with commas")
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    paths = [arguments.run / "samples" / f"{int(seen):09d}.jpg" for seen in arguments.images.split(",")]
    Image.fromarray(np.vstack([row(path, arguments.size) for path in paths])).save(arguments.out, quality=92)


if __name__ == "__main__":
    main()
