"""What the configs of all networks have in common: the pictures' size, and widths by resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from facegan.config import UsageError
from facegan.labels import LabelSpace


def picture_size(resolution: int, base: tuple[int, int]) -> tuple[int, int]:
    """Height and width of pictures that begin as a map of `base` pixels where square ones begin with 4x4."""
    height, width = base
    return height * resolution // 4, width * resolution // 4


class PictureConfig:
    """A config with resolution, base (height and width of the first map) and channels."""

    architecture: str
    resolution: int
    base: tuple[int, int]
    channels: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of a picture."""
        return (self.channels, *picture_size(self.resolution, self.base))

    def check(self, resolutions: Sequence[int], bounds: dict[str, int]) -> None:
        """Checks the pictures, and other sizes against the most they can be.

        The bounds are for model files of strangers, which could make us allocate anything else.

        Raises:
            UsageError: a resolution, base, number of channels or size that cannot be.
        """
        if self.resolution not in resolutions:
            raise UsageError(
                f"{self.architecture} resolution {self.resolution}: one of {', '.join(map(str, resolutions))}"
            )
        if len(self.base) != 2 or not all(2 <= side <= 8 for side in self.base):
            base = "x".join(map(str, self.base))
            raise UsageError(f"base {base}: height and width of the first map, each 2 to 8")
        if self.channels not in (1, 3, 4):
            raise UsageError(f"channels {self.channels}: 1 (grey), 3 (RGB) or 4 (RGBA)")
        for name, most in bounds.items():
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} {getattr(self, name)}: 1 to {most}")


@dataclass(frozen=True)
class StyleConfig(PictureConfig):
    """A StyleGAN's; channels at resolution r are min(channel_base / r, channel_max).

    alpha: how far the last resolution has faded in, for a model that was saved while it grew.
    """

    resolution: int = 64
    base: tuple[int, int] = (4, 4)
    channels: int = 3
    labels: LabelSpace = field(default_factory=LabelSpace)
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    channel_base: int = 16_384
    channel_max: int = 512
    minibatch_std_group: int = 4
    w_avg_beta: float = 0.995
    alpha: float = 1.0

    d_has_batch_norm: ClassVar[bool] = (
        False  # minibatch std mixes a group's images, but only through one feature map
    )

    def check_style(self, resolutions: Sequence[int]) -> None:
        """Checks all of it.

        Raises:
            UsageError: a value that cannot be.
        """
        bounds = {"z_dim": 1024, "w_dim": 1024, "mapping_layers": 16, "channel_max": 1024}
        self.check(resolutions, bounds | {"channel_base": 2**17, "minibatch_std_group": 64})
        if self.channel_base < self.resolution:
            raise UsageError(
                f"channel_base {self.channel_base}: at least the resolution, {self.resolution}, or the last "
                "layer has no channels"
            )
        if not (0 <= self.w_avg_beta < 1 and 0 < self.mapping_lr_multiplier <= 1):
            raise UsageError(
                f"w_avg_beta {self.w_avg_beta}: 0 or more, below 1; "
                f"mapping_lr_multiplier {self.mapping_lr_multiplier}: above 0, at most 1"
            )
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"alpha {self.alpha}: 0 to 1")

    def width(self, resolution: int) -> int:
        """Channels of the feature maps at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ... resolution."""
        return [2**k for k in range(2, self.resolution.bit_length())]
