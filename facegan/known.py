"""Published models of faces that `facegan import` reads: where their owners keep them, under which licence.

Addresses and names of files are quoted from the owners' README files. Sizes and checksums stand here where
several projects that use a file state the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "stylegan2-64-small"  # the shipped one that is meant where none is named
DEFAULT_PSI = 0.7  # truncation where none is asked for
NVIDIA = "NVIDIA Source Code License (non-commercial)"
_ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files"
_UNALIGNED = "heads turned and off the middle"


@dataclass(frozen=True)
class Known:
    """One file of another code base."""

    url: str
    source: str  # the code base that reads it
    architecture: str
    resolution: int
    data: str
    licence: str = NVIDIA
    channels: int = 3
    size: int | None = None  # bytes
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.url.rpartition("/")[2].removesuffix(".pkl")


def _ngc(file: str, resolution: int, data: str) -> Known:
    return Known(f"{_NGC}/{file}.pkl", "stylegan3", "stylegan2", resolution, data)


_ALL = (
    # README of NVlabs/stylegan2-ada-pytorch
    Known(
        f"{_ADA}/ffhq.pkl", "stylegan2-ada-pytorch", "stylegan2", 1024, "FFHQ",
        size=381_624_121, sha256="a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c",
    ),
    Known(f"{_ADA}/metfaces.pkl", "stylegan2-ada-pytorch", "stylegan2", 1024, "MetFaces: painted faces"),
    # README of NVlabs/stylegan2
    Known(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2/networks/stylegan2-ffhq-config-f.pkl",
        "stylegan2 (TensorFlow)", "stylegan2", 1024, "FFHQ",
        size=381_673_535, sha256="adf127ea7bb8a7788c8bdeda3c9937f7310b669b09ecf799ca53a631ff46948d",
    ),
    # README of NVlabs/stylegan3
    _ngc("stylegan2-ffhq-256x256", 256, "FFHQ"),
    _ngc("stylegan2-ffhq-512x512", 512, "FFHQ"),
    _ngc("stylegan2-ffhq-1024x1024", 1024, "FFHQ"),
    _ngc("stylegan2-ffhqu-256x256", 256, f"FFHQ-U: {_UNALIGNED}"),
    _ngc("stylegan2-ffhqu-1024x1024", 1024, f"FFHQ-U: {_UNALIGNED}"),
    _ngc("stylegan2-celebahq-256x256", 256, "CelebA-HQ"),
    _ngc("stylegan2-metfaces-1024x1024", 1024, "MetFaces: painted faces"),
    _ngc("stylegan2-metfacesu-1024x1024", 1024, f"MetFaces-U: painted faces, {_UNALIGNED}"),
)  # fmt: skip

KNOWN = {known.name: known for known in _ALL}
