"""What two or more architectures share: equalised layers, resampling, modulated convolution, minibatch std.

    Dense, Conv            weights N(0, 1), scaled by 1 / sqrt(fan_in) when used (Karras 2018, sec. 4.1)
    upsample, downsample   by 2 with the binomial filter [1, 3, 3, 1]
    convolve_up, _down     a 3x3 convolution together with that resampling
    ModulatedConv          scale in, convolve, scale out (Karras et al. 2020, sec. 2.2, eq. 1-3)
    minibatch_std          a map of how much a group's images differ (Karras et al. 2018, sec. 3)

Letters: N images, I and O channels in and out, H and W pixels, k taps.
Weights are float32; convolutions run in the input's type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2)  # keeps the second moment through a leaky ReLU, nearly
EPS = 1e-8


def derived(module: nn.Module, name: str, weights: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
    """make(), a function of frozen weights alone; kept with the module while the weights stay as they are.

    At inference it is the same for every picture. A weight that requires a gradient belongs to an optimiser,
    and fused ones change it unseen: nothing of it is kept. Changes through `.data` are not seen either.
    """
    if torch.compiler.is_compiling() or any(w.requires_grad or w.is_inference() for w in weights):
        return make()
    kept: dict[str, tuple[list[Tensor], list[int], Tensor]] = module.__dict__.setdefault("_derived", {})
    versions = [weight._version for weight in weights]
    if name in kept:
        of, of_versions, value = kept[
            name
        ]  # it holds the weights' memory, so that no other gets that address
        same_memory = all(a.data_ptr() == b.data_ptr() for a, b in zip(of, weights, strict=True))
        if same_memory and of_versions == versions:
            return value
    with torch.inference_mode(False), torch.no_grad():
        kept[name] = [weight.detach() for weight in weights], versions, make()
    return kept[name][2]


def normalize_second_moment(x: Tensor) -> Tensor:
    """x [N, D] scaled to a mean square of 1 over D."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPS).rsqrt()


class Dense(nn.Module):
    """x [N, I] -> x W^T + b [N, O], float32, with an equalised learning rate; lrelu: sqrt(2) lrelu_0.2 of it.

    `lr_multiplier` m slows learning: weights are stored 1/m times as large and used m times smaller.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lrelu: bool = False,
        lr_multiplier: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias))
        self.lrelu, self.bias_gain = lrelu, lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.addmm(self.bias, x, self.weight.t(), beta=self.bias_gain, alpha=self.weight_gain)
        return F.leaky_relu(x, LEAKY_SLOPE) * ACTIVATION_GAIN if self.lrelu else x


def activate(x: Tensor, bias: Tensor, limit: float | None) -> Tensor:
    """lrelu_0.2(x + bias) within +-limit, in the memory of x [N, C, H, W]; bias [C].

    Every gain is in x and bias already: g lrelu(x) = lrelu(g x), and weights are smaller than pictures.
    """
    x = F.leaky_relu(x.add_(bias.to(x.dtype)[:, None, None]), LEAKY_SLOPE, inplace=True)
    return x if limit is None else x.clamp(-limit, limit)


class Function(torch.autograd.Function):
    """torch's, for gradients that are written out, with a typed call."""

    @classmethod
    def of(cls, *inputs: Tensor) -> Tensor:
        """The result, which can be differentiated."""
        result: Tensor = cls.apply(*inputs)  # type: ignore[no-untyped-call]
        return result


# ---- FIR resampling


def fir(
    device: torch.device, dtype: torch.dtype, gain: float = 1.0, taps: tuple[int, ...] = (1, 3, 3, 1)
) -> Tensor:
    """The filter [k] of these taps, with the sum `gain`."""
    if torch.compiler.is_compiling():  # what is traced must not outlive its trace
        return _fir(device, dtype, gain, taps)
    return _kept_fir(device, dtype, gain, taps)


def _fir(device: torch.device, dtype: torch.dtype, gain: float, taps: tuple[int, ...]) -> Tensor:
    with torch.inference_mode(False):  # it outlives whoever asks first, and training asks too
        return torch.tensor(taps, device=device, dtype=dtype) * (gain / sum(taps))


_kept_fir = lru_cache(maxsize=32)(_fir)


def smooth(x: Tensor, pad: int, gain: float = 1.0) -> Tensor:
    """x [N, C, H, W] padded with `pad` zeros all around and filtered -> [N, C, H + 2 pad - 3, W + 2 pad - 3].

    The filter is separable; two depthwise convolutions are the fastest form on CPUs (docs/decisions.md).
    """
    channels = x.shape[1]
    down = fir(x.device, x.dtype, gain).view(1, 1, 4, 1).expand(channels, 1, 4, 1)
    across = fir(x.device, x.dtype).view(1, 1, 1, 4).expand(channels, 1, 1, 4)
    x = F.conv2d(x, down, padding=(pad, 0), groups=channels)
    return F.conv2d(x, across, padding=(0, pad), groups=channels)


def upsample(x: Tensor) -> Tensor:
    """x [N, C, H, W] -> [N, C, 2H, 2W]: zeros between the pixels, then the filter with gain 4.

    Along one axis out[2i] = (x[i-1] + 3 x[i]) / 4 and out[2i+1] = (3 x[i] + x[i+1]) / 4, with zeros outside.
    """
    taps = torch.outer(fir(x.device, x.dtype, 2.0), fir(x.device, x.dtype, 2.0))
    kernel = taps.expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def downsample(x: Tensor) -> Tensor:
    """x [N, C, H, W] -> [N, C, H/2, W/2]: the filter with one zero around, then every second pixel.

    Not by a stride: in bfloat16 oneDNN's gradient of a strided depthwise convolution is 15 times slower.
    """
    return smooth(x, pad=1)[:, :, ::2, ::2]


# ---- convolutions that resample


def convolve_up(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, I, H, W], weight [O, I, 3, 3] -> [N, O, 2H, 2W]: a transposed convolution, then the filter."""
    return smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), pad=1, gain=4.0)


def convolve_down(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, I, H, W], weight [O, I, 3, 3] -> [N, O, H/2, W/2]: the filter, then a stride-2 convolution."""
    return F.conv2d(smooth(x, pad=2), weight, stride=2)


# ---- layers


class Conv(nn.Module):
    """x [N, I, H, W] -> [N, O, H', W'], an equalised convolution; down and up resample with the filter.

    Without bias it is linear times `gain`; with bias the activation follows: see `activate`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        bias: bool = True,
        down: bool = False,
        up: bool = False,
        gain: float = 1.0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * size * size)
        self.down, self.up, self.gain, self.clamp = down, up, gain, clamp

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[2]
        gain = self.gain if self.bias is None else self.gain * ACTIVATION_GAIN
        weight = (self.weight * (self.weight_gain * gain)).to(x.dtype)
        if self.down and size == 1:
            x = F.conv2d(downsample(x), weight)
        elif self.down:
            x = convolve_down(x, weight)
        else:
            x = F.conv2d(x, weight, padding=size // 2)
            x = upsample(x) if self.up else x
        limit = None if self.clamp is None else self.clamp * self.gain
        return x if self.bias is None else activate(x, self.bias * gain, limit)


class ModulatedConv(nn.Module):
    """x [N, I, H, W], styles [N, I] -> [N, O, H', W']: a convolution whose input channels each image scales.

    The textbook form makes N kernels w[n, o, i, k] = styles[n, i] weight[o, i, k], demodulated to unit norm.
    Scaling commutes with convolution, so one plain convolution does for the batch: x * styles, convolved,
    times the demodulation d[n, o] = rsqrt(sum_i styles[n, i]^2 sum_k weight[o, i, k]^2 + eps).
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, *, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.up = up

    def demodulation(self, styles: Tensor) -> Tensor:
        """d [N, O] of styles [N, I], float32."""
        energy = derived(self, "energy", [self.weight], lambda: self.weight.square().sum(dim=(2, 3)).t())
        return (styles.square() @ energy + EPS).rsqrt()  # energy [I, O]

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """The convolution without the demodulation."""
        x = x * styles.to(x.dtype)[:, :, None, None]
        weight = derived(self, str(x.dtype), [self.weight], lambda: self._weight(x.dtype))
        if self.up:
            return convolve_up(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)

    def _weight(self, dtype: torch.dtype) -> Tensor:
        """The weight in that type, laid out as the convolution reads it: a transposed one has I first."""
        if not self.up:
            return self.weight.to(dtype)
        return self.weight.transpose(0, 1).to(dtype, memory_format=torch.channels_last).transpose(0, 1)


def minibatch_std(x: Tensor, group: int) -> Tensor:
    """x [N, C, H, W] with one more channel -> [N, C + 1, H, W]: how much the images of a group differ.

    The standard deviation over G = min(group, N) images at each pixel and channel, its mean over pixels
    and channels; images n, n + N/G, n + 2N/G ... are a group.

    Raises:
        ValueError: N is not a multiple of G.
    """
    count, channels, height, width = x.shape
    size = min(group, count)
    if count % size:
        raise ValueError(f"batch {count}: need a multiple of the minibatch-std group {size}")
    y = x.float().reshape(size, count // size, channels, height, width)  # [G, N/G, C, H, W]
    variance = (y - y.mean(dim=0)).square().mean(dim=0)  # on CPUs a fourth of the time of torch.var
    deviation = (variance + EPS).sqrt().mean(dim=(1, 2, 3))  # [N/G]
    channel = deviation.repeat(size)[:, None, None, None].expand(count, 1, height, width)
    return torch.cat([x, channel.to(x.dtype)], dim=1)
