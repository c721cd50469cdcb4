"""What is said while training: D too strong, ADA at its end, collapse, a plateau."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_data import noise_pictures
from states import events_of, newest
from warned import Warned

from facegan import models
from facegan.augment import Ada
from facegan.card import Value
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.losses import Hinge, LeastSquares, Loss, NonSaturating, StyleGAN2Loss, WassersteinGP
from facegan.run import Measure, Run
from facegan.training.average import AverageModel
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState
from facegan.training.watch import diversity, right_share, said_at_tick, said_of_diversity

# ---- said at the tick


@pytest.mark.parametrize(
    ("loss", "boundary"),
    [(NonSaturating(), 0.0), (StyleGAN2Loss(), 0.0), (Hinge(), 0.0), (LeastSquares(), 0.5)],
)
def test_the_share_d_is_right_about_is_never_less_than_said(
    loss: Loss, boundary: float, tiny_run_config: Run
) -> None:
    run, found = replace(tiny_run_config, augment=tiny_run_config.augment), []
    object.__setattr__(run, "loss", loss)  # whatever else would not go with it
    for margin in (0.0, 1.0, 3.0, 9.0):
        real = margin * torch.rand(500) + torch.randn(500) + boundary
        fake = -margin * torch.rand(500) + torch.randn(500) + boundary
        if isinstance(loss, LeastSquares):
            real, fake = real.clamp(0.4, 1.4), fake.clamp(-0.4, 0.6)
        terms = {"D_real": float(loss.d_real(real).mean()), "D_fake": float(loss.d_fake(fake).mean())}
        right = (real >= boundary).float().mean() + (fake < boundary).float().mean()
        assert right_share(run, terms) <= float(right) / 2
        found.append(right_share(run, terms))
    sure = {"D_real": float(loss.d_real(torch.full([1], 1.0 if boundary else 9.0))),
            "D_fake": float(loss.d_fake(torch.full([1], 0.0 if boundary else -9.0)))}  # fmt: skip
    assert right_share(run, sure) > 0.999
    object.__setattr__(run, "loss", WassersteinGP())
    assert right_share(run, sure) == 0


def test_of_pairs_it_is_the_share_in_the_right_order(tiny_run_config: Run) -> None:
    run = replace(tiny_run_config, augment=tiny_run_config.augment)
    object.__setattr__(run, "loss", StyleGAN2Loss(relativistic=True))
    found = []
    for margin in (0.0, 1.0, 3.0, 9.0):
        gap = torch.randn(500) - margin * torch.rand(500)
        terms = {"D_pair": float(torch.nn.functional.softplus(gap).mean())}
        found.append(right_share(run, terms))
        assert found[-1] <= float((gap < 0).float().mean())
    assert found == sorted(found)
    assert right_share(run, {"D_pair": 1e-4}) > 0.999


def test_a_d_that_is_right_for_several_ticks_is_said_once_until_it_clears(
    state: TrainState, tiny_run_config: Run
) -> None:
    sure, unsure = {"D_real": 0.001, "D_fake": 0.001}, {"D_real": 0.3, "D_fake": 0.001}
    ticks = [sure] * 8 + [unsure] + [sure] * 5
    said = [list(said_at_tick(state, tiny_run_config, terms)) for terms in ticks]
    assert [number for number, events in enumerate(said) if events] == [4, 13]  # at the fifth in a row
    assert said[4] == ["D overpowers G"]
    said_at_tick(state, tiny_run_config, unsure)
    assert state.memory == {}


@pytest.mark.parametrize(
    ("ada", "p", "is_said"),
    [
        (Ada(), 0.85, True),
        (Ada(), 0.7, False),
        (Ada(p_max=0.6), 0.6, True),
        (Ada(full_images=0, p_start=0.9), 0.9, False),
    ],
)
def test_ada_at_its_end_is_said(
    ada: Ada, p: float, is_said: bool, state: TrainState, tiny_run_config: Run
) -> None:
    run = replace(tiny_run_config, augment=ada)
    said = [list(said_at_tick(state, run, {"augment_p": p})) for _ in range(5)]
    assert said == [[]] * 4 + [["ADA at its end"] if is_said else []]


# ---- collapse


def test_diversity_is_the_spread_in_that_of_the_reals() -> None:
    reals = torch.rand(20, 3, 32, 32)
    mean = reals.mean(dim=0, keepdim=True)
    assert diversity(reals, reals) == pytest.approx(1)
    assert diversity(mean + 0.25 * (reals - mean), reals) == pytest.approx(0.25, rel=1e-4)
    assert diversity(reals[:1].expand(20, -1, -1, -1), reals) == 0
    smaller = torch.nn.functional.avg_pool2d(reals, 4)  # of a network that has not grown
    assert diversity(smaller, reals) == pytest.approx(1, rel=1e-4)


def test_a_fall_of_diversity_is_said_once_until_it_clears(state: TrainState) -> None:
    """Faces that are not yet apart have not collapsed."""
    values = [0.1, 0.3, 0.7, 0.5, 0.3, 0.2, 0.5, 0.3, 0.65, 0.1]
    said = [list(said_of_diversity(state, value)) for value in values]
    assert [number for number, events in enumerate(said) if events] == [4, 9]
    assert said[4] == ["collapse"]


def test_a_collapse_is_told_in_a_line_and_an_event(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, warnings = iter([0.9, 0.1]), Warned()
    monkeypatch.setattr(AverageModel, "diversity", lambda self: next(values))
    train(tiny_run_config, tmp_path / "run", reporter=warnings)
    (event,) = events_of(tmp_path / "run")
    assert (event["images_seen"], event["event"]) == (96, "collapse")
    assert warnings.messages == [event["text"]]


def test_a_run_s_samples_are_compared_with_its_pictures(tiny_run_config: Run, tmp_path: Path) -> None:
    """An untrained G's faces are nearly grey."""
    found: list[float] = []

    class Kept(AverageModel):
        def diversity(self) -> float:
            found.append(super().diversity())
            return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facegan.training.stretch.AverageModel", Kept)
        train(tiny_run_config, tmp_path / "run")
    assert len(found) == 2
    assert all(0 < value < 0.2 for value in found)


# ---- plateau


@pytest.mark.filterwarnings("ignore:the best distance is")
def test_a_run_ends_when_its_best_distance_is_too_old(tiny_run_config: Run, tmp_path: Path) -> None:
    data = DataConfig(str(noise_pictures(tmp_path / "pictures")))
    measure = Measure(every_images=16, features="pixels", samples=100, stop_after_plateau_images=48)
    run = replace(tiny_run_config, data=data, measure=measure, total_images=960)
    out = tmp_path / "run"
    train(run, out, stop_after_seconds=0.0)  # one step
    best = out / "best.safetensors"
    _, card = models.read_header(best)
    unbeatable = replace(card.metrics[0], values=(Value("FD-pixels", 0.0),))
    models.rewrite_card(best, replace(card, metrics=(unbeatable,)))
    result = train(run, out, resume=True)
    assert (result.images_seen, result.finished) == (64, False)  # 16 + 48
    (event,) = events_of(out)
    assert event == {
        "images_seen": 64,
        "event": "plateau",
        "text": "the best distance is 48 images old: the run ends here",
    }
    assert newest(out)["images_seen"] == 64


@pytest.mark.parametrize("values", [{"stop_after_plateau_images": -1, "every_images": 16},
                                    {"stop_after_plateau_images": 16}])  # fmt: skip
def test_a_plateau_without_measurements_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"0 .never. or more, and only with measure\.every_images"):
        Measure(**values)  # type: ignore[arg-type]


# ---- events


def test_events_after_the_checkpoint_are_dropped_by_a_resume(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    folder = RunFolder(out)
    for images_seen in (48, 96):
        folder.append_event(images_seen, "collapse", "it did")
    (out / "checkpoints" / "000000096.pt").unlink()
    train(tiny_run_config, out, resume=True)
    assert [event["images_seen"] for event in events_of(out)] == [48]
