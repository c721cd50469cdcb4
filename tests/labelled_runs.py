"""Small runs on labelled pictures: any architecture, channels, shape, labels and augmentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_stylegan2 import small_run

from facegan.augment import Ada
from facegan.data import open_dataset
from facegan.labels import label_space
from facegan.run import Run

ALWAYS = Ada(p_start=0.8, interval=2, full_images=1000, image_filter=1.0, noise=1.0, cutout=1.0)
LABELS = ("hat", "age:young<40<old")


def write_labelled(folder: Path) -> Path:
    """24 pictures of 12x10 random pixels, some with transparency, with hat and age."""
    random = np.random.default_rng(0)
    lines = []
    for number in range(24):
        pixels = random.integers(0, 256, (10, 12, 3 + number % 2), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        label = {"hat": ("none", "cap", "fez")[number % 3], "age": 20 + 2 * number}
        lines.append(json.dumps({"file_name": f"{number:02d}.png"} | label))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def run_of(
    folder: Path,
    tiny: Run,
    architecture: str,
    channels: int,
    base: tuple[int, int],
    labels: Any,
    augment: Any,
) -> Run:
    run = replace(small_run(folder), micro_batch=4) if architecture == "stylegan2" else tiny
    data = replace(run.data, path=str(folder), labels=labels)
    run = replace(run, data=data, augment=augment, batch=8, micro_batch=4, total_images=32)
    run = replace(run, model=replace(run.model, channels=channels, base=base))  # type: ignore[type-var]
    if labels:
        dataset = open_dataset(data, resolution=run.model.image_shape[1:], channels=channels)
        run = replace(run, model=replace(run.model, labels=label_space(labels, dataset.labels)))  # type: ignore[type-var]
    return run
