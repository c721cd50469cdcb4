"""Models for tests of the studio, and their faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_stylegan2 import SHAPE, networks

from facegan import models
from facegan.card import Card
from facegan.latents.direction_file import DirectionCard, DirectionFile, beside, fingerprint, write
from facegan.latents.directions import Direction
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.serve.studio.create import of_seeds
from facegan.serve.studio.desk import Opened
from facegan.serve.studio.faces import Face
from facegan.synthesis import Sampler

SMILE = Direction("smile", np.eye(6)[2], 0.5, (0, 1, 2), "a test")


def write_model(folder: Path) -> Path:
    """A StyleGAN2 of 16 px, 6 layers and w of 6 numbers, with a direction beside it."""
    path = folder / "small.safetensors"
    card = Card(description="Of <b>tests</b> | only", licence="CC0 1.0")
    models.save(path, models.Model(networks()[0], StyleGAN2Config(**SHAPE), card))
    generator = models.load(str(path)).generator
    found = DirectionFile(DirectionCard("small", fingerprint(generator), "a test"), {"smile": SMILE})
    write(beside(path), found)
    return path


def face_of(opened: Opened, seed: int = 7, psi: float = 0.7) -> Face:
    """The face of a seed."""
    return of_seeds(opened, str(seed)).faces(psi)[0]


def sampler_of(opened: Opened) -> Sampler:
    """Another sampler of the same model, as the command line has it."""
    return Sampler(models.load(opened.name), device="cpu")
