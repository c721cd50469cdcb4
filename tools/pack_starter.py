"""Packs the starter data set: the first pictures of a set of drawn people, at 64 px, with readable labels.

    python tools/pack_starter.py people128.zip facegan/zoo/starter-64.zip --count 4200

The source's labels are the renderer's raw parameters; here they become years, degrees and words.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facegan.images import decode, fit

RESOLUTION = 64
QUALITY = 90  # WebP
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that packing twice gives the same file

# The renderer's palettes, linear RGB.
HAIR = {
    "black": (0.018, 0.014, 0.012),
    "dark brown": (0.045, 0.027, 0.017),
    "brown": (0.11, 0.06, 0.033),
    "chestnut": (0.16, 0.075, 0.035),
    "dark blond": (0.30, 0.19, 0.095),
    "blond": (0.52, 0.37, 0.19),
    "red": (0.30, 0.085, 0.028),
    "grey": (0.36, 0.35, 0.34),
    "white": (0.72, 0.71, 0.69),
}
EYES = {
    "brown": (0.11, 0.045, 0.018),
    "dark brown": (0.045, 0.02, 0.01),
    "hazel": (0.2, 0.13, 0.045),
    "green": (0.16, 0.22, 0.09),
    "blue": (0.16, 0.28, 0.45),
    "grey": (0.26, 0.32, 0.36),
}
AGES = (0.0, 0.25, 0.5, 0.75, 1.0), (1.0, 12.0, 25.0, 57.0, 90.0)  # MakeHuman's scale -> years


def nearest_colour(colour: list[float], palette: Mapping[str, tuple[float, ...]]) -> str:
    """The palette's nearest name, compared on a perceptual scale (power 1/2.2)."""
    distances = {
        name: float(np.sum((np.power(colour, 1 / 2.2) - np.power(entry, 1 / 2.2)) ** 2))
        for name, entry in palette.items()
    }
    return min(distances, key=distances.__getitem__)


def hair_colour(colour: list[float]) -> str:
    """A word for linear RGB; natural hair is never clearly greener or bluer than red."""
    red, green, blue = colour
    return "dyed" if max(green, blue) > 1.4 * red or blue > 1.4 * green else nearest_colour(colour, HAIR)


def facial_hair(raw: dict[str, Any]) -> str:
    """none, stubble, moustache, goatee or beard."""
    if raw["beard"] > 0:
        return "goatee" if raw.get("goatee") else "beard"
    if raw["stache"] > 0:
        return "moustache"
    return "stubble" if raw["stubble"] > 0.4 else "none"


def readable(raw: dict[str, Any], scale: float) -> dict[str, Any]:
    """The labels of one picture in words, years and degrees; landmarks in pixels of the smaller picture."""
    expression = {name: round(weight, 2) for name, weight in raw["expr"].items() if weight > 0.15}
    smile = max(raw["expr"].get(f"mouthSmile{side}", 0.0) for side in ("Left", "Right"))
    return {
        "age_years": round(float(np.interp(raw["age"], *AGES))),
        "gender_presentation": "male" if raw["male"] else "female",
        "ancestry": dict(
            zip(("african", "asian", "caucasian"), (round(x, 2) for x in raw["race"]), strict=True)
        ),
        "skin_tone": round(raw["tone"], 1),
        "hair_style": raw["style"],
        "hair_colour": hair_colour(raw["hair"]),
        "eye_colour": nearest_colour(raw["eye"], EYES),
        "facial_hair": facial_hair(raw),
        "glasses": raw["glasses"],
        "makeup": raw["makeup"] > 0,
        "freckles": raw["freckle"] > 0,
        "smile": smile > 0.3,
        "mouth_open": raw["expr"].get("jawOpen", 0.0) > 0.2,
        "expression": expression,
        "yaw_degrees": round(math.degrees(raw["yaw"]), 1),
        "pitch_degrees": round(math.degrees(raw["pitch"]), 1),
        "roll_degrees": round(math.degrees(raw["roll"]), 1),
        "landmarks": [round(x * scale, 1) for x in raw["landmarks"]],
    }


def main() -> None:
    """Reads SOURCE, writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=4200)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.source) as source, zipfile.ZipFile(arguments.out, "w") as out:
        lines = source.read("metadata.jsonl").decode().splitlines()[: arguments.count]
        metadata = []
        for raw in map(json.loads, lines):
            image = decode(source.read(raw["file_name"]))
            buffer = io.BytesIO()
            Image.fromarray(fit(image, RESOLUTION, "center")).save(buffer, "WEBP", quality=QUALITY, method=6)
            name = Path(raw["file_name"]).stem + ".webp"
            out.writestr(zipfile.ZipInfo(name, EPOCH), buffer.getvalue())
            metadata.append(json.dumps({"file_name": name, **readable(raw, RESOLUTION / image.width)}))
        info = zipfile.ZipInfo("metadata.jsonl", EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        out.writestr(info, "\n".join(metadata) + "\n")
    print(f"{arguments.out}: {len(metadata)} pictures, {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
