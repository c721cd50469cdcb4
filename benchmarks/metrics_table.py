"""The table of distances: shipped models between a floor (other real pictures) and a ceiling (noise).

    python benchmarks/metrics_table.py --data TRAINING.zip [--held-out OTHERS.zip] [--samples 2000] [--json]

All rows at the same number of samples, since a Frechet distance falls with it. `--held-out` is a set that no
model was trained on, from the same source as the training pictures: who comes nearer has memorised some.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import torch
from torch import Tensor

from facegan import models
from facegan.config import to_json
from facegan.metrics.evaluate import measure
from facegan.metrics.subjects import CHUNK, Subject, model_subject, opened, pictures_subject
from facegan.synthesis import Sampler


def noise(resolution: int) -> Subject:
    """Every value of every pixel drawn uniformly."""

    def pictures(count: int) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(0)
        for first in range(0, count, CHUNK):
            size = (min(CHUNK, count - first), 3, resolution, resolution)
            yield torch.randint(0, 256, size, generator=random, dtype=torch.uint8)

    return Subject("white noise", (resolution, resolution), 3, pictures)


def mean_face(data: str, resolution: int) -> Subject:
    """The mean of all real pictures, again and again."""

    def pictures(count: int) -> Iterator[Tensor]:
        reals = opened(data, "center", size=(resolution, resolution), channels=3)
        numbers = range(len(reals.names))
        total = sum(reals.pictures(numbers[i : i + CHUNK]).double().sum(dim=0) for i in numbers[::CHUNK])
        mean = (torch.as_tensor(total) / len(numbers)).round().to(torch.uint8)
        for first in range(0, count, CHUNK):
            yield mean.expand(min(CHUNK, count - first), -1, -1, -1)

    return Subject("the mean face", (resolution, resolution), 3, pictures)


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
        size = (arguments.resolution, arguments.resolution)
        others = opened(arguments.held_out, "center", size=size, channels=3)
        subjects.append(pictures_subject(others))
    for name in models.shipped():
        model = models.load(name)
        if model.config.resolution == arguments.resolution:
            subjects.append(model_subject(Sampler(model)))
    subjects += [mean_face(arguments.data, arguments.resolution), noise(arguments.resolution)]
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
