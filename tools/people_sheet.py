"""Contact sheets of drawn people: who lives here, and one person with one thing changed at a time.

    python tools/people_sheet.py population [--seed 1] [--resolution 128]      docs/images/people.jpg
    python tools/people_sheet.py variations [--seed 1 --number 0] [--resolution 256]
                                                                               docs/images/person-variations.jpg

Person `number` of a seed is the one that `facegan people` draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegan.images import Pixels, grid, save
from facegan.people.person import Person
from facegan.people.render import render

PEOPLE = 64
COLUMNS = 8
VARIATIONS_COLUMNS = 4
CAPTION_SHARE = 0.075  # of the resolution: the height of a caption's letters
PAPER, INK = 255, 40  # grey values of a caption

BOTH_SIDES = ("Left", "Right")
PLAIN: Mapping[str, Any] = {  # what the variations start from
    "yaw_degrees": 0.0, "pitch_degrees": 0.0, "roll_degrees": 0.0, "body_yaw_degrees": 0.0,
    "gaze_yaw_degrees": 0.0, "gaze_pitch_degrees": 0.0, "expression": {}, "distance_dm": 11.0,
    "light_azimuth_degrees": 20.0, "light_elevation_degrees": 35.0, "light_hardness": 0.4,
    "light_warmth": 0.0, "rim_light": 0.0, "exposure": 1.0, "backdrop": "studio",
    "age_years": 35.0, "glasses": "none", "hat": "none", "makeup": 0.0,
}  # fmt: skip
SMILE = {f"{unit}{side}": value for side in BOTH_SIDES for unit, value in (
    ("mouthSmile", 0.9), ("cheekSquint", 0.4), ("mouthUpperUp", 0.4), ("mouthLowerDown", 0.25),
)}  # fmt: skip
STERN = {f"{unit}{side}": value for side in BOTH_SIDES for unit, value in (
    ("browDown", 0.8), ("mouthPress", 0.4), ("mouthFrown", 0.2),
)}  # fmt: skip
SURPRISE = {"browInnerUp": 0.8, "jawOpen": 0.25} | {
    f"{unit}{side}": 0.5 for side in BOTH_SIDES for unit in ("browOuterUp", "eyeWide")
}
VARIATIONS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("plain", {}),
    ("smile", {"expression": SMILE}),
    ("surprise", {"expression": SURPRISE}),
    ("stern", {"expression": STERN}),
    ("yaw -35", {"yaw_degrees": -35.0}),
    ("yaw 35", {"yaw_degrees": 35.0}),
    ("pitch -15", {"pitch_degrees": -15.0}),
    ("light from the side", {"light_azimuth_degrees": 80.0, "light_hardness": 0.85}),
    ("light from below", {"light_elevation_degrees": -30.0, "light_hardness": 0.7}),
    ("evening, rim light", {"light_warmth": 0.8, "rim_light": 1.0, "backdrop": "night"}),
    ("20 years", {"age_years": 20.0}),
    ("85 years", {"age_years": 85.0}),
    ("glasses", {"glasses": "round", "glasses_colour": (0.012, 0.011, 0.011)}),
    ("hat", {"hat": "beanie", "hat_colour": (0.03, 0.08, 0.18)}),
    ("hair: afro", {"hair_style": "afro", "hair_curl": 0.9}),
    ("hair: buzz, red", {"hair_style": "buzz", "hair_colour": (0.26, 0.078, 0.028)}),
)


def population(seed: int, resolution: int) -> Pixels:
    """People 0 .. 63 of a seed as one picture."""
    people = (Person.numbered(seed, number) for number in range(PEOPLE))
    return grid(np.stack([render(person, resolution).image for person in people]), COLUMNS)


def variations(seed: int, number: int, resolution: int) -> Pixels:
    """One person, plain and with one thing changed at a time, each with its name below."""
    plain = Person.numbered(seed, number).replace(**PLAIN)
    pictures = [
        captioned(render(plain.replace(**changes), resolution).image, name) for name, changes in VARIATIONS
    ]
    return grid(np.stack(pictures), VARIATIONS_COLUMNS)


def captioned(picture: Pixels, text: str) -> Pixels:
    """The picture [R, R, 3] with a line of text below it [R + lines, R, 3]."""
    resolution = picture.shape[1]
    size = max(8, round(CAPTION_SHARE * resolution))
    strip = Image.new("L", (resolution, 2 * size), PAPER)
    middle = (resolution / 2, size)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text(middle, text, fill=INK, font=font, anchor="mm")
    return np.concatenate([picture, np.asarray(strip.convert("RGB"))])


def main() -> None:
    """Writes one sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", choices=("population", "variations"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=0, help="which person of the seed is varied")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.sheet == "population":
        sheet = population(arguments.seed, arguments.resolution or 128)
        out = arguments.out or Path("docs/images/people.jpg")
    else:
        sheet = variations(arguments.seed, arguments.number, arguments.resolution or 256)
        out = arguments.out or Path("docs/images/person-variations.jpg")
    save(out, sheet)
    print(out)


if __name__ == "__main__":
    main()
