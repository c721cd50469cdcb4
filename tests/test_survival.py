"""What a run survives: changed configs and data, a second process, damaged files, NaN, being stopped."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from states import newest
from torch import Tensor
from warned import Warned

from facegan import checkpoint, models
from facegan.config import UsageError
from facegan.files import replaced
from facegan.run import Adam, Run
from facegan.training.loop import train
from facegan.training.plot import plot_losses
from facegan.training.run_folder import RunFolder
from facegan.training.state import TrainState, new_state
from facegan.training.step import train_step


def test_a_second_run_in_the_same_folder_is_refused(tiny_run: Path, tiny_run_config: Run) -> None:
    with pytest.raises(UsageError, match="already there"):
        train(tiny_run_config, tiny_run)


def test_a_changed_config_is_refused_with_the_difference_and_accepted_by_force(
    tiny_run_config: Run, tmp_path: Path
) -> None:
    train(replace(tiny_run_config, total_images=16), tmp_path / "run")
    changed = replace(tiny_run_config, total_images=32, optimizer=Adam(lr=0.5))
    with pytest.raises(UsageError, match=r"another config \(optimizer.lr: [\d.e-]+ -> 0.5\)"):
        train(changed, tmp_path / "run", resume=True)
    assert train(changed, tmp_path / "run", resume=True, force=True).images_seen == 32


def test_stop_after_ends_with_a_checkpoint(tiny_run_config: Run, tmp_path: Path) -> None:
    result = train(tiny_run_config, tmp_path / "run", stop_after_seconds=0.0)
    assert result.images_seen == 16
    assert not result.finished
    assert newest(tmp_path / "run")["images_seen"] == 16


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_saved(
    tiny_run_config: Run, tmp_path: Path
) -> None:
    exploding = replace(tiny_run_config, optimizer=replace(tiny_run_config.optimizer, lr=1e30))
    with pytest.raises(FloatingPointError, match=r"not finite .* lower --set optimizer\.lr"):
        train(exploding, tmp_path / "run")
    assert checkpoint.checkpoints(tmp_path / "run" / "checkpoints") == []
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("player", ["G", "D"])
def test_a_weight_that_is_not_finite_is_not_saved(
    player: str, tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are those before the update, so a stop right after a bad update must look at the weights too."""

    def bad_step(state: TrainState, *arguments: Any) -> dict[str, Tensor]:
        means = train_step(state, *arguments)
        with torch.no_grad():
            next(state.networks[player].parameters())[0] = torch.inf  # type: ignore[index]
        return means

    monkeypatch.setattr("facegan.training.stretch.train_step", bad_step)
    with pytest.raises(FloatingPointError, match=f"a weight of {player} is not finite after 16 images"):
        train(tiny_run_config, tmp_path / "run", stop_after_seconds=0.0)
    assert checkpoint.checkpoints(tmp_path / "run" / "checkpoints") == []


def test_a_forced_learning_rate_reaches_the_optimiser(tiny_run_config: Run) -> None:
    parts = new_state(tiny_run_config).parts()
    state = new_state(replace(tiny_run_config, optimizer=replace(tiny_run_config.optimizer, lr=1e-5)))
    state.load_parts(parts)
    assert [optimizer.param_groups[0]["lr"] for optimizer in state.optimizers.values()] == [1e-5, 1e-5]


def test_a_forced_resume_that_fails_leaves_the_run_as_it_was(tiny_run_config: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(replace(tiny_run_config, total_images=16), out)
    before = (out / "run.json").read_text()
    wider = replace(tiny_run_config, model=replace(tiny_run_config.model, g_base_channels=8))
    with pytest.raises(UsageError, match=r"other networks \(model\.g_base_channels: 4 -> 8\)"):
        train(wider, out, resume=True, force=True)
    lost = replace(tiny_run_config, data=replace(tiny_run_config.data, path=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no such folder"):
        train(lost, out, resume=True, force=True)
    assert (out / "run.json").read_text() == before


def test_what_was_chosen_automatically_is_written_down(
    picture_folder: Path, tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture_folder.parent)
    automatic = replace(
        tiny_run_config,
        data=replace(tiny_run_config.data, path=picture_folder.name),
        device="auto",
        precision="auto",
        total_images=16,
    )
    train(automatic, str(tmp_path / "run"))
    written = RunFolder(tmp_path / "run").read_config()
    assert written.device in ("cpu", "cuda", "mps")
    assert written.precision in ("fp32", "bf16")
    assert written.data.path == str(picture_folder.resolve())


def test_a_request_to_stop_while_reading_interrupts(tiny_run_config: Run, tmp_path: Path) -> None:
    anew = replace(tiny_run_config, data=replace(tiny_run_config.data, crop="pad"))
    with pytest.raises(KeyboardInterrupt):
        train(anew, tmp_path / "run", stop_requested=lambda: True)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*not a usable checkpoint")
def test_resuming_clears_away_what_a_crash_left(tiny_run_config: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(replace(tiny_run_config, total_images=16), out)
    with replaced(out / "checkpoints" / "000000032.pt") as temporary:
        temporary.touch()
    temporary.write_bytes(b"half")
    train(tiny_run_config, out, resume=True, force=True)
    assert list(out.rglob("*.partial*")) == []


def test_other_data_is_refused_with_the_difference_and_accepted_by_force(
    picture_folder: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "run"
    shutil.copytree(picture_folder, pictures)
    run = replace(tiny_run_config, data=replace(tiny_run_config.data, path=str(pictures)), total_images=16)
    train(run, out)
    (pictures / "00.png").unlink()
    with pytest.raises(UsageError, match=r"other data .*pictures: 24 -> 23"):
        train(run, out, resume=True)
    assert train(run, out, resume=True, force=True).finished


def test_a_second_process_in_the_same_folder_is_refused(tiny_run: Path, tiny_run_config: Run) -> None:
    with (
        RunFolder(tiny_run).locked(),
        pytest.raises(UsageError, match="another process is training in this folder"),
    ):
        train(tiny_run_config, tiny_run, resume=True)


def test_one_who_only_looks_whether_a_run_goes_on_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The studio takes the lock for a moment, as one of many."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("facegan.training.run_folder.PATIENCE_SECONDS", 60)  # on a busy machine
    with open(tmp_path / ".lock", "wb") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        release = threading.Timer(0.1, fcntl.flock, (looked_at, fcntl.LOCK_UN))
        release.start()
        with RunFolder(tmp_path).locked():
            release.join()


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_cut_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    kept: int, tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    """And the resumed run ends bit-equal to one that was never damaged."""
    out, warnings = tmp_path / "run", Warned()
    shutil.copytree(tiny_run, out)
    damaged = out / "checkpoints" / "000000096.pt"
    damaged.write_bytes(damaged.read_bytes()[:kept])
    train(tiny_run_config, out, resume=True, reporter=warnings)
    assert len(warnings.messages) == 1
    assert "000000096.pt: not a usable checkpoint" in warnings.messages[0]
    for name, tensor in newest(tiny_run)["G"].items():
        assert torch.equal(newest(out)["G"][name], tensor)


@pytest.mark.filterwarnings("ignore:.*not a usable checkpoint")
def test_when_every_checkpoint_is_damaged_the_run_is_refused(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    for path in checkpoint.checkpoints(out / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"no checkpoint .* can be read"):
        train(tiny_run_config, out, resume=True)


def test_a_resume_without_a_step_writes_the_model_where_it_is_gone_and_else_nothing(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    names = ["model.safetensors", "samples/000000096.jpg", "checkpoints/000000096.pt"]
    for name in names:
        os.utime(out / name, (1, 1))
    train(tiny_run_config, out, resume=True)
    assert [(out / name).stat().st_mtime for name in names] == [1, 1, 1]
    (out / "model.safetensors").unlink()
    train(tiny_run_config, out, resume=True)
    for name, tensor in models.load(str(tiny_run)).generator.state_dict().items():
        assert torch.equal(models.load(str(out)).generator.state_dict()[name], tensor)


def changed_checkpoint(parts: checkpoint.Parts, change: str, value: Any) -> None:
    """Puts a value where the dotted name says."""
    *groups, last = change.split(".")
    for group in groups:
        parts = parts[int(group) if group.isdecimal() else group]
    if value is None:
        del parts[last]
    else:
        parts[last] = value


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("images_seen", "x"),
        ("images_seen", -16),
        ("images_seen", 32.5),
        ("images_seen", 10**30),
        ("images_seen", torch.zeros(3)),
        ("log", 3),
        ("log.sums", [1]),
        ("log.sums", {"D_real": torch.zeros(2)}),
        ("log.steps", "x"),
        ("G", [1]),
        ("G", {1: torch.zeros(1)}),
        ("D", {"first.weight": torch.zeros(2, 2)}),
        ("optimizer_G", 3),
        ("optimizer_G.state", [1]),
        ("optimizer_G.state.0.exp_avg", torch.zeros(1)),
        ("optimizer_G.state.0.exp_avg_sq", torch.zeros(8, 4, 4, 4, dtype=torch.float64)),
        ("optimizer_D.state.0.step", torch.zeros(5)),
        ("optimizer_D.state", {7: {}}),
        ("optimizer_D.param_groups", [1]),
        ("G_ema", None),
        ("log", None),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_checkpoint_with_a_part_of_another_form_is_refused(
    change: str, value: Any, tiny_run: Path, tiny_run_config: Run
) -> None:
    """Adam's moments above all: torch takes any shape, and then writes beyond their end."""
    parts = newest(tiny_run)
    changed_checkpoint(parts, change, value)
    with pytest.raises(UsageError, match="the checkpoint"):
        new_state(tiny_run_config).load_parts(parts)


@pytest.mark.parametrize(
    "line", ["null", "[]", "{}", '{"images_seen": "x", "seconds": 1}', '{"images_seen": 1, "seconds": 1e999}',
             '{"images_seen": 1}', '{"images_seen": 1, "seconds": 1, "D_real": null}', "\x00", "[" * 99_999]
)  # fmt: skip
def test_a_log_line_of_another_form_is_left_out(line: str, tmp_path: Path) -> None:
    good = '{"images_seen": 16, "seconds": 1.5, "D_real": 0.5}'
    (tmp_path / "log.jsonl").write_text(f"{line}\n{good}\n")
    assert RunFolder(tmp_path).read_log() == [{"images_seen": 16, "seconds": 1.5, "D_real": 0.5}]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 3}', "\x00", "[" * 99_999, '{"future": 1}'])
def test_a_damaged_run_json_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json: not usable"):
        RunFolder(tmp_path).read_config()


def test_a_run_whose_checkpoints_are_gone_is_not_begun_again(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    """Their folder is made before run.json: without it, something was lost."""
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    shutil.rmtree(out / "checkpoints")
    log = (out / "log.jsonl").read_bytes()
    with pytest.raises(UsageError, match="checkpoints: not a folder that can be read"):
        train(tiny_run_config, out, resume=True)
    assert (out / "log.jsonl").read_bytes() == log


def test_a_checkpoint_that_is_no_file_is_a_damaged_one(
    tiny_run: Path, tiny_run_config: Run, tmp_path: Path
) -> None:
    """A pipe would be waited on for ever."""
    out, warnings = tmp_path / "run", Warned()
    shutil.copytree(tiny_run, out)
    os.mkfifo(out / "checkpoints" / "000000112.pt")
    (out / "checkpoints" / "000000096.pt").unlink()
    train(tiny_run_config, out, resume=True, reporter=warnings)
    assert len(warnings.messages) == 1
    assert "000000112.pt: not a usable checkpoint (no such file)" in warnings.messages[0]


def test_a_plot_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    plot_losses([{"images_seen": 16, "seconds": 1.0, "D_real": float("nan")}], tmp_path / "losses.png")
    assert not (tmp_path / "losses.png").exists()
