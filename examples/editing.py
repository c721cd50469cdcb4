"""A face made to smile, with glasses held on: directions of w that the shipped StyleGAN2 comes with."""

import torch

import facegan
from facegan.images import grid, save
from facegan.latents.direction_file import beside, read
from facegan.latents.directions import moved
from facegan.models import find

NAME = "stylegan2-64-small"
sampler = facegan.load(NAME)
directions = read(beside(find(NAME)), sampler.generator).directions
(w,) = (w for _, w in sampler.stream_w([7], psi=0.7))
steps = [
    moved(w, [(directions["smile"], strength), (directions["glasses"], 2.0)])
    for strength in (-2.0, -1.0, 0.0, 1.0, 2.0)
]
edit = facegan.Provenance(NAME, "7", 0.7, edit="smile -2..2, glasses=2")
save("editing.png", grid(sampler.images(torch.cat(steps)), 5), edit)
