"""DCGAN (Radford, Metz, Chintala 2015, arXiv 1511.06434), in the 4x4-kernel form that PyTorch made standard.

    G:  z [N, 100] -> 4x4 -> 8x8 -> 16x16 -> 32x32 -> 64x64      each step: ConvT 4x4, BatchNorm, ReLU
                      8f     4f     2f       f        3 (tanh)   f = base_channels
    D:  64x64 -> 32x32 -> 16x16 -> 8x8 -> 4x4 -> logit           each step: Conv 4x4, BatchNorm, LeakyReLU 0.2
        3        f        2f       4f     8f     1

Every other resolution has as many doublings as it needs, so the width at 4x4 is f * resolution / 8.
Pictures that are not square begin with another map than 4x4: their `base`.
No BatchNorm on D's first layer and G's last one (sec. 3), weights N(0, 0.02), BatchNorm gains N(1, 0.02).

Differs from the paper: z is normal instead of uniform, kernels are 4x4 instead of 5x5 and the dense
first layer is a transposed convolution on a 1x1 map (the same thing), as in the standard PyTorch form.
D returns the logit; the sigmoid is part of the loss.

With labels, G gets z and the label as one vector (Mirza and Osindero 2014, arXiv 1411.1784), and D adds the
label's product with its last features (the projection of Miyato and Koyama 2018, arXiv 1802.05637).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.config import UsageError
from facegan.labels import LabelSpace
from facegan.networks.base import Discriminator, Generator, Stage, require_label, require_shape
from facegan.networks.ops import Function
from facegan.networks.shape import PictureConfig

WEIGHT_STD = 0.02  # sec. 4
LEAKY_SLOPE = 0.2  # sec. 4
MAX_CHANNELS = 2048  # with the next, bounds what a model file can make us allocate
MAX_FIRST_WEIGHTS = 2**26  # of G's first layer


@dataclass(frozen=True)
class DCGANConfig(PictureConfig):
    """The shape of both networks."""

    architecture: Literal["dcgan"] = "dcgan"
    resolution: int = 64
    base: tuple[int, int] = (4, 4)  # height and width of the first map
    channels: int = 3
    labels: LabelSpace = field(default_factory=LabelSpace)
    z_dim: int = 100
    g_base_channels: int = 64  # "ngf"
    d_base_channels: int = 64  # "ndf"
    d_norm: Literal["batch", "layer", "none"] = "batch"

    minibatch_std_group: ClassVar[int] = 1  # D has no minibatch std, and nothing fades in
    alpha: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        bounds = {"z_dim": 1024, "g_base_channels": 1024, "d_base_channels": 1024}
        self.check((8, 16, 32, 64, 128), bounds)
        widest = max(self.g_base_channels, self.d_base_channels) * self.resolution // 8
        if widest > MAX_CHANNELS:
            raise UsageError(
                f"{widest} channels at 4x4 pixels: at most {MAX_CHANNELS}; use fewer base channels"
            )

        first = (self.z_dim + self.labels.dim) * widest * self.base[0] * self.base[1]
        if first > MAX_FIRST_WEIGHTS:
            raise UsageError(
                f"{first:,} weights in the first layer: at most {MAX_FIRST_WEIGHTS:,}; fewer base channels"
            )

    @property
    def d_has_batch_norm(self) -> bool:
        """Whether D's logit of an image depends on all others of its batch."""
        return self.d_norm == "batch"


class ConvT4(nn.Module):
    """4x4 transposed convolution without bias, H -> 2H (stride 2, padding 1); stride 1: 1x1 -> `base`."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, base: tuple[int, int] = (4, 4)
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_channels, out_channels, *base) * WEIGHT_STD)
        self.stride, self.padding = stride, stride - 1

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.stride == 2 and _gradient_by_matmul(x, x.shape[2]):
            return _Up.of(x, weight)
        return F.conv_transpose2d(x, weight, stride=self.stride, padding=self.padding)


class Conv4(nn.Module):
    """4x4 convolution without bias, H -> H/2 (stride 2, padding 1); stride 1: `base` -> 1x1."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, base: tuple[int, int] = (4, 4)
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, *base) * WEIGHT_STD)
        self.stride, self.padding = stride, stride - 1

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.stride == 2 and _gradient_by_matmul(x, x.shape[2] // 2):
            return _Down.of(x, weight)
        return F.conv2d(x, weight, stride=self.stride, padding=self.padding)


# ---- the same two convolutions with a weight gradient that suits CPUs in bfloat16
#
# On 4x4 maps oneDNN takes three times as long for it in bfloat16 as one matrix product over all windows
# (docs/decisions.md). Each is the other's adjoint, so the input gradient of one is the other; all of it can
# be differentiated again, as gradient penalties need.


def _gradient_by_matmul(x: Tensor, small_size: int) -> bool:
    """Whether the weight gradient is faster as a matrix product; `small_size` is of the smaller map."""
    on_cpu = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return on_cpu and small_size <= 4 and torch.is_grad_enabled()


class _Down(Function):
    """x [N, I, 2h, 2w], weight [O, I, 4, 4] -> [N, O, h, w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (x, weight) = gradients, ctx.saved_tensors
        wanted_x, wanted_weight = ctx.needs_input_grad
        return (
            _Up.of(g, weight) if wanted_x else None,
            _weight_gradient(small=g, large=x) if wanted_weight else None,
        )


class _Up(Function):
    """x [N, I, h, w], weight [I, O, 4, 4] -> [N, O, 2h, 2w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv_transpose2d(x, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (x, weight) = gradients, ctx.saved_tensors
        wanted_x, wanted_weight = ctx.needs_input_grad
        return (
            _Down.of(g, weight) if wanted_x else None,
            _weight_gradient(small=x, large=g) if wanted_weight else None,
        )


def _weight_gradient(small: Tensor, large: Tensor) -> Tensor:
    """small [N, S, h, w] against the 4x4 windows of large [N, L, 2h, 2w] -> [S, L, 4, 4]."""
    small_channels, large_channels = small.shape[1], large.shape[1]
    windows = F.pad(large, (1, 1, 1, 1)).unfold(2, 4, 2).unfold(3, 4, 2)  # [N, L, h, w, 4, 4]
    rows = windows.permute(0, 2, 3, 4, 5, 1).reshape(-1, 16 * large_channels)
    product = small.permute(0, 2, 3, 1).reshape(-1, small_channels).t() @ rows
    return product.view(small_channels, 4, 4, large_channels).permute(0, 3, 1, 2)  # [S, L, 4, 4]


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm with gains N(1, 0.02) at the start; statistics in float32, whatever the input."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.normal_(self.weight, 1.0, WEIGHT_STD)


class DCGANGenerator(Generator):
    """z [N, z_dim], label [N, label_dim] -> image [N, C, H, W] in [-1, 1].

    The mapping is the identity with one w, z and label, and the mean of z is 0: truncation scales z.
    """

    def __init__(self, config: DCGANConfig) -> None:
        w_dim = config.z_dim + config.labels.dim
        super().__init__(
            z_dim=config.z_dim,
            w_dim=w_dim,
            num_ws=1,
            label_dim=config.labels.dim,
            image_shape=config.image_shape,
        )
        self.register_buffer("w_avg", torch.zeros(w_dim), persistent=False)
        widths = _widths(config.g_base_channels, config.resolution)[::-1]
        self.first = ConvT4(w_dim, widths[0], stride=1, base=config.base)
        self.ups = nn.ModuleList(ConvT4(i, o, stride=2) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(width) for width in widths)
        self.last = ConvT4(widths[-1], config.channels, stride=2)

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] -> w [N, 1, z_dim + label_dim], the same numbers."""
        require_shape("z", z, None, self.z_dim)
        require_label(label, self.label_dim)
        return (z if label is None else torch.cat([z, label], dim=1))[:, None, :]

    def label_axes(self) -> dict[str, tuple[int, int]]:
        """The first layer has them after z."""
        return {"first.weight": (0, self.z_dim)}

    def centre(self, label: Tensor | None = None) -> Tensor:
        """0 for z, and the label as it is [N, 1, w_dim]."""
        return (
            self.w_avg if label is None else self.mapping(label.new_zeros(label.shape[0], self.z_dim), label)
        )

    def synthesis(
        self, w: Tensor, noise: str | Sequence[Tensor] = "const", stage: Stage | None = None
    ) -> Tensor:
        """w [N, 1, w_dim] -> image, float32. A DCGAN has no noise inputs: `noise` has no effect."""
        require_shape("w", w, None, 1, self.w_dim)
        x = w[:, 0, :, None, None].to(self.compute_dtype)  # [N, w_dim, 1, 1]
        for layer, norm in zip([self.first, *self.ups], self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return torch.tanh(self.last(x).float())


class DCGANDiscriminator(Discriminator):
    """image [N, C, H, W] in [-1, 1], label [N, label_dim] -> logit [N].

    BatchNorm makes each logit depend on its whole batch: show it real and fake images in separate calls.
    `d_norm` "layer" or "none" (not in the paper) make it a function of one image, as gradient penalties need.
    """

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__(label_dim=config.labels.dim, image_shape=config.image_shape)
        widths = _widths(config.d_base_channels, config.resolution)
        self.first = Conv4(config.channels, widths[0], stride=2)
        self.downs = nn.ModuleList(Conv4(i, o, stride=2) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(_d_norm(config.d_norm, width) for width in widths[1:])
        # one logit, and one more for each value of a label
        self.last = Conv4(widths[-1], 1 + self.label_dim, stride=1, base=config.base)

    def label_axes(self) -> dict[str, tuple[int, int]]:
        """The last layer has them after the logit."""
        return {"last.weight": (0, 1)}

    def layers_from_image(self) -> list[nn.Module]:
        """Each convolution with its norm; all but the last."""
        pairs = zip(self.downs, self.norms, strict=True)
        return [self.first, *(nn.ModuleList(pair) for pair in pairs)]

    def forward(self, image: Tensor, label: Tensor | None = None, stage: Stage | None = None) -> Tensor:
        """image [N, C, H, W], label [N, label_dim] -> logit [N], float32: the last layer runs in float32."""
        require_shape("image", image, None, *self.image_shape)
        require_label(label, self.label_dim)
        x = F.leaky_relu(self.first(image.to(self.compute_dtype)), LEAKY_SLOPE)
        for layer, norm in zip(self.downs, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), LEAKY_SLOPE)
        logits: Tensor = self.last(x.float())[:, :, 0, 0]  # [N, 1 + label_dim]
        return logits[:, 0] if label is None else logits[:, 0] + (logits[:, 1:] * label).sum(dim=1)


def _d_norm(kind: Literal["batch", "layer", "none"], channels: int) -> nn.Module:
    """D's norm; layer: of each sample over channels and pixels (WGAN-GP, arXiv 1704.00028, sec. 4)."""
    if kind == "batch":
        return BatchNorm(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def _widths(base_channels: int, resolution: int) -> list[int]:
    """Channels at resolution/2, resolution/4, ..., 4."""
    doublings = resolution.bit_length() - 3  # 64 -> 4 maps: 32, 16, 8, 4
    return [base_channels * 2**k for k in range(doublings)]
