"""Directions in w that change one attribute of a face and leave the others alone.

    found = fit_directions(sampler, Attributes.load())     -> latents.direction_file.DirectionFile
    leakage(sampler, attributes, directions, ...)    what moving along each changes

Seeds give w, their pictures give scores (perception.attributes); each score is fitted by a line in w,
score_k ~ n_k . w + c. The direction of k is the step v that changes prediction k alone, and of all such steps
the likeliest, with C the covariance of w:

    least v' C^-1 v  with  n_k . v = 1,  n_j . v = 0 for every j held
    v = C N' (N C N')^-1 e_k

With C = 1 that is InterfaceGAN's conditional manipulation (Shen et al. 2020, arXiv 1907.10786, sec. 3.3): the
normal without its projection onto the others' span. With w's own C one stays where w lives, and measures
less leakage for more effect (docs/editing.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from facegan.config import UsageError
from facegan.known import DEFAULT_PSI
from facegan.latents.direction_file import DirectionCard, DirectionFile, fingerprint
from facegan.latents.directions import Direction, Directions, moved
from facegan.layers import BANDS, parse_layers
from facegan.perception.attributes import Attributes
from facegan.synthesis import Sampler

SAMPLES, MIN_SAMPLES = 10_000, 100
RIDGE = 1e-3  # of w's mean variance, added to each number's: those that hardly vary say little
STEP = 2.0  # strength at which leakage is measured
LAYER_SEEDS, LEAKAGE_SEEDS = 200, 500  # how many faces are moved to choose layers, and to measure
LEAST_EFFECT = 0.7  # of the strongest layers' own effect, for layers to be chosen
# Sum to 1, so that one cannot change alone: two of them are held, all are measured, none is a direction.
SHARES = ("african", "asian", "caucasian")

Floats = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # (what, done, in all)


def _quiet(what: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Samples:
    """w [N, w_dim] of faces and what is read off them, scores [N, K] by name."""

    w: Floats
    scores: Floats
    names: tuple[str, ...]

    def deviations(self) -> Floats:
        """Of each score [K]; 1 where it never changes."""
        found: Floats = self.scores.std(axis=0)
        found[found == 0] = 1.0
        return found


def sampled(
    sampler: Sampler, attributes: Attributes, seeds: Sequence[int], *, psi: float, progress: Progress = _quiet
) -> Samples:
    """w of seeds, truncated by psi, and the scores of their pictures."""
    rows, scores, done = [], [], 0
    for _, w in sampler.stream_w(seeds, psi):
        rows.append(w[:, 0].cpu().double().numpy())
        scores.append(attributes.scores(sampler.images(w)))
        done += len(w)
        progress("faces read", done, len(seeds))
    return Samples(np.concatenate(rows), np.concatenate(scores).astype(np.float64), attributes.names)


# ---- from scores to directions


def normals(samples: Samples, ridge: float = RIDGE) -> Floats:
    """n [K, w_dim] of score_k / its deviation ~ n_k . w + c, by ridge regression in float64."""
    w = samples.w - samples.w.mean(axis=0)
    scores = samples.scores / samples.deviations()  # w is centred: their means make no difference
    gram = w.T @ w / len(w)
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    found: Floats = np.linalg.solve(gram, w.T @ scores / len(w)).T
    return found


def conditional(normal: Floats, held: Floats, covariance: Floats) -> Floats:
    """The direction [w_dim], of length 1, that raises normal . w [w_dim] and keeps held . w, held [J, w_dim].

    Of all such steps the one that is likeliest for that covariance; the identity gives the shortest.
    """
    rows = np.concatenate([normal[None], held])
    reached = rows @ covariance
    # least squares, as two that are held may be the same
    parts = np.linalg.lstsq(reached @ rows.T, np.eye(len(rows))[0], rcond=1e-10)[0]
    step: Floats = parts @ reached
    return step / np.linalg.norm(step)


def attribute_directions(samples: Samples, covariance: Floats, layers: Sequence[int]) -> list[Direction]:
    """A direction for each attribute but the SHARES, that holds all the others, in those layers.

    covariance: of w as the model makes it, which the directions' deviations are measured by too.

    Raises:
        UsageError: too few samples.
    """
    if len(samples.w) < max(MIN_SAMPLES, 2 * samples.w.shape[1]):
        least = max(MIN_SAMPLES, 2 * samples.w.shape[1])
        raise UsageError(f"samples {len(samples.w)}: at least {least} for this model's w")
    all_normals, directions = normals(samples), []
    for index, name in enumerate(samples.names):
        if name in SHARES:
            continue
        others = [i for i, other in enumerate(samples.names) if i != index and other != SHARES[-1]]
        vector = conditional(all_normals[index], all_normals[others], covariance)
        deviation = float(np.sqrt(vector @ covariance @ vector))
        directions.append(Direction(name, vector, deviation, tuple(layers)))
    return directions


# ---- what moving changes


def leakage(
    sampler: Sampler, attributes: Attributes, directions: Sequence[Direction], seeds: Sequence[int], *,
    deviations: Floats, psi: float = DEFAULT_PSI, strength: float = STEP, progress: Progress = _quiet,
) -> Floats:  # fmt: skip
    """The mean change [D, K] of each score, in its deviations [K], when moving along each direction."""
    total, done = np.zeros((len(directions), len(attributes.names))), 0
    for _, w in sampler.stream_w(seeds, psi):
        before = attributes.scores(sampler.images(w)).astype(np.float64)
        for row, direction in enumerate(directions):
            after = attributes.scores(sampler.images(moved(w, [(direction, strength)])))
            total[row] += (after - before).sum(axis=0)
        done += len(w)
        progress("faces moved", done, len(seeds))
    changes: Floats = total / len(seeds) / deviations
    return changes


def spill(changes: Floats, own: int) -> float:
    """How much the others change [K] for a change of its own: root of the sum of squares, over its own."""
    others = np.delete(changes, own)
    return float(np.sqrt(np.sum(others**2)) / max(abs(float(changes[own])), 1e-12))


def layer_choices(num_ws: int) -> list[tuple[int, ...]]:
    """Neighbouring bands of layers, as coarse, middle and fine: all of them, pairs, single ones."""
    words = [word for word, (first, _) in BANDS.items() if first < num_ws]
    runs = [words[a:b] for a in range(len(words)) for b in range(a + 1, len(words) + 1)]
    return [parse_layers(",".join(run), num_ws) for run in sorted(runs, key=len, reverse=True)]


def best_layers(changes: Floats, own: int) -> int:
    """Of choices with these changes [choices, K] that change their own well, the one that spills least."""
    effects = changes[:, own]
    least = min(LEAST_EFFECT * effects.max(), effects.max())  # the most is enough, even below 0
    strong = np.flatnonzero(effects >= least)
    return int(min(strong, key=lambda choice: spill(changes[choice], own)))


# ---- all of it


def fit_directions(
    sampler: Sampler, attributes: Attributes, *, samples: int = SAMPLES, psi: float = DEFAULT_PSI,
    progress: Progress = _quiet,
) -> DirectionFile:  # fmt: skip
    """A model's attribute directions, each in the layers where it spills least, and their leakage.

    Seeds 0 .. samples - 1 are fitted; the layers are chosen, and the leakage is measured, on others.

    Raises:
        UsageError: a model without styles, or too few samples.
    """
    covariance = Directions(sampler, samples).covariance
    read = sampled(sampler, attributes, range(samples), psi=psi, progress=progress)
    deviations, num_ws = read.deviations(), sampler.generator.num_ws
    choosing = range(samples, samples + LAYER_SEEDS)
    measuring = range(choosing.stop, choosing.stop + LEAKAGE_SEEDS)
    choices, directions = layer_choices(num_ws), []
    for direction in attribute_directions(read, covariance, range(num_ws)):
        tried = [replace(direction, layers=layers) for layers in choices]
        changes = leakage(sampler, attributes, tried, choosing, deviations=deviations, psi=psi)
        best = best_layers(changes, read.names.index(direction.name))
        directions.append(tried[best])
        progress("layers chosen", len(directions), len(read.names))
    changes = leakage(
        sampler, attributes, directions, measuring, deviations=deviations, psi=psi, progress=progress
    )
    card = DirectionCard(
        model=sampler.model.name,
        fingerprint=fingerprint(sampler.generator),
        source=f"attributes, seeds 0-{samples - 1} at psi {psi:g}",
        attributes=read.names,
        leakage=tuple(tuple(round(float(value), 3) for value in row) for row in changes),
        strength=STEP,
        psi=psi,
        faces=len(measuring),
    )
    return DirectionFile(card, {direction.name: direction for direction in directions})
