"""A face of the studio, and its picture as a PNG from which it is opened again.

    Face                        what a picture was made of: a model's w, and where it came from
    to_png(face, ...)           PNG with provenance and, in the text chunk "facegan-latent", the w
    from_png(data) -> Saved     what such a PNG says; pixels are not looked at

The chunk is one line of JSON: format, model, fingerprint of its weights, seeds, seed, psi, edits, fingerprint
of the file's directions among them ("directions", where there are any), shape, w, which is base64 of
little-endian float32 [num_ws, w_dim], as the picture was made of it: truncated and edited.
Files are not trusted: chunks are walked by their lengths and checksums, nothing is unpacked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from facegan.config import UsageError, from_json, parse_json
from facegan.images import Pixels, Provenance, encode
from facegan.latents.files import MAX_VALUE
from facegan.synthesis import MAX_SEED

CHUNK, FORMAT = b"facegan-latent", 1
MAX_PNG_BYTES, MAX_CHUNK_BYTES = 8 * 2**20, 2**20
MAX_TEXT, MAX_EDITS = 500, 100
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(_SIGNATURE) + 25  # the chunk IHDR always comes first, and has 13 bytes

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)  # the page tells states apart by identity
class Face:
    """w [num_ws, w_dim] of a model of the studio, truncated and edited: what its picture is made of."""

    model: str  # as the studio's switcher calls it
    w: Floats
    text: str  # what it comes from: "7", "like 7, radius 0.3, seeds 3"
    psi: float
    seed: int | None = None  # where it is that seed's, as it is
    edits: tuple[tuple[str, float], ...] = ()  # directions and strengths, which w holds already
    directions: str = ""  # a fingerprint of those of a file, as they were then; "": none, or not known

    def provenance(self, model_name: str) -> Provenance:
        """What its picture says."""
        return Provenance(model_name, self.text, self.psi, edit=self._edit)

    @property
    def _edit(self) -> str:
        return " ".join(f"{name}={strength:g}" for name, strength in self.edits)

    @property
    def full_text(self) -> str:
        """What it comes from, and how it was edited: "7 with smile=3"."""
        return f"{self.text} with {self._edit}" if self.edits else self.text

    @property
    def origin(self) -> str:
        """What it comes from, in words: seed 7; like 7, radius 0.3, seeds 3."""
        return origin(self.text, bool(self.edits))

    @property
    def caption(self) -> str:
        """The same below a small picture: seed 7; like 7."""
        return re.split(r", (?:radius|styles) ", self.origin)[0]


def origin(text: str, is_edited: bool) -> str:
    """What a face comes from, in words."""
    said = f"seed {text}" if text.isdecimal() else text
    return f"{said}, edited" if is_edited else said


@dataclass(frozen=True)
class _Strength:
    name: str
    strength: float


@dataclass(frozen=True)
class Saved:
    """What a saved face says of itself; `w` is not yet known to fit a model."""

    model: str  # the model's own name
    fingerprint: str  # of its weights
    seeds: str
    psi: float
    w: str
    shape: tuple[int, ...]
    seed: int | None = None
    edits: tuple[_Strength, ...] = field(default=())
    directions: str = ""
    format: int = FORMAT

    def face(self, name: str, num_ws: int, w_dim: int) -> Face:
        """The face of the model of that name in the studio.

        Raises:
            UsageError: w has another shape, or numbers that are none.
        """
        if self.shape != (num_ws, w_dim):
            raise UsageError(f"its w has shape {list(self.shape)}: this model wants [{num_ws}, {w_dim}]")
        size = 4 * num_ws * w_dim
        try:
            data = base64.b64decode(self.w, validate=True) if len(self.w) <= 4 * -(-size // 3) else b""
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != size:
            raise UsageError(f"its w is not base64 of {num_ws * w_dim:,} float32 numbers")
        w = np.frombuffer(data, "<f4").reshape(num_ws, w_dim).astype(np.float32)
        if not (np.abs(w) <= MAX_VALUE).all():  # not so for NaN either
            raise UsageError(f"not all numbers of its w are in {-MAX_VALUE:g} .. {MAX_VALUE:g}")
        edits = tuple((edit.name, edit.strength) for edit in self.edits)
        return Face(name, w, self.seeds, self.psi, self.seed, edits, self.directions)


# ---- writing


def to_png(face: Face, pixels: Pixels, model_name: str, fingerprint: str) -> bytes:
    """The picture uint8 [H, W, C] as a PNG that says what it is, and holds what it is made of."""
    said: dict[str, Any] = {
        "format": FORMAT,
        "model": model_name,
        "fingerprint": fingerprint,
        "seeds": face.text[:MAX_TEXT],
        "seed": face.seed,
        "psi": face.psi,
        "edits": [{"name": name, "strength": strength} for name, strength in face.edits],
        "shape": list(face.w.shape),
        "w": base64.b64encode(face.w.astype("<f4").tobytes()).decode(),
    }
    if face.directions:
        said["directions"] = face.directions
    png = encode(pixels, "PNG", face.provenance(model_name))
    return png[:_HEADER_END] + _chunk(json.dumps(said).encode()) + png[_HEADER_END:]


def _chunk(text: bytes) -> bytes:
    """A tEXt chunk (PNG, 3rd edition, sec. 11.3.3.3) with the keyword CHUNK."""
    content = b"tEXt" + CHUNK + b"\0" + text
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


# ---- reading


def from_png(data: bytes) -> Saved:
    """What a saved face says.

    Raises:
        UsageError: not a PNG, too large, damaged, or not one that the studio saved.
    """
    if len(data) > MAX_PNG_BYTES:
        raise UsageError(f"{len(data):,} bytes: a saved face has at most {MAX_PNG_BYTES:,}")
    text = _latent_text(data)
    try:
        return _checked(from_json(Saved, parse_json(text.decode("ascii"))))
    except ValueError as error:  # not ASCII is one too
        raise UsageError(f"its {CHUNK.decode()} is not usable ({str(error)[:200]})") from None


def _latent_text(data: bytes) -> bytes:
    """The text of the chunk CHUNK."""
    if not data.startswith(_SIGNATURE):
        raise UsageError("not a PNG; open a picture that the studio saved")
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        kind, content = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if kind == b"tEXt" and content.startswith(CHUNK + b"\0"):
            if length > MAX_CHUNK_BYTES:
                raise UsageError(f"its {CHUNK.decode()} has {length:,} bytes: at most {MAX_CHUNK_BYTES:,}")
            if zlib.crc32(kind + content) != struct.unpack_from(">I", data, end - 4)[0]:
                raise UsageError("damaged: a checksum is wrong")
            return content[len(CHUNK) + 1 :]
        if kind == b"IEND":
            raise UsageError(
                "not a saved face: it does not say what it was made of; open a PNG that the studio kept, or "
                "that was downloaded from it in the model's own size"
            )
        at = end
    raise UsageError("damaged: the PNG ends too soon")


def _checked(saved: Saved) -> Saved:
    words = [saved.model, saved.fingerprint, saved.directions, saved.seeds]
    words += [edit.name for edit in saved.edits]
    if saved.format != FORMAT:
        raise UsageError(f"format {saved.format}; this version reads {FORMAT}")
    if any(len(word) > MAX_TEXT or not word.isprintable() for word in words):
        raise UsageError("a word is too long, or not printable")
    if saved.seed is not None and not 0 <= saved.seed <= MAX_SEED:
        raise UsageError(f"seed: 0 to {MAX_SEED}")
    numbers = [saved.psi, *(edit.strength for edit in saved.edits)]
    if len(saved.edits) > MAX_EDITS or not all(abs(number) <= 100 for number in numbers):
        raise UsageError("psi or the edits are beyond all sense")
    return saved
