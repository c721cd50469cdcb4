"""A training run from Python: a narrow DCGAN on a folder of pictures for so many seconds, then its faces.

python examples/training.py [PICTURES] [SECONDS]
"""

import sys
from dataclasses import replace
from pathlib import Path

import facegan
from facegan.images import grid, save

pictures = sys.argv[1] if len(sys.argv) > 1 else "starter"
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0

preset = facegan.PRESETS["dcgan-32"].run
run = replace(preset, data=facegan.DataConfig(pictures), batch=64, micro_batch=64)
is_there = Path("runs/example/run.json").exists()  # then it goes on
result = facegan.train(run, "runs/example", resume=is_there, stop_after_seconds=seconds)
print(f"{result.images_seen:,} images seen; more: facegan train --out runs/example --resume")

faces = facegan.load("runs/example").sample(range(16))
save("training.png", grid(faces), facegan.Provenance("runs/example", "0-15", 1.0))
