"""Architectures with kinds of pictures, labels and augmentation: a step, exact resume, samples, a file."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
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
from facegan.animation import Motion, walk
from facegan.augment import Ada, Augment, DiffAugment, NoAugment
from facegan.config import UsageError, from_json, to_json
from facegan.data import open_dataset
from facegan.images import read_provenance
from facegan.labels import label_space
from facegan.losses import LeastSquares, StyleGAN2Loss, WassersteinGP
from facegan.metrics.evaluate import measure
from facegan.metrics.report import as_text
from facegan.metrics.subjects import model_subject
from facegan.output import write_grid, write_pictures
from facegan.run import Run
from facegan.synthesis import Sampler, latent
from facegan.training.batch import TrainingBatch
from facegan.training.ema import calibrated
from facegan.training.labels import labelled as labelled_run
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import new_state
from facegan.training.step import train_step
from facegan.video import write_film

ALWAYS = Ada(p_start=0.8, interval=2, full_images=1000, image_filter=1.0, noise=1.0, cutout=1.0)
LABELS = ("hat", "age:young<40<old")
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
    assert not train(run, tmp_path / "stopped", stop_after_seconds=0).finished  # after a step
    train(run, tmp_path / "stopped", resume=True)
    train(run, tmp_path / "whole")
    parts = [RunFolder(tmp_path / name).newest_checkpoint(pytest.fail) for name in ("stopped", "whole")]
    assert parts[0] is not None
    assert parts[1] is not None
    assert differing(parts[0], parts[1]) == []
    start = new_state(run).parts()
    assert differing(parts[0]["G"], start["G"]) != []
    assert differing(parts[0]["D"], start["D"]) != []
    model = models.load(str(tmp_path / "stopped"))
    assert model.config == run.model
    pictures = Sampler(model).sample(range(3), psi=0.7)
    channels, (height, width) = combination[1], combination[2]
    assert pictures.shape == (3, 2 * height, 2 * width, channels)
    assert len({picture.tobytes() for picture in pictures}) == 3


# ---- labels


@pytest.fixture
def conditional(labelled: Path, tiny_run_config: Run) -> Run:
    return run_of(labelled, tiny_run_config, "stylegan2", 3, (4, 4), LABELS, NoAugment())


class Listening(torch.nn.Module):
    """D that remembers the images and labels it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[torch.Tensor, Any]] = []

    def forward(self, image: torch.Tensor, label: Any, stage: Any) -> torch.Tensor:
        self.heard.append((image, label))
        return image.sum(dim=(1, 2, 3))


def test_d_gets_the_labels_of_the_reals_it_sees(conditional: Run) -> None:
    dataset, state = open_dataset(conditional.data, resolution=8), new_state(conditional)
    known = {picture.numpy().tobytes(): number for number, picture in enumerate(dataset.pictures(range(48)))}
    space, seen = conditional.model.labels, 0
    for first, part in itertools.product((0, 8, 16), (0, 1)):
        state.discriminator = listening = Listening()  # type: ignore[assignment]
        batch = TrainingBatch(state, conditional, dataset, first, part)
        for twice in (False, True):
            batch.logits(batch.real, "real", twice=twice)
        for image, vectors in listening.heard:
            pixels = ((image + 1) * 127.5).round().to(torch.uint8)
            for picture, vector in zip(pixels, vectors, strict=True):
                label = dataset.labels[known[picture.contiguous().numpy().tobytes()] % 24]
                assert np.array_equal(vector.numpy(), space.encode([label])[0])
                seen += 1
    assert seen == 48


def test_d_gets_the_labels_that_g_was_given(conditional: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both phases, of mixed styles and of the path length's pictures."""
    run = replace(conditional, loss=replace(conditional.loss, mixing_probability=1.0))  # type: ignore[type-var]
    dataset, state = open_dataset(run.data, resolution=8), new_state(run)
    state.discriminator = listening = Listening()  # type: ignore[assignment]
    told: list[Any] = []
    mapping = state.generator.mapping

    def told_mapping(z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        told.append(label)
        return mapping(z, label)

    monkeypatch.setattr(state.generator, "mapping", told_mapping)
    batch = TrainingBatch(state, run, dataset, 0)
    batch.logits(batch.fake().detach(), "fake")
    batch.player = "G"
    batch.logits(batch.fake(), "fake")
    assert len(told) == 4  # two latents a picture, made anew for G
    of_d = [label for _, label in listening.heard]
    assert all(torch.equal(label, told[0]) for label in [*told, *of_d])
    assert not torch.equal(told[0], batch._labels["real"])
    assert torch.equal(told[0].sum(dim=1), torch.full((4,), 2.0))
    batch.path(2)
    assert torch.equal(told[-1], batch._all_fake_labels[:2])


def test_a_labelled_step_in_parts_is_the_step_in_one(conditional: Run) -> None:
    """The path length's labels included; its mean alone is of a part."""
    loss = StyleGAN2Loss(r1_interval=1, path_length_interval=1, path_length_decay=0.0)
    whole = replace(conditional, micro_batch=8, loss=loss)
    dataset = open_dataset(whole.data, resolution=8)
    expected = train_step(new_state(whole), whole, dataset, loss.phases())
    parts = train_step(new_state(whole), replace(whole, micro_batch=4), dataset, loss.phases())
    for name, value in expected.items():
        assert torch.allclose(parts[name], value, rtol=1e-4), name


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
    """Their outputs change with it."""
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
    train(run, tmp_path / "run", stop_after_seconds=0)
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


def test_a_run_on_other_labels_or_none_is_refused(
    labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(labelled, tmp_path / "data")
    run = run_of(folder, tiny_run_config, "dcgan", 3, (4, 4), (), NoAugment())
    run = replace(run, data=replace(run.data, labels=LABELS))
    train(run, tmp_path / "run", stop_after_seconds=0)
    other = replace(run, data=replace(run.data, labels=("hat",)))
    with pytest.raises(UsageError, match=r"--resume with another data\.labels"):
        train(other, tmp_path / "run", resume=True, force=True)
    lines = (folder / "metadata.jsonl").read_text()
    (folder / "metadata.jsonl").write_text(
        lines.replace("fez", "CAP").replace("cap", "fez").replace("CAP", "cap")
    )
    with pytest.raises(UsageError, match="other data"):
        train(run, tmp_path / "run", resume=True)
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(UsageError, match="none of its pictures has a label hat"):
        train(run, tmp_path / "run", resume=True, force=True)


def test_pictures_without_a_label_are_a_warning(labelled: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(labelled, tmp_path / "data")
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(lines[:20]))
    run = run_of(folder, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    said: list[str] = []
    labelled_run(run, open_dataset(run.data, resolution=8), said.append)
    assert said == [
        f"4 of 24 pictures have no label {name}: it is left open for them" for name in ("hat", "age")
    ]


def test_a_dcgan_s_norms_are_measured_with_labels(
    labelled: Path, tiny_run_config: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    average, seen = new_state(run).average, []
    mapping = type(average).mapping

    def listening(self: Any, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(label)
        return mapping(self, z, label)

    monkeypatch.setattr(type(average), "mapping", listening)
    calibrated(average, 0, run.model.labels)
    vectors = torch.cat([label for label in seen if label is not None])
    expected = torch.from_numpy(run.model.labels.drawn({}, range(len(vectors))))
    assert torch.equal(vectors, expected)


def test_a_picture_says_what_was_asked_of_it(labelled: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    model = models.Model(new_state(run).average, run.model, name="it")
    write_pictures(Sampler(model), [4], tmp_path, psi=1.0, label="hat=fez")
    write_grid(Sampler(model), [4], tmp_path, psi=1.0, label="hat=fez")
    expected = Sampler(model).sample([4], label="hat=fez")[0]
    for name in ("seed0004.png", "grid.png"):
        provenance = read_provenance(tmp_path / name)
        assert provenance is not None
        assert provenance.label == "hat=fez"
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), expected)
    assert not np.array_equal(expected, Sampler(model).sample([4], label="hat=cap")[0])


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


@pytest.mark.parametrize("path", ["z", "w"])
def test_a_film_keeps_the_labels_of_its_first_seed(path: str, labelled: Path, tiny_run_config: Run) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    sampler = Sampler(models.Model(new_state(run).average, run.model, name="it"))
    frames = list(walk(sampler, [3, 5], Motion(1, path, loop=False), psi=1.0))
    vector = sampler.label_vectors([3])
    assert vector is not None
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
    for change in (
        {"augment_p": torch.tensor(0.0)},
        {"augment_signs": torch.tensor(9.0)},
    ):
        fresh = new_state(run)
        fresh.load_parts(parts | {"memory": parts["memory"] | change})
        for _ in range(3):
            train_step(fresh, run, dataset, phases)
        assert differing(fresh.parts(), state.parts()) != []


def test_a_fixed_p_stays_what_the_run_says(labelled: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), (), Ada(p_start=0.5))
    train(run, tmp_path / "run", stop_after_seconds=0)
    fixed = replace(run, augment=Ada(p_start=0.2, full_images=0))
    train(fixed, tmp_path / "run", resume=True, force=True)
    parts = RunFolder(tmp_path / "run").newest_checkpoint(pytest.fail)
    assert parts is not None
    assert float(parts["memory"]["augment_p"]) == pytest.approx(0.2)


@pytest.mark.parametrize("loss", [LeastSquares(), WassersteinGP()])
def test_p_cannot_follow_logits_whose_sign_means_nothing(loss: Any, tiny_run_config: Run) -> None:
    tiny = replace(tiny_run_config, model=replace(tiny_run_config.model, d_norm="none"), loss=loss)  # type: ignore[type-var]
    with pytest.raises(UsageError, match="which means nothing there"):
        replace(tiny, augment=Ada())
    assert replace(tiny, augment=Ada(p_start=0.2, full_images=0)).loss == loss


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
