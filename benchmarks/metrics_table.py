"""The table of distances: shipped models between a floor (other real pictures) and a ceiling (noise, one face).

    python benchmarks/metrics_table.py --data TRAINING.zip [--held-out OTHERS.zip] [--samples 2000] [--json]

All rows at the same number of samples, since a Frechet distance falls with it. `--held-out` is a set that
no model was trained on, from the same source as the training pictures: no model can be expected to come nearer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from facegan import models
from facegan.config import to_json
from facegan.metrics.evaluate import measure
from facegan.metrics.subjects import CHUNK, ModelSubject, PicturesSubject, Subject, opened
from facegan.synthesis import Sampler


@dataclass(frozen=True)
class Noise:
    """Every value of every pixel drawn uniformly."""

    resolution: int
    name = "white noise"
    channels, images_seen, psi, seed, precision = 3, 0, 1.0, 0, "fp32"

    def pictures(self, count: int) -> Iterator[Tensor]:
        """uint8 [n, 3, H, W]."""
        random = torch.Generator().manual_seed(self.seed)
        shape = (3, self.resolution, self.resolution)
        for first in range(0, count, CHUNK):
            size = (min(CHUNK, count - first), *shape)
            yield torch.randint(0, 256, size, generator=random, dtype=torch.uint8)


@dataclass(frozen=True)
class MeanFace:
    """The mean of all real pictures, again and again."""

    data: str
    resolution: int
    name = "the mean face"
    channels, images_seen, psi, seed, precision = 3, 0, 1.0, 0, "fp32"

    def pictures(self, count: int) -> Iterator[Tensor]:
        """uint8 [n, 3, H, W]."""
        reals = opened(self.data, "center", resolution=self.resolution, channels=3)
        numbers = range(len(reals.names))
        total = sum(reals.pictures(numbers[i : i + CHUNK]).double().sum(dim=0) for i in numbers[::CHUNK])
        mean = (torch.as_tensor(total) / len(numbers)).round().to(torch.uint8)
        for first in range(0, count, CHUNK):
            yield mean.expand(min(CHUNK, count - first), -1, -1, -1)


def main() -> None:
    """Prints a Markdown table, or a line of JSON a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the pictures the models were trained on")
    parser.add_argument("--held-out", help="other pictures from the same source")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--features", default="efficientnet")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    subjects: list[Subject] = []
    if arguments.held_out:
        subjects.append(
            PicturesSubject.opened(arguments.held_out, resolution=arguments.resolution, crop="center", seed=0)
        )
    for name in models.shipped():
        model = models.load(name)
        if model.config.resolution == arguments.resolution:
            subjects.append(ModelSubject(Sampler(model)))
    subjects += [MeanFace(arguments.data, arguments.resolution), Noise(arguments.resolution)]
    for number, subject in enumerate(subjects):
        result = measure(subject, arguments.data, features=arguments.features, samples=arguments.samples)
        if arguments.json:
            print(json.dumps(to_json(result)), flush=True)
            continue
        if not number:
            print("| " + " | ".join(["", *(value.name for value in result.values)]) + " |")
            print("|" + "---|" * (1 + len(result.values)))
        cells = [subject.name, *(f"{value.value:.4g}" for value in result.values)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
