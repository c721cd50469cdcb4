"""Architectures with kinds of pictures, labels and augmentation: a step, exact resume, samples, a file."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_stylegan2 import small_run
from states import differing

from facegan import models
from facegan.augment import Ada, Augment, DiffAugment, NoAugment
from facegan.config import UsageError, from_json, to_json
from facegan.data import open_dataset
from facegan.images import read_provenance
from facegan.labels import label_space
from facegan.output import write_pictures
from facegan.presets import Run
from facegan.synthesis import Sampler, walk
from facegan.training.batch import TrainingBatch
from facegan.training.ema import calibrated
from facegan.training.loop import train, train_step
from facegan.training.state import new_state

ALWAYS = Ada(p_start=0.8, interval=2, full_images=1000, image_filter=1.0, noise=1.0, cutout=1.0)
LABELS = ("hat", "age:young<40<old")
# each with each of the others at least once
COMBINATIONS: list[tuple[str, int, tuple[int, int], tuple[str, ...], Augment]] = [
    ("dcgan", 1, (4, 4), LABELS, NoAugment()),
    ("dcgan", 3, (5, 4), (), DiffAugment()),
    ("dcgan", 4, (3, 4), LABELS, ALWAYS),
    ("dcgan", 3, (4, 4), LABELS, ALWAYS),
    ("stylegan2", 1, (5, 4), (), ALWAYS),
    ("stylegan2", 1, (4, 4), (), DiffAugment()),
    ("stylegan2", 3, (3, 4), LABELS, DiffAugment()),
    ("stylegan2", 4, (5, 4), LABELS, NoAugment()),
    ("stylegan2", 4, (4, 4), (), DiffAugment()),
    ("stylegan2", 3, (5, 4), LABELS, ALWAYS),
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 12x10 random pixels, some with transparency, with hat and age."""
    folder, random = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
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


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: "-".join(map(str, c[:3])) + c[4].name)
def test_it_trains_resumes_exactly_samples_and_makes_a_round_trip(
    combination: Any, labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = run_of(labelled, tiny_run_config, *combination)
    assert from_json(Run, to_json(run)) == run
    channels, height, width = run.model.image_shape
    assert (height, width) == (2 * combination[2][0], 2 * combination[2][1])
    dataset = open_dataset(run.data, resolution=(height, width), channels=channels)
    phases, state = run.loss.phases(), new_state(run)
    before = copy.deepcopy(state.parts())
    train_step(state, run, dataset, phases)
    assert differing(state.parts()["D"], before["D"]) != []
    parts = copy.deepcopy(state.parts())
    means = [train_step(state, run, dataset, phases) for _ in range(2)]
    assert all(value.isfinite() for terms in means for value in terms.values())
    fresh = new_state(run)
    fresh.load_parts(parts)
    for _ in range(2):
        train_step(fresh, run, dataset, phases)
    assert differing(fresh.parts(), state.parts()) == []
    made = models.Model(calibrated(state.average, 0, run.model.labels), run.model, name="it")
    models.save(tmp_path / "it.safetensors", made, torch.float32)
    loaded = models.load(str(tmp_path / "it.safetensors"))
    assert loaded.config == run.model
    pictures = Sampler(loaded).sample(range(3), psi=0.7)
    assert pictures.shape == (3, height, width, channels)
    assert np.array_equal(pictures, Sampler(made).sample(range(3), psi=0.7))
    assert len({picture.tobytes() for picture in pictures}) == 3


# ---- labels


@pytest.fixture
def conditional(labelled: Path, tiny_run_config: Run) -> Run:
    return run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), LABELS, NoAugment())


def test_d_gets_the_labels_of_the_reals_it_sees(conditional: Run) -> None:
    dataset, state = open_dataset(conditional.data, resolution=8), new_state(conditional)
    known = {picture.numpy().tobytes(): number for number, picture in enumerate(dataset.pictures(range(48)))}
    space, seen = conditional.model.labels, 0
    for first in (0, 8, 16):
        for part in (0, 1):
            batch = TrainingBatch(state, conditional, dataset, first, part)
            pixels = ((batch.real + 1) * 127.5).round().to(torch.uint8)
            vectors = batch._labels["real"]
            assert vectors is not None
            for picture, vector in zip(pixels, vectors, strict=True):
                label = dataset.labels[known[picture.contiguous().numpy().tobytes()] % 24]
                assert np.array_equal(vector.numpy(), space.encode([label])[0])
                seen += 1
    assert seen == 24


def test_fakes_get_labels_as_often_as_the_data_has_them(conditional: Run) -> None:
    dataset, state = open_dataset(conditional.data, resolution=8), new_state(conditional)
    drawn = []
    for first in range(0, 8 * 100, 8):
        fake = TrainingBatch(state, conditional, dataset, first)._labels["fake"]
        assert fake is not None
        drawn.append(fake)
    shares = torch.cat(drawn).mean(dim=0)
    expected = torch.from_numpy(conditional.model.labels.encode(dataset.labels)).mean(dim=0)
    assert torch.allclose(shares, expected, atol=0.075)  # three standard deviations of 400


def test_g_and_d_hear_the_label(conditional: Run) -> None:
    """Their outputs change with it, and both of them learn from it."""
    state, space = new_state(conditional), conditional.model.labels
    hat, fez = (torch.from_numpy(space.drawn(space.parse(text), [0])) for text in ("hat=cap", "hat=fez"))
    z = torch.randn(1, 6)
    image = state.generator(z, hat)
    assert not torch.allclose(image, state.generator(z, fez))
    assert not torch.equal(state.discriminator(image, hat), state.discriminator(image, fez))


def test_training_reads_the_labels_from_the_data(
    labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), NoAugment())
    run = replace(run, data=replace(run.data, labels=LABELS))
    train(run, tmp_path / "run", stop_requested=lambda: True)
    train(run, tmp_path / "run", resume=True)  # the names in run.json are those of the first time
    sampler = Sampler(models.load(str(tmp_path / "run")))
    assert [attribute.values for attribute in sampler.labels.attributes] == [
        ("cap", "fez", "none"),
        ("young", "old"),
    ]
    caps, fezzes = (sampler.sample(range(2), label=text) for text in ("hat=cap,age=old", "hat=fez,age=old"))
    assert not np.array_equal(caps, fezzes)
    with pytest.raises(UsageError, match="label 'glasses': one of hat, age"):
        sampler.sample(range(2), label="glasses=yes")


def test_a_picture_says_what_was_asked_of_it(labelled: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    model = models.Model(new_state(run).average, run.model, name="it")
    write_pictures(Sampler(model), [4], tmp_path, psi=1.0, label="hat=fez")
    provenance = read_provenance(tmp_path / "seed0004.png")
    assert provenance is not None
    assert provenance.label == "hat=fez"


def test_a_film_keeps_the_labels_of_its_first_seed(labelled: Path, tiny_run_config: Run) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    sampler = Sampler(models.Model(new_state(run).average, run.model, name="it"))
    frames = list(walk(sampler, [3, 5], 1, loop=False))
    vector = sampler.label_vectors([3])
    assert vector is not None
    from facegan.synthesis import latent

    expected = sampler.images(sampler.w(np.stack([latent(5, 8)]), label=vector))
    assert np.array_equal(frames[-1], expected[0])


# ---- adaptive augmentation


def test_p_follows_d_s_signs_and_both_are_logged(
    labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    ada = Ada(p_start=0.5, interval=2, full_images=160, target=0.1)
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), ada)
    run = replace(run, intervals=replace(run.intervals, log_images=8), total_images=64)
    train(run, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    p = 0.5
    for step, line in enumerate(lines):
        assert line["augment_p"] == pytest.approx(p)
        if step % 2:
            above = line["augment_sign"] + lines[step - 1]["augment_sign"] > 2 * 0.1
            p += 16 / 160 if above else -16 / 160
    assert len({line["augment_p"] for line in lines}) > 1


def test_without_p_or_the_collected_signs_a_resumed_run_differs(labelled: Path, tiny_run_config: Run) -> None:
    ada = Ada(p_start=0.5, interval=4, full_images=160, target=0.1)
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), ada)
    dataset, phases, state = open_dataset(run.data, resolution=8), run.loss.phases(), new_state(run)
    for _ in range(5):
        train_step(state, run, dataset, phases)
    parts = copy.deepcopy(state.parts())
    for _ in range(3):
        train_step(state, run, dataset, phases)
    for change in ({"augment_p": torch.tensor(0.0)}, {"augment_signs": torch.tensor(9.0)}):
        fresh = new_state(run)
        fresh.load_parts(parts | {"memory": parts["memory"] | change})
        for _ in range(3):
            train_step(fresh, run, dataset, phases)
        assert differing(fresh.parts(), state.parts()) != []


def test_the_mean_sign_is_that_of_d_s_logits_of_the_reals(labelled: Path, tiny_run_config: Run) -> None:
    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), Ada())
    state = new_state(run)
    dataset = open_dataset(run.data, resolution=8)
    batches = [TrainingBatch(state, run, dataset, 0, part) for part in (0, 1)]
    with torch.no_grad():
        logits = torch.cat([state.discriminator(batch.real) for batch in batches])  # p is 0
    terms = train_step(state, run, dataset, run.loss.phases())
    assert float(terms["augment_sign"]) == pytest.approx(float(logits.sign().mean()))


def test_both_players_see_augmented_images(labelled: Path, tiny_run_config: Run) -> None:
    """With all moved out of sight by a fixed augmentation, D's logits of reals and fakes are the same."""

    class Grey:
        name = "none"

        def __call__(self, images: torch.Tensor, draws: Any, p: torch.Tensor) -> torch.Tensor:
            return images * 0 + draws.uniform(1, 1, 1) * 0

    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), NoAugment())
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    batch = TrainingBatch(state, run, dataset, 0)
    batch._augment = Grey()  # type: ignore[assignment]
    real = batch.logits(batch.real, "real")
    assert torch.equal(real, batch.logits(batch.fake(), "fake"))
    batch.player = "G"
    assert torch.equal(real, batch.logits(batch.fake(), "fake"))
    assert torch.equal(real, batch.logits(batch.real, "real", twice=True))


def test_the_draws_of_a_step_in_parts_are_those_of_the_step_in_one(
    labelled: Path, tiny_run_config: Run
) -> None:
    run = run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), (), ALWAYS)
    whole = replace(run, micro_batch=8)
    state, dataset = new_state(run), open_dataset(run.data, resolution=8)
    one = TrainingBatch(state, whole, dataset, 0)._draws
    rows = {}
    for part in (0, 1):
        batch = TrainingBatch(state, run, dataset, 0, part)
        for row, *values in zip(
            batch._rows.tolist(), batch._draws.uniform(2), batch._draws.normal(3), strict=True
        ):
            rows[row] = torch.cat(values)
    expected = torch.cat([one.uniform(2), one.normal(3)], dim=1)
    assert torch.equal(torch.stack([rows[row] for row in range(8)]), expected)
