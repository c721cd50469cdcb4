"""Compiled networks: used where they pass the test against the eager ones, and loudly not where they fail."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_stylegan2 import small_run
from states import flat
from torch import Tensor

from facegan.data import Dataset, open_dataset
from facegan.labels import Attribute, LabelSpace
from facegan.run import Run
from facegan.training import compiled
from facegan.training.compiled import Mismatch, compiled_forms, require_equal
from facegan.training.loop import train
from facegan.training.run_folder import RunFolder
from facegan.training.state import Forms, TrainState, new_state, settled
from facegan.training.step import train_step


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return replace(small_run(picture_folder), compile="yes")


@pytest.fixture
def dataset(run: Run) -> Dataset:
    return open_dataset(run.data, resolution=8, channels=3)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


def stand_in(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """`compiled` gives eager forms, some of them changed: name=function of the eager form."""

    def compile_(generator: Any, discriminator: Any) -> Forms:
        forms = compiled.eager(generator, discriminator)
        return replace(forms, **{name: change(getattr(forms, name)) for name, change in changed.items()})

    monkeypatch.setattr(compiled, "compiled", compile_)


def scaled(factor: float) -> Any:
    """A form whose values and gradients are factor times those of another."""
    return lambda form: lambda *given: form(*given) * factor


def one_gradient_scaled(factor: float) -> Any:
    """A form with the values of another, but factor times its gradients."""

    def change(form: Any) -> Any:
        def wrong(*given: Any) -> Tensor:
            value: Tensor = form(*given)
            return value * factor + (value * (1 - factor)).detach()

        return wrong

    return change


def test_equal_forms_are_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, synthesis=lambda form: lambda *given: form(*given))
    assert compiled_forms(new_state(run), run, pytest.fail) is not None


@pytest.mark.parametrize("name", ["synthesis", "discriminate", "judge"])
@pytest.mark.parametrize("wrong", [scaled(1.01), scaled(float("nan")), one_gradient_scaled(1.01)])
def test_a_wrong_form_is_refused_with_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any
) -> None:
    stand_in(monkeypatch, **{name: wrong})
    said: list[str] = []
    assert compiled_forms(new_state(run), run, said.append) is None
    assert len(said) == 1
    assert "compiled networks are wrong on this machine" in said[0]


def no_gradient_to_w(form: Any) -> Any:
    """A synthesis whose w, a mixture, gets no gradient; all else is right."""
    return lambda w, noise: form(w if 0 in w.stride() else w.detach(), noise)


def without_graph_wrong(form: Any) -> Any:
    """A synthesis that is wrong only where no gradient is wanted."""
    return lambda w, noise: form(w, noise) * (1.0 if torch.is_grad_enabled() else 1.1)


@pytest.mark.parametrize("wrong", [no_gradient_to_w, without_graph_wrong])
def test_every_form_that_training_asks_for_is_tested(
    run: Run, monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    stand_in(monkeypatch, synthesis=wrong)
    said: list[str] = []
    assert compiled_forms(new_state(run), run, said.append) is None
    assert "differ" in said[0]


def in_float32(form: Any) -> Any:
    """A form in bfloat16 that is fused as far as it can be: nothing is rounded on the way."""
    network = getattr(form, "__self__", form)

    def fused(*given: Any) -> Tensor:
        network.compute_dtype = torch.float32
        try:
            value: Tensor = form(*given)
        finally:
            network.compute_dtype = torch.bfloat16
        return value

    return fused


def test_forms_that_round_less_than_eager_bfloat16_are_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(run, precision="bf16")
    state = new_state(run)
    stand_in(monkeypatch, synthesis=in_float32, discriminate=in_float32, judge=in_float32)
    assert compiled_forms(state, run, pytest.fail) is not None
    assert {network.compute_dtype for network in state.networks.values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["synthesis", "discriminate", "judge"])
@pytest.mark.parametrize("wrong", [scaled(1.5), scaled(float("nan")), one_gradient_scaled(1.5)])
def test_a_wrong_form_is_refused_in_bfloat16_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any
) -> None:
    run = replace(run, precision="bf16")
    stand_in(monkeypatch, **{name: wrong})
    said: list[str] = []
    assert compiled_forms(new_state(run), run, said.append) is None
    assert "compiled networks are wrong on this machine" in said[0]


def fails(*given: Any) -> Tensor:
    raise RuntimeError("no C++ compiler\nand more")


def test_a_compiler_that_fails_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, judge=lambda form: fails)
    said: list[str] = []
    assert compiled_forms(new_state(run), run, said.append) is None
    assert "torch.compile failed (RuntimeError: no C++ compiler); training goes on" in said[0]


def test_training_calls_the_compiled_forms(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(form: Any) -> Any:
        return lambda *given: (calls.append(1), form(*given))[1]

    stand_in(monkeypatch, synthesis=counted)
    train(replace(run, total_images=16), tmp_path / "run")
    in_the_test = 6  # three of each kind of w
    assert len(calls) == in_the_test + 2  # one a step: both phases use the same fakes


@pytest.mark.filterwarnings("ignore:torch.compile failed")
def test_a_run_whose_compiler_failed_goes_on_eagerly_and_so_does_its_resume(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, judge=lambda form: fails)
    folder = RunFolder(tmp_path / "run")
    assert train(replace(run, total_images=16), folder.path).finished
    assert folder.read_config().compile == "no"
    monkeypatch.setattr(compiled, "compiled", None)
    train(folder.read_config(), folder.path, resume=True)


def test_without_compile_nothing_is_compiled(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "compiled", None)
    train(replace(run, compile="no", total_images=8), tmp_path / "run")


def test_a_run_from_before_compiling_resumes(run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    train(replace(run, compile="no", total_images=8), folder.path)
    config = folder.path / "run.json"
    stored = json.loads(config.read_text())
    del stored["compile"]
    config.write_text(json.dumps(stored))
    train(folder.read_config(), folder.path, resume=True)


def test_a_cpu_does_not_compile_unless_asked(run: Run) -> None:
    assert settled(replace(run, compile="auto")).compile == "no"
    assert settled(run).compile == "yes"


@pytest.mark.parametrize("name", ["discriminate", "judge"])
def test_networks_with_labels_and_frozen_layers_are_tested_as_well(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    labels = LabelSpace((Attribute("hat", ("cap", "fez")),))
    run = replace(run, model=replace(run.model, labels=labels), init="some", freeze_d=2)  # type: ignore[type-var]
    stand_in(monkeypatch, synthesis=lambda form: form)
    assert compiled_forms(new_state(run), run, pytest.fail) is not None
    stand_in(monkeypatch, **{name: lambda form: lambda image, label, stage: form(image, label * 0, stage)})
    said: list[str] = []
    assert compiled_forms(new_state(run), run, said.append) is None
    assert "differ" in said[0]


def test_the_test_changes_no_state(tiny_run_config: Run) -> None:
    """DCGAN's BatchNorm would keep statistics of it."""
    run = replace(tiny_run_config, micro_batch=16)
    state = new_state(run)
    before = copy.deepcopy(flat(state.parts()))
    require_equal(state, run, state.forms)
    with pytest.raises(Mismatch):
        require_equal(state, run, replace(state.forms, judge=scaled(2.0)(state.forms.judge)))
    after = flat(state.parts())
    assert all(torch.equal(after[name], value) for name, value in before.items() if isinstance(value, Tensor))


def compiled_state(run: Run, backend: str) -> TrainState:
    state = new_state(run)
    state.compiled = compiled.compiled(state.generator, state.discriminator, backend)
    return state


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's, of its own code
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_steps_are_eager_steps(
    run: Run, dataset: Dataset, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With R1, path length, mixing; in two parts and with labels too, where D's fakes have no graph."""
    main_only = replace(run.loss, r1_gamma=0.0, path_length_weight=0.0)  # type: ignore[type-var]
    for micro_batch, labels in ((8, LabelSpace()), (4, LabelSpace((Attribute("class", ("a", "b")),)))):
        run = replace(run, micro_batch=micro_batch, model=replace(run.model, labels=labels))  # type: ignore[type-var]
        monkeypatch.setattr(Dataset, "label_vectors", lambda self, space, numbers: torch.eye(2)[numbers % 2])
        eager, fast = new_state(run), compiled_state(run, backend)
        require_equal(fast, run, fast.forms)
        for loss in (run.loss, run.loss, main_only):  # the last leaves the main phases' gradients
            expected = train_step(eager, run, dataset, loss.phases())
            terms = train_step(fast, run, dataset, loss.phases())
            for name, value in expected.items():
                assert torch.allclose(terms[name], value, rtol=1e-3, atol=1e-5), name
        for player, network in eager.networks.items():
            got = dict(fast.networks[player].named_parameters())
            for name, parameter in network.named_parameters():
                difference = (got[name].grad - parameter.grad).norm()  # type: ignore[operator]
                assert difference <= 0.02 * parameter.grad.norm() + 1e-7, name  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's, of its own code
@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_dcgan_passes_the_test(tiny_run_config: Run) -> None:
    assert compiled_forms(new_state(tiny_run_config), tiny_run_config, pytest.fail) is not None
