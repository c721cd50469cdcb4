"""StyleGAN (Karras et al. 2019, arXiv 1812.04948), and its growing (Karras et al. 2018, arXiv 1710.10196).

    z --normalise--> 8 x Dense lrelu --> w, one for each layer                            mapping
    const 4x4 -> [AdaIN] -> conv [AdaIN] -> 8x8: up-conv, blur [AdaIN], conv [AdaIN] -> 16x16 ... synthesis
    [AdaIN]: + noise, + bias, lrelu, each map to mean 0 and deviation 1, then to the style's (sec. 2, eq. 1)
    image -> fromRGB -> conv, blur, conv that halves -> ... -> 4x4: minibatch std, conv, Dense, Dense -> logit

    growing: every resolution has an RGB layer of its own; at a stage (r, alpha)
        picture = alpha RGB_r(x_r) + (1 - alpha) twice RGB_(r/2)(x_(r/2))
        D's map = alpha block_r(fromRGB_r(image)) + (1 - alpha) fromRGB_(r/2)(half the image)

Layers of 4-8 pixels are its coarse ones, 16-32 the middle, the rest the fine ones (sec. 3.1).

Differs: doubling and halving are one convolution with the 3x3 one (4x4 kernels, equal to nearest neighbours
before it and a mean of 2x2 pixels after it) at every resolution; biases of dense layers and of fromRGB act
sqrt(2) times as much, which is in the activation as in StyleGAN2; a label enters G as in StyleGAN2-ADA, and D
has a logit of its own beside those of the label's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.networks.base import Discriminator, Stage, require_label, require_shape, require_stage
from facegan.networks.mapping import MappedGenerator
from facegan.networks.ops import ACTIVATION_GAIN, EPS, Conv, Dense, Function, activate, fir, minibatch_std
from facegan.networks.shape import StyleConfig, picture_size
from facegan.networks.widening import widened


@dataclass(frozen=True)
class StyleGANConfig(StyleConfig):
    """The shape of both networks; channels at resolution r are min(channel_base / r, channel_max)."""

    architecture: Literal["stylegan"] = "stylegan"

    def __post_init__(self) -> None:
        self.check_style((4, 8, 16, 32, 64, 128, 256, 512, 1024))


# ---- layers


def doubled(x: Tensor) -> Tensor:
    """x [N, C, H, W] -> [N, C, 2H, 2W], every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def halved(x: Tensor) -> Tensor:
    """x [N, C, H, W] -> [N, C, H/2, W/2], means of 2x2 pixels."""
    return F.avg_pool2d(x, 2)


def blur(x: Tensor) -> Tensor:
    """x [N, C, H, W] filtered by [1, 2, 1] / 4 along both sides, zeros around; a depthwise convolution."""
    line = fir(x.device, x.dtype, taps=(1, 2, 1))
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def spread(weight: Tensor) -> Tensor:
    """A 3x3 kernel [O, I, 3, 3] moved to the four places of a 4x4 one, summed [O, I, 4, 4]."""
    padded = F.pad(weight, [1, 1, 1, 1])
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


class ScaledConv(nn.Module):
    """x [N, I, H, W] -> [N, O, H', W'], a 3x3 convolution of weights N(0, 1), used sqrt(2 / fan_in) times.

    up: of every pixel four times; down: with means of 2x2 pixels after it.
    """

    def __init__(self, in_channels: int, out_channels: int, *, up: bool = False, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.gain = ACTIVATION_GAIN / (9 * in_channels) ** 0.5
        self.up, self.down = up, down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if self.up:
            kernel = spread(weight.flip(2, 3)).transpose(0, 1)  # [I, O, 4, 4]
            return F.conv_transpose2d(x, kernel.to(x.dtype), stride=2, padding=1)
        if self.down:
            return F.conv2d(x, (spread(weight) / 4).to(x.dtype), stride=2, padding=1)
        return F.conv2d(x, weight.to(x.dtype), padding=1)


def restyled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale (x - mean) / sqrt(variance + eps) + shift, mean and variance over each map's pixels; eq. 1.

    x [N, C, H, W], scale and shift [N, C, 1, 1] in float32, as all of it is reckoned; in x's precision.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # compilers fuse for themselves
        return _Restyle.of(x, scale, shift)
    centred, inverse = _centred(x)
    return torch.addcmul(shift, centred, scale * inverse).to(x.dtype)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """x less its mean [N, C, H, W] and the inverse of its deviation [N, C, 1, 1], of each map, float32."""
    x = x.float()
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    return centred, (centred.square().mean(dim=(2, 3), keepdim=True) + EPS).rsqrt()


class _Restyle(Function):
    """`restyled` with its gradient written out: a third of the passes over memory that autograd makes.

    With k = scale / deviation, c = x - mean: dL/dx = k (g - mean(g) - c mean(g c) / variance).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        centred, inverse = _centred(x)
        ctx.save_for_backward(x, scale, shift, centred, inverse)
        return torch.addcmul(shift, centred, scale * inverse).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (g,), (x, scale, _, centred, inverse) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again, through x
            centred, inverse = _centred(x)
        g = g.float()
        mean, along = g.mean(dim=(2, 3), keepdim=True), (g * centred).mean(dim=(2, 3), keepdim=True)
        slope = torch.addcmul(g - mean, centred, along * inverse.square(), value=-1)
        pixels = x.shape[2] * x.shape[3]
        return (slope * (scale * inverse)).to(x.dtype), pixels * along * inverse, pixels * mean


class AdaIN(nn.Module):
    """x [N, C, H, W], w [N, w_dim] -> the same shape: noise, bias, lrelu, normalised maps, style (eq. 1).

    y = (1 + s[n, c]) (x - mean) / sqrt(variance + eps) + b[n, c], mean and variance over a map's pixels.
    """

    noise_const: Tensor

    def __init__(self, channels: int, resolution: int, config: StyleGANConfig) -> None:
        super().__init__()
        self.size = picture_size(resolution, config.base)
        self.affine = Dense(config.w_dim, 2 * channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise_const", torch.randn(self.size))

    def forward(self, x: Tensor, w: Tensor, noise: str | Tensor) -> Tensor:
        """noise: "const", "random", "none", or a map [N, 1, H, W]."""
        maps: Tensor | None
        if isinstance(noise, Tensor):
            maps = noise
        elif noise == "random":
            maps = torch.randn(x.shape[0], 1, *self.size, device=x.device)
        else:
            maps = self.noise_const[None, None] if noise == "const" else None
        if maps is not None:
            x = x + maps.to(x.dtype) * self.noise_strength.to(x.dtype)[:, None, None]
        scale, shift = self.affine(w).unflatten(1, (2, -1, 1, 1)).unbind(dim=1)  # each [N, C, 1, 1]
        return restyled(activate(x, self.bias, None), 1 + scale, shift)


# ---- generator


class SynthesisBlock(nn.Module):
    """One resolution: two styled layers and a picture; at 4x4 the first one has no convolution."""

    def __init__(self, resolution: int, config: StyleGANConfig) -> None:
        super().__init__()
        width = config.width(resolution)
        self.first = resolution == 4
        if self.first:
            self.const = nn.Parameter(torch.ones(width, *config.base))
        else:
            self.conv0 = ScaledConv(config.width(resolution // 2), width, up=True)
        self.style0 = AdaIN(width, resolution, config)
        self.conv1 = ScaledConv(width, width)
        self.style1 = AdaIN(width, resolution, config)
        self.torgb = Conv(width, config.channels, 1, bias=False)
        self.rgb_bias = nn.Parameter(torch.zeros(config.channels))

    def forward(
        self, x: Tensor | None, ws: Tensor, noise: Sequence[str | Tensor], dtype: torch.dtype
    ) -> Tensor:
        """ws [N, 2, w_dim]: one a layer."""
        const = self.const.to(dtype).repeat(ws.shape[0], 1, 1, 1) if self.first else None
        x = blur(self.conv0(x)) if const is None else const
        x = self.style0(x, ws[:, 0], noise[0])
        styled: Tensor = self.style1(self.conv1(x), ws[:, 1], noise[1])
        return styled

    def picture(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> picture [N, channels, H, W], float32."""
        rgb: Tensor = self.torgb(x).float()
        return rgb + self.rgb_bias[:, None, None]


class StyleGANGenerator(MappedGenerator):
    """z [N, z_dim], label [N, label_dim] -> image [N, C, H, W]; unbounded, about -1 .. 1.

    L = num_ws = 2 log2(resolution) - 2, a w for each layer.
    """

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__(config)
        self.full, self.stages = Stage(config.resolution, config.alpha), config.resolutions
        self.net = nn.ModuleDict({f"b{r}": SynthesisBlock(r, config) for r in config.resolutions})

    def widened(self, name: str, own: Tensor, narrow: Tensor) -> Tensor | None:
        """See Network. A style is two vectors, and each widens by itself."""
        if ".affine." not in name:
            return super().widened(name, own, narrow)
        halves = [widened(*pair) for pair in zip(own.chunk(2), narrow.chunk(2), strict=True)]
        return torch.cat([half for half in halves if half is not None]) if None not in halves else None

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
        maps = self.noise_per_layer(noise, self.layers_at(stage))
        x: Tensor | None = None
        below: Tensor | None = None
        for number, (name, block) in enumerate(self.net.items()):
            assert isinstance(block, SynthesisBlock)
            resolution = int(name[1:])
            layers = slice(2 * number, 2 * number + 2)
            x = block(x, w[:, layers], maps[layers], self.compute_dtype)
            if resolution == stage.resolution // 2 and stage.alpha < 1:
                below = doubled(block.picture(x))
            if resolution == stage.resolution:
                picture = block.picture(x)
                return picture if below is None else below.lerp(picture, stage.alpha)
        raise AssertionError  # such a stage was refused

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """The shape [1, H, W] of one image's noise map of each layer."""
        return [(1, *layer.size) for layer in self.net.modules() if isinstance(layer, AdaIN)]

    def style_weights(self) -> list[Tensor]:
        """The weight [2 C, w_dim] of each layer's style: of its scales, then of its shifts."""
        return [layer.affine.weight for layer in self.net.modules() if isinstance(layer, AdaIN)]


# ---- discriminator


class DiscriminatorBlock(nn.Module):
    """One resolution: from the picture; convolution, blur, convolution that halves; bias and lrelu."""

    def __init__(self, resolution: int, config: StyleGANConfig) -> None:
        super().__init__()
        width, next_width = config.width(resolution), config.width(resolution // 2)
        self.fromrgb = Conv(config.channels, width, 1)
        self.conv0, self.bias0 = ScaledConv(width, width), nn.Parameter(torch.zeros(width))
        self.conv1 = ScaledConv(width, next_width, down=True)
        self.bias1 = nn.Parameter(torch.zeros(next_width))

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.conv0(x), self.bias0, None)
        return activate(self.conv1(blur(x)), self.bias1, None)


class Epilogue(nn.Module):
    """x [N, C, 4, 4] -> logits [N, 1 + label_dim], float32: minibatch std, convolution, two dense layers."""

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        width = config.width(4)
        self.group = config.minibatch_std_group
        self.fromrgb = Conv(config.channels, width, 1)
        self.conv, self.bias = ScaledConv(width + 1, width), nn.Parameter(torch.zeros(width))
        self.fc = Dense(width * config.base[0] * config.base[1], width, lrelu=True)
        self.out = Dense(width, 1 + config.labels.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.conv(minibatch_std(x.float(), self.group)), self.bias, None)
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits


class StyleGANDiscriminator(Discriminator):
    """image [N, C, H, W], label [N, label_dim] -> logit [N]; with labels, theirs are added.

    Minibatch std makes a logit depend on its group: show it real and fake images in separate calls.
    """

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__(label_dim=config.labels.dim, image_shape=config.image_shape)
        self.full, self.stages = Stage(config.resolution, config.alpha), config.resolutions
        blocks = {f"b{r}": DiscriminatorBlock(r, config) for r in config.resolutions[:0:-1]}
        self.net = nn.ModuleDict(blocks | {"b4": Epilogue(config)})
        self.base = config.base

    def label_axes(self) -> dict[str, tuple[int, int]]:
        """The last layer has them after the logit."""
        return {"net.b4.out.weight": (0, 1), "net.b4.out.bias": (0, 1)}

    def widened(self, name: str, own: Tensor, narrow: Tensor) -> Tensor | None:
        """See Network."""
        return widened(own, narrow, last_stays=name == "net.b4.conv.weight")

    def layers_from_image(self) -> list[nn.Module]:
        """The blocks, each as one layer; all but the last."""
        return [block for block in self.net.values() if isinstance(block, DiscriminatorBlock)]

    def forward(self, image: Tensor, label: Tensor | None = None, stage: Stage | None = None) -> Tensor:
        """image [N, C, H, W] of the stage's resolution, label [N, label_dim] -> logit [N], float32."""
        stage = stage or self.full
        require_stage(stage, self.stages)
        require_shape("image", image, None, self.image_shape[0], *picture_size(stage.resolution, self.base))
        require_label(label, self.label_dim)
        image = image.to(self.compute_dtype)
        x: Tensor | None = None
        for name, block in self.net.items():
            resolution = int(name[1:])
            if resolution == stage.resolution:
                x = block.fromrgb(image)  # type: ignore[operator]
            elif resolution == stage.resolution // 2 and stage.alpha < 1 and x is not None:
                x = block.fromrgb(halved(image)).lerp(x, stage.alpha)  # type: ignore[operator]
            x = None if x is None else block(x)
        assert x is not None
        return x[:, 0] if label is None else x[:, 0] + (x[:, 1:] * label).sum(dim=1)
