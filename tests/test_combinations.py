"""Architectures with kinds of pictures, labels and augmentation: a step, exact resume, samples, a file."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from labelled_runs import ALWAYS, LABELS, run_of, write_labelled
from states import differing, newest

from facegan import models
from facegan.animation import Motion, walk
from facegan.augment import Augment, DiffAugment, NoAugment
from facegan.config import from_json, to_json
from facegan.metrics.evaluate import measure
from facegan.metrics.report import as_text
from facegan.metrics.subjects import model_subject
from facegan.run import Run
from facegan.synthesis import Sampler
from facegan.training.loop import train
from facegan.training.state import new_state
from facegan.video import write_film

COMBINATIONS: list[tuple[str, int, tuple[int, int], tuple[str, ...], Augment]] = [
    ("dcgan", 1, (4, 4), LABELS, NoAugment()),
    ("dcgan", 3, (5, 4), (), DiffAugment()),
    ("dcgan", 4, (3, 4), LABELS, ALWAYS),
    ("dcgan", 3, (4, 4), LABELS, ALWAYS),
    ("stylegan2", 1, (5, 4), (), ALWAYS),
    ("stylegan2", 1, (4, 4), (), DiffAugment()),
    ("stylegan2", 1, (3, 4), (), NoAugment()),
    ("stylegan2", 3, (4, 4), LABELS, NoAugment()),
    ("stylegan2", 3, (3, 4), LABELS, DiffAugment()),
    ("stylegan2", 4, (5, 4), LABELS, NoAugment()),
    ("stylegan2", 4, (4, 4), (), DiffAugment()),
    ("stylegan2", 3, (5, 4), LABELS, ALWAYS),
]


def test_every_kind_meets_every_other() -> None:
    for one, other in itertools.combinations(range(5), 2):
        kinds = [{combination[place] for combination in COMBINATIONS} for place in (one, other)]
        met = {(combination[one], combination[other]) for combination in COMBINATIONS}
        assert met == set(itertools.product(*kinds))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: "-".join(map(str, c[:3])) + c[4].name)
def test_it_trains_resumes_exactly_samples_and_makes_a_round_trip(
    combination: Any, labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = run_of(labelled, tiny_run_config, *combination)
    assert from_json(Run, to_json(run)) == run
    assert not train(run, tmp_path / "stopped", stop_after_seconds=0).finished  # after a step
    train(run, tmp_path / "stopped", resume=True)
    train(run, tmp_path / "whole")
    parts = newest(tmp_path / "stopped")
    assert differing(parts, newest(tmp_path / "whole")) == []
    start = new_state(run).parts()
    assert differing(parts["G"], start["G"]) != []
    assert differing(parts["D"], start["D"]) != []
    model = models.load(str(tmp_path / "stopped"))
    assert model.config == run.model
    pictures = Sampler(model).sample(range(3), psi=0.7)
    channels, (height, width) = combination[1], combination[2]
    assert pictures.shape == (3, 2 * height, 2 * width, channels)
    assert len({picture.tobytes() for picture in pictures}) == 3


@pytest.mark.parametrize("combination", [("dcgan", 4, (5, 4)), ("stylegan2", 1, (3, 4))])
def test_any_shape_can_be_measured_and_filmed(
    combination: Any, labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = run_of(labelled, tiny_run_config, *combination, (), NoAugment())
    sampler = Sampler(models.Model(new_state(run).average, run.model, name="it"))
    reals = tmp_path / "reals"
    reals.mkdir()
    for number in range(100):
        shutil.copy(labelled / f"{number % 24:02d}.png", reals / f"{number:03d}.png")
    subject = model_subject(sampler)
    result = measure(subject, str(reals), features="pixels", metrics=["fd"], samples=100, cache=tmp_path)
    height, width = 2 * combination[2][0], 2 * combination[2][1]
    assert (result.resolution, result.width) == (height, width)
    assert f"at {height}x{width} px" in as_text(result)
    assert write_film(tmp_path / "film.webp", walk(sampler, [1, 2], Motion(2)), fps=5) == 4
