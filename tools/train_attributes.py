"""Trains the network that reads attributes off faces, on drawn people with their labels.

    facegan people people.zip --count 25000 --resolution 64 --seed 1
    facegan people held-out.zip --count 2000 --resolution 64 --seed 2
    python tools/train_attributes.py people.zip facegan/zoo/attributes.safetensors --held-out held-out.zip

One process, one thread; the same seed gives the same file on the same machine. Every second picture is
mirrored. Loss: squared error of standardised numbers, cross-entropy of yes and no; what cannot be seen
(hair below a hat) is left out.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.images import to_float
from facegan.perception.attributes import (
    SIZE,
    AttributeNetwork,
    Attributes,
    AttributesCard,
    Trait,
    mirrored,
    standardised,
    targets,
)
from facegan.randomness import Purpose, numpy_generator, seeded

BATCH, LEARNING_RATE, WARM_UP_STEPS, WEIGHT_DECAY = 64, 2e-3, 200, 1e-4
MAX_SHIFT = 3  # pixels; a batch is moved as a whole
YES_NO_WEIGHT = 2.0  # cross-entropies are smaller than errors of standardised numbers
MAX_BYTES = 2_000_000


@dataclass(frozen=True)
class Labelled:
    """Pictures and the numbers [2n, K] that they have; the second half mirrored, as in Dataset."""

    data: Dataset
    numbers: npt.NDArray[np.float32]


def opened(path: str) -> Labelled:
    """A set of drawn people."""
    data = open_dataset(DataConfig(path), resolution=SIZE)
    if not all(data.labels):
        raise UsageError(f"{path}: pictures without labels; facegan people draws a set that has them")
    numbers = np.stack([targets(labels) for labels in data.labels])
    return Labelled(data, np.concatenate([numbers, mirrored(numbers)]))


def trained(people: Labelled, epochs: int, seed: int) -> Attributes:
    """A network trained on so many times all pictures."""
    attributes = standardised(people.numbers)
    total = epochs * len(people.data.names)
    with seeded(seed, 0, Purpose.WEIGHTS):
        network = AttributeNetwork(len(attributes))
        network.draw_weights()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    began, losses = time.monotonic(), []
    for first in range(0, total, BATCH):
        chosen = people.data.stream(first, BATCH, seed)
        images = _shifted(
            to_float(people.data.pictures(chosen)), numpy_generator(seed, first, Purpose.AUGMENT)
        )
        images = images.contiguous(memory_format=torch.channels_last)
        loss = _loss(network(images), torch.from_numpy(people.numbers[chosen]), attributes)
        warm_up = min(1.0, (first / BATCH + 1) / WARM_UP_STEPS)
        optimizer.param_groups[0]["lr"] = (
            LEARNING_RATE * warm_up * (1 + math.cos(math.pi * first / total)) / 2
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == 200:
            seconds = time.monotonic() - began
            print(
                f"{first:,} of {total:,} images, loss {np.mean(losses):.4f}, {seconds:.0f} s", file=sys.stderr
            )
            losses.clear()
    return Attributes(
        network, AttributesCard(attributes, people.data.name, images_seen=total, licence="CC0-1.0")
    )


def _shifted(images: Tensor, random: np.random.Generator) -> Tensor:
    height, width = images.shape[2:]
    down, across = random.integers(0, 2 * MAX_SHIFT + 1, 2)
    padded = F.pad(images, [MAX_SHIFT] * 4, mode="replicate")
    return padded[:, :, down : down + height, across : across + width]


def _loss(out: Tensor, wanted: Tensor, attributes: tuple[Trait, ...]) -> Tensor:
    """The mean over attributes of the mean over the pictures that show them."""
    terms = []
    for index, attribute in enumerate(attributes):
        seen = ~wanted[:, index].isnan()
        answer, right = out[seen, index], wanted[seen, index]
        if attribute.kind == "yes/no":
            terms.append(YES_NO_WEIGHT * F.binary_cross_entropy_with_logits(answer, right))
        elif seen.any():
            terms.append(F.mse_loss(answer, (right - attribute.mean) / attribute.deviation))
    return torch.stack(terms).mean()


def measured(attributes: Attributes, people: Labelled) -> Attributes:
    """The same with its accuracy on these people on its card."""
    pixels = people.data.pictures(range(len(people.data.names))).permute(0, 2, 3, 1).numpy()
    scores, rows = attributes.scores(pixels), []
    for index, attribute in enumerate(attributes.card.attributes):
        right = people.numbers[: len(pixels), index]
        seen = ~np.isnan(right)
        answer, right = scores[seen, index].astype(np.float64), right[seen].astype(np.float64)
        chance = None
        if attribute.kind == "number":
            accuracy = 1 - np.square(answer - right).sum() / np.square(right - right.mean()).sum()
        else:
            accuracy = np.mean((answer > 0) == (right > 0.5))
            chance = round(float(max(right.mean(), 1 - right.mean())), 4)
        rows.append(replace(attribute, accuracy=round(float(accuracy), 4), chance=chance))
    card = replace(attributes.card, attributes=tuple(rows), held_out=people.data.name)
    return Attributes(attributes.network, card)


def main(arguments: list[str] | None = None) -> None:
    """Reads DATA, writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", help="other people, to measure with")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trained(opened(given.data), given.epochs, given.seed).save(given.out)
    attributes = Attributes.load(given.out)  # in float16, as it is used
    if given.held_out:
        attributes = measured(attributes, opened(given.held_out))
        attributes.save(given.out)
    size = given.out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{given.out}: {size:,} bytes; at most {MAX_BYTES:,}")
    print(f"{given.out}: {size:,} bytes, {attributes.card.images_seen:,} images seen")
    for attribute in attributes.card.attributes:
        if attribute.kind == "number":
            print(f"{attribute.name:14} R^2 {attribute.accuracy}")
        else:
            print(f"{attribute.name:14} right {attribute.accuracy} (chance {attribute.chance})")


if __name__ == "__main__":
    main()
