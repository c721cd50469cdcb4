"""Pictures: files <-> uint8 [H, W, C] <-> float [N, C, H, W] in [-1, 1]; resizing, grids, provenance.

decode(bytes) -> fit(image, (64, 64), "center") reading a training picture
to_float(uint8 NCHW) -> float NCHW              x = u / 127.5 - 1
to_uint8(float NCHW) -> uint8 NHWC              u = trunc(clamp(127.5 x + 128, 0, 255))
save(path, image, Provenance(...))              PNG, JPEG or WebP that says what it is; encode: its bytes
read_provenance(path)                           ... and what a saved picture says
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from facegan.config import UsageError, first_line
from facegan.files import suffix_of, write_atomically

Pixels = npt.NDArray[np.uint8]
Crop = Literal["center", "pad", "celeba"]
CROPS = ("center", "pad", "celeba")

READ_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SAVE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
MAX_PIXELS = 89_000_000  # of one input picture, just below where Pillow itself warns of a bomb
MAX_JPEG_WORDS = 5000  # characters of each: EXIF and XMP hold 64 KB, and escaped a character may take six

# IPTC's term for a picture made by a trained model; readers such as search engines look for it in XMP.
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_EXIF_DESCRIPTION, _EXIF_ORIENTATION, _EXIF_SOFTWARE = 0x010E, 0x0112, 0x0131
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# ---- values


def to_float(pixels: Tensor) -> Tensor:
    """uint8 [N, C, H, W] -> float32 in [-1, 1], on the device where the pixels are."""
    return pixels.to(torch.float32) / 127.5 - 1


def to_uint8(images: Tensor) -> Pixels:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C] on the CPU: trunc(clamp(127.5 x + 128, 0, 255))."""
    pixels = (images.detach().float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


# ---- reading


def decode(data: bytes, channels: int = 3) -> Image.Image:
    """The first frame of an encoded picture, upright, as L, RGB or RGBA (channels 1, 3, 4).

    Transparent parts become white where the result has no alpha.

    Raises:
        ValueError: not a picture, damaged, or larger than MAX_PIXELS; the message says which.
    """
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                size = f"{opened.width}x{opened.height}"
                raise Image.DecompressionBombError(f"{size} pixels; at most {MAX_PIXELS:,} are read")
            opened.load()
            image = _upright(opened)
    except UnidentifiedImageError:
        raise ValueError("not a PNG, JPEG or WebP picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(first_line(error)) from None
    except Exception as error:  # Pillow's readers answer damage with nearly any of them
        raise ValueError(f"damaged picture ({first_line(error)})") from None
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip instead of scale
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if mode != "RGBA" and (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info):
        image = _over_white(image)
    return image.convert(mode)


def _upright(image: Image.Image) -> Image.Image:
    """A copy, turned as its EXIF says; as it is stored where its EXIF is damaged.

    Pillow's own exif_transpose gives up on such a picture, as it also rewrites the EXIF.
    """
    try:
        turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF ends in nearly any of them; the pixels are good
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def rgb(pixels: Pixels) -> Pixels:
    """uint8 [H, W, C] -> [H, W, 3]: grey repeated, transparent parts over white."""
    if pixels.shape[2] < 4:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return np.asarray(_over_white(Image.fromarray(pixels)))


def fit(image: Image.Image, size: tuple[int, int], crop: Crop) -> Pixels:
    """The picture as uint8 [H, W, C] of that height and width.

    center: the largest central part of that shape; pad: the whole picture on black (with alpha: transparent);
    celeba: the 128x128 window around (89, 121) of an aligned 178x218 CelebA picture, as the
    progressive-growing line of papers cuts it. Resizing uses Lanczos.

    Raises:
        ValueError: "celeba" on a picture of another size.
    """
    (width, height), (to_height, to_width) = image.size, size
    if crop == "celeba":
        if image.size != (178, 218):
            raise ValueError(
                f"{width}x{height} pixels: --crop celeba needs CelebA's aligned 178x218 pictures"
            )
        image = image.crop((89 - 64, 121 - 64, 89 + 64, 121 + 64))
    elif crop == "center":
        inner_width = max(1, min(width, round(height * to_width / to_height)))
        inner_height = max(1, min(height, round(width * to_height / to_width)))
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        image = image.crop((left, top, left + inner_width, top + inner_height))
    else:  # made small before it is put on black: 1 x 65,000 pixels would be 12 GB as a square
        inner_width = max(1, min(to_width, round(width * to_height / height)))
        inner_height = max(1, min(to_height, round(height * to_width / width)))
        inner = image.resize((inner_width, inner_height), Image.Resampling.LANCZOS)
        image = Image.new(image.mode, (to_width, to_height))
        image.paste(inner, ((to_width - inner_width) // 2, (to_height - inner_height) // 2))
    if image.size != (to_width, to_height):
        image = image.resize((to_width, to_height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def enlarges(image_size: tuple[int, int], size: tuple[int, int], crop: Crop) -> bool:
    """Whether `fit` makes a picture of that width and height larger, for that height and width."""
    (width, height), (to_height, to_width) = (128, 128) if crop == "celeba" else image_size, size
    scales = to_width / width, to_height / height
    return (min(scales) if crop == "pad" else max(scales)) > 1


# ---- larger pictures, and grids


def scale_to(size: tuple[int, int], side: int) -> int:
    """How many times a picture of that height and width is enlarged for a short side of `side` or more."""
    return max(1, math.ceil(side / min(size)))


def enlarged(pixels: Pixels, scale: int) -> Pixels:
    """uint8 [H, W, C] -> [scale H, scale W, C], by Lanczos."""
    if scale == 1:
        return pixels
    height, width, channels = pixels.shape
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    large = np.asarray(image.resize((scale * width, scale * height), Image.Resampling.LANCZOS), np.uint8)
    return large.reshape(scale * height, scale * width, channels)


def require_pixels(name: str, pixels: object, dimensions: str) -> None:
    """Checks that something is uint8 of so many dimensions, "N, H, W, C" or "H, W, C".

    Raises:
        UsageError: it is not; the message holds both.
    """
    if not isinstance(pixels, np.ndarray):
        raise UsageError(f"{name}: expected numpy's uint8 [{dimensions}], got {type(pixels).__name__}")
    if pixels.dtype != np.uint8 or pixels.ndim != len(dimensions.split(",")):
        raise UsageError(f"{name}: expected uint8 [{dimensions}], got {pixels.dtype} {list(pixels.shape)}")


def grid(images: Pixels, columns: int | None = None) -> Pixels:
    """Pictures [N, H, W, C] side by side, row by row [rows H, columns W, C]; near-square unless told.

    Places without a picture are black.

    Raises:
        UsageError: no pictures, or no uint8 of that shape.
    """
    require_pixels("images", images, "N, H, W, C")
    count, height, width, channels = images.shape
    if not count:
        raise UsageError("a grid needs at least one picture")
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
    sheet[:count] = images
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)


# ---- writing


@dataclass(frozen=True)
class Provenance:
    """What a saved picture says of itself."""

    model: str
    seeds: str
    psi: float
    synthetic: bool = True
    label: str = ""  # what was asked of a model with labels
    edit: str = ""  # the directions that it was moved along
    cutoff: int | None = None  # psi acts on the first so many layers; None: on all

    def fields(self) -> dict[str, Any]:
        """What there is to say, by name."""
        always = ("model", "seeds")  # also where they are empty
        values = asdict(self)
        return {name: values[name] for name in values if name in always or values[name] not in ("", None)}

    def as_text(self) -> str:
        """One line of JSON."""
        return json.dumps(self.fields())


def save_format(path: Path) -> str:
    """Pillow's name of the format that a file name asks for.

    Raises:
        UsageError: the suffix is not one of SAVE_FORMATS.
    """
    return SAVE_FORMATS[suffix_of(path, "picture format", SAVE_FORMATS)]


def save(path: str | os.PathLike[str], pixels: Pixels, provenance: Provenance | None = None) -> None:
    """Writes uint8 [H, W, C] (C = 1, 3, 4) as PNG, JPEG or WebP, by the name's suffix.

    The provenance goes into PNG text, into EXIF for the others, and as XMP with IPTC's digital source
    type into all three. In a JPEG, words of more than MAX_JPEG_WORDS characters are cut, with their hash.

    Raises:
        UsageError: unknown suffix, a picture with alpha into a JPEG, or no uint8 of that shape.
        OSError: it could not be written; nothing was.
    """
    path = Path(path)
    kind = save_format(path)
    require_pixels("pixels", pixels, "H, W, C")
    if kind == "JPEG" and pixels.shape[2] == 4:
        raise UsageError(f"{path.name}: JPEG has no transparency; use .png or .webp")
    data = encode(pixels, kind, provenance)
    write_atomically(path, lambda file: file.write(data), durable=False)


def encode(pixels: Pixels, kind: str, provenance: Provenance | None = None) -> bytes:
    """The bytes of such a file; kind: Pillow's name of the format, one of SAVE_FORMATS' values."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"quality": 95, "method": 4}}.get(kind, {})
    if provenance is not None:
        options |= _metadata(kind, provenance)
    encoded = io.BytesIO()
    image.save(encoded, kind, **options)
    return encoded.getvalue()


def read_provenance(path: str | os.PathLike[str]) -> Provenance | None:
    """The provenance that `save` wrote, or None where the picture has none."""
    with Image.open(path) as image:
        text = image.info.get("facegan") or image.getexif().get(_EXIF_DESCRIPTION)
    try:
        return Provenance(**json.loads(text)) if text else None
    except (TypeError, ValueError):
        return None


def _metadata(kind: str, provenance: Provenance) -> dict[str, Any]:
    if kind == "JPEG":
        values = asdict(provenance).items()
        words: dict[str, Any] = {name: _shortened(text) for name, text in values if isinstance(text, str)}
        provenance = replace(provenance, **words)
    xmp = _xmp(provenance)
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", "facegan")
        info.add_text("facegan", provenance.as_text())
        for name, value in provenance.fields().items():
            info.add_text(name, str(value))
        info.add_itxt("XML:com.adobe.xmp", xmp)
        return {"pnginfo": info}
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = provenance.as_text()
    exif[_EXIF_SOFTWARE] = "facegan"
    return {"exif": exif, "xmp": xmp.encode()}


def _shortened(words: str) -> str:
    if len(words) <= MAX_JPEG_WORDS:
        return words
    digest = hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{words[:1000]} ... ({len(words):,} characters in all, sha256 {digest})"


def _xmp(provenance: Provenance) -> str:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"Iptc4xmpExt:DigitalSourceType={quoteattr(DIGITAL_SOURCE_TYPE)}>"
        '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
        f"{escape(provenance.as_text())}</rdf:li></rdf:Alt></dc:description>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
