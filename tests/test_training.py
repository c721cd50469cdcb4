"""The loop: one clock, exact resume, micro-batches, EMA, and what it writes."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from states import differing, newest
from torch import Tensor

from facegan import checkpoint, models
from facegan.config import UsageError
from facegan.data import Dataset, open_dataset
from facegan.images import read_provenance
from facegan.losses import Phase
from facegan.randomness import Purpose, torch_generator
from facegan.run import Run
from facegan.training.batch import TrainingBatch
from facegan.training.loop import train
from facegan.training.reporter import Tick
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state
from facegan.training.step import train_step

PARTS = ["D", "G", "G_ema", "images_seen", "log", "memory", "optimizer_D", "optimizer_G"]


def data_of(run: Run) -> Dataset:
    return open_dataset(run.data, resolution=run.model.resolution, channels=run.model.channels)


def steps(state: TrainState, run: Run, count: int) -> None:
    dataset = data_of(run)
    for _ in range(count):
        train_step(state, run, dataset, run.loss.phases())


def test_a_run_stopped_at_half_and_resumed_is_bit_equal_to_an_uninterrupted_one(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    class StopAtHalf:
        images_seen = 0

        def __call__(self) -> bool:
            self.images_seen += tiny_run_config.batch
            return self.images_seen >= tiny_run_config.total_images // 2

    out = tmp_path / "run"
    first = train(tiny_run_config, out, stop_requested=StopAtHalf())
    assert not first.finished
    assert first.images_seen == 48
    second = train(tiny_run_config, out, resume=True)
    assert second.finished
    assert differing(newest(out), newest(tiny_run)) == []
    models_of = [models.load(str(folder)).generator.state_dict() for folder in (out, tiny_run)]
    assert differing(*models_of) == []


def test_a_run_made_longer_is_bit_equal_to_one_that_was_that_long(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert train(replace(tiny_run_config, total_images=48), out).finished
    assert train(tiny_run_config, out, resume=True).finished
    assert differing(newest(out), newest(tiny_run)) == []


def terms_of(folder: Path) -> list[dict[str, float]]:
    timing = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timing} for line in RunFolder(folder).read_log()]


def test_a_resumed_run_logs_the_same_losses(tiny_run: Path, tiny_run_config: Run, tmp_path: Path) -> None:
    """Also when it was stopped between two log lines: the sums so far are in the checkpoint."""
    stop = iter([False, False, True])  # after the third step: 48 images
    train(tiny_run_config, tmp_path / "run", stop_requested=lambda: next(stop))
    assert [line["images_seen"] for line in terms_of(tmp_path / "run")] == [32]
    train(tiny_run_config, tmp_path / "run", resume=True)
    assert terms_of(tmp_path / "run") == terms_of(tiny_run)


@pytest.mark.parametrize("dropped", [part for part in PARTS if part not in ("log", "memory")])
def test_without_any_one_part_the_resumed_run_differs(dropped: str, tiny_run_config: Run) -> None:
    """The negative control: each part of the checkpoint is needed."""
    uninterrupted = new_state(tiny_run_config)
    steps(uninterrupted, tiny_run_config, 2)
    parts = copy.deepcopy(uninterrupted.parts())
    steps(uninterrupted, tiny_run_config, 1)
    fresh = new_state(tiny_run_config)
    fresh.load_parts(parts | {dropped: new_state(tiny_run_config).parts()[dropped]})
    steps(fresh, tiny_run_config, 1)
    assert differing(fresh.parts(), uninterrupted.parts()) != []


def test_with_all_parts_the_resumed_state_is_bit_equal(tiny_run_config: Run) -> None:
    uninterrupted = new_state(tiny_run_config)
    steps(uninterrupted, tiny_run_config, 2)
    parts = copy.deepcopy(uninterrupted.parts())
    steps(uninterrupted, tiny_run_config, 1)
    fresh = new_state(tiny_run_config)
    fresh.load_parts(parts)
    steps(fresh, tiny_run_config, 1)
    assert differing(fresh.parts(), uninterrupted.parts()) == []
    assert sorted(parts) == PARTS


def test_a_checkpoint_from_before_its_memory_had_that_name_is_read(tiny_run_config: Run) -> None:
    state, fresh = new_state(tiny_run_config), new_state(replace(tiny_run_config, seed=1))
    state.memory["path_length"] = torch.tensor(3.0)
    parts = state.parts()
    parts["loss"] = parts.pop("memory")
    fresh.load_parts(parts)
    assert differing(fresh.parts(), state.parts()) == []


def test_a_checkpoint_without_a_part_is_refused_by_name(tiny_run_config: Run) -> None:
    parts = new_state(tiny_run_config).parts()
    del parts["optimizer_D"]
    with pytest.raises(UsageError, match="optimizer_D"):
        new_state(tiny_run_config).load_parts(parts)


def test_two_steps_are_textbook_dcgan_steps(tiny_run_config: Run) -> None:
    """The slow obvious reference: D on real and on fake, Adam; then G through the new D, Adam; twice."""
    run = replace(tiny_run_config, micro_batch=16)
    state = new_state(run)
    generator, discriminator = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)
    steps(state, run, 2)

    bce, ones, zeros = torch.nn.functional.binary_cross_entropy_with_logits, torch.ones(16), torch.zeros(16)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for first in (0, 16):
        real = data_of(run).batch(first, 16, run.seed).float() / 127.5 - 1
        fake = generator(torch.randn(16, 8, generator=torch_generator(run.seed, first, Purpose.LATENT)))
        adam_d.zero_grad()
        (bce(discriminator(real), ones) + bce(discriminator(fake.detach()), zeros)).backward()
        adam_d.step()
        adam_g.zero_grad()
        bce(discriminator(fake), ones).backward()
        adam_g.step()
    # an Adam step is about lr = 2e-4: a hundredth of it leaves room for float32 rounding only
    for expected, got in ((discriminator, state.discriminator), (generator, state.generator)):
        for (name, value), other in zip(expected.named_parameters(), got.parameters(), strict=True):
            torch.testing.assert_close(other, value, rtol=0, atol=2e-6, msg=name)


def test_the_micro_batches_share_out_the_batch_s_pictures_and_fakes(tiny_run_config: Run) -> None:
    """In their order: without minibatch std the first part is the batch's first half."""
    whole, halves = replace(tiny_run_config, micro_batch=16), tiny_run_config
    state, data = new_state(whole), data_of(whole)
    state.generator.eval()  # BatchNorm's batch statistics would tell the parts apart
    one = TrainingBatch(state, whole, data, 32)
    parts = [TrainingBatch(state, halves, data, 32, part) for part in (0, 1)]
    assert torch.equal(torch.cat([part.real for part in parts]), one.real)
    assert torch.allclose(torch.cat([part.fake() for part in parts]), one.fake(), atol=1e-6)
    assert torch.equal(torch.cat([part.uniform() for part in parts]), one.uniform())


@pytest.mark.parametrize("micro_batch", [8, 16])
def test_after_g_s_step_the_fakes_are_those_of_the_new_g(micro_batch: int, tiny_run_config: Run) -> None:
    run, seen = replace(tiny_run_config, micro_batch=micro_batch), []

    def keep(batch: Any) -> dict[str, Tensor]:
        seen.append(batch.fake().detach().clone())
        return {"logit": batch.logits(batch.fake(), "fake")}

    train_step(new_state(run), run, data_of(run), [Phase("G", keep), Phase("G", keep)])
    assert not torch.equal(seen[0], seen[-(16 // micro_batch)])


def test_gradient_accumulation_averages_the_micro_batches(tiny_run_config: Run) -> None:
    """A linear loss without BatchNorm: two micro-batches of 8 give the gradient of one batch of 16."""
    gradients = {}
    for micro_batch in (8, 16):
        run = replace(tiny_run_config, micro_batch=micro_batch)
        state = new_state(run)
        state.discriminator.eval()  # BatchNorm's batch statistics are the one thing that may differ

        def mean_logit(batch: Any) -> dict[str, Tensor]:
            return {"logit": batch.logits(batch.real, "real")}

        train_step(state, run, data_of(run), [Phase("D", mean_logit)])
        gradients[micro_batch] = [parameter.grad for parameter in state.discriminator.parameters()]
    for one, other in zip(gradients[8], gradients[16], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_recomputed_fakes_equal_kept_ones(tiny_run_config: Run) -> None:
    """With several micro-batches G runs again in its own phase; the fakes are the same ones."""
    fakes: dict[str, list[Tensor]] = {"D": [], "G": []}

    def keep(player: str) -> Any:
        def terms(batch: Any) -> dict[str, Tensor]:
            fakes[player].append(batch.fake().detach().clone())
            return {player: batch.logits(batch.fake(), "fake")}

        return terms

    state = new_state(tiny_run_config)
    phases = [Phase("D", keep("D")), Phase("G", keep("G"))]
    train_step(state, tiny_run_config, data_of(tiny_run_config), phases)
    assert len(fakes["D"]) == 2
    assert all(torch.equal(d, g) for d, g in zip(fakes["D"], fakes["G"], strict=True))
    assert not torch.equal(fakes["D"][0], fakes["D"][1])


def test_a_phase_runs_every_so_many_steps(tiny_run_config: Run) -> None:
    calls = []

    def terms(batch: Any) -> dict[str, Tensor]:
        calls.append(batch)
        return {"logit": batch.logits(batch.real, "real")}

    state, run = new_state(tiny_run_config), replace(tiny_run_config, micro_batch=16)
    for _ in range(5):
        train_step(state, run, data_of(run), [Phase("D", terms, every=2)])
    assert len(calls) == 3  # steps 0, 2, 4


def test_a_phase_leaves_the_other_player_without_gradients(tiny_run_config: Run) -> None:
    state = new_state(tiny_run_config)
    train_step(state, tiny_run_config, data_of(tiny_run_config), tiny_run_config.loss.phases()[1:])
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())
    assert all(parameter.grad is not None for parameter in state.generator.parameters())


def test_training_on_leaves_the_parts_it_was_loaded_from_alone(tiny_run_config: Run) -> None:
    trained = new_state(tiny_run_config)
    steps(trained, tiny_run_config, 1)
    parts = copy.deepcopy(trained.parts())
    before = copy.deepcopy(parts)
    resumed = new_state(tiny_run_config)
    resumed.load_parts(parts)
    steps(resumed, tiny_run_config, 1)
    assert differing(parts, before) == []


def test_d_s_phase_changes_only_d(tiny_run_config: Run) -> None:
    state = new_state(tiny_run_config)
    before = copy.deepcopy(dict(state.generator.named_parameters()))
    train_step(state, tiny_run_config, data_of(tiny_run_config), tiny_run_config.loss.phases()[:1])
    assert all(torch.equal(before[name], p) for name, p in state.generator.named_parameters())


def test_a_run_writes_its_log_samples_losses_model_and_checkpoints(tiny_run: Path) -> None:
    assert [line["images_seen"] for line in RunFolder(tiny_run).read_log()] == [32, 64, 96]
    assert sorted(path.name for path in (tiny_run / "samples").iterdir()) == [
        "000000048.jpg",
        "000000096.jpg",
    ]
    assert [path.name for path in checkpoint.checkpoints(tiny_run / "checkpoints")] == [
        "000000048.pt",
        "000000096.pt",
    ]
    assert (tiny_run / "losses.png").stat().st_size > 1000
    assert (tiny_run / "model.safetensors").exists()
    assert json.loads((tiny_run / "run.json").read_text())["batch"] == 16


def test_the_model_file_holds_the_ema_with_batchnorm_statistics_of_its_own(tiny_run: Path) -> None:
    saved, average = models.load(str(tiny_run)).generator.state_dict(), newest(tiny_run)["G_ema"]
    for name, tensor in average.items():
        if "running" in name:  # measured anew, so not the ones that came along from the training generator
            assert not torch.allclose(saved[name], tensor, rtol=1e-3), name
        elif tensor.is_floating_point():  # stored as float16: 11 bits
            torch.testing.assert_close(saved[name], tensor, rtol=2**-11, atol=1e-6, msg=name)


def test_sample_grids_show_64_fixed_seeds(tiny_run: Path) -> None:
    for path in (tiny_run / "samples").iterdir():
        provenance = read_provenance(path)
        assert provenance is not None
        assert (provenance.seeds, provenance.psi) == ("0-63", 1.0)
        with Image.open(path) as image:
            assert image.size == (8 * 8, 8 * 8)


def test_log_lines_hold_speed_time_and_every_term(tiny_run: Path) -> None:
    for line in RunFolder(tiny_run).read_log():
        assert set(line) == {"images_seen", "seconds", "images_per_second", "D_real", "D_fake", "G_fake"}
        assert line["images_per_second"] > 0


def test_reporters_see_every_step_tick_and_file(tiny_run_config: Run, tmp_path: Path) -> None:
    events: list[tuple[str, Any]] = []

    class Recorder:
        def data(self, done: int, total: int) -> None:
            events.append(("data", (done, total)))

        def start(self, run: Run, dataset: Dataset, images_seen: int, stop_after_seconds: float) -> None:
            events.append(("start", images_seen))

        def step(self, images_seen: int) -> None:
            events.append(("step", images_seen))

        def tick(self, tick: Tick) -> None:
            events.append(("tick", tick.images_seen))

        def wrote(self, path: Path) -> None:
            events.append(("wrote", path.suffix))

        def warn(self, message: str) -> None:
            events.append(("warn", message))

    train(replace(tiny_run_config, total_images=48), tmp_path / "run", reporter=Recorder())
    assert [value for kind, value in events if kind == "step"] == [16, 32, 48]
    assert [value for kind, value in events if kind == "tick"] == [32, 48]  # the last is of the open interval
    written = [value for kind, value in events if kind == "wrote"]
    assert ".pt" in written
    assert ".jpg" in written
