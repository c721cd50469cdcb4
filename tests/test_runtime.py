"""Where and how networks run: the automatic choice of precision (facegan.runtime)."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from facegan import runtime
from facegan.networks.base import exact_convolutions
from facegan.run import Run
from facegan.training.state import settled

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("speedup", "precision"), [(3.0, "bf16"), (1.21, "bf16"), (1.19, "fp32"), (0.1, "fp32"), (0.0, "fp32")]
)
def test_automatic_precision_is_bfloat16_where_the_probe_found_it_faster(
    speedup: float, precision: str, tiny_run_config: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "bfloat16_speedup", lambda device: speedup)
    assert settled(replace(tiny_run_config, precision="auto")).precision == precision


@pytest.mark.parametrize(("has_units", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_on_cuda_automatic_precision_is_bfloat16_where_there_are_units_for_it(
    has_units: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without them only emulates it; none is timed."""

    def supported(including_emulation: bool = True) -> bool:
        return has_units or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(runtime, "bfloat16_speedup", None)
    assert runtime.training_dtype("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_is_not_probed(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "bfloat16_speedup", None)
    expected = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert runtime.training_dtype(precision, CPU) == expected


def test_the_probe_measures_and_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    assert runtime.bfloat16_speedup.__wrapped__(CPU) > 0
    assert torch.get_num_threads() == before


def test_the_probe_compares_the_fastest_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # the first turn warms up; on a busy machine most of the others are interrupted
    times = {torch.float32: iter([1, *[900] * 8, 6, *[7] * 6]), torch.bfloat16: iter([1, 3, *[500] * 14])}

    class Probe:
        def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
            self.seconds = times[dtype].__next__

    monkeypatch.setattr(runtime, "_Probe", Probe)
    assert runtime.bfloat16_speedup.__wrapped__(CPU) == 2.0


def test_a_device_without_bfloat16_has_no_speed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device, dtype: torch.dtype) -> None:
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr(runtime, "_Probe", refuse)
    assert runtime.bfloat16_speedup.__wrapped__(CPU) == 0.0
    assert torch.get_num_threads() == 1  # conftest's


def test_exact_convolutions_of_two_threads_may_end_in_any_order() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    assert before == (True, False)
    first, second = exact_convolutions(), exact_convolutions()
    for enter in (first, second):
        enter.__enter__()
    for leave, flags in ((first, (False, True)), (second, before)):
        assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
        leave.__exit__(None, None, None)
        assert (cudnn.allow_tf32, cudnn.deterministic) == flags


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems' allocators are left alone")
def test_freed_memory_is_used_again_without_a_page_fault() -> None:
    resource = pytest.importorskip("resource")
    if not runtime.keep_freed_memory():
        pytest.skip("another C library than glibc")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            torch.ones(2**21)  # 8 MiB, 2,048 pages
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    faults()
    assert faults() < 2_048
