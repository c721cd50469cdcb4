"""Fits the attribute directions of a model, writes them beside it, and prints what each changes.

    python tools/fit_directions.py stylegan2-64-tiny facegan/zoo/stylegan2-64-tiny.directions.safetensors

The table is Markdown, for docs/editing.md. 10,000 samples of a 64 px model take some three minutes of a core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from facegan import models
from facegan.known import DEFAULT_PSI
from facegan.latents.attributes import SAMPLES, fit_directions
from facegan.latents.direction_file import leakage_table, write
from facegan.perception.attributes import SHIPPED, Attributes
from facegan.synthesis import Sampler
from facegan.terminal import stages


def main(arguments: list[str] | None = None) -> None:
    """Reads MODEL, writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--psi", type=float, default=DEFAULT_PSI)
    parser.add_argument("--attributes", type=Path, default=SHIPPED, help="the network that reads faces")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    sampler = Sampler(models.load(given.model), device=given.device)
    with stages() as progress:
        found = fit_directions(
            sampler,
            Attributes.load(given.attributes, sampler.generator.w_avg.device),
            samples=given.samples,
            psi=given.psi,
            progress=progress,
        )
    write(given.out, found)
    card = found.card
    print(f"{given.out}: {len(found.directions)} directions of {card.model}, from {card.source}")
    print(f"Mean change, in standard deviations, of {card.faces} other faces moved by +{card.strength:g}:\n")
    print(leakage_table(found))


if __name__ == "__main__":
    main()
