"""Training and sampling speed of a preset, in float32 and bfloat16, in one run.

plain   float32 in torch's default memory layout, as a textbook script would run; StyleGAN2 in the
        textbook's form (textbook.py)
fp32    float32, channels last
bf16    bfloat16, channels last

    python benchmarks/train_step.py --preset dcgan-64 [--seconds 10] [--json]
    python benchmarks/train_step.py --preset stylegan2-64 --channel-base 4096 --channel-max 256 --json

StyleGAN2's step is G's and D's main one, without penalties. The last line of JSON holds train_img_s,
sample_img_s, one_picture_ms and their baseline_... twins. Networks that grow are measured at their full size.

The cases take turns, step by step, and the median step counts, so that a machine whose speed drifts slows all
of them alike. Random pixels stand in for data: reading a batch from the memory map takes about a millisecond.
Refuses to run on a busy machine (load average above 0.5) unless --force: other processes distort the numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from machine import load_of_quiet_machine, seconds_each
from textbook import textbook, textbook_step

from facegan.config import override
from facegan.data import Dataset
from facegan.models import Model
from facegan.networks import build_generator
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.presets import preset
from facegan.run import Precision, Run
from facegan.runtimes import why_not
from facegan.synthesis import Sampler
from facegan.training.state import new_state, settled
from facegan.training.step import train_step


def at_full_size(run: Run) -> Run:
    """The run without growing: what its last and longest stage takes."""
    model = replace(run.model, grows=False) if isinstance(run.model, StyleGAN2Config) else run.model
    return replace(run, model=model, growth=None)


class RandomPictures:
    """Stands in for a Dataset: the same random pixels as every batch."""

    def __init__(self, run: Run) -> None:
        shape = (run.batch, *run.model.image_shape)
        self._pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))

    def stream(self, first: int, count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The same numbers for every batch."""
        return np.arange(count)

    def pictures(self, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> torch.Tensor:
        """uint8 [len(numbers), C, H, W]."""
        return self._pixels[numbers]

    def ahead(self, first: int, count: int, seed: int, rows: torch.Tensor) -> None:
        """They are there already."""


def training_step(run: Run, precision: str, *, plain: bool = False) -> Callable[[], None]:
    """One `train_step`; plain: in the default memory layout."""
    run = settled(replace(run, precision=cast(Precision, precision)))
    state, pictures, phases = new_state(run), cast(Dataset, RandomPictures(run)), run.loss.phases()
    if plain:
        for network in state.networks.values():
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            network.register_forward_pre_hook(_contiguous)

    def step() -> None:
        means = train_step(state, run, pictures, phases)
        float(next(iter(means.values())))  # waits for the device

    return step


def _contiguous(network: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])


def sampling(
    run: Run, precision: str, count: int = 32, *, plain: bool = False, runtime: str = "eager"
) -> Callable[[], None]:
    """So many pictures through Sampler.sample; plain: in the textbook's form."""
    model = Model(build_generator(run.model).eval().requires_grad_(False), run.model)
    sampler = Sampler(model, precision=precision, runtime=runtime, batch=count)
    if plain:
        sampler.generator = textbook(sampler.generator)

    def sample() -> None:
        sampler.sample(range(count))

    return sample


def stylegan2_result(run: Run, seconds: float) -> dict[str, object]:
    """facegan's speeds, in the best of its precisions and runtimes for each, beside the textbook's."""
    steps = {name: training_step(run, name) for name in ("fp32", "bf16")} | {"plain": textbook_step(run)}
    train = seconds_each(steps, seconds * len(steps))
    speeds: dict[str, dict[str, float]] = {}
    for count in (32, 1):
        cases = {name: sampling(run, name, count) for name in ("fp32", "bf16")}
        if why_not(build_generator(run.model), "onnx") is None:
            cases["onnx"] = sampling(run, "fp32", count, runtime="onnx")
        speeds[str(count)] = seconds_each(
            cases | {"plain": sampling(run, "fp32", count, plain=True)}, seconds
        )
    batch, single = speeds["32"], speeds["1"]

    def best(taken: dict[str, float]) -> float:
        return min(value for name, value in taken.items() if name != "plain")

    return {
        "train_img_s": round(run.batch / best(train), 2),
        "train_img_s_fp32": round(run.batch / train["fp32"], 2),
        "baseline_train_img_s": round(run.batch / train["plain"], 2),
        "train_ratio": round(train["plain"] / best(train), 2),
        "sample_img_s": round(32 / best(batch), 1),
        "sample_img_s_fp32": round(32 / batch["fp32"], 1),
        "baseline_sample_img_s": round(32 / batch["plain"], 1),
        "sample_ratio": round(batch["plain"] / best(batch), 2),
        "one_picture_ms": round(1000 * best(single), 2),
        "one_picture_ms_fp32": round(1000 * single["fp32"], 2),
        "one_picture_by": min((name for name in single if name != "plain"), key=lambda name: single[name]),
        "baseline_one_picture_ms": round(1000 * single["plain"], 2),
        "one_picture_ratio": round(single["plain"] / best(single), 2),
    }


def main() -> None:
    """Prints a table, or one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="dcgan-64")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--channel-base", type=int)
    parser.add_argument("--channel-max", type=int)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each case")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    load = load_of_quiet_machine(force=arguments.force)
    run = at_full_size(preset(arguments.preset).run)
    given = {"model.channel_base": arguments.channel_base, "model.channel_max": arguments.channel_max}
    given |= {"batch": arguments.batch, "micro_batch": arguments.batch}
    run = override(run, [f"{name}={value}" for name, value in given.items() if value is not None])
    result: dict[str, object] = {
        "preset": arguments.preset,
        "batch": run.batch,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "amx": torch.cpu._is_amx_tile_supported(),
        "load_before": round(load, 2),
    }
    if isinstance(run.model, StyleGAN2Config):
        main_only = override(run, ["loss.r1_gamma=0", "loss.path_length_weight=0"])
        report(result | stylegan2_result(main_only, arguments.seconds), as_json=arguments.json)
        return
    steps = {
        "plain": training_step(run, "fp32", plain=True),
        "fp32": training_step(run, "fp32"),
        "bf16": training_step(run, "bf16"),
    }
    taken = seconds_each(steps, arguments.seconds * len(steps))
    for name, seconds in taken.items():
        result[f"train_img_s_{name}"] = round(run.batch / seconds, 1)
    result["train_ratio_bf16_plain"] = round(taken["plain"] / taken["bf16"], 2)
    result["train_ratio_bf16_fp32"] = round(taken["fp32"] / taken["bf16"], 2)
    samplers = {precision: sampling(run, precision) for precision in ("fp32", "bf16")}
    for name, seconds in seconds_each(samplers, arguments.seconds).items():
        result[f"sample_img_s_{name}"] = round(32 / seconds, 1)
    report(result, as_json=arguments.json)


def report(result: dict[str, object], *, as_json: bool) -> None:
    """Prints one line of JSON, or a line a value."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
