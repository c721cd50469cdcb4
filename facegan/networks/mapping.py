"""The mapping network of the StyleGANs, z and any label to w, and the generators that begin with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facegan.networks.base import Generator, Stage, require_label, require_shape
from facegan.networks.ops import Dense, normalize_second_moment
from facegan.networks.shape import StyleConfig
from facegan.networks.widening import widened


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


class MappedGenerator(Generator):
    """A generator with a mapping network, the mean of its w, and two layers for every resolution."""

    has_noise = True

    def __init__(self, config: StyleConfig) -> None:
        super().__init__(
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            num_ws=2 * len(config.resolutions),
            label_dim=config.labels.dim,
            image_shape=config.image_shape,
        )
        self.w_avg_beta = config.w_avg_beta
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.map = Mapping(
            z_dim=config.z_dim,
            label_dim=config.labels.dim,
            w_dim=config.w_dim,
            layers=config.mapping_layers,
            lr_multiplier=config.mapping_lr_multiplier,
        )

    def widened(self, name: str, own: Tensor, narrow: Tensor) -> Tensor | None:
        """See Network."""
        return widened(own, narrow)

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] -> w [N, num_ws, w_dim], the same w for every layer."""
        require_shape("z", z, None, self.z_dim)
        require_label(label, self.label_dim)
        w: Tensor = self.map(z, label)
        return w[:, None].expand(-1, self.num_ws, -1)

    def layers_at(self, stage: Stage | None) -> int:
        """Two for each of 4, 8, ... the stage's resolution."""
        return self.num_ws if stage is None else 2 * (stage.resolution.bit_length() - 2)

    @torch.no_grad()
    def track(self, w_mean: Tensor) -> None:
        """Moves w_avg towards the mean w [w_dim] of a batch."""
        self.w_avg.lerp_(w_mean, 1 - self.w_avg_beta)
