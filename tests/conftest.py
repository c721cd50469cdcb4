"""Shared by all tests: one torch thread, a private cache, no network, a time limit, and what many need.

An unmarked test takes a second of processor time at most; what takes two fails, since machines differ by that
much: mark it slow, or make it smaller.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies
import numpy as np
import pytest
import torch
from PIL import Image

from facegan import models
from facegan.data import DataConfig
from facegan.networks.dcgan import DCGANConfig
from facegan.run import Intervals, Run
from facegan.training.loop import train
from facegan.training.state import TrainState, new_state

if TYPE_CHECKING:
    from asking import Ask

    from facegan.serve.studio.desk import Desk

MAX_FAST_SECONDS = 2.0


@pytest.fixture(autouse=True, scope="session")
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.set_num_threads(1)
    os.environ["FACEGAN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    # what torch imports at the first use of an optimiser is no single test's time
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    torch.optim.Adam([weight]).step()
    # nor are the tables of characters that hypothesis makes for its first text in a fresh checkout
    hypothesis.find(hypothesis.strategies.text(), bool, settings=hypothesis.settings(database=None))


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """This process connects to nobody but its own machine; to all others as if there were no network."""

    def at_home(kind: str) -> Callable[[socket.socket, Any], Any]:
        connect = getattr(socket.socket, kind)

        def to(own: socket.socket, address: Any) -> Any:
            if own.family in (socket.AF_INET, socket.AF_INET6) and not is_local(str(address[0])):
                raise OSError(errno.ENETUNREACH, f"tests have no network, and so no {address[0]}")
            return connect(own, address)

        return to

    with pytest.MonkeyPatch.context() as monkeypatch:
        for kind in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, kind, at_home(kind))
        yield


def is_local(host: str) -> bool:
    """Whether that is this machine's own address."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fails a fast test that is not fast; fixtures, which all tests share, are not counted."""
    began = time.process_time()
    yield
    seconds = time.process_time() - began
    slow = item.get_closest_marker("slow") or item.get_closest_marker("soak")
    if seconds > MAX_FAST_SECONDS and not slow:
        pytest.fail(f"took {seconds:.1f} s of processor time; mark it slow, or make it smaller")


@pytest.fixture(scope="session")
def kernels() -> None:
    """The loops that draw people, compiled: that is no single test's time."""
    from facegan.people.person import Person
    from facegan.people.render import render

    person = Person.sample(np.random.default_rng(0))
    render(person.replace(hair_style="long", beard="beard", hat="cap", glasses="round"), 16)


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 PNGs of 12x10 random pixels, named 00.png to 23.png."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_run_config(picture_folder: Path) -> Run:
    """An 8 px DCGAN on the picture folder: 96 images in batches of 16, two micro-batches each."""
    return Run(
        model=DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, d_base_channels=4),
        data=DataConfig(str(picture_folder)),
        intervals=Intervals(log_images=32, sample_images=48, checkpoint_images=48),
        batch=16,
        micro_batch=8,
        total_images=96,
        device="cpu",
        precision="fp32",
    )


@pytest.fixture
def state(tiny_run_config: Run) -> TrainState:
    """The tiny run's before its first step."""
    return new_state(tiny_run_config)


@pytest.fixture(scope="session")
def tiny_run(tiny_run_config: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_run_config, folder)
    return folder


@pytest.fixture
def tiny_model(tiny_run: Path) -> models.Model:
    """The model of the tiny run."""
    return models.load(str(tiny_run))


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of the models that servers are tested with; not to be changed."""
    from asking import write_models

    return write_models(tmp_path_factory.mktemp("served"))


@pytest.fixture
def ask(served_models: tuple[Path, Path]) -> Iterator[Ask]:
    """Starts servers of both models, which end with the test."""
    from asking import servers

    with servers(served_models) as start:
        yield start


@pytest.fixture
def drawn_as_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """People are drawn by a stand-in for the renderer."""
    from drawn_people import draw_as, noise

    draw_as(monkeypatch, noise)


@pytest.fixture(scope="session")
def whole_set(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The zip of a set of people that was left alone, drawn as noise."""
    from drawn_people import draw_as, drawn, noise

    path = tmp_path_factory.mktemp("people") / "people.zip"
    with pytest.MonkeyPatch.context() as monkeypatch:
        draw_as(monkeypatch, noise)
        drawn(path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def studio_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the StyleGAN2 that the studio is tested with; not to be changed."""
    from small_studio import write_model

    return write_model(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def desk(studio_model: Path, tiny_run: Path, tmp_path: Path) -> Desk:
    """The studio's models, that StyleGAN2 and the tiny run's DCGAN, and its gallery."""
    from facegan.serve.studio.desk import Desk
    from facegan.serve.studio.gallery import Gallery

    gallery = Gallery(tmp_path / "gallery")
    return Desk([str(studio_model), str(tiny_run)], gallery=gallery, runs=tmp_path / "runs", device="cpu")
