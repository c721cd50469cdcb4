"""64 faces in one picture, and the one that is most unlike their mean."""

import numpy as np

import facegan
from facegan.images import grid, save

sampler = facegan.load("dcgan-64")  # or a .safetensors file, a run folder, hf://owner/name
faces = sampler.sample(seeds=range(64), psi=0.7)  # uint8 [64, 64, 64, 3]
save("faces.png", grid(faces), facegan.Provenance("dcgan-64", "0-63", 0.7))

distance = np.abs(faces - faces.mean(axis=0)).mean(axis=(1, 2, 3))
print(f"seed {distance.argmax()} is {distance.max():.0f} grey levels from the mean face")
