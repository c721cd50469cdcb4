"""Films: faces that turn into each other, key by key, around and back to the first.

position 0 ... 1 ... 2 ... K          K keys; the whole numbers are the keys, K is key 0 again
   |  easing                          rest at the keys, or not
arcs(z of the keys), or spline(w of the keys)
   |                                  held layers, drifting noise
frames

for frame in walk(sampler, [1, 2, 3], Motion(frames_per_key=60)): ...
write_walks(Path("walk.mp4"), sampler, range(12), Motion(60), rows=2, columns=3)
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facegan.config import UsageError, choose
from facegan.files import require_writable_file
from facegan.images import Pixels, Provenance, enlarged, grid, scale_to
from facegan.known import DEFAULT_PSI
from facegan.layers import layers_text
from facegan.synthesis import SEEDS, Sampler, Start, latent
from facegan.video import check_film, check_size, write_film

PATHS, EASINGS, NOISES = ("z", "w"), ("smooth", "none"), ("const", "drift", "none")
MAX_KEYS, MAX_WALKS, MAX_SCALE = 1000, 100, 32  # keys and walks are held in memory
MAX_FRAMES_PER_KEY = 100_000
WATCHABLE = 256  # pixels of a film's short side, to which it is enlarged unless told

Array = npt.NDArray[np.float64]
Curve = Callable[[float], Array]  # position in keys -> a point


@dataclass(frozen=True)
class Motion:
    """How a film goes from key to key.

    path: z, along great-circle arcs, or w, along a cubic spline. easing: smooth, it rests at the keys, or
    none. loop: back to the first key, whose frame follows the last one; else it ends at the last key.

    Raises:
        UsageError: an unknown word, or not 1 to MAX_FRAMES_PER_KEY frames.
    """

    frames_per_key: int
    path: str = "z"
    easing: str = "smooth"
    loop: bool = True

    def __post_init__(self) -> None:
        choose("path", self.path, PATHS)
        choose("easing", self.easing, EASINGS)
        if not 1 <= self.frames_per_key <= MAX_FRAMES_PER_KEY:
            raise UsageError(
                f"{self.frames_per_key} frames from key to key: 1 to {MAX_FRAMES_PER_KEY:,}; they are "
                "--seconds-per-key times --fps"
            )

    def frames(self, keys: int) -> int:
        """How many frames a film of so many keys has."""
        return keys * self.frames_per_key if self.loop else (keys - 1) * self.frames_per_key + 1

    def position(self, frame: int) -> float:
        """Where a frame is, in keys."""
        key, rest = divmod(frame, self.frames_per_key)
        t = rest / self.frames_per_key
        return key + (t * t * (3 - 2 * t) if self.easing == "smooth" else t)


@dataclass(frozen=True)
class Held:
    """Layers that keep the w of a seed while the others walk (style mixing, Karras et al. 2019, sec. 3.1).

    psi: of that w; None: that of the walk, which a walk through w that is truncated already does not have.
    """

    seed: int
    layers: tuple[int, ...]
    psi: float | None = None


@dataclass(frozen=True)
class Film:
    """What was written."""

    path: Path
    frames: int
    seconds: float


# ---- paths


def slerp(a: Array, b: Array, t: float) -> Array:
    """The point at t in [0, 1] of the great-circle arc from a to b (Shoemake 1985), lengths interpolated too.

    a, b [D]. Straight mixing would pass through short vectors, which a GAN has hardly seen.
    """
    length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(np.clip(a @ b / max(length_a * length_b, 1e-12), -1.0, 1.0))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return a + t * (b - a)
    direction = (np.sin((1 - t) * angle) * a / length_a + np.sin(t * angle) * b / length_b) / np.sin(angle)
    point: Array = direction * (length_a + t * (length_b - length_a))
    return point


def arcs(keys: Array) -> Curve:
    """Great-circle arcs through keys [K, D]; from K - 1 on back to the first."""

    def point(position: float) -> Array:
        key = math.floor(position)
        return slerp(keys[key % len(keys)], keys[(key + 1) % len(keys)], position - key)

    return point


def spline(keys: Array, loop: bool) -> Curve:
    """The cubic spline through keys [K, ...] at 0, 1, ...: two continuous derivatives; K >= 2.

    loop: periodic, from K - 1 on back to the first; else natural, without curvature at its ends.
    Its second derivatives m solve m[k-1] + 4 m[k] + m[k+1] = 6 (y[k-1] - 2 y[k] + y[k+1]).
    """
    count = len(keys)
    system, right = np.zeros((count, count)), np.zeros((count, keys[0].size))
    y = keys.reshape(count, -1)
    for k in range(count):
        if not loop and k in (0, count - 1):
            system[k, k] = 1.0
            continue
        before, after = (k - 1) % count, (k + 1) % count
        for column, factor in ((before, 1.0), (k, 4.0), (after, 1.0)):
            system[k, column] += factor  # of two keys in a loop, before is after
        right[k] = 6 * (y[before] - 2 * y[k] + y[after])
    m = np.linalg.solve(system, right).reshape(keys.shape)

    def point(position: float) -> Array:
        key = math.floor(position)
        i, j, t = key % count, (key + 1) % count, position - key
        s = 1 - t
        value: Array = s * keys[i] + t * keys[j] + ((s**3 - s) * m[i] + (t**3 - t) * m[j]) / 6
        return value

    return point


# ---- frames


def walk(
    sampler: Sampler, keys: Sequence[int], motion: Motion, *, psi: float = DEFAULT_PSI, noise: str = "const",
    label: str = "", held: Held | None = None, start: Start = SEEDS,
) -> Iterator[Pixels]:  # fmt: skip
    """The frames uint8 [H, W, C] of a film through the keys, one after the other; holds a batch at a time.

    Keys are seeds, or numbers of what `start` says: the latents of a file. A model with labels keeps those of
    the first seed, which has what `label` asks for. noise: const, drift or none.

    Raises:
        UsageError: not 2 to MAX_KEYS keys, an unknown noise, arcs in z of other keys than seeds, or what
            Sampler.w refuses.
    """
    frames = walks(sampler, [keys], motion, psi=psi, noise=noise, label=label, held=held, start=start)
    return (frame[0] for frame in frames)


def walks(
    sampler: Sampler, keys: Sequence[Sequence[int]], motion: Motion, *, psi: float = DEFAULT_PSI,
    noise: str = "const", label: str = "", held: Held | None = None, start: Start = SEEDS,
) -> Iterator[Pixels]:  # fmt: skip
    """The same of several walks side by side, each with its own keys, as many as the others: [W, H, W, C]."""
    tracks = [_Track(sampler, own, motion, psi, label, held, start) for own in keys]
    count = motion.frames(len(keys[0]))
    choose("noise", noise, NOISES)
    if noise != "const" and not sampler.generator.has_noise:
        warnings.warn(f"noise {noise!r} has no effect: this model has no noise inputs", stacklevel=2)
        noise = "const"
    drift = _Drift(sampler, start.noise_seeds([own[0] for own in keys])) if noise == "drift" else None

    def pictures() -> Iterator[Pixels]:
        places = ((frame, number) for frame in range(count) for number in range(len(tracks)))
        while chunk := list(islice(places, sampler.batch)):
            w = _w(tracks, [(motion.position(frame), number) for frame, number in chunk])
            maps = drift.maps([(frame / count, number) for frame, number in chunk]) if drift else noise
            yield from sampler.images(w, maps)

    remaining = pictures()
    for _ in range(count):
        yield np.stack(list(islice(remaining, len(tracks))))


class _Track:
    """One walk: w at a position."""

    def __init__(
        self, sampler: Sampler, keys: Sequence[int], motion: Motion, psi: float, label: str,
        held: Held | None, start: Start,
    ) -> None:  # fmt: skip
        if not 2 <= len(keys) <= MAX_KEYS:
            raise UsageError(f"{len(keys):,} keys: a walk goes through 2 to {MAX_KEYS:,}")
        self.sampler, self.psi, self.held = sampler, psi, held
        self.label = sampler.label_vectors(keys[:1], label) if start is SEEDS else None
        self.in_z = motion.path == "z"
        if start is SEEDS:
            z = np.stack([latent(seed, sampler.generator.z_dim) for seed in keys])
            self.curve = arcs(z) if self.in_z else self._spline(self._w_of_z(z), motion)
        elif self.in_z:
            raise UsageError("path 'z': these keys are latents, which only path 'w' joins")
        else:
            self.curve = self._spline(start.w(sampler, keys, psi, None, label), motion)
        if held is not None:
            w = SEEDS.w(sampler, [held.seed], psi if held.psi is None else held.psi, None, label)
            self.held_w = w[:, list(held.layers)]

    def _spline(self, w: Tensor, motion: Motion) -> Curve:
        return spline(w.double().cpu().numpy(), motion.loop)

    def _w_of_z(self, z: Array) -> Tensor:
        label = None if self.label is None else self.label.expand(len(z), -1)
        return self.sampler.w(z, self.psi, label=label)

    def w(self, positions: Sequence[float]) -> Tensor:
        """w [N, num_ws, w_dim] at N positions."""
        points = np.stack([self.curve(position) for position in positions])
        device = self.sampler.generator.w_avg.device
        w = self._w_of_z(points) if self.in_z else torch.from_numpy(points.astype(np.float32)).to(device)
        if self.held is not None:
            w = w.clone()  # the layers of a mapping's w share their memory
            w[:, list(self.held.layers)] = self.held_w
        return w


def _w(tracks: list[_Track], places: Sequence[tuple[float, int]]) -> Tensor:
    """w [N, num_ws, w_dim] of (position, number of the track)s, in their order."""
    g = tracks[0].sampler.generator
    w = torch.empty(len(places), g.num_ws, g.w_dim, device=g.w_avg.device)
    for number, track in enumerate(tracks):
        if rows := [row for row, (_, own) in enumerate(places) if own == number]:
            w[rows] = track.w([places[row][0] for row in rows])
    return w


class _Drift:
    """Noise that goes once around: n(t) = cos(2 pi t) a + sin(2 pi t) b, a and b each walk's own.

    Of unit variance at each t in [0, 1], as a and b are.
    """

    def __init__(self, sampler: Sampler, seeds: Sequence[int]) -> None:
        self.device = sampler.generator.w_avg.device
        self.a = sampler.noise_maps(seeds)  # those of noise "random"
        self.b = sampler.noise_maps(seeds, first=len(self.a))

    def maps(self, places: Sequence[tuple[float, int]]) -> list[Tensor]:
        """A map [N, 1, H, W] for each layer at (t, number of the walk)s."""
        numbers = [number for _, number in places]
        angles = torch.tensor([2 * math.pi * t for t, _ in places], device=self.device)[:, None, None, None]
        cos, sin = angles.cos(), angles.sin()
        return [cos * a[numbers] + sin * b[numbers] for a, b in zip(self.a, self.b, strict=True)]


# ---- films


def parse_walks(text: str) -> tuple[int, int]:
    """(rows, columns) of "2x3".

    Raises:
        UsageError: not of this form, or not 1 to MAX_WALKS walks.
    """
    match = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= rows * columns <= MAX_WALKS:
        raise UsageError(f"walks {text[:40]!r}: ROWSxCOLUMNS, such as 2x3; at most {MAX_WALKS} in all")
    return rows, columns


def deal(keys: Sequence[int], walks: int) -> list[Sequence[int]]:
    """The keys of each walk: the first walk takes the first ones, the next those that follow.

    Raises:
        UsageError: they cannot be dealt out evenly, or a walk would not have 2 to MAX_KEYS.
    """
    each, rest = divmod(len(keys), walks)
    if rest or each < 2:
        least = max(2, each + (rest > 0)) * walks
        raise UsageError(
            f"{_counted(len(keys), 'key')} for {_counted(walks, 'walk')}: each needs 2 or more, and as many "
            f"as the others; {least} would do"
        )
    if each > MAX_KEYS:
        raise UsageError(f"{each:,} keys: a walk goes through 2 to {MAX_KEYS:,}")
    return [keys[first : first + each] for first in range(0, len(keys), each)]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def frames_per_key(seconds: float, fps: int) -> int:
    """The nearest whole number of frames.

    Raises:
        UsageError: not a positive number of seconds, or more frames than a Motion takes.
    """
    if not 0 < seconds < math.inf:
        raise UsageError(f"seconds per key {seconds}: a number above 0, such as 2")
    if seconds * fps >= MAX_FRAMES_PER_KEY + 1:
        most = f"at most {MAX_FRAMES_PER_KEY:,} frames from key to key"
        raise UsageError(f"seconds per key {seconds:g}: times fps {fps} {most}")
    return round(seconds * fps)


def film_scale(scale: int | None, height: int, width: int) -> int:
    """How many times frames of that size are enlarged; None: until the short side has WATCHABLE.

    Raises:
        UsageError: not 1 to MAX_SCALE, or a larger film than there can be.
    """
    if scale is None:
        scale = min(MAX_SCALE, scale_to((height, width), WATCHABLE))
    if not 1 <= scale <= MAX_SCALE:
        raise UsageError(f"scale {scale}: 1 to {MAX_SCALE}")
    check_size(scale * height, scale * width)
    return scale


def check_walks(path: Path, fps: int, noise: str) -> None:
    """Checks before a model is loaded what needs none.

    Raises:
        UsageError: not a film's suffix, a rate that it has not, an unwritable place, an unknown noise.
    """
    check_film(path, fps)
    require_writable_file(path, "--out")
    choose("noise", noise, NOISES)


def write_walks(
    path: str | os.PathLike[str], sampler: Sampler, keys: Sequence[int], motion: Motion, *,
    rows: int = 1, columns: int = 1, fps: int = 30, scale: int | None = None,
    psi: float = DEFAULT_PSI, noise: str = "const", label: str = "", held: Held | None = None,
    start: Start = SEEDS, keys_text: str = "", wrote: Callable[[], None] = lambda: None,
) -> Film:  # fmt: skip
    """Writes a film of rows x columns walks, among which the keys are dealt out.

    scale: pixels of the film per pixel of the model, as `film_scale`.

    Raises:
        UsageError: as `walk`, `deal`, `film_scale` and `write_film`.
        OSError: it could not be written; nothing was.
    """
    path = Path(path)
    check_walks(path, fps, noise)
    dealt = deal(keys, rows * columns)
    _, height, width = sampler.generator.image_shape
    times = film_scale(scale, rows * height, columns * width)
    how: dict[str, Any] = {"psi": psi, "noise": noise, "label": label, "held": held, "start": start}

    def frames() -> Iterator[Pixels]:
        for pictures in walks(sampler, dealt, motion, **how):
            yield grid(np.stack([enlarged(picture, times) for picture in pictures]), columns)
            wrote()

    text = start.text(keys_text or ",".join(map(str, keys)))
    if held is not None:
        text += f" with layers {layers_text(held.layers)} of {held.seed}"
        text += "" if held.psi in (None, psi) else f" at psi {held.psi:g}"
    provenance = Provenance(sampler.model.name, text, psi, label=label)
    written = write_film(path, frames(), fps=fps, description=provenance.as_text(), loop=motion.loop)
    return Film(path, written, written / fps)
