"""Style mixing by hand: one face in the colours of others, which a StyleGAN keeps in its last layers."""

import torch

import facegan
from facegan.images import grid, save
from facegan.layers import parse_layers
from facegan.mixing import mixed

sampler = facegan.load("stylegan-64")
ws = torch.cat([w for _, w in sampler.stream_w(range(8), psi=0.7)])  # [8, layers, w_dim]
fine = parse_layers("fine", sampler.generator.num_ws)
recoloured = torch.cat([mixed(ws[:1], source[None], fine) for source in ws])  # the first is seed 0 itself
save("mixing.png", grid(sampler.images(recoloured), 8), facegan.Provenance("stylegan-64", "0-7", 0.7))
