"""How the synthesis is run: each runtime makes the eager pictures, auto prepares one only where it pays."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from command_line import one_line
from PIL import Image
from small_stylegan2 import SHAPE, networks
from torch import Tensor

from facegan import cli, models, runtimes
from facegan.config import UsageError
from facegan.networks import Generator, build_generator
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.runtimes import Auto, Run, fastest, in_batches, prepare
from facegan.synthesis import Sampler

SMALL = DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, d_base_channels=4)


def dcgan() -> Generator:
    torch.manual_seed(0)
    generator = build_generator(SMALL).eval().requires_grad_(False)
    for parameter in generator.parameters():
        parameter.mul_(10 if parameter.ndim == 4 else 1)  # as training does: fresh ones make grey pictures
    return generator


@pytest.fixture
def generator() -> Generator:
    """A small DCGAN."""
    return dcgan()


def model_of(architecture: str) -> models.Model:
    if architecture == "stylegan2":
        return models.Model(networks()[0], StyleGAN2Config(**SHAPE), name="small")
    return models.Model(dcgan(), SMALL, name="small")


def replaced(monkeypatch: pytest.MonkeyPatch, **makers: Callable[[Generator], Run]) -> list[str]:
    """Puts other makers in the places of onnx and compiled; returns the names of those that are called."""
    called: list[str] = []

    def maker(name: str) -> Callable[[Generator, int], Run]:
        def make(generator: Generator, batch: int) -> Run:
            called.append(name)
            return makers[name](generator)

        return make

    monkeypatch.setattr(runtimes, "_MAKERS", {name: maker(name) for name in makers})
    monkeypatch.setattr(runtimes, "PREPARATION", dict.fromkeys(makers, 1.0))
    return called


def same(generator: Generator) -> Run:
    return lambda w: generator.synthesis(w)


# ---- what was asked for


def test_an_unknown_runtime_is_named_with_those_that_there_are(generator: Generator) -> None:
    with pytest.raises(UsageError, match=r"runtime 'onx': one of auto, eager, compiled, onnx .*'onnx'"):
        prepare(generator, "onx", batch=1)


def test_eager_prepares_nothing(generator: Generator) -> None:
    assert prepare(generator, "eager", batch=1) is None


def test_onnx_in_bfloat16_is_refused(generator: Generator) -> None:
    generator.compute_dtype = torch.bfloat16
    with pytest.raises(UsageError, match="--device cpu and --precision fp32; or use --runtime eager"):
        prepare(generator, "onnx", batch=1)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_without_its_packages_names_the_extra(
    missing: str, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == missing else find_spec("sys"))
    with pytest.raises(UsageError, match=rf"{missing} is not installed: pip install 'facegan\[onnx\]'"):
        prepare(generator, "onnx", batch=1)


def test_a_runtime_is_prepared_once_and_anew_for_other_weights(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = replaced(monkeypatch, onnx=same)
    first = prepare(generator, "onnx", batch=4)
    assert prepare(generator, "onnx", batch=4) is first
    assert called == ["onnx"]
    next(iter(generator.parameters())).mul_(2)
    prepare(generator, "onnx", batch=4)
    assert called == ["onnx", "onnx"]


def test_a_runtime_and_its_generator_go_with_their_last_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one holds the other, as a compiled one does."""
    replaced(monkeypatch, compiled=same)
    sampler = Sampler(model_of("dcgan"), device="cpu", runtime="compiled")
    alive = ref(sampler.generator), ref(sampler._fast)
    del sampler
    gc.collect()
    assert [each() for each in alive] == [None, None]


def test_a_runtime_of_weights_that_are_no_more_goes_with_its_last_user(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, compiled=same)
    first = prepare(generator, "compiled", batch=1)
    alive = ref(first)
    next(iter(generator.parameters())).mul_(2)
    first = prepare(generator, "compiled", batch=1)
    gc.collect()
    assert alive() is None


def test_the_sampler_runs_what_was_prepared_for_constant_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counting(generator: Generator) -> Run:
        def run(w: Tensor) -> Tensor:
            calls.append(len(w))
            return generator.synthesis(w)

        return run

    replaced(monkeypatch, onnx=counting)
    sampler = Sampler(model_of("stylegan2"), device="cpu", batch=3, runtime="onnx")
    expected = Sampler(model_of("stylegan2"), device="cpu", batch=3).sample(range(4))
    np.testing.assert_array_equal(sampler.sample(range(4)), expected)
    assert calls == [3, 1]
    with pytest.warns(UserWarning, match="runtime 'onnx' has no effect with this noise"):
        sampler.sample([0], noise="none")
    assert calls == [3, 1]


@pytest.mark.parametrize("architecture", ["stylegan2", "dcgan"])
def test_the_command_prepares_no_runtime_that_its_noise_does_without(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DCGAN has no noise, and makes its pictures with it all the same."""
    called = replaced(monkeypatch, onnx=lambda generator: generator.synthesis)
    monkeypatch.setattr(models, "load", lambda name, **_: model_of(architecture))
    words = ["generate", "--device", "cpu", "--seeds", "0", "--runtime", "onnx", "--noise", "random"]
    with pytest.warns(UserWarning, match="has no effect") as notes:
        assert cli.run([*words, "--out", str(tmp_path)]) == 0
    said = [str(note.message).partition(" has no effect")[0] for note in notes]
    expected = {"stylegan2": (["runtime 'onnx'"], []), "dcgan": (["noise 'random'"], ["onnx"])}
    assert (said, called) == expected[architecture]


@pytest.mark.parametrize("wrong", [["--format", "gif"], ["--noise", "pink"]])
def test_the_command_prepares_no_runtime_for_wrong_words(
    wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = replaced(monkeypatch, onnx=lambda generator: generator.synthesis)
    monkeypatch.setattr(models, "load", lambda name, **_: model_of("stylegan2"))
    words = ["generate", "--device", "cpu", "--seeds", "0", "--runtime", "onnx", "--out", str(tmp_path)]
    assert f"{wrong[1]!r}: one of" in one_line(capsys, [*words, *wrong])
    assert called == []


# ---- batches of one size


def test_a_function_of_one_batch_size_does_for_any() -> None:
    sizes: list[int] = []

    def double(w: Tensor) -> Tensor:
        sizes.append(len(w))
        return 2 * w

    w = torch.arange(14.0).view(7, 1, 2)
    torch.testing.assert_close(in_batches(double, 3)(w), 2 * w, rtol=0, atol=0)
    torch.testing.assert_close(in_batches(double, 3)(w[:1]), 2 * w[:1], rtol=0, atol=0)
    assert sizes == [3, 3, 3, 3]


# ---- the fastest


def measured(monkeypatch: pytest.MonkeyPatch, times: dict[str, float]) -> None:
    """Makes `seconds_of` answer by a runtime's name; eager's bound method has none."""
    monkeypatch.setattr(runtimes, "seconds_of", lambda run, w: times[getattr(run, "called", "eager")])


def named(name: str, of: Callable[[Tensor], Tensor] | None = None) -> Callable[[Generator], Run]:
    def make(generator: Generator) -> Run:
        def run(w: Tensor) -> Tensor:
            return generator.synthesis(w) if of is None else of(generator.synthesis(w))

        run.called = name  # type: ignore[attr-defined]
        return run

    return make


@pytest.mark.parametrize(
    ("eager", "onnx", "compiled", "best"),
    [
        (1.0, 0.5, 0.7, "onnx"),
        (1.0, 0.7, 0.5, "compiled"),
        (1.0, 0.9, 2.0, "eager"),
        (1.0, 2.0, 2.0, "eager"),
    ],
)
def test_the_fastest_is_taken_if_it_is_clearly_faster_than_eager(
    eager: float,
    onnx: float,
    compiled: float,
    best: str,
    generator: Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced(monkeypatch, onnx=named("onnx"), compiled=named("compiled"))
    measured(monkeypatch, {"eager": eager, "onnx": onnx, "compiled": compiled})
    assert getattr(fastest(generator, 2, ["onnx", "compiled"]), "called", "eager") == best


def test_one_whose_pictures_differ_by_a_grey_level_is_not_taken(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, {"eager": 1.0, "onnx": 0.1})
    replaced(monkeypatch, onnx=named("onnx", lambda x: x + 1 / 127.5))
    assert fastest(generator, 2, ["onnx"]) is None
    replaced(monkeypatch, onnx=named("onnx", lambda x: x * torch.nan))
    assert fastest(generator, 3, ["onnx"]) is None
    replaced(monkeypatch, onnx=named("onnx", lambda x: x + 1e-6))
    assert fastest(generator, 4, ["onnx"]) is not None


def test_one_that_fails_is_not_taken(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(generator: Generator) -> Run:
        raise RuntimeError("no compiler")

    measured(monkeypatch, {"eager": 1.0, "onnx": 0.1})
    replaced(monkeypatch, compiled=fail, onnx=named("onnx"))
    assert getattr(fastest(generator, 2, ["compiled", "onnx"]), "called", "") == "onnx"


class Clock:
    """Stands in for the time module: a batch takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(
    ("pictures", "searched"),
    [(0, False), (8, False), (8 + 39, False), (8 + 40, True), (100_000, True)],
)
def test_auto_searches_where_preparing_takes_a_tenth_of_the_rest_at_most(
    pictures: int, searched: bool, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a second a picture, and a second to prepare: 40 pictures take ten times as long."""
    monkeypatch.setattr(runtimes, "time", Clock())
    called = replaced(monkeypatch, compiled=named("compiled"))
    auto = Auto(generator, 4, pictures)
    w = torch.zeros(4, 1, 8)
    auto(w)
    assert called == []  # the first batch warms up
    auto(w)
    auto(w)
    assert called == ["compiled"] * searched


def test_auto_runs_the_faster_one_from_then_on(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "time", Clock())
    replaced(monkeypatch, compiled=named("compiled", lambda x: x + 1e-4))
    measured(monkeypatch, {"eager": 1.0, "compiled": 0.1})
    auto = Auto(generator, 2, 10_000)
    w = torch.zeros(2, 1, 8)
    moved = [bool((auto(w) != generator.synthesis(w)).any()) for _ in range(4)]
    assert moved == [False, False, True, True]


def test_auto_of_few_pictures_imports_no_onnx(tiny_run: Path, tmp_path: Path) -> None:
    before = "onnxruntime" in sys.modules
    assert cli.run(["generate", "--model", str(tiny_run), "--seeds", "0-2", "--out", str(tmp_path)]) == 0
    assert ("onnxruntime" in sys.modules) == before


def test_the_command_says_how_many_pictures_there_will_be(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        "facegan.synthesis.prepare", lambda generator, *words, **how: given.append((words, how))
    )
    words = ["--model", str(tiny_run), "--seeds", "0-2,9", "--batch", "3", "--out", str(tmp_path)]
    assert cli.run(["generate", *words]) == 0
    assert given == [(("auto",), {"batch": 3, "pictures": 4})]


# ---- the real ones


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["dcgan", "stylegan2"])
def test_onnx_makes_the_eager_pictures_to_a_grey_level(architecture: str) -> None:
    eager = Sampler(model_of(architecture), device="cpu")
    fast = Sampler(model_of(architecture), device="cpu", batch=5, runtime="onnx")
    for seeds in (range(7), [3]):  # batches of 5, 2 and 1
        difference = fast.sample(seeds, psi=0.6).astype(int) - eager.sample(seeds, psi=0.6)
        assert np.abs(difference).max() <= 1


@pytest.mark.slow
def test_onnx_takes_as_many_threads_as_torch() -> None:
    from facegan.graphs import Session, Synthesis, onnx_model

    data = onnx_model(Synthesis(model_of("dcgan").generator)).SerializeToString()
    assert torch.get_num_threads() == 1  # conftest's
    assert Session(data)._session.get_session_options().intra_op_num_threads == 1
    torch.set_num_threads(2)
    try:
        assert Session(data)._session.get_session_options().intra_op_num_threads == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's, of its own code
def test_compiled_makes_the_eager_pictures_to_a_grey_level() -> None:
    expected = Sampler(model_of("dcgan"), device="cpu").sample(range(7))
    found = Sampler(model_of("dcgan"), device="cpu", batch=3, runtime="compiled").sample(range(7))
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's, of its own code
@pytest.mark.parametrize("runtime", ["onnx", "compiled"])
def test_a_replaced_model_is_freed_with_its_runtime(runtime: str) -> None:
    """Of ONNX the bare weights stay until the next export: onnxscript's optimiser keeps its last graph."""
    sampler = Sampler(model_of("dcgan"), device="cpu", batch=3, runtime=runtime)
    sampler.sample(range(3))
    alive: list[Any] = [ref(sampler.generator), ref(sampler._fast)]
    if runtime == "compiled":
        alive.append(ref(next(sampler.generator.parameters())))
    del sampler
    gc.collect()
    assert [each() is None for each in alive] == [True] * len(alive)


@pytest.mark.slow
def test_auto_finds_onnx_in_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "WORTHWHILE_SPEEDUP", 1e-9)  # whatever this machine does meanwhile
    monkeypatch.setattr(runtimes, "PREPARATION", {"onnx": 1e-4})
    monkeypatch.setattr(runtimes, "MOST_SPENT", 1.0)
    sampler = Sampler(model_of("stylegan2"), device="cpu", batch=2, runtime="auto", pictures=100)
    expected = Sampler(model_of("stylegan2"), device="cpu").sample(range(8))
    assert np.abs(sampler.sample(range(8)).astype(int) - expected).max() <= 1
    found: Any = sampler._fast
    assert found._run != sampler.generator.synthesis


@pytest.mark.slow
def test_the_command_runs_onnx(tiny_run: Path, tmp_path: Path) -> None:
    words = ["generate", "--model", str(tiny_run), "--device", "cpu", "--seeds", "0-2"]
    for runtime in ("eager", "onnx"):
        assert cli.run([*words, "--runtime", runtime, "--out", str(tmp_path / runtime)]) == 0
    for name in ("seed0000.png", "seed0002.png"):
        eager, onnx = (np.asarray(Image.open(tmp_path / r / name)).astype(int) for r in ("eager", "onnx"))
        assert np.abs(onnx - eager).max() <= 1
