"""The tour: faces from the shipped model, a film, and a small training run on the shipped pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from facegan import models
from facegan.animation import Motion, write_walks
from facegan.data import DataConfig
from facegan.files import require_writable
from facegan.images import Provenance, grid, save
from facegan.known import DEFAULT_MODEL, DEFAULT_PSI
from facegan.networks.dcgan import DCGANConfig
from facegan.presets import preset
from facegan.run import Intervals, Run
from facegan.synthesis import Sampler
from facegan.training.loop import Result, train
from facegan.training.reporter import Reporter
from facegan.training.run_folder import RunFolder

T = TypeVar("T")

FACES = range(64)
WALKS = (3, 4)  # rows and columns of films
KEYS_PER_WALK = 4
FRAMES_PER_KEY = 36
FPS = 24
TRAIN_SECONDS = 100.0


def demo_run() -> Run:
    """A narrow DCGAN at 32 px on the shipped faces; on a CPU the demo's time ends it before its total."""
    base = preset("dcgan-32").run
    return replace(
        base,
        model=DCGANConfig(resolution=32, g_base_channels=32, d_base_channels=32),
        data=DataConfig("starter"),
        intervals=Intervals(log_images=2_560, sample_images=20_480, checkpoint_images=102_400),
    )


def write_faces(sampler: Sampler, path: Path) -> None:
    """A grid of 64 faces."""
    seeds = f"{FACES[0]}-{FACES[-1]}"
    save(path, grid(sampler.sample(FACES, DEFAULT_PSI)), Provenance(sampler.model.name, seeds, DEFAULT_PSI))


def film_faces(sampler: Sampler, path: Path) -> None:
    """A film of 4 x 3 walks from seed to seed, side by side."""
    seeds = range(WALKS[0] * WALKS[1] * KEYS_PER_WALK)
    rows, columns = WALKS
    write_walks(path, sampler, seeds, Motion(FRAMES_PER_KEY), rows=rows, columns=columns, fps=FPS)


def train_small(folder: Path, seconds: float, reporter: Reporter | None, stop: Callable[[], bool]) -> Result:
    """Trains the demo's DCGAN for a while."""
    return train(demo_run(), folder, stop_after_seconds=seconds, stop_requested=stop, reporter=reporter)


def new_run_folder(out: Path) -> Path:
    """The first of out/run-1, out/run-2, ... where no run is: a second demo keeps the first one's run."""
    number = 1
    while (out / f"run-{number}").exists():
        number += 1
    return out / f"run-{number}"


def demo(
    out: Path,
    *,
    seconds: float = TRAIN_SECONDS,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Path]:
    """Runs the tour in the folder `out` and returns where everything is.

    Raises:
        KeyboardInterrupt: a request to stop before the training began.
    """
    require_writable(out, "--out")
    out.mkdir(parents=True, exist_ok=True)
    faces, film, folder = out / "faces.png", out / "walk.mp4", RunFolder(new_run_folder(out))
    sampler = Sampler(models.load(DEFAULT_MODEL))
    say(f"1/3  64 faces of people who do not exist, from the shipped model {DEFAULT_MODEL}")
    write_faces(sampler, faces)
    say("2/3  a film that walks from face to face")
    film_faces(sampler, film)
    if stop():
        raise KeyboardInterrupt
    say(f"3/3  training a small model on the shipped faces for {seconds:.0f} s")
    train_small(folder.path, seconds, reporter, stop)
    newest_grid = max(folder.samples.iterdir())
    written = {"faces": faces, "film": film, "run": folder.path, "trained faces": newest_grid}
    if folder.losses_path.exists():
        written["losses"] = folder.losses_path
    return written
