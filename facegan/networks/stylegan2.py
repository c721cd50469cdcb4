"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), in the form of StyleGAN2-ADA (arXiv 2006.06676).

    z --normalise--> 8 x Dense lrelu --> w --> [w_1 ... w_L]         mapping
    const 4x4 -> conv -> 8x8: up-conv, conv -> 16x16: up-conv, conv ..synthesis; each layer by its own w:
                  |             |                |                    modulated 3x3 convolution, demodulated,
                RGB --up2--> + RGB --up2-->    + RGB --> image          + noise, + bias, lrelu
    image -> fromRGB -> residual blocks, each halves -> 4x4: minibatch std, conv, Dense, Dense -> logit      D

Architectures (sec. 4.1, fig. 7): `skip` sums an RGB picture of every resolution, `resnet` sums features,
`orig` does neither.

A skip generator can grow (`grows`; the paper's sec. 4 does without): at a stage (r, alpha)
    picture = twice the picture of r/2 + alpha RGB_r(x_r)
    D's map = alpha block_r(fromRGB_r(image)) + (1 - alpha) fromRGB_(r/2)(half the image)

Differs from the official code by rounding only: one convolution serves the whole batch (see
ops.ModulatedConv), and bfloat16, where it is asked for, needs no pre-normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.networks.base import Discriminator, Stage, require_label, require_shape, require_stage
from facegan.networks.mapping import MappedGenerator, Mapping
from facegan.networks.ops import (
    ACTIVATION_GAIN,
    Conv,
    Dense,
    ModulatedConv,
    activate,
    derived,
    downsample,
    minibatch_std,
    upsample,
)
from facegan.networks.shape import StyleConfig, picture_size
from facegan.networks.widening import widened

Architecture = Literal["orig", "skip", "resnet"]
RESIDUAL_GAIN = math.sqrt(0.5)  # of both branches: keeps the variance of their sum


@dataclass(frozen=True)
class StyleGAN2Config(StyleConfig):
    """The shape of both networks; channels at resolution r are min(channel_base / r, channel_max).

    Pictures are resolution x resolution, or with another base than 4x4 (height, width) that much larger.
    grows: D takes pictures at every resolution, which growing needs.
    """

    architecture: Literal["stylegan2"] = "stylegan2"
    g_architecture: Architecture = "skip"
    d_architecture: Architecture = "resnet"
    grows: bool = False
    conv_clamp: float | None = None  # 256 in the official float16 networks

    def __post_init__(self) -> None:
        self.check_style((8, 16, 32, 64, 128, 256, 512, 1024))
        if self.conv_clamp is not None and not 0 < self.conv_clamp < math.inf:
            raise UsageError(f"conv_clamp {self.conv_clamp}: a finite number above 0, or null for none")
        if self.grows and (self.g_architecture != "skip" or self.d_architecture == "skip"):
            raise UsageError(
                f"grows: a skip generator with a resnet or orig discriminator does, g_architecture "
                f"{self.g_architecture} with d_architecture {self.d_architecture} does not"
            )

    @property
    def stages(self) -> list[int]:
        """The resolutions that it can have on the way to its own, and that one."""
        return self.resolutions[1:] if self.grows else [self.resolution]


# ---- generator


class SynthesisLayer(nn.Module):
    """x [N, I, H, W], w [N, w_dim] -> [N, O, H', W']: modulated convolution, noise, bias, lrelu (fig. 2)."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resolution: int,
        config: StyleGAN2Config,
        *,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.clamp = picture_size(resolution, config.base), config.conv_clamp
        self.affine = Dense(config.w_dim, in_channels, bias=1.0)
        self.conv = ModulatedConv(in_channels, out_channels, 3, up=up)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(self.size))

    def forward(self, x: Tensor, w: Tensor, noise: str | Tensor, gain: float = 1.0) -> Tensor:
        """noise: "const", "random", "none", or a map [N, 1, H', W']."""
        gain = gain * ACTIVATION_GAIN
        styles = self.affine(w)
        # all gains go to what is small: g lrelu(x) = lrelu(g x)
        scale = (self.conv.demodulation(styles) * gain).to(x.dtype)[:, :, None, None]  # [N, O, 1, 1]
        amount = self._noise(noise, x, gain)  # [N or 1, 1, H', W']
        x = self.conv(x, styles)
        x = x * scale if amount is None else torch.addcmul(amount, x, scale)
        key = f"bias {gain} {x.dtype}"
        bias = derived(self, key, [self.bias], lambda: (self.bias * gain).to(x.dtype))
        return activate(x, bias, None if self.clamp is None else self.clamp * gain / ACTIVATION_GAIN)

    def _noise(self, noise: str | Tensor, x: Tensor, gain: float) -> Tensor | None:
        """What is added, in x's type; None: nothing."""

        def scaled(maps: Tensor) -> Tensor:
            return (maps * (self.noise_strength * gain)).to(x.dtype)

        if isinstance(noise, Tensor):
            return scaled(noise)
        if noise == "random":
            return scaled(torch.randn(x.shape[0], 1, *self.size, device=x.device))
        if noise == "none":
            return None
        key = f"noise {gain} {x.dtype}"
        weights = self.noise_strength, self.noise_const
        return derived(self, key, weights, lambda: scaled(self.noise_const[None, None]))


class ToRGB(nn.Module):
    """x [N, I, H, W], w [N, w_dim] -> picture [N, channels, H, W], float32; modulated, not demodulated."""

    def __init__(self, in_channels: int, config: StyleGAN2Config) -> None:
        super().__init__()
        self.affine = Dense(config.w_dim, in_channels, bias=1.0)
        self.conv = ModulatedConv(in_channels, config.channels, 1)
        self.bias = nn.Parameter(torch.zeros(config.channels))
        self.weight_gain, self.clamp = 1 / math.sqrt(in_channels), config.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        picture: Tensor = self.conv(x, self.affine(w) * self.weight_gain).float()
        picture = picture + self.bias[:, None, None]
        return picture if self.clamp is None else picture.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: up-convolution (not at 4x4), convolution, and a picture if the architecture has one."""

    def __init__(self, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        width, kind = config.width(resolution), config.g_architecture
        self.resolution, self.first = resolution, resolution == 4
        if self.first:
            self.const = nn.Parameter(torch.randn(width, *config.base))
        else:
            below = config.width(resolution // 2)
            self.conv0 = SynthesisLayer(below, width, resolution, config, up=True)
            if kind == "resnet":
                self.skip = Conv(below, width, 1, bias=False, up=True, gain=RESIDUAL_GAIN)
        self.conv1 = SynthesisLayer(width, width, resolution, config)
        self.has_picture = kind == "skip" or resolution == config.resolution
        self.residual = kind == "resnet" and not self.first
        if self.has_picture:
            self.torgb = ToRGB(width, config)
        self.num_convs = 1 if self.first else 2

    def forward(
        self,
        x: Tensor | None,
        picture: Tensor | None,
        ws: Tensor,
        noise: Sequence[str | Tensor],
        dtype: torch.dtype,
        alpha: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """ws [N, num_convs + 1, w_dim]: one a convolution, then the picture's; alpha: how far it is there."""
        if x is None:
            x = self.const.to(dtype).expand(ws.shape[0], -1, -1, -1)
            x = self.conv1(x, ws[:, 0], noise[0])
        else:
            gain = RESIDUAL_GAIN if self.residual else 1.0
            beside = self.skip(x) if self.residual else None
            x = self.conv0(x, ws[:, 0], noise[0])
            x = self.conv1(x, ws[:, 1], noise[1], gain)
            x = x if beside is None else x + beside
        if picture is not None:
            picture = upsample(picture)
        if self.has_picture:
            own = self.torgb(x, ws[:, self.num_convs])
            own = own if alpha == 1 else own * alpha
            picture = own if picture is None else picture + own
        return x, picture


class Synthesis(nn.Module):
    """The blocks b4, b8, ... of the synthesis network."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        for resolution in config.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(resolution, config))

    def blocks(self) -> list[SynthesisBlock]:
        """b4, b8, ..."""
        return [block for block in self.children() if isinstance(block, SynthesisBlock)]


class StyleGAN2Generator(MappedGenerator):
    """z [N, z_dim], label [N, label_dim] -> image [N, C, H, W]; unbounded, about -1 .. 1.

    L = num_ws = 2 log2(resolution) - 2: layer l is styled by w[:, l]; a block's picture by the w of the next
    block's first layer, the last one's by the last.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        self.full, self.stages = Stage(config.resolution, config.alpha), config.stages
        self.net = Synthesis(config)

    def synthesis(
        self, w: Tensor, noise: str | Sequence[Tensor] = "const", stage: Stage | None = None
    ) -> Tensor:
        """w [N, num_ws, w_dim] -> image, float32, of the stage's resolution; None: of all of it.

        noise: "const", "random" (torch's global generator), "none", or one map for each of the stage's
        layers: `noise_shapes`.
        """
        require_shape("w", w, None, self.num_ws, self.w_dim)
        stage = stage or self.full
        require_stage(stage, self.stages)
        maps = self.noise_per_layer(noise, self.layers_at(stage) - 1)  # 4x4 has one convolution
        x: Tensor | None = None
        picture: Tensor | None = None
        start = 0
        for block in self.net.blocks():
            last = block.resolution == stage.resolution
            ws, own = w[:, start : start + block.num_convs + 1], maps[start : start + block.num_convs]
            alpha = stage.alpha if last else 1.0
            x, picture = block(x, picture, ws, own, self.compute_dtype, alpha)
            start += block.num_convs
            if last:
                break
        assert picture is not None
        return picture

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """The shape [1, H, W] of one image's noise map of each layer."""
        layers = [m for m in self.net.modules() if isinstance(m, SynthesisLayer)]
        return [(1, *layer.size) for layer in layers]

    def style_weights(self) -> list[Tensor]:
        """The weight [C, w_dim] of each convolution's style, without the pictures', which share their w."""
        layers = [m for m in self.net.modules() if isinstance(m, SynthesisLayer)]
        return [layer.affine.weight for layer in layers]


# ---- discriminator


class DiscriminatorBlock(nn.Module):
    """One resolution: [picture in,] convolution, convolution that halves, and what the architecture adds."""

    def __init__(self, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        width, next_width = config.width(resolution), config.width(resolution // 2)
        kind, clamp = config.d_architecture, config.conv_clamp
        self.resolution = resolution
        self.halves_picture, self.residual = kind == "skip", kind == "resnet"
        if kind == "skip" or config.grows or resolution == config.resolution:
            self.fromrgb = Conv(config.channels, width, 1, clamp=clamp)
        self.conv0 = Conv(width, width, 3, clamp=clamp)
        gain = RESIDUAL_GAIN if self.residual else 1.0
        self.conv1 = Conv(width, next_width, 3, down=True, gain=gain, clamp=clamp)
        if self.residual:
            self.skip = Conv(width, next_width, 1, bias=False, down=True, gain=RESIDUAL_GAIN)

    def forward(self, x: Tensor | None, picture: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if picture is not None:
            seen = self.fromrgb(picture)
            x = seen if x is None else x + seen
        assert x is not None
        beside = self.skip(x) if self.residual else None
        x = self.conv1(self.conv0(x))
        x = x if beside is None else x + beside
        return x, downsample(picture) if self.halves_picture and picture is not None else None


class Epilogue(nn.Module):
    """x [N, C, 4, 4] -> logit [N], float32: minibatch std, convolution, two dense layers.

    With labels, its vector's product with the embedded label is the logit (Miyato and Koyama 2018).
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        width = config.width(4)
        self.group = config.minibatch_std_group
        self.takes_picture = config.d_architecture == "skip"
        if self.takes_picture:
            self.fromrgb = Conv(config.channels, width, 1)
        self.conv = Conv(width + 1, width, 3, clamp=config.conv_clamp)
        self.fc = Dense(width * math.prod(config.base), width, lrelu=True)
        self.out = Dense(width, width if config.labels.dim else 1)

    def forward(self, x: Tensor, picture: Tensor | None, label: Tensor | None) -> Tensor:
        """label [N, C]: embedded."""
        x = x.float()
        if picture is not None:
            x = x + self.fromrgb(picture.float())
        x = self.conv(minibatch_std(x, self.group))
        out: Tensor = self.out(self.fc(x.flatten(1)))
        return out[:, 0] if label is None else (out * label).sum(dim=1) / math.sqrt(out.shape[1])


class StyleGAN2Discriminator(Discriminator):
    """image [N, C, H, W], label [N, label_dim] -> logit [N].

    Minibatch std makes a logit depend on its group: show it real and fake images in separate calls.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(label_dim=config.labels.dim, image_shape=config.image_shape)
        self.full, self.stages = Stage(config.resolution, config.alpha), config.stages
        self.base = config.base
        for resolution in config.resolutions[:0:-1]:
            self.add_module(f"b{resolution}", DiscriminatorBlock(resolution, config))
        self.b4 = Epilogue(config)
        if self.label_dim:
            self.map = Mapping(z_dim=0, label_dim=self.label_dim, w_dim=config.width(4))

    def widened(self, name: str, own: Tensor, narrow: Tensor) -> Tensor | None:
        """See Network. What ends in the product with a label stays fresh: its length counts."""
        if self.label_dim and name.startswith(("map.", "b4.out.")):
            return None
        return widened(own, narrow, last_stays=name == "b4.conv.weight")

    def layers_from_image(self) -> list[nn.Module]:
        """Of each block fromrgb, conv0, conv1, skip: the published order of freeze-D."""
        names = ("fromrgb", "conv0", "conv1", "skip")
        blocks = [block for block in self.children() if isinstance(block, DiscriminatorBlock)]
        return [getattr(block, name) for block in blocks for name in names if hasattr(block, name)]

    def forward(self, image: Tensor, label: Tensor | None = None, stage: Stage | None = None) -> Tensor:
        """image [N, C, H, W] of the stage's resolution, label [N, label_dim] -> logit [N], float32."""
        stage = stage or self.full
        require_stage(stage, self.stages)
        require_shape("image", image, None, self.image_shape[0], *picture_size(stage.resolution, self.base))
        require_label(label, self.label_dim)
        image = image.to(self.compute_dtype)
        x: Tensor | None = None
        picture: Tensor | None = image
        for block in self.children():
            if not isinstance(block, DiscriminatorBlock) or block.resolution > stage.resolution:
                continue
            if block.resolution == stage.resolution // 2 and stage.alpha < 1 and x is not None:
                x = block.fromrgb(downsample(image)).lerp(x, stage.alpha)
            x, picture = block(x, picture)
        assert x is not None
        logit: Tensor = self.b4(x, picture, None if label is None else self.map(None, label))
        return logit
