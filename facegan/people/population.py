"""Who lives here: the distribution that people are drawn from, in tables.

Near-uniform on purpose: a set of these people should not be mostly of one age, gender, ancestry or skin tone.
Nobody is younger than 18. Rare things are rare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from facegan.people.head import head_shapes, local_pairs
from facegan.people.person import RGB, Person

# ---- the population

AGE_TABLE = (  # from, to, share
    (18.0, 30.0, 0.28),
    (30.0, 45.0, 0.28),
    (45.0, 60.0, 0.24),
    (60.0, 75.0, 0.14),
    (75.0, 88.0, 0.06),
)
GENDER_TABLE = (  # presentation, mean and deviation of the mesh's gender, share
    ("female", 0.05, 0.06, 0.5),
    ("male", 0.95, 0.06, 0.5),
)
# a Dirichlet distribution over african, asian, caucasian: each has one third, most people are a mix
ANCESTRY_CONCENTRATION = (0.25, 0.25, 0.25)
TONE_OF_ANCESTRY = (5.1, 2.5, 0.8)  # the mean skin tone, 0 .. 6, of each ancestry; mixes lie between
TONE_DEVIATION = 1.1

# ---- one table each for what one has and wears: name -> share

HAIR_MALE = {
    "short": 0.22, "side-part": 0.15, "slicked-back": 0.10, "quiff": 0.10, "buzz": 0.12, "bald": 0.07,
    "fringe": 0.09, "curly-top": 0.08, "long": 0.04, "bob": 0.03,
}  # fmt: skip
HAIR_FEMALE = {
    "long": 0.21, "long-side-part": 0.21, "bob": 0.14, "bangs": 0.12, "bun": 0.11, "ponytail": 0.10,
    "pixie": 0.07, "curly-top": 0.03, "buzz": 0.01,
}  # fmt: skip
HAIR_MALE_KINKY = {"buzz": 0.48, "afro": 0.25, "short": 0.10, "curly-top": 0.09, "bald": 0.08}
HAIR_FEMALE_KINKY = {"afro": 0.38, "bun": 0.22, "long": 0.14, "bob": 0.12, "buzz": 0.08, "ponytail": 0.06}
HAIR_COLOURS: Mapping[str, RGB] = {
    "black": (0.016, 0.013, 0.012), "dark brown": (0.040, 0.025, 0.016), "brown": (0.095, 0.053, 0.030),
    "chestnut": (0.14, 0.066, 0.033), "dark blond": (0.26, 0.17, 0.088), "blond": (0.46, 0.33, 0.17),
    "red": (0.26, 0.078, 0.028),
}  # fmt: skip
HAIR_COLOUR_DARK = {"black": 0.62, "dark brown": 0.30, "brown": 0.08}
HAIR_COLOUR_LIGHT = {
    "black": 0.08, "dark brown": 0.24, "brown": 0.26, "chestnut": 0.13, "dark blond": 0.14, "blond": 0.10,
    "red": 0.05,
}  # fmt: skip
DYED_SHARE = 0.012
DYES: tuple[RGB, ...] = ((0.30, 0.04, 0.10), (0.10, 0.05, 0.30), (0.03, 0.14, 0.25), (0.42, 0.16, 0.22))
EYE_COLOURS: Mapping[str, RGB] = {
    "brown": (0.095, 0.040, 0.016), "dark brown": (0.042, 0.020, 0.010), "hazel": (0.17, 0.11, 0.042),
    "green": (0.14, 0.18, 0.080), "blue": (0.15, 0.24, 0.36), "grey": (0.22, 0.26, 0.29),
}  # fmt: skip
EYES_DARK = {"brown": 0.36, "dark brown": 0.62, "hazel": 0.02}
EYES_LIGHT = {"brown": 0.27, "dark brown": 0.13, "hazel": 0.15, "green": 0.12, "blue": 0.23, "grey": 0.10}
BEARDS_MALE = {"none": 0.42, "stubble": 0.24, "beard": 0.20, "moustache": 0.06, "goatee": 0.08}
GLASSES_WORN = {"none": 0.85, "round": 0.04, "oval": 0.04, "square": 0.05, "half-rim": 0.02}
HATS_MALE = {"none": 0.93, "beanie": 0.025, "cap": 0.03, "brimmed-hat": 0.015}
HATS_FEMALE = {"none": 0.93, "beanie": 0.02, "cap": 0.012, "brimmed-hat": 0.013, "headscarf": 0.025}
CLOTHES_WORN = {
    "t-shirt": 0.30, "v-neck": 0.16, "turtleneck": 0.10, "shirt": 0.20, "jacket": 0.20, "scarf": 0.04,
}  # fmt: skip
BACKDROPS_SEEN = {
    "studio": 0.22, "wall": 0.18, "room": 0.14, "window": 0.10, "foliage": 0.13, "sky": 0.09, "street": 0.09,
    "night": 0.05,
}  # fmt: skip

# ---- features: how far one person's face is from the average one

FEATURE_SHARE = 0.75  # the chance that a feature is not average
FEATURE_DEVIATION = 0.34  # of a morph's weight, where the feature is not average
FEATURE_LIMIT = 0.9
GROUP_DEVIATIONS = {"ears": 0.26, "neck": 0.12, "asym": 0.09, "eyes": 0.28, "head": 0.24, "cheek": 0.30}
FEATURE_FACTORS = {  # by the start of the name: above 1 what tells people apart, below 1 what makes monsters
    "head/head-trans": 0.35, "head/head-angle": 0.35, "head/head-age": 0.35, "head/head-fat": 1.3,
    "head/head-scale-horiz": 1.7, "head/head-scale-vert": 1.6, "eyebrows/eyebrows-angle": 0.8,
    "eyebrows/eyebrows-trans-backward": 1.5, "eyes/eye-epicanthus": 0.5, "eyes/eye-trans-in-out": 1.6,
    "eyes/eye-trans-down-up": 1.3, "nose/nose-scale-horiz": 1.4, "nose/nose-scale-vert": 1.6,
    "nose/nose-scale-depth": 1.6, "nose/nose-trans-down-up": 1.2, "nose/nose-trans": 0.6,
    "nose/nose-point-down-up": 1.6, "nose/nose-volume": 1.6, "nose/nose-base": 1.6, "nose/nose-width3": 1.6,
    "nose/nose-nostrils": 1.5, "nose/nose-septumangle": 1.3, "mouth/mouth-scale-horiz": 1.2,
    "mouth/mouth-trans-down-up": 1.4, "mouth/mouth-trans-backward": 1.0, "mouth/mouth-trans": 0.6,
    "chin/chin-height": 1.5,
}  # fmt: skip
HEAD_SHAPE_SHARE, HEAD_SHAPE_MAX = 0.16, 0.55


def sample(rng: np.random.Generator) -> Person:
    """One person of this population."""
    low, high, _ = AGE_TABLE[rng.choice(len(AGE_TABLE), p=[row[2] for row in AGE_TABLE])]
    age = float(rng.uniform(low, high))
    _, mean, deviation, _ = GENDER_TABLE[rng.choice(len(GENDER_TABLE), p=[row[3] for row in GENDER_TABLE])]
    gender = float(np.clip(rng.normal(mean, deviation), 0, 1))
    male = gender > 0.5
    ancestry = rng.dirichlet(ANCESTRY_CONCENTRATION)
    tone = float(np.clip(ancestry @ TONE_OF_ANCESTRY + rng.normal(0, TONE_DEVIATION), 0, 6))
    dark = bool(ancestry[0] + ancestry[1] > 0.45)
    kinky = bool(ancestry[0] > 0.55 and rng.random() < 0.75)
    pigment = _colour(rng, HAIR_COLOURS[_choice(rng, HAIR_COLOUR_DARK if dark else HAIR_COLOUR_LIGHT)], 0.2)
    if rng.random() < DYED_SHARE:
        pigment = _colour(rng, DYES[rng.integers(len(DYES))], 0.2)
    styles = (
        (HAIR_MALE_KINKY if kinky else HAIR_MALE) if male else (HAIR_FEMALE_KINKY if kinky else HAIR_FEMALE)
    )
    curl = (
        rng.uniform(0.7, 1) if kinky else float(rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0.3, 0.8)]))
    )
    beard = _choice(rng, BEARDS_MALE) if male else "none"
    makeup = float(rng.uniform(0.15, 1)) if not male and rng.random() < 0.65 else 0.0
    glasses_black = rng.random() < 0.55
    return Person(
        age_years=age,
        gender=gender,
        ancestry=(float(ancestry[0]), float(ancestry[1]), float(ancestry[2])),
        muscle=float(np.clip(rng.normal(0.5, 0.17), 0.05, 0.95)),
        weight=float(np.clip(rng.normal(0.42, 0.19), 0.03, 0.95)),
        features=features(rng),
        skin_tone=tone,
        redness=float(rng.beta(2.2, 2.6)),
        yellowness=float(np.clip(0.3 * ancestry[1] + rng.normal(0, 0.25), -1, 1)),
        freckles=float(rng.uniform(0.3, 1)) if tone < 2 and rng.random() < 0.14 else 0.0,
        blemishes=float(rng.beta(1.2, 3.5)),
        eye_colour=_colour(rng, EYE_COLOURS[_choice(rng, EYES_DARK if dark else EYES_LIGHT)], 0.15),
        iris_pattern=float(rng.uniform(0, 1000)),
        hair_style=_choice(rng, styles),
        hair_colour=pigment,
        hair_length=float(rng.beta(1.6, 1.6)),
        hair_curl=float(curl),
        hair_parting=float(rng.uniform(-1, 1)),
        hair_volume=float(rng.beta(1.8, 1.8)),
        recession=float(rng.beta(1.2, 1.2)) if male else float(rng.beta(1, 5)) * 0.4,
        greying_years=float(np.clip(rng.normal(57, 9), 30, 95)),
        brow_thickness=float(np.clip(rng.normal(0.6 if male else 0.4, 0.2), 0, 1)),
        brow_arch=float(np.clip(rng.normal(0.35 if male else 0.55, 0.22), 0, 1)),
        brow_slant=float(np.clip(rng.normal(0, 0.25), -1, 1)),
        brow_darkness=float(rng.beta(2, 1.5)),
        beard=beard,
        beard_length=float(rng.beta(1.3, 2.2)),
        makeup=makeup,
        lipstick=_colour(rng, _LIPSTICKS[rng.integers(len(_LIPSTICKS))], 0.15),
        glasses=_choice(rng, GLASSES_WORN),
        glasses_colour=_colour(rng, (0.012, 0.011, 0.011) if glasses_black else _dye(rng), 0.2),
        glasses_size=float(rng.beta(2, 2)),
        hat=_choice(rng, HATS_MALE if male else HATS_FEMALE),
        hat_colour=_dye(rng),
        clothes=_choice(rng, CLOTHES_WORN),
        clothes_colour=_dye(rng),
        second_colour=_dye(rng),
        expression=expression(rng),
        yaw_degrees=float(np.clip(rng.normal(0, 13), -34, 34)),
        pitch_degrees=float(np.clip(rng.normal(0, 5), -14, 14)),
        roll_degrees=float(np.clip(rng.normal(0, 4), -12, 12)),
        body_yaw_degrees=float(np.clip(rng.normal(0, 8), -20, 20)),
        gaze_yaw_degrees=float(np.clip(rng.normal(0, 5), -18, 18)),
        gaze_pitch_degrees=float(np.clip(rng.normal(0, 3), -10, 10)),
        distance_dm=float(rng.uniform(7, 18)),
        light_azimuth_degrees=float(np.clip(rng.normal(0, 45), -110, 110)),
        light_elevation_degrees=float(np.clip(rng.normal(32, 16), -5, 75)),
        light_hardness=float(rng.beta(1.9, 1.5)),
        light_warmth=float(np.clip(rng.normal(0.1, 0.35), -1, 1)),
        rim_light=float(rng.uniform(0.2, 1)) if rng.random() < 0.3 else 0.0,
        exposure=float(np.exp(rng.normal(0, 0.13))),
        backdrop=_choice(rng, BACKDROPS_SEEN),
        seed=int(rng.integers(2**31)),
    )


def features(rng: np.random.Generator) -> dict[str, float]:
    """Weights of local morphs; the sizes within one feature go together (a nose is large as a whole)."""
    values: dict[str, float] = {}
    whole = {group: float(rng.normal()) for group in sorted({_group(name) for name in local_pairs()})}
    for name in local_pairs():
        own, chance = float(rng.normal()), float(rng.random())
        group = _group(name)
        deviation = GROUP_DEVIATIONS.get(group, FEATURE_DEVIATION)
        deviation *= next(
            (factor for start, factor in FEATURE_FACTORS.items() if name.startswith(start)), 1.0
        )
        if "-scale-" in name:
            own = 0.8 * own + 0.6 * whole[group]
        if chance < FEATURE_SHARE:
            values[name] = float(np.clip(deviation * own, -FEATURE_LIMIT, FEATURE_LIMIT))
    for name in head_shapes():
        size, chance = float(rng.uniform(0, HEAD_SHAPE_MAX)), float(rng.random())
        if chance < HEAD_SHAPE_SHARE:
            values[name] = size
    return values


def expression(rng: np.random.Generator) -> dict[str, float]:
    """Weights of face units: half the people smile, few of them widely; others look as people do."""
    units: dict[str, float] = {}

    def both(name: str, value: float) -> None:
        for side in ("Left", "Right"):
            units[name + side] = float(value * rng.uniform(0.9, 1))

    kind = _choice(rng, _EXPRESSIONS)
    if kind == "smile":
        smile = float(rng.uniform(0.2, 1))
        both("mouthSmile", smile)
        both("cheekSquint", 0.45 * smile)
        both("eyeSquint", 0.25 * smile)
        if rng.random() < 0.55:
            teeth = float(rng.uniform(0.3, 1)) * smile
            both("mouthUpperUp", 0.5 * teeth)
            both("mouthLowerDown", 0.3 * teeth)
            units["jawOpen"] = 0.12 * teeth
    elif kind == "speaking":
        units["jawOpen"] = float(rng.uniform(0.04, 0.25))
    elif kind == "sad":
        both("mouthFrown", rng.uniform(0.1, 0.6))
        units["browInnerUp"] = float(rng.uniform(0, 0.6))
    elif kind == "stern":
        both("browDown", rng.uniform(0.3, 0.9))
        both("mouthPress", rng.uniform(0, 0.5))
    elif kind == "surprised":
        units["browInnerUp"] = float(rng.uniform(0.3, 0.9))
        both("browOuterUp", rng.uniform(0.2, 0.7))
        both("eyeWide", rng.uniform(0.1, 0.5))
        units["jawOpen"] = float(rng.uniform(0, 0.25))
    elif kind == "pouting":
        units["mouthPucker"] = float(rng.uniform(0.1, 0.45))
    both("eyeBlink", rng.uniform(-0.28, 0.08))
    return units


_EXPRESSIONS = {
    "neutral": 0.24, "smile": 0.5, "speaking": 0.1, "sad": 0.04, "stern": 0.06, "surprised": 0.04,
    "pouting": 0.02,
}  # fmt: skip
_LIPSTICKS: tuple[RGB, ...] = (
    (0.42, 0.08, 0.09), (0.45, 0.16, 0.14), (0.32, 0.06, 0.11), (0.52, 0.22, 0.20), (0.24, 0.05, 0.06),
)  # fmt: skip


def _choice(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _colour(rng: np.random.Generator, colour: Sequence[float], spread: float) -> RGB:
    """A colour near this one: lighter or darker by a factor of about 1 + spread, less so in hue."""
    red, green, blue = np.clip(
        np.array(colour) * np.exp(rng.normal(0, spread) + rng.normal(0, spread / 4, 3)), 0, 1
    )
    return float(red), float(green), float(blue)


def _dye(rng: np.random.Generator) -> RGB:
    """A colour that cloth has: most are dark, grey, white, blue or muted, few are bright."""
    value = float(rng.beta(0.8, 1.5)) * 0.75 + 0.008
    hue, saturation = rng.uniform(0, 2 * np.pi), float(rng.beta(1.1, 2.6))
    if rng.random() < 0.35:
        hue, saturation = rng.normal(3.9, 0.25), float(rng.beta(2, 2))  # blues
    tint = 1 + saturation * np.cos(hue - np.array([0, 2 * np.pi / 3, 4 * np.pi / 3]))
    return _colour(rng, np.clip(value * tint / tint.max(), 0.004, 0.85), 0.0)


def _group(name: str) -> str:
    return name.split("/")[0]
