"""Makes a zoo model of a run: its newest EMA generator in float16, with a card.

python tools/ship_model.py RUN facegan/zoo/dcgan-64.safetensors --data "..." --description "..."
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from facegan import models

MAX_BYTES = 8_000_000


def main() -> None:
    """Reads RUN, writes OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True, help="what it was trained on")
    parser.add_argument("--description", required=True)
    parser.add_argument("--licence", default="CC0-1.0")
    parser.add_argument(
        "--discriminator", action="store_true", help="keep D as well, so that a run can go on with --init"
    )
    parser.add_argument(
        "--images-before", type=int, default=0, help="seen by the model that the run started from"
    )
    arguments = parser.parse_args()
    model = models.load(arguments.run, discriminator=arguments.discriminator)
    model.card = replace(
        model.card,
        data=arguments.data,
        images_seen=arguments.images_before + model.card.images_seen,
        licence=arguments.licence,
        description=arguments.description,
    )
    models.save(arguments.out, model, torch.float16)
    size = arguments.out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{arguments.out}: {size:,} bytes; a shipped model has at most {MAX_BYTES:,}")
    print(f"{arguments.out}: {size:,} bytes, {model.card.images_seen:,} images seen")


if __name__ == "__main__":
    main()
