"""Attributes that a small network reads off a face: age, smile, glasses and so on.

    attributes = Attributes.load()
    attributes.names               ("age", "male", "smile", ...)
    attributes.scores(pictures)    uint8 [N, H, W, C] -> float32 [N, K]: years, degrees ...; yes/no as logits

    64 px RGB -> six 3x3 convolutions with bias and lrelu, four of them strided -> mean over pixels -> linear

It has learnt from drawn people (facegan people), whose labels are true by construction; what it says of
photographs is not measured. The numbers of a file's header say how well it reads people it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.config import UsageError, from_json, to_json
from facegan.images import Pixels, fit, rgb, to_float
from facegan.networks.base import exact_convolutions
from facegan.tensor_file import read_header, read_tensors, write

SHIPPED = Path(__file__).parent.parent / "zoo" / "attributes.safetensors"
KIND, FORMAT = "attributes", 1
SIZE = 64  # pixels of a side
WIDTHS = ((24, 2), (48, 2), (96, 2), (96, 1), (128, 2), (128, 1))  # channels and stride of each convolution
SLOPE = 0.2
CHUNK = 64  # pictures at once, whatever the batch
MAX_ATTRIBUTES = 100


@dataclass(frozen=True)
class Trait:
    """One number that is read: in `unit`, mean + deviation x the network's output; of a yes/no a logit.

    accuracy, on people it has not seen: R^2 of a number, the share of right answers of a yes/no, beside
    `chance`, the share that the commoner answer alone gets right.
    """

    name: str
    kind: Literal["number", "yes/no"]
    unit: str = ""
    mean: float = 0.0
    deviation: float = 1.0
    accuracy: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class AttributesCard:
    """What a file says of itself: what it reads, and what it has learnt from."""

    attributes: tuple[Trait, ...]
    data: str = ""
    held_out: str = ""
    images_seen: int = 0
    licence: str = ""

    def __post_init__(self) -> None:
        names = [attribute.name for attribute in self.attributes]
        if not 1 <= len(names) <= MAX_ATTRIBUTES or len(set(names)) < len(names):
            raise UsageError(f"{len(names)} attributes: 1 to {MAX_ATTRIBUTES}, each once")
        for attribute in self.attributes:
            if not attribute.deviation > 0:
                raise UsageError(
                    f"attribute {attribute.name!r}: deviation {attribute.deviation}, not above 0"
                )


class AttributeNetwork(nn.Module):
    """x [N, 3, 64, 64] in [-1, 1] -> [N, K]: standardised numbers and logits, each picture by itself."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        channels = [3, *(width for width, _ in WIDTHS)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=1)
            for before, (after, stride) in zip(channels, WIDTHS, strict=False)
        )
        self.head = nn.Linear(channels[-1], outputs)

    def features(self, x: Tensor) -> list[Tensor]:
        """What each convolution makes of x [N, 3, 64, 64], [N, C, H, W] each."""
        found = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x)[-1].mean(dim=(2, 3)))
        return out

    def draw_weights(self) -> None:
        """Fresh weights that keep the variance (He et al. 2015, arXiv 1502.01852), from torch's generator."""
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, SLOPE)
            nn.init.zeros_(conv.bias)


class Attributes:
    """The network with its card; `scores` reads pictures."""

    def __init__(self, network: AttributeNetwork, card: AttributesCard) -> None:
        self.network, self.card = network.eval().requires_grad_(False), card
        self.names = tuple(attribute.name for attribute in card.attributes)
        self._mean = torch.tensor([attribute.mean for attribute in card.attributes])
        self._deviation = torch.tensor([attribute.deviation for attribute in card.attributes])

    @classmethod
    def load(cls, path: Path = SHIPPED, device: torch.device | str = "cpu") -> Attributes:
        """What a file holds, the shipped one unless told, computing on `device`.

        Raises:
            UsageError: not such a file, or one with other tensors than its header says, or bad numbers.
        """
        header = read_header(path, KIND, FORMAT)
        try:
            card = from_json(AttributesCard, header)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to draw
            network = AttributeNetwork(len(card.attributes))
        network.load_state_dict(read_tensors(path, network.state_dict()))
        return cls(network.to(device), card)

    def save(self, path: Path) -> None:
        """Writes the file, in float16."""
        tensors = {name: tensor.half() for name, tensor in self.network.state_dict().items()}
        write(path, KIND, FORMAT, to_json(self.card), tensors)

    @torch.inference_mode()
    def scores(self, pictures: Pixels) -> npt.NDArray[np.float32]:
        """pictures uint8 [N, H, W, C] -> [N, K] in the units of `card.attributes`.

        C is 1, 3 or 4: grey is repeated, transparent parts become white. Of other shapes than 64x64 the
        largest central square is resized.
        """
        device = self.network.head.weight.device
        rows = [np.empty((0, len(self.names)), np.float32)]
        for start in range(0, len(pictures), CHUNK):
            pixels = np.stack([_fitted(picture) for picture in pictures[start : start + CHUNK]])
            images = to_float(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
            with exact_convolutions():
                out = self.network(images).cpu()
            rows.append((self._mean + self._deviation * out).numpy())
        return np.concatenate(rows)


def _fitted(picture: Pixels) -> Pixels:
    pixels = rgb(picture)
    if pixels.shape[:2] == (SIZE, SIZE):
        return pixels
    return fit(Image.fromarray(np.ascontiguousarray(pixels)), (SIZE, SIZE), "center")


# ---- what it learns: numbers from the labels of drawn people (docs/people.md)

HAIR_LENGTHS = ("bald", "very short", "short", "medium", "long")
UNSEEN = math.nan  # where a label cannot be seen in the picture


def targets(labels: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """The numbers [K] of TABLE, of one person's labels; UNSEEN where the picture does not show them."""
    return np.array([read(labels) for _, read in _READERS], np.float32)


def mirrored(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the mirrored pictures of these numbers [N, K] have: the head looks to the other side."""
    return scores * np.where([name == "yaw" for name in NAMES], np.float32(-1), np.float32(1))


def standardised(table: npt.NDArray[np.float32]) -> tuple[Trait, ...]:
    """TABLE with means and deviations of the numbers [N, K]; a yes/no keeps 0 and 1."""
    return tuple(
        replace(attribute, mean=float(np.nanmean(column)), deviation=float(np.nanstd(column)))
        if attribute.kind == "number"
        else attribute
        for attribute, column in zip(TABLE, table.T, strict=True)
    )


def _shown(labels: Mapping[str, Any], *units: str) -> float:
    """The mean weight of face units; those that are not listed are below 0.15."""
    return sum(float(labels["expression"].get(unit, 0.0)) for unit in units) / len(units)


def _mouth_open(labels: Mapping[str, Any]) -> float:
    """How far the lips are apart: lips that bare the teeth count half of what a jaw does (docs/people.md)."""
    upper = _shown(labels, "mouthUpperUpLeft", "mouthUpperUpRight")
    lower = _shown(labels, "mouthLowerDownLeft", "mouthLowerDownRight")
    return _shown(labels, "jawOpen") + (upper + lower) / 2


def _hair_length(labels: Mapping[str, Any]) -> float:
    return UNSEEN if labels["hat"] != "none" else float(HAIR_LENGTHS.index(labels["hair_length"]))


def _hair_darkness(labels: Mapping[str, Any]) -> float:
    """0 (white) to 1 (black) on a perceptual scale; brown is taken for what white hair was before."""
    if labels["hat"] != "none" or labels["hair_length"] == "bald" or labels["hair_colour"] == "dyed":
        return UNSEEN
    lightness, greyness = _lightness(), float(labels["hair_greyness"])
    natural = lightness.get(labels["hair_colour"], lightness["brown"])
    return 1 - (1 - greyness) * natural - greyness * GREY_LIGHTNESS


GREY_LIGHTNESS = 0.41 ** (1 / 2.2)  # of people.skin.GREY_HAIR; strands (hair.GREY) are lighter


@lru_cache
def _lightness() -> dict[str, float]:
    """Of each natural hair colour: the power 1/2.2 of its mean linear RGB."""
    from facegan.people.population import HAIR_COLOURS  # only training needs it

    return {name: float(np.mean(colour)) ** (1 / 2.2) for name, colour in HAIR_COLOURS.items()}


_Read = Callable[[Mapping[str, Any]], float]
_READERS: tuple[tuple[Trait, _Read], ...] = (
    (Trait("age", "number", "years"), lambda labels: float(labels["age_years"])),
    (Trait("male", "yes/no"), lambda labels: float(labels["gender_presentation"] == "male")),
    (
        Trait("smile", "number", "weight 0-1"),
        lambda labels: _shown(labels, "mouthSmileLeft", "mouthSmileRight"),
    ),
    (Trait("mouth_open", "number", "weight 0-1"), _mouth_open),
    (Trait("glasses", "yes/no"), lambda labels: float(labels["glasses"] != "none")),
    (Trait("beard", "yes/no"), lambda labels: float(labels["beard"])),
    (Trait("hair_length", "number", "0 bald - 4 long"), _hair_length),
    (Trait("hair_darkness", "number", "0 white - 1 black"), _hair_darkness),
    (Trait("skin_tone", "number", "0 lightest - 6 darkest"), lambda labels: float(labels["skin_tone"])),
    (Trait("yaw", "number", "degrees"), lambda labels: float(labels["yaw_degrees"])),
    (Trait("african", "number", "share"), lambda labels: float(labels["ancestry"]["african"])),
    (Trait("asian", "number", "share"), lambda labels: float(labels["ancestry"]["asian"])),
    (Trait("caucasian", "number", "share"), lambda labels: float(labels["ancestry"]["caucasian"])),
)
TABLE = tuple(attribute for attribute, _ in _READERS)
NAMES = tuple(attribute.name for attribute in TABLE)
