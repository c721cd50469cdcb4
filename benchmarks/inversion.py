"""How near `facegan invert` comes to people whom a model has not seen, and how long it takes.

python benchmarks/inversion.py [--model stylegan2-64-small] [--people 16] [--seed 2]

Drawn people are given (the extra `people`). Apart: root mean square in grey levels, the mean over them.
Moved: how far tuning moves other faces, those of seeds 0 to 15 at psi 0.7.
"""

from __future__ import annotations

import argparse
from time import process_time

import numpy as np
import torch

import facegan
from facegan.latents.inversion import grey_levels_apart, invert, tune
from facegan.people.person import Person
from facegan.people.render import render


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="stylegan2-64-small")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--seed", type=int, default=2)
    asked = parser.parse_args()
    sampler = facegan.load(asked.model, device="cpu", precision="fp32")
    side = sampler.generator.image_shape[1]
    people = (Person.numbered(asked.seed, number) for number in range(asked.people))
    given = np.stack([render(person, side).image for person in people])
    others = sampler.sample(range(16), 0.7)
    threads = torch.get_num_threads()
    print(f"{asked.model}, {asked.people} people, torch {torch.__version__}, {threads} threads\n")
    print("| | apart | processor seconds a picture | other faces moved |\n|---|---|---|---|")
    for space in ("w", "w+"):
        began = process_time()
        found = invert(sampler, given, space=space)
        searched = process_time() - began
        if space == "w":
            print(f"| the nearest of 500 faces | {np.mean(found.apart_at_first):.1f} | | |")
        print(f"| {space} | {np.mean(found.apart):.1f} | {searched / len(given):.1f} | |")
        began = process_time()
        tuned = facegan.Sampler(tune(sampler, found.w, given), device="cpu", precision="fp32")
        took = process_time() - began
        apart = np.mean(grey_levels_apart(tuned.images(found.w), given))
        moved = np.mean(grey_levels_apart(tuned.sample(range(16), 0.7), others))
        more = took / len(given)
        print(f"| {space}, tuned to all | {apart:.1f} | {more:.1f} more | {moved:.1f} |")


if __name__ == "__main__":
    main()
