"""Training with labels: which ones G and D are given, runs on others are refused, pictures say theirs."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_runs import LABELS, run_of, write_labelled
from PIL import Image

from facegan import models
from facegan.animation import Motion, walk
from facegan.augment import NoAugment
from facegan.config import UsageError
from facegan.data import open_dataset
from facegan.images import read_provenance
from facegan.losses import StyleGAN2Loss
from facegan.output import write_grid, write_pictures
from facegan.run import Run
from facegan.synthesis import Sampler, latent
from facegan.training.batch import TrainingBatch
from facegan.training.ema import calibrated
from facegan.training.labels import labelled as labelled_run
from facegan.training.loop import train
from facegan.training.state import new_state
from facegan.training.step import train_step


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


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
    batch = TrainingBatch(state, run, dataset, 0, keep_fake=False)
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
        "labels of data: 20.png: has no labels (the first of 4 problems)",
        *(f"4 of 24 pictures have no label {name}: it is left open for them" for name in ("hat", "age")),
    ]


def test_what_is_wrong_with_label_files_is_said_where_they_are_used(
    labelled: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(labelled, tmp_path / "data")
    with open(folder / "metadata.jsonl", "a") as file:
        file.write('\nrubbish\n{"file_name": "x.png", "hat": "cap"}\n')
    said: list[str] = []
    for labels in (LABELS, ()):
        run = run_of(folder, tiny_run_config, "dcgan", 3, (4, 4), labels, NoAugment())
        labelled_run(run, open_dataset(run.data, resolution=8), said.append)
    assert said == ["labels of data: metadata.jsonl, line 25: not JSON (the first of 2 problems)"]


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


@pytest.mark.parametrize("path", ["z", "w"])
def test_a_film_keeps_the_labels_of_its_first_seed(path: str, labelled: Path, tiny_run_config: Run) -> None:
    run = run_of(labelled, tiny_run_config, "dcgan", 3, (4, 4), LABELS, NoAugment())
    sampler = Sampler(models.Model(new_state(run).average, run.model, name="it"))
    frames = list(walk(sampler, [3, 5], Motion(1, path, loop=False), psi=1.0))
    vector = sampler.label_vectors([3])
    assert vector is not None
    expected = sampler.images(sampler.w(np.stack([latent(5, 8)]), label=vector))
    assert np.array_equal(frames[-1], expected[0])
