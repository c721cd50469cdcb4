"""The vision transformer of DINOv2, whose class token describes a picture.

Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision", arXiv 2304.07193;
the transformer is that of Dosovitskiy et al. 2020, arXiv 2010.11929, sec. 3.1, with LayerScale after
Touvron et al. 2021, arXiv 2103.17239, sec. 2.

    image 224x224 -> 16x16 patches of 14 px -> linear; class token first; + positions -> blocks -> LayerNorm
    block:  x = x + ls1 * attention(norm1(x));  x = x + ls2 * mlp(norm2(x))

N images, L tokens, D width, h heads of 64.

    shapes(tensors)             what a state dict of its width and depth must hold
    VisionTransformer(tensors)  from such a state dict, without registers: vits14, vitb14 or vitl14
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facegan.config import UsageError

INPUT_SIZE = 224
PATCH = 14
HEAD_DIM = 64
TRAINED_GRID = 37  # the published positions are for 518 px
POSITION_OFFSET = 0.1  # the published code's interpolate_offset
LAYERNORM_EPS = 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in 0 .. 1
_NAMES = {(384, 12): "vits14", (768, 12): "vitb14", (1024, 24): "vitl14"}  # by width and depth


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Every tensor that this state dict must have, by name; width and depth are read off what it has.

    Raises:
        UsageError: no class token, no blocks, a width that is no multiple of 64, or one with registers.
    """
    token = tensors.get("cls_token")
    width = token.shape[-1] if token is not None and token.ndim else 0
    depth = _depth(tensors)
    if "register_tokens" in tensors:
        raise UsageError("a DINOv2 transformer with registers; take the file without (no _reg4 in its name)")
    if not width or width % HEAD_DIM or not depth:
        raise UsageError(f"not a DINOv2 transformer: {width} wide, {depth} blocks")
    found: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + TRAINED_GRID**2, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
    }
    layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    vectors = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma")
    for at in (f"blocks.{number}." for number in range(depth)):
        found |= {f"{at}{name}": (width,) for name in vectors}
        found |= {f"{at}{name}.weight": shape for name, shape in layers.items()}
        found |= {f"{at}{name}.bias": shape[:1] for name, shape in layers.items()}
    return found | {"norm.weight": (width,), "norm.bias": (width,)}


class VisionTransformer(nn.Module):
    """Pixels [N, 3, 224, 224] in 0 .. 255 -> the normalised class token [N, D].

    tensors: a state dict with the names and shapes of `shapes(tensors)`; others in it are not looked at.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.dim = tensors["cls_token"].shape[-1]
        depth = _depth(tensors)
        self.name = _NAMES.get((self.dim, depth), f"vit of width {self.dim}, depth {depth}")
        with torch.device("meta"):  # nothing drawn or held for numbers that the tensors bring
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, self.dim, PATCH, PATCH)})
            self.blocks = nn.ModuleList(Block(self.dim) for _ in range(depth))
            self.norm = nn.LayerNorm(self.dim, LAYERNORM_EPS)
        self.load_state_dict({name: tensors[name].float() for name in self.state_dict()}, assign=True)
        self.register_buffer("class_token", tensors["cls_token"].float())
        self.register_buffer("positions", _resized(tensors["pos_embed"].float()))
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(STD)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [N, 3, 224, 224], RGB in 0 .. 255 -> features [N, D]."""
        x = (pixels - self.get_buffer("mean")) / self.get_buffer("std")
        x = self.patch_embed["proj"](x)  # [N, D, 16, 16]
        x = x.flatten(2).transpose(1, 2)  # [N, 256, D]
        x = torch.cat([self.get_buffer("class_token").expand(len(x), -1, -1), x], dim=1)  # [N, 257, D]
        x = x + self.get_buffer("positions")
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x[:, 0])
        return features


class Block(nn.Module):
    """x + ls1 attention(norm1(x)), then x + ls2 mlp(norm2(x)), of tokens x [N, L, D]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, LAYERNORM_EPS), nn.LayerNorm(dim, LAYERNORM_EPS)
        self.attn, self.mlp = Attention(dim), MLP(dim)
        self.ls1, self.ls2 = LayerScale(dim), LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        x = x + self.ls2(self.mlp(self.norm2(x)))
        return x


class Attention(nn.Module):
    """softmax(q k^T / sqrt(64)) v in each head, then a linear layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        qkv = self.qkv(x).view(n, length, 3, self.heads, HEAD_DIM)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [N, h, L, 64] each
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # [N, L, h, 64]
        result: Tensor = self.proj(mixed.reshape(n, length, dim))
        return result


class MLP(nn.Module):
    """D -> 4 D -> D with the exact GELU between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class LayerScale(nn.Module):
    """gamma * x, channel by channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


def _depth(tensors: Mapping[str, Tensor]) -> int:
    """The number of blocks that a state dict's names count up to."""
    return 1 + max(
        (int(n[1]) for name in tensors if (n := re.match(r"blocks\.(\d{1,3})\.", name))), default=-1
    )


def _resized(positions: Tensor) -> Tensor:
    """The positions [1, 1 + 37 * 37, D] for a grid of 16x16 -> [1, 1 + 16 * 16, D].

    The class token's stays. The others are resized as the published code does it: bicubic, not antialiased,
    by a factor of (16 + 0.1) / 37, which makes the samples lie a little closer than 37 / 16.
    """
    size = INPUT_SIZE // PATCH
    grid = positions[:, 1:].view(1, TRAINED_GRID, TRAINED_GRID, -1).permute(0, 3, 1, 2)  # [1, D, 37, 37]
    factor = (size + POSITION_OFFSET) / TRAINED_GRID
    grid = F.interpolate(
        grid, scale_factor=(factor, factor), mode="bicubic", antialias=False
    )  # [1, D, 16, 16]
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
