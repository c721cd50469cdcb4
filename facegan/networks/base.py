"""What every architecture offers: the first of the two seams.

    z [N, z_dim] --mapping--> w [N, num_ws, w_dim] --synthesis--> image [N, C, H, W] in [-1, 1]

Seeds, truncation, mixing, interpolation, editing and serving are written once, on top of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor, nn

NOISE_MODES = ("const", "random", "none")


@dataclass(frozen=True)
class Stage:
    """How far a network has grown: its resolution, and how far that has faded in, from 0 to 1."""

    resolution: int
    alpha: float = 1.0


class Network(nn.Module, ABC):
    """What both players are. `label_dim` is the length of a label (labels.LabelSpace), 0: it knows none.

    `compute_dtype` is the precision of the convolutions (float32 or bfloat16); weights stay float32.
    """

    def __init__(self, *, label_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.label_dim, self.image_shape = label_dim, image_shape  # [C, H, W]
        self.compute_dtype = torch.float32

    def label_axes(self) -> dict[str, tuple[int, int]]:
        """Weights in which each value of a label has a slice of its own: (axis, slices before the first)."""
        return {"map.embed.weight": (1, 0)}

    def widened(self, name: str, own: Tensor, narrow: Tensor) -> Tensor | None:
        """The weight `own` of that name with a narrower network's in its corner (see networks.widening).

        None: `narrow` is not a narrower `own`, or the architecture cannot widen.
        """
        return None


class Generator(Network):
    """image = synthesis(mapping(z)).

    `w_avg` [w_dim] is the mean of w, towards which truncation pulls.
    """

    w_avg: Tensor
    has_noise = False  # whether `noise` changes anything

    def __init__(
        self, *, z_dim: int, w_dim: int, num_ws: int, label_dim: int, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(label_dim=label_dim, image_shape=image_shape)
        self.z_dim, self.w_dim, self.num_ws = z_dim, w_dim, num_ws

    @abstractmethod
    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] where it knows labels -> w [N, num_ws, w_dim]."""

    @abstractmethod
    def synthesis(
        self, w: Tensor, noise: str | Sequence[Tensor] = "const", stage: Stage | None = None
    ) -> Tensor:
        """w [N, num_ws, w_dim] -> image [N, C, H, W], float32; of a network that grows at that stage.

        noise: "const", "random", "none", or one map [N, 1, H, W] for each of `noise_shapes()`.
        """

    def layers_at(self, stage: Stage | None) -> int:
        """How many of the num_ws layers are there at a stage, the first ones; None: all."""
        return self.num_ws

    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """The shape [1, H, W] of one image's noise map of each layer that has one."""
        return []

    def style_weights(self) -> list[Tensor]:
        """Of each layer that has a style of its own, the weight [C, w_dim] that makes it of w; or none."""
        return []

    def noise_per_layer(
        self, noise: str | Sequence[Tensor], layers: int | None = None
    ) -> Sequence[str | Tensor]:
        """The mode or the map of each layer; layers: the first so many, None: all.

        Raises:
            ValueError: an unknown mode, or another number of maps than of layers.
        """
        layers = len(self.noise_shapes()) if layers is None else layers
        if isinstance(noise, str):
            if noise not in NOISE_MODES:
                raise ValueError(f"noise {noise!r}: one of {', '.join(NOISE_MODES)}, or a map for each layer")
            return [noise] * layers
        if len(noise) != layers:
            raise ValueError(f"{len(noise)} noise maps: this network has {layers} layers")
        return noise

    def track(self, w_mean: Tensor) -> None:
        """Moves w_avg towards the mean w [w_dim] of a training batch, where the architecture keeps it so."""

    def centre(self, label: Tensor | None = None) -> Tensor:
        """What truncation pulls w towards: w_avg [w_dim]; where labels are part of w, [N, 1, w_dim]."""
        return self.w_avg

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] -> image [N, C, H, W], float32."""
        return self.synthesis(self.mapping(z, label))


class Discriminator(Network):
    """image [N, C, H, W] in [-1, 1], label [N, label_dim] -> logits [N], float32; high means real."""

    @abstractmethod
    def forward(self, image: Tensor, label: Tensor | None = None, stage: Stage | None = None) -> Tensor:
        """image [N, C, H, W], label [N, label_dim] where it knows labels -> logits [N], float32.

        A network that grows takes images of the stage's resolution.
        """

    @abstractmethod
    def layers_from_image(self) -> list[nn.Module]:
        """Its layers in the order in which an image passes them, as far as they can be frozen."""


def require_stage(stage: Stage, resolutions: Sequence[int]) -> None:
    """Checks a stage at a public entry.

    Raises:
        ValueError: not one of those resolutions.
    """
    if stage.resolution not in resolutions:
        has = ", ".join(map(str, resolutions))
        raise ValueError(f"stage of {stage.resolution} pixels: this network has {has}")


def require_label(label: Tensor | None, label_dim: int) -> None:
    """Checks a label at a public entry.

    Raises:
        ValueError: missing where the network knows labels, given where it does not, or of another shape.
    """
    if (label is None) == (label_dim > 0):
        has = f"was trained with labels [N, {label_dim}]" if label_dim else "knows no labels"
        raise ValueError(f"label is {'missing' if label is None else 'given'}: this network {has}")
    if label is not None:
        require_shape("label", label, None, label_dim)


def require_shape(name: str, tensor: Tensor, *expected: int | None) -> None:
    """Checks a tensor's shape at a public entry; None stands for any size.

    Raises:
        ValueError: the shape differs; the message holds both.
    """
    shape = tuple(tensor.shape)
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected, strict=True)):
        wanted = ", ".join("N" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {list(shape)}, expected [{wanted}]")


_exact_lock = Lock()
_exact_flags = ExitStack()  # what puts torch's own back
_exact_blocks = 0  # that threads are in


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """A block in which CUDA's float32 convolutions are float32 (no TF32) and repeatable, as the CPU's are.

    The flags are the whole process's: the first block of any thread sets them, the last one puts them back.
    """
    global _exact_blocks
    with _exact_lock:
        if not _exact_blocks:
            _exact_flags.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
            )
        _exact_blocks += 1
    try:
        yield
    finally:
        with _exact_lock:
            _exact_blocks -= 1
            if not _exact_blocks:
                _exact_flags.close()
