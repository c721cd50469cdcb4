"""What helps a GAN of few pictures: no augmentation, DiffAugment, ADA, transfer, at equal images seen.

    python benchmarks/few_pictures.py --out RUNS --reference OTHERS.zip --init MODEL [--preset low-data]

Draws the pictures (people of seed 3, of which the first so many are taken), trains one run for each count and
way, and measures every one against other people than those it saw. A run that is there already goes on; so
does the whole table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from facegan import models
from facegan.config import override
from facegan.metrics.evaluate import measure
from facegan.metrics.subjects import model_subject
from facegan.people.draw import draw_people
from facegan.presets import preset
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder

SEED = 3
ADA = [  # as in the preset low-data
    "augment.name=ada", "augment.full_images=100000", "augment.p_max=0.8", "augment.rotate_90=0",
    "augment.luma_flip=0", "augment.hue=0",
]  # fmt: skip
WAYS: dict[str, list[str]] = {
    "none": ["augment.name=none"],
    "diffaugment": ["augment.name=diffaugment"],
    "ada": ADA,
    "transfer": ["augment.name=none"],
    "transfer, ada": ADA,
}


def run_of(way: str, count: int, arguments: argparse.Namespace) -> Run:
    """The preset's run on so many people, changed as the way says."""
    data = arguments.out / f"people-{count}.zip"
    if not data.exists():
        draw_people(data, count=count, resolution=64, seed=SEED)
    settings = [
        *WAYS[way],
        *arguments.set,
        f"total_images={arguments.images}",
        f"data.path={data}",
        "intervals.sample_images=10240",
    ]
    run = override(preset(arguments.preset).run, settings)
    return replace(run, init=arguments.init) if way.startswith("transfer") else run


def result_of(way: str, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains what is left to train, and measures."""
    run, folder = run_of(way, count, arguments), arguments.out / f"{count}-{way.replace(', ', '-')}"
    train(run, folder, resume=RunFolder(folder).exists())
    subject = model_subject(Sampler(models.load(str(folder))))
    found = measure(subject, str(arguments.reference), metrics=("fd", "kid"), samples=arguments.samples)
    log = RunFolder(folder).read_log()
    values = {value.name: [value.value, value.low, value.high] for value in found.values}
    last = {name: log[-1][name] for name in ("D_real", "D_fake", "augment_p", "seconds") if name in log[-1]}
    return {"pictures": count, "way": way, "images_seen": found.images_seen} | values | last


def main() -> None:
    """Prints a line of JSON for each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--reference", type=Path, required=True, help="people that no run has seen")
    parser.add_argument("--init", required=True, help="the model that transfer starts from")
    parser.add_argument("--preset", default="low-data")
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for count in arguments.counts:
        for way in arguments.ways:
            print(json.dumps(result_of(way, count, arguments)), flush=True)


if __name__ == "__main__":
    main()
