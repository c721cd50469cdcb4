"""A training run as one frozen config, and the table of presets.

A preset is a typed object with its source, its cost and what to expect of it; `facegan train --preset P
--set a.b=c` changes single values of its run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from facegan.config import UsageError, choose
from facegan.data import DataConfig
from facegan.losses import Loss, NonSaturating, WassersteinGP
from facegan.networks import NetworkConfig
from facegan.networks.dcgan import DCGANConfig

MAX_BATCH = 65_536
MIN_SAMPLES = 100  # of which a distance can say anything

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Adam:
    """Adam's settings, the same for both players."""

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.eps <= 0:
            raise UsageError(f"optimizer.lr {self.lr}, eps {self.eps}: must be positive")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise UsageError(f"optimizer.beta1 {self.beta1}, beta2 {self.beta2}: 0 or more, below 1")


@dataclass(frozen=True)
class Ema:
    """The running mean of G's weights: half-life in images, at most `rampup` of the images seen so far."""

    halflife_images: float = 10_000.0
    rampup: float = 0.05

    def __post_init__(self) -> None:
        if self.halflife_images < 0 or self.rampup < 0:
            raise UsageError(f"ema.halflife_images {self.halflife_images}, rampup {self.rampup}: 0 or more")


@dataclass(frozen=True)
class Intervals:
    """Every how many images something is written."""

    log_images: int = 2_560
    sample_images: int = 25_600
    checkpoint_images: int = 51_200
    keep_checkpoint_images: int = 0  # older checkpoints are kept where the clock passes a multiple; 0: none

    def __post_init__(self) -> None:
        for name in ("log_images", "sample_images", "checkpoint_images"):
            if getattr(self, name) < 1:
                raise UsageError(f"intervals.{name} {getattr(self, name)}: must be positive")
        if self.keep_checkpoint_images < 0:
            raise UsageError(f"intervals.keep_checkpoint_images {self.keep_checkpoint_images}: 0 or more")


@dataclass(frozen=True)
class Measure:
    """A Frechet distance of EMA samples to the training pictures while training; the best model is kept."""

    every_images: int = 0  # 0: never
    features: Literal["efficientnet", "fid", "clean-fid", "dinov2", "random", "pixels"] = "efficientnet"
    samples: int = 2_000

    def __post_init__(self) -> None:
        if self.every_images < 0:
            raise UsageError(f"measure.every_images {self.every_images}: 0 (never) or more")
        if not MIN_SAMPLES <= self.samples <= 100_000:
            raise UsageError(f"measure.samples {self.samples}: {MIN_SAMPLES} to 100,000")


@dataclass(frozen=True)
class Run:
    """Everything that decides how a training run goes; stored as the run folder's run.json."""

    model: NetworkConfig
    loss: Loss = field(default_factory=NonSaturating)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: Adam = field(default_factory=Adam)
    ema: Ema = field(default_factory=Ema)
    intervals: Intervals = field(default_factory=Intervals)
    measure: Measure = field(default_factory=Measure)
    batch: int = 128
    micro_batch: int = 128
    total_images: int = 1_000_000
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.micro_batch < 1 or self.batch < 1:
            raise UsageError(f"batch {self.batch}, micro_batch {self.micro_batch}: must be positive")
        if self.batch % self.micro_batch:
            raise UsageError(f"batch {self.batch}: must be a multiple of micro_batch {self.micro_batch}")
        if self.batch > MAX_BATCH:
            raise UsageError(f"batch {self.batch}: at most {MAX_BATCH:,}")
        if isinstance(self.loss, WassersteinGP) and self.model.d_has_batch_norm:
            raise UsageError(
                "loss wgan-gp: its penalty is of single images, which BatchNorm in D mixes; "
                "add --set model.d_norm=layer (or none)"
            )
        if self.total_images < 1:
            raise UsageError(f"total_images {self.total_images}: must be positive")
        if not 0 <= self.seed < 2**32:  # randomness keys are 32-bit words
            raise UsageError(f"seed {self.seed}: 0 to {2**32 - 1}")


@dataclass(frozen=True)
class Preset:
    """A run with a name: what it is, where it comes from, what it costs, what it gives."""

    run: Run
    what: str
    source: str
    cost: str


_DCGAN = "Radford et al. 2015, arXiv 1511.06434, in the 4x4-kernel form"


def _dcgan(resolution: int, total_images: int) -> Run:
    return Run(
        model=DCGANConfig(resolution=resolution), ema=Ema(halflife_images=20_000), total_images=total_images
    )


PRESETS: dict[str, Preset] = {
    "dcgan-32": Preset(_dcgan(32, 500_000), "DCGAN at 32 px", _DCGAN, "G 1.1 M, D 0.7 M parameters"),
    "dcgan-64": Preset(_dcgan(64, 1_000_000), "DCGAN at 64 px", _DCGAN, "G 3.6 M, D 2.8 M parameters"),
    "dcgan-128": Preset(_dcgan(128, 1_500_000), "DCGAN at 128 px", _DCGAN, "G 12.8 M, D 11.2 M parameters"),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    return PRESETS[choose("preset", name, PRESETS)]
