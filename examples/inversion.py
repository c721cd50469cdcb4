"""A face that the shipped StyleGAN2 has never seen, found in its w+, and made to smile."""

import sys
from pathlib import Path

import numpy as np
import torch

import facegan
from facegan.data import DataConfig, open_dataset
from facegan.images import decode, fit, grid, save
from facegan.latents.direction_file import beside, read
from facegan.latents.directions import moved
from facegan.latents.inversion import invert
from facegan.models import find

NAME = "stylegan2-64-small"
sampler = facegan.load(NAME)
if len(sys.argv) > 1:
    target = fit(decode(Path(sys.argv[1]).read_bytes()), (64, 64), "center")
else:  # a person of the starter set
    pictures = open_dataset(DataConfig(mirror=False), resolution=64).pictures(np.array([7]))
    target = pictures[0].permute(1, 2, 0).numpy()
found = invert(sampler, target[None])
print(f"{found.apart[0]:.1f} grey levels apart, {found.apart_at_first[0]:.1f} at first")
smile = read(beside(find(NAME)), sampler.generator).directions["smile"]
smiles = sampler.images(torch.cat([moved(found.w, [(smile, strength)]) for strength in (0.0, 1.0, 2.0)]))
edit = facegan.Provenance(NAME, "", 1.0, edit="inverted from a picture, smile 0..2")
save("inversion.png", grid(np.concatenate([target[None], smiles]), 4), edit)
