"""Loggers: the same numbers as in log.jsonl, one curve over a resume, and no failure that ends a run."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import settings, small_training
from PIL import Image
from warned import Warned

from facegan import cli
from facegan.config import UsageError
from facegan.data import DataConfig
from facegan.run import Measure, Run
from facegan.training import loggers
from facegan.training.loggers import TensorBoard, chosen, require_installed
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder


class FakeRun(SimpleNamespace):
    """A run of the stand-in for W&B."""

    def log(self, values: dict[str, Any], step: int) -> None:
        if self.fails_from is not None and step >= self.fails_from:
            raise ConnectionError("the network is gone\nand more")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the package wandb: what was given to init and log."""
    module: Any = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    module.runs, module.fails_from = [], None

    def init(**given: Any) -> FakeRun:
        identity = given.pop("id") or f"id-{len(module.runs)}"
        run = FakeRun(id=identity, given=given, logged=[], finished=False, fails_from=module.fails_from)
        module.runs.append(run)
        return run

    module.init, module.Image = init, np.asarray
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture(autouse=True)
def _files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files of one second are read by the names' order, where a process's tenth is before its ninth."""
    if find_spec("tensorboard"):
        writer: Any = import_module("tensorboard.summary.writer.event_file_writer")
        monkeypatch.setattr(writer, "_global_uid", writer.AtomicCounter(0))


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package is installed."""
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run: (step, value) by name."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The same of log.jsonl."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in RunFolder(folder).read_log():
        for name in line.keys() - {"images_seen", "seconds"}:
            found[name].append((line["images_seen"], line[name]))
    return dict(found)


def assert_same_curves(folder: Path) -> None:
    shown, expected = scalars(folder), logged(folder)
    assert shown.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in shown[name]] == [step for step, _ in points]
        # float32, and images_per_second is rounded to hundredths in the log
        assert [value for _, value in shown[name]] == pytest.approx([value for _, value in points], abs=0.006)


# ---- tensorboard


def test_tensorboard_shows_the_numbers_of_the_log(tiny_run_config: Run, tmp_path: Path) -> None:
    train(replace(tiny_run_config, track="tensorboard"), tmp_path / "run")
    assert_same_curves(tmp_path / "run")


def test_tensorboard_shows_the_sample_grids(tiny_run_config: Run, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(replace(tiny_run_config, track="tensorboard"), tmp_path / "run")
    events = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    images = events.Images("samples")
    assert [image.step for image in images] == [48, 96]
    shown = tmp_path / "shown.png"
    shown.write_bytes(images[-1].encoded_image_string)
    with Image.open(shown) as image, Image.open(tmp_path / "run" / "samples" / "000000096.jpg") as grid:
        assert np.array_equal(np.asarray(image), np.asarray(grid))


def test_tensorboard_shows_the_distance(tiny_run_config: Run, tmp_path: Path) -> None:
    for number in range(100):  # as many as a distance needs
        Image.new("RGB", (8, 8), (2 * number, 9, 50)).save(tmp_path / f"{number}.png")
    measure = Measure(every_images=96, features="pixels", samples=100)
    run = replace(tiny_run_config, track="tensorboard", measure=measure, data=DataConfig(str(tmp_path)))
    train(run, tmp_path / "run")
    (line,) = RunFolder(tmp_path / "run").read_metrics()
    name = next(name for name in line if name.startswith("FD"))
    assert scalars(tmp_path / "run")[name] == [(96, pytest.approx(line[name], rel=1e-6))]


def stop_after(steps: int) -> Callable[[], bool]:
    left = iter([False] * (steps - 1))
    return lambda: next(left, True)


def test_a_resume_goes_on_in_the_same_curves(tiny_run_config: Run, tmp_path: Path) -> None:
    run = replace(tiny_run_config, track="tensorboard")
    train(run, tmp_path / "run", stop_requested=stop_after(3))
    train(run, tmp_path / "run", resume=True)
    assert_same_curves(tmp_path / "run")


def test_a_stretch_that_was_lost_is_not_shown_twice(tiny_run_config: Run, tmp_path: Path) -> None:
    """As after a kill: the events are ahead of the newest checkpoint."""
    run = replace(tiny_run_config, track="tensorboard")
    train(run, tmp_path / "run")
    RunFolder(tmp_path / "run").checkpoints.joinpath("000000096.pt").unlink()
    train(run, tmp_path / "run", resume=True)
    steps = [step for step, _ in scalars(tmp_path / "run")["D_real"]]
    assert steps == [32, 64, 96]


def test_a_stretch_that_a_run_went_back_from_is_not_shown(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    logger = TensorBoard(tmp_path / "tensorboard", 0)
    for images_seen, value in ((32, 1.0), (64, 2.0), (96, 3.0), (64, 4.0), (96, 5.0)):
        logger.log(images_seen, {"D_real": value})
    logger.close()
    assert scalars(tmp_path)["D_real"] == [(32, 1.0), (64, 4.0), (96, 5.0)]


def test_a_stretch_of_one_tick_that_a_run_went_back_from_is_not_shown(tmp_path: Path) -> None:
    """Its moment comes again first, with the same names; names of one moment may come one by one."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger, grid = TensorBoard(tmp_path / "tensorboard", 0), np.zeros((8, 8, 3), np.uint8)
    for images_seen, value in ((400, 1.0), (800, 2.0), (1200, 3.0), (1200, 4.0), (1600, 5.0)):
        logger.log(images_seen, {"D_real": value})
        logger.image(images_seen, "samples", grid + int(value))
        logger.log(images_seen, {"FD": 10 * value})
    logger.close()
    kept = [(400, 1.0), (800, 2.0), (1200, 4.0), (1600, 5.0)]
    assert scalars(tmp_path) == {"D_real": kept, "FD": [(step, 10 * value) for step, value in kept]}
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [image.step for image in events.Images("samples")] == [400, 800, 1200, 1600]


def test_a_resumed_run_s_lost_tick_is_not_shown(tmp_path: Path) -> None:
    """The same after a resume at 800, whose own events do not hold that moment."""
    pytest.importorskip("tensorboard")
    for resumed_at, lines in ((0, ((800, 1.0),)), (800, ((1200, 2.0), (1200, 3.0)))):
        logger = TensorBoard(tmp_path / "tensorboard", resumed_at)
        for images_seen, value in lines:
            logger.log(images_seen, {"D_real": value})
        logger.close()
    assert scalars(tmp_path)["D_real"] == [(800, 1.0), (1200, 3.0)]


# ---- W&B


def test_wandb_gets_the_numbers_of_the_log_and_the_grids(
    tiny_run_config: Run, tmp_path: Path, wandb: Any
) -> None:
    train(replace(tiny_run_config, track="wandb"), tmp_path / "run")
    (run,) = wandb.runs
    assert run.given["project"] == "facegan"
    assert run.given["name"] == "run"
    assert run.given["config"]["batch"] == 16
    assert run.finished
    numbers = [(step, values["D_real"]) for step, values in run.logged if "D_real" in values]
    assert numbers == logged(tmp_path / "run")["D_real"]
    grids = [(step, values["samples"].shape) for step, values in run.logged if "samples" in values]
    assert grids == [(48, (64, 64, 3)), (96, (64, 64, 3))]
    steps = [step for step, _ in run.logged]
    assert steps == sorted(steps)  # W&B takes no step after a later one


def test_a_resume_goes_on_with_the_run_that_wandb_knows(
    tiny_run_config: Run, tmp_path: Path, wandb: Any
) -> None:
    run = replace(tiny_run_config, track="wandb")
    train(run, tmp_path / "run", stop_requested=stop_after(3))
    train(run, tmp_path / "run", resume=True)
    assert [each.id for each in wandb.runs] == ["id-0", "id-0"]
    assert all(each.given["resume"] == "allow" for each in wandb.runs)


# ---- what goes wrong


def test_a_logger_that_fails_costs_one_warning_and_not_the_run(
    tiny_run_config: Run, tmp_path: Path, wandb: Any
) -> None:
    wandb.fails_from = 64
    reporter = Warned()
    result = train(replace(tiny_run_config, track="wandb"), tmp_path / "run", reporter=reporter)
    assert result.finished
    assert reporter.messages == ["wandb: the network is gone; nothing more goes there, the run goes on"]
    assert max(step for step, _ in wandb.runs[0].logged) == 48


def test_a_logger_that_cannot_begin_costs_one_warning_and_not_the_run(
    tiny_run_config: Run, tmp_path: Path, wandb: Any
) -> None:
    del wandb.init
    reporter = Warned()
    assert train(replace(tiny_run_config, track="wandb"), tmp_path / "run", reporter=reporter).finished
    assert len(reporter.messages) == 1
    assert reporter.messages[0].startswith("wandb: ")


def test_a_file_in_the_place_of_the_events_costs_one_warning(tiny_run_config: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = replace(tiny_run_config, track="tensorboard")
    train(run, tmp_path / "run", stop_requested=stop_after(1))
    folder = tmp_path / "run" / "tensorboard"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.touch()
    reporter = Warned()
    assert train(run, tmp_path / "run", resume=True, reporter=reporter).finished
    assert len(reporter.messages) == 1


@pytest.mark.parametrize(
    ("track", "how"), [("tensorboard", r"facegan\[track\]"), ("wandb", "pip install wandb")]
)
def test_a_missing_package_is_named_before_a_run_begins(
    tiny_run_config: Run, tmp_path: Path, missing: None, track: Any, how: str
) -> None:
    with pytest.raises(UsageError, match=how):
        train(replace(tiny_run_config, track=track), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_package_that_is_missing_on_resume_costs_one_warning(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    run = replace(tiny_run_config, track="tensorboard")
    train(run, tmp_path / "run", stop_requested=stop_after(1))
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    reporter = Warned()
    assert train(run, tmp_path / "run", resume=True, reporter=reporter).finished
    assert ["not installed" in warning for warning in reporter.messages] == [True]


# ---- which


def test_auto_is_tensorboard_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: "found" if name == "tensorboard" else None)
    assert chosen("auto") == "tensorboard"
    assert (chosen("no"), chosen("wandb")) == ("no", "wandb")
    require_installed("tensorboard")


def test_auto_is_nothing_where_it_is_not(missing: None) -> None:
    assert chosen("auto") == "no"
    require_installed("no")


SMALL = ["model.resolution=8", "model.z_dim=8", "model.g_base_channels=4", "model.d_base_channels=4"]


@pytest.mark.parametrize(("words", "track"), [([], "tensorboard"), (["track=no"], "no")])
def test_the_command_line_logs_to_tensorboard_unless_told(
    picture_folder: Path, tmp_path: Path, words: list[str], track: str
) -> None:
    pytest.importorskip("tensorboard")
    run = settings(*SMALL, "total_images=16", *words)
    arguments = small_training(picture_folder, tmp_path / "run", "--batch", "16", "--precision", "fp32")
    assert cli.run([*arguments, *run]) == 0
    assert RunFolder(tmp_path / "run").read_config().track == track
    assert (tmp_path / "run" / "tensorboard").exists() == (track == "tensorboard")


def test_a_run_in_python_logs_nowhere_unless_told(tiny_run: Path, tiny_run_config: Run) -> None:
    assert tiny_run_config.track == "no"
    assert not (tiny_run / "tensorboard").exists()


@pytest.mark.filterwarnings("ignore:tensorboard")
def test_a_resume_that_leaves_the_logger_open_keeps_the_run_s(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without TensorBoard "auto" would come to another config, which is refused."""
    pytest.importorskip("tensorboard")
    run = replace(tiny_run_config, track="auto")
    train(run, tmp_path / "run", stop_requested=stop_after(1))
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    assert train(run, tmp_path / "run", resume=True).finished
    assert RunFolder(tmp_path / "run").read_config().track == "tensorboard"


def test_a_run_that_began_without_a_logger_resumes_without(
    tiny_run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(tiny_run_config, track="auto")
    with monkeypatch.context() as patch:
        patch.setattr(loggers, "find_spec", lambda name: None)
        train(run, tmp_path / "run", stop_requested=stop_after(1))
    assert train(run, tmp_path / "run", resume=True).finished
    assert RunFolder(tmp_path / "run").read_config().track == "no"
