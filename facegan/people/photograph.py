"""From light to a photograph: exposure, tone curve, sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facegan.people.head import Floats
from facegan.people.person import Detail, Person

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
FACE_LIGHT = 1.12  # the exposed diffuse light on a well-lit part of the face: before albedo, 1 is white paper
METERED = (55, 80, 93)  # percentiles of that light: a face half in shade is not lit up wholly
TONE_COMPENSATION = 0.32  # photographers open up for dark skin: exposure goes with albedo^-0.32
REFERENCE_ALBEDO = 0.36
SHOULDER = 1.35  # of the tone curve 1 - exp(-SHOULDER x)
GAMMA = 1 / 2.2


def exposure(person: Person, face_light: Floats, albedo: Floats) -> float:
    """The factor that brings the light [K, 3] on a face of this albedo [3] to where a camera would set it."""
    level = float(np.percentile(face_light @ LUMINANCE, METERED).mean()) if len(face_light) else 1.0
    compensation = (REFERENCE_ALBEDO / float(albedo @ LUMINANCE)) ** TONE_COMPENSATION
    return float(FACE_LIGHT / max(level, 0.05) * compensation * person.exposure)


def developed(picture: Floats, factor: float, person: Person, supersample: int) -> NDArray[np.uint8]:
    """uint8 [R, R, 3] of linear light [S, S, 3]; R = S / supersample."""
    random = person.detail(Detail.SENSOR)
    contrast, saturation = float(random.uniform(1.04, 1.22)), float(random.uniform(0.82, 1.02))
    noise = float(random.uniform(0.002, 0.010))
    values = (1 - np.exp(-SHOULDER * factor * np.maximum(picture, 0))).astype(np.float32) ** np.float32(GAMMA)
    corners = [(i, j) for i in range(supersample) for j in range(supersample)]
    planes = [values[i::supersample, j::supersample] for i, j in corners]
    values = np.asarray(sum(planes) / np.float32(supersample**2), np.float32)
    values = (values - 0.5) * contrast + 0.5
    grey = values @ LUMINANCE.astype(np.float32)
    values = grey[..., None] + (values - grey[..., None]) * saturation
    grain = np.random.default_rng(random.integers(2**63)).standard_normal(values.shape, dtype=np.float32)
    return np.asarray(np.clip(values + noise * grain, 0, 1) * 255 + 0.5, np.uint8)
