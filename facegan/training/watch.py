"""What goes wrong while training, and what is done about it.

    a loss, gradient or weight    back to the last good checkpoint, once: with other random numbers and half
      that is not finite          the learning rate; the second time the run ends
    D nearly always right         said, when it has been so for SEVERAL ticks
    ADA's p at its end            said, likewise
    G's faces alike (collapse)    said: they differ less than the pictures do, and did not before
    a distance that stays         the run ends, where measure.stop_after_plateau_images says so

Each is said once until it clears, in a line and in RUN/events.jsonl. What is counted is in the state's
memory, so a resumed run says what an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.augment import Ada
from facegan.checkpoint import Parts, checkpoints
from facegan.config import to_json
from facegan.run import Run
from facegan.training import growing
from facegan.training.distributed import World
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState

SEVERAL = 5  # ticks
SURE = 0.99  # the share of images that D is right about
HIGH_P = 0.8
ALIKE, APART = 0.35, 0.6  # diversity, in that of the pictures: collapsed, and not
THUMBNAIL = 8  # px
# what D's loss is at least of an image on the wrong side: softplus(0) for D(x) < 0, and so on
WRONG_COSTS = {"nonsaturating": math.log(2), "stylegan2": math.log(2), "hinge": 1.0, "lsgan": 0.25}


@dataclass(frozen=True)
class Trouble:
    """What is not finite, and with which image the batch began where that showed first."""

    what: str
    images_seen: int


def trouble(state: TrainState) -> Trouble | None:
    """What of the weights, and of losses and gradients since the last tick, is not finite."""
    bad = [name for name, value in state.log_sums.items() if not value.isfinite()]
    for player, network in state.networks.items():
        finite = torch.stack([parameter.isfinite().all() for parameter in network.parameters()]).all()
        bad += [] if finite else [f"a weight of {player}"]
    first = float(state.bad_at)
    if not bad and first < math.inf:
        bad = ["a gradient"]
    return Trouble(", ".join(bad), int(min(first, state.images_seen))) if bad else None


def go_back(
    found: Trouble,
    state: TrainState,
    run: Run,
    folder: RunFolder,
    world: World,
    warn: Callable[[str], None],
) -> str:
    """Gives the state the last good checkpoint's parts, another try's random numbers and half the lr.

    Returns what is to be said. The first process notes the batch, and drops what came of it.

    Raises:
        FloatingPointError: there is no checkpoint, or it is the second time.
    """
    own_lr = growing.run_at(run, state.stage).optimizer.lr
    if world.rank == 0:
        lr = own_lr * 0.5**state.retry
        batch = {"images_seen": found.images_seen, "retry": state.retry, "lr": lr, "not_finite": found.what}
        terms = {name: repr(float(total)) for name, total in state.log_sums.items()}
        folder.write_bad_batch(batch | {"sums_since_tick": terms, "run": to_json(run)})
    good = world.first(lambda: bool(checkpoints(folder.checkpoints)))
    if state.retry or not good:
        is_second = bool(state.retry)
        how = "the last checkpoint is good: go on from it with --resume --force and" if good else "start with"
        names = "optimizer.lr and growth.lrs" if run.growth and run.growth.lrs else "optimizer.lr"
        raise FloatingPointError(
            f"{found.what} is not finite after {state.images_seen:,} images"
            f"{', for the second time' if is_second else ''}; {how} a lower --set {names} (now "
            f"{own_lr:g}{', of which half was taken' if is_second else ''})"
        )

    def newest() -> Parts:
        parts = folder.newest_checkpoint(warn=warn)
        assert parts is not None
        return parts

    seen_before = state.images_seen
    state.memory.clear()
    state.load_parts(world.first(newest))
    state.retry, state.bad_at = 1, torch.full_like(state.bad_at, torch.inf)
    state.stage = growing.stage_remembered(state.memory)
    if world.rank == 0:
        folder.abandon_after(state.images_seen)
    lr = growing.run_at(run, growing.stage_of(run, state.images_seen)).optimizer.lr / 2
    return (
        f"not finite after {seen_before:,} images: {found.what}; back to {state.images_seen:,} images, with "
        f"other random numbers and a learning rate of {lr:g}"
    )


def said_at_tick(state: TrainState, run: Run, terms: dict[str, float]) -> dict[str, str]:
    """What is to be said after a log interval of these mean terms: events by name."""
    found = {}
    if _lasts(state, "watch_d", right_share(run, terms) >= SURE):
        found["D overpowers G"] = (
            f"D tells real from fake {SURE:.0%} of the time: G learns little from it; more pictures, an "
            "augmentation, or a larger R1 gamma may help"
        )
    ada = run.augment if isinstance(run.augment, Ada) and run.augment.full_images else None
    end = min(HIGH_P, ada.p_max) - 1e-3 if ada else math.inf
    if _lasts(state, "watch_p", terms.get("augment_p", 0.0) > end):
        found["ADA at its end"] = (
            f"ADA's p is {terms['augment_p']:.2f} and D overfits all the same; more pictures, or --init from "
            "another model, may help"
        )
    return found


def right_share(run: Run, terms: dict[str, float]) -> float:
    """At least this share of images D is right about, by its mean terms; 0 for losses without a boundary.

    An image on the wrong side costs D at least c, so that at most term / c of them are (Markov).
    """
    cost = WRONG_COSTS.get(run.loss.name, 0.0)
    if cost and "D_pair" in terms:  # of pairs, which a wrong order costs as much
        return 1 - terms["D_pair"] / cost
    if not cost or not {"D_real", "D_fake"} <= terms.keys():
        return 0.0
    return 1 - (terms["D_real"] + terms["D_fake"]) / (2 * cost)


def diversity(fakes: Tensor, reals: Tensor) -> float:
    """The mean distance of two fakes over that of two reals [n, C, H, W], as small grey pictures.

    0: all the same; about 1: as different as the reals are.
    """
    return _spread(fakes) / max(_spread(reals), 1e-12)


def _spread(images: Tensor) -> float:
    grey = images.float().mean(dim=1, keepdim=True)
    return float(torch.pdist(F.adaptive_avg_pool2d(grey, THUMBNAIL).flatten(1)).mean())


def said_of_diversity(state: TrainState, value: float) -> dict[str, str]:
    """What is to be said of a sample's diversity: events by name."""
    memory, counted = state.memory, "watch_alike"
    if value >= APART:
        memory[counted] = torch.zeros([])  # from now on a fall would be one
    elif value < ALIKE and counted in memory and not memory[counted]:
        memory[counted] = torch.ones([])
        return {
            "collapse": f"G's faces are alike: they differ by {value:.0%} of what the pictures do; start "
            "from an earlier model (--init), with a lower learning rate or a larger R1 gamma"
        }
    return {}


def _lasts(state: TrainState, name: str, holds: bool) -> bool:
    """Counts the ticks that something holds; True at the one where it has held for SEVERAL."""
    if not holds:
        state.memory.pop(name, None)
        return False
    count = int(state.memory.get(name, torch.zeros([]))) + 1
    state.memory[name] = torch.tensor(float(count))
    return count == SEVERAL
