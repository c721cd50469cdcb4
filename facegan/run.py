"""A training run as one frozen config: everything that decides how it goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from facegan.augment import Ada, Augment, NoAugment
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.growth import Growth
from facegan.losses import Loss, NonSaturating, StyleGAN2Loss, WassersteinGP
from facegan.networks import NetworkConfig
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config

MAX_BATCH = 65_536
MIN_SAMPLES = 100  # of which a distance can say anything
USUAL_SAMPLES = 2_000
FEWER = f"fewer give no meaningful distance, and {USUAL_SAMPLES:,} or more are usual"

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Compile = Literal["auto", "yes", "no"]
Track = Literal["auto", "no", "tensorboard", "wandb"]


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
    samples: int = USUAL_SAMPLES
    stop_after_plateau_images: int = 0  # the run ends when the best distance is so old; 0: never

    def __post_init__(self) -> None:
        if self.every_images < 0:
            raise UsageError(f"measure.every_images {self.every_images}: 0 (never) or more")
        if not MIN_SAMPLES <= self.samples <= 100_000:
            raise UsageError(f"measure.samples {self.samples}: {MIN_SAMPLES} to 100,000")
        if self.stop_after_plateau_images < 0 or (self.stop_after_plateau_images and not self.every_images):
            raise UsageError(
                f"measure.stop_after_plateau_images {self.stop_after_plateau_images}: 0 (never) or more, and "
                "only with measure.every_images"
            )


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
    augment: Augment = field(default_factory=NoAugment)
    growth: Growth | None = None  # null: all resolutions from the start
    init: str = ""  # the model whose weights the run starts from
    freeze_d: int = 0  # so many of D's layers, from the image on, stay as they came with init
    batch: int = 128
    micro_batch: int = 128  # 0: as many as fit into memory
    total_images: int = 1_000_000
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    compile: Compile = "auto"  # the networks, by torch.compile; auto: on CUDA
    track: Track = "no"  # where the log goes as well; auto: TensorBoard where it is installed

    def __post_init__(self) -> None:
        if self.micro_batch < 0 or self.batch < 1:
            raise UsageError(
                f"batch {self.batch}, micro_batch {self.micro_batch}: must be positive; micro_batch 0 takes "
                "what fits into memory"
            )
        part = self.micro_batch or self.batch
        if self.batch % part:
            raise UsageError(f"batch {self.batch}: must be a multiple of micro_batch {self.micro_batch}")
        if self.batch > MAX_BATCH:
            raise UsageError(f"batch {self.batch}: at most {MAX_BATCH:,}")
        if isinstance(self.loss, WassersteinGP) and self.model.d_has_batch_norm:
            raise UsageError(
                "loss wgan-gp: its penalty is of single images, which BatchNorm in D mixes; "
                "add --set model.d_norm=layer (or none)"
            )
        group = self.model.minibatch_std_group
        if part % min(group, part):
            raise UsageError(f"micro_batch {part}: a multiple of minibatch_std_group {group}, or below it")
        if isinstance(self.loss, StyleGAN2Loss) and self.model.architecture == "dcgan":
            raise UsageError("loss stylegan2: it is for StyleGAN and StyleGAN2, not for dcgan")
        if self.growth is not None:
            self._check_growth(self.growth)
        if isinstance(self.model, StyleGAN2Config) and self.model.grows != (self.growth is not None):
            has, lacks = ("model.grows", "growth") if self.model.grows else ("growth", "model.grows")
            raise UsageError(
                f"{has} without {lacks}: a StyleGAN2 that grows needs both, others neither; "
                "model.grows=true and growth={}, or model.grows=false and growth=null"
            )
        if self.freeze_d < 0 or (self.freeze_d and not self.init):
            raise UsageError(f"freeze_d {self.freeze_d}: 0 or more, and only of a D that came with --init")
        adapts = isinstance(self.augment, Ada) and self.augment.full_images > 0
        if adapts and not self.loss.zero_divides:
            relativistic = isinstance(self.loss, StyleGAN2Loss) and self.loss.relativistic
            setting = "loss.relativistic=true" if relativistic else f"loss {self.loss.name}"
            raise UsageError(
                f"augment ada with {setting}: p follows the sign of D's logits, which means "
                "nothing there; set augment.full_images=0 and augment.p_start"
            )
        first = self.model.resolution if self.growth is None else self.growth.first_resolution
        if not isinstance(self.augment, NoAugment) and any(side * first // 4 % 2 for side in self.model.base):
            raise UsageError(
                f"augment {self.augment.name} needs even sides: with base "
                f"{self.model.base[0]}x{self.model.base[1]} from 8 px on"
            )
        if self.model.alpha != 1.0:
            raise UsageError("model.alpha: it is for models that were saved while they grew; leave it at 1")
        if self.total_images < 1:
            raise UsageError(f"total_images {self.total_images}: must be positive")
        if not 0 <= self.seed < 2**32:  # randomness keys are 32-bit words
            raise UsageError(f"seed {self.seed}: 0 to {2**32 - 1}")

    def _check_growth(self, growth: Growth) -> None:
        """Whether every stage's batch can be taken in parts, and the network grows at all."""
        if isinstance(self.model, DCGANConfig):
            raise UsageError("growth: StyleGAN and StyleGAN2 grow, dcgan does not")
        if isinstance(self.model, StyleGAN2Config) and growth.first_resolution == 4:
            raise UsageError("growth.first_resolution 4: StyleGAN2 begins with 8 or more")
        if growth.first_resolution > self.model.resolution:
            raise UsageError(
                f"growth.first_resolution {growth.first_resolution}: at most model.resolution, "
                f"{self.model.resolution}"
            )
        if self.compile == "yes":
            raise UsageError("compile yes with growth: every step would be compiled anew; use compile=no")
        if growth.batches and self.batch != growth.batches[-1]:
            raise UsageError(
                f"batch {self.batch}: growth.batches ends with {growth.batches[-1]}, as it must be; set both"
            )
        if growth.lrs and self.optimizer.lr != growth.lrs[-1]:
            raise UsageError(
                f"optimizer.lr {self.optimizer.lr:g}: growth.lrs ends with {growth.lrs[-1]:g}, as it must "
                "be; set both"
            )
        if self.freeze_d:
            raise UsageError("freeze_d with growth: the layers next to the image come last; use growth=null")
        if not self.micro_batch and growth.batches:
            raise UsageError("micro_batch 0 with growth.batches: say how many images at a time fit")
        for batch in growth.batches:
            same = replace(growth, batches=(), lrs=())
            replace(self, growth=same, batch=batch, micro_batch=min(self.micro_batch, batch))
