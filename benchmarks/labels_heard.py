"""Whether a model with labels makes what it is asked for, by a classifier that learnt from real pictures.

    python benchmarks/labels_heard.py --model RUN --data LABELLED.zip --attribute glasses [--samples 500]

The classifier is a logistic regression on the features of EfficientNet-lite0, learnt from the first pictures
of the data and tested on the next; what it says of pictures asked for with and without is printed beside.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan import models
from facegan.data import DataConfig, Dataset, open_dataset
from facegan.labels import Attribute
from facegan.perception.features import extractor
from facegan.synthesis import Sampler

CHUNK = 64
WEIGHT_DECAY = 1e-3
STEPS = 500


def features_of(pictures: Tensor) -> Tensor:
    """uint8 [n, C, H, W] -> [n, D]."""
    network = extractor("efficientnet")
    return torch.cat([network(pictures[i : i + CHUNK]) for i in range(0, len(pictures), CHUNK)])


class Classifier:
    """Yes or no, from features [n, D] that are brought to mean 0 and deviation 1."""

    def __init__(self, features: Tensor, is_yes: Tensor) -> None:
        self.mean, self.deviation = features.mean(dim=0), features.std(dim=0) + 1e-6
        self.weight = torch.zeros(features.shape[1], requires_grad=True)
        self.bias = torch.zeros(1, requires_grad=True)
        x, target = self._normalised(features), is_yes.float()
        balance = torch.where(is_yes, (~is_yes).float().mean(), target.mean())  # both answers weigh as much
        optimizer = torch.optim.Adam([self.weight, self.bias], lr=0.01)
        for _ in range(STEPS):
            optimizer.zero_grad()
            error = F.binary_cross_entropy_with_logits(x @ self.weight + self.bias, target, weight=balance)
            torch.autograd.backward(error + WEIGHT_DECAY * self.weight.square().sum())
            optimizer.step()

    def _normalised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation

    @torch.no_grad()
    def yes(self, features: Tensor) -> Tensor:
        """Which of them it takes for a yes [n]."""
        return self._normalised(features) @ self.weight + self.bias > 0


def answers_of(dataset: Dataset, attribute: Attribute, numbers: range) -> Tensor:
    """Whether each picture has what `NAME=yes` asks for."""
    wanted = set(attribute.named("yes"))
    return torch.tensor(
        [attribute.number_of(dataset.labels[n].get(attribute.name)) in wanted for n in numbers]
    )


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--attribute", required=True, help="one that has a no: glasses, smile, hat")
    parser.add_argument("--learn", type=int, default=4_000)
    parser.add_argument("--test", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--psi", type=float, default=1.0)
    arguments = parser.parse_args()
    sampler = Sampler(models.load(arguments.model))
    (attribute,) = (known for known in sampler.labels.attributes if known.name == arguments.attribute)
    size = sampler.generator.image_shape[1:]
    dataset = open_dataset(DataConfig(arguments.data, mirror=False), resolution=size)
    learn, test = range(arguments.learn), range(arguments.learn, arguments.learn + arguments.test)
    if not any(dataset.labels[number] for number in learn):
        raise SystemExit(f"{arguments.data}: its pictures have no labels")
    classifier = Classifier(features_of(dataset.pictures(learn)), answers_of(dataset, attribute, learn))
    truth, said = answers_of(dataset, attribute, test), classifier.yes(features_of(dataset.pictures(test)))
    result = {
        "attribute": attribute.name,
        "share_in_data": float(truth.float().mean()),
        "classifier_finds_yes": float(said[truth].float().mean()),
        "classifier_finds_no": 1 - float(said[~truth].float().mean()),
    }
    for answer in ("yes", "no"):
        made = sampler.sample(range(arguments.samples), arguments.psi, label=f"{attribute.name}={answer}")
        pictures = torch.from_numpy(np.ascontiguousarray(made.transpose(0, 3, 1, 2)))
        result[f"said_yes_asked_{answer}"] = float(classifier.yes(features_of(pictures)).float().mean())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
