"""The mapping network of the StyleGANs: z, and a label where there are any, to w."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facegan.networks.ops import Dense, normalize_second_moment


class Mapping(nn.Module):
    """z [N, z_dim], label [N, label_dim] -> w [N, w_dim]: dense layers that learn slowly.

    z and the embedded label are normalised, then one vector (Karras et al. 2020, arXiv 2006.06676, as
    published with it). z_dim 0 or label_dim 0 leave that part out.
    """

    def __init__(
        self, *, z_dim: int, label_dim: int, w_dim: int, layers: int = 8, lr_multiplier: float = 0.01
    ) -> None:
        super().__init__()
        self.embed = Dense(label_dim, w_dim) if label_dim else None
        sizes = [z_dim + (w_dim if label_dim else 0), *[w_dim] * layers]
        self._layers = [f"fc{index}" for index in range(layers)]
        for index, name in enumerate(self._layers):
            layer = Dense(sizes[index], sizes[index + 1], lrelu=True, lr_multiplier=lr_multiplier)
            self.add_module(name, layer)

    def forward(self, z: Tensor | None, label: Tensor | None) -> Tensor:
        parts = [] if z is None else [normalize_second_moment(z)]
        if self.embed is not None and label is not None:
            parts.append(normalize_second_moment(self.embed(label)))
        x = torch.cat(parts, dim=1)
        for name in self._layers:
            x = self.get_submodule(name)(x)
        return x
