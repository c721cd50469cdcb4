"""Small data sets for tests: pictures and zips as bytes, as files, and opened at 8 px."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from facegan.data import DataConfig, Dataset, open_dataset
from facegan.images import Pixels

SIDE = 8


def flat(*colour: int) -> Pixels:
    """uint8 [8, 8, C] of one colour."""
    return np.full((SIDE, SIDE, len(colour)), colour, np.uint8)


def halves(left: int, right: int) -> Pixels:
    """Grey uint8 [8, 8, 3]: columns 0 to 3 of one shade, 4 to 7 of another."""
    return (
        np.repeat(np.repeat([left, right], SIDE // 2)[None, :, None], SIDE, 0).repeat(3, 2).astype(np.uint8)
    )


def noise(height: int, width: int, channels: int) -> Pixels:
    """uint8 [H, W, C] of random numbers, always the same."""
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(picture: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file of that kind."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture.squeeze())
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GOOD_PIXELS = flat(10, 20, 30)
GOOD = encoded(GOOD_PIXELS)


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def folder_of(files: Mapping[str, bytes], place: Path) -> Path:
    """A new folder "pictures" there with these files."""
    folder = place / "pictures"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zip_of(content: bytes | bytearray, place: Path) -> Path:
    """These bytes as "pictures.zip" there."""
    path = place / "pictures.zip"
    path.write_bytes(content)
    return path


SHADES = [0, 40, 80, 120, 160, 200]


def write_picture(path: Path, shade: int) -> None:
    """8x8 pixels: the left half is of that shade, the right half white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(halves(shade, 255)).save(path)


def shaded_pictures(place: Path) -> Path:
    """A new folder "pictures" there: six pictures, 0.png to 5.png, of the shades above."""
    for number, shade in enumerate(SHADES):
        write_picture(place / "pictures" / f"{number}.png", shade)
    return place / "pictures"


def shades(pictures: Tensor) -> list[int]:
    """The shade of each picture: its smallest value, as the other half is white."""
    found: list[int] = pictures.amin(dim=(1, 2, 3)).tolist()
    return found


def zipped(folder: Path, path: Path) -> Path:
    """A zip of the folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def shard(pictures: Path, path: Path, names: Mapping[str, str], **extra: str) -> Path:
    """A zip with pictures of the folder under other names, and texts; "__" in their names is a dot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {inside: (pictures / name).read_bytes() for name, inside in names.items()}
    texts = {name.replace("__", "."): text.encode() for name, text in extra.items()}
    path.write_bytes(zip_bytes(files | texts))
    return path


def noise_pictures(folder: Path, count: int = 100) -> Path:
    """A new folder with 8x8 pictures of noise: a hundred are enough for a distance."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def opened(
    path: Path,
    cache: Path | None = None,
    *,
    resolution: int | tuple[int, int] = SIDE,
    mirror: bool = False,
    crop: Any = "center",
    limit: float = 20.0,
    **options: Any,
) -> Dataset:
    """The data set at 8 px, with a cache beside it if none is named; at limit 0 it is read on the fly."""
    config = DataConfig(str(path), crop=crop, mirror=mirror, cache_limit_gb=limit)
    return open_dataset(config, resolution=resolution, cache=cache or path.parent / "cache", **options)


def picture(data: Dataset, name: str) -> Pixels:
    """uint8 [8, 8, C] of the picture of that name."""
    return np.asarray(data.pictures([data.names.index(name)])[0].permute(1, 2, 0))
