"""The loss curves of a run as a PNG, drawn with Pillow: the default install has no plotting library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegan.images import save
from facegan.training.curves import axis, count, image_ticks, short

SIZE = (960, 480)
MARGIN = (64, 40, 24, 48)  # left, top, right, bottom
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
NOT_TERMS = (
    "images_seen",
    "seconds",
    "images_per_second",
    "augment_p",
    "augment_sign",
    "resolution",
    "alpha",
)


def plot_losses(log: list[dict[str, Any]], path: Path) -> None:
    """Draws every loss term of log.jsonl over images seen; nothing is written for an empty log."""
    log = [line for line in log if all(math.isfinite(value) for value in line.values())]
    if not log:
        return
    names = [name for name in log[-1] if name not in NOT_TERMS]
    xs = [float(line["images_seen"]) for line in log]
    values = [float(line[name]) for line in log for name in names if name in line]
    low, high, ticks = axis(values or [1.0], from_zero=True)
    end = max(xs[-1], 1.0)
    image = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    left, upper, right, lower = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]

    def point(x: float, y: float) -> tuple[float, float]:
        return left + x / end * (right - left), lower - (y - low) / (high - low) * (lower - upper)

    for value in ticks:
        y = point(0, value)[1]
        draw.line([(left, y), (right, y)], fill="#dddddd")
        draw.text((left - 8, y), short(value), fill="#444444", font=font, anchor="rm")
    for images_seen in image_ticks(end):
        x = point(images_seen, low)[0]
        draw.text((x, lower + 8), count(images_seen), fill="#444444", font=font, anchor="mt")
    draw.text(((left + right) / 2, SIZE[1] - 6), "images seen", fill="#444444", font=font, anchor="mb")
    x_legend = float(left)
    for name, colour in zip(names, COLOURS, strict=False):
        curve = [point(float(line["images_seen"]), float(line[name])) for line in log if name in line]
        draw.line(curve, fill=colour, width=2, joint="curve")
        draw.text((x_legend, 14), name, fill=colour, font=font)
        x_legend += draw.textlength(name, font=font) + 24
    save(path, np.asarray(image))
