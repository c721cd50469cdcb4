"""Networks compiled by torch.compile for the main phases of a step, after a test against the eager ones.

A compiled network can be differentiated once, so gradient and path length penalties stay eager. D has two
forms: in its own phase its weights get gradients, in G's they are constants, which saves their part of the
backward pass (a compiled one would compute it and throw it away).

The self-test compares values and gradients of every form with those of eager float32. In bfloat16 the eager
gradients are a twentieth and more away from these, and compiled ones, which round elsewhere, about as much.
Where the test fails, or the compiler does, training goes on with eager networks and says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from facegan.networks import Discriminator, Generator
from facegan.networks.base import Stage
from facegan.randomness import Purpose, torch_generator
from facegan.run import Run
from facegan.training.state import Forms, TrainState, eager, trainable

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}  # relative, of a whole tensor
ROUNDINGS = 3.0  # gradients: or this many times the most that an eager one is off; right ones were up to 2.5
NOTE = "training goes on with eager networks, which are slower"


class Mismatch(ValueError):
    """A compiled network does not compute what the eager one does."""


def compiled_forms(state: TrainState, run: Run, warn: Callable[[str], None]) -> Forms | None:
    """Compiled forms that passed the test; None where there are none, and warn says why."""
    forms = compiled(state.generator, state.discriminator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's, of its own code
            require_equal(state, run, forms)
    except Mismatch as error:
        warn(f"compiled networks are wrong on this machine: {error}; {NOTE}")
        return None
    except Exception as error:  # a compiler can fail in any way at all
        line = str(error).strip().splitlines()
        warn(f"torch.compile failed ({type(error).__name__}: {line[0] if line else ''}); {NOTE}")
        return None
    return forms


def compiled(generator: Generator, discriminator: Discriminator, backend: str = "inductor") -> Forms:
    """The networks through torch.compile; every batch has the same shape."""

    def judge(image: Tensor, label: Tensor | None, stage: Stage | None) -> Tensor:
        constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
        logits: Tensor = functional_call(discriminator, constants, (image, label, stage))
        return logits

    functions = generator.synthesis, discriminator, judge
    return Forms(*(torch.compile(function, dynamic=False, backend=backend) for function in functions))


def require_equal(state: TrainState, run: Run, forms: Forms) -> None:
    """Raises Mismatch where a form's value or gradient is too far from eager float32; changes no state."""
    plain = eager(state.generator, state.discriminator)
    buffers = {
        network: {name: value.clone() for name, value in network.named_buffers()}
        for network in state.networks.values()
    }
    dtype = state.generator.compute_dtype
    try:
        eager_values = exact = _probe(state, run, plain)
        if dtype != torch.float32:
            _convolve_in(state, torch.float32)
            exact = _probe(state, run, plain)
            _convolve_in(state, dtype)
        own = [_distance(value, exact[name]) for name, value in eager_values.items() if "gradients" in name]
        for name, value in _probe(state, run, forms).items():
            error, allowed = _distance(value, exact[name]), TOLERANCE[run.precision]
            if "gradients" in name:
                allowed = max(allowed, ROUNDINGS * max(own))
            if not error <= allowed:  # nor if it is not a number
                raise Mismatch(f"{name} differ by {error:.1e} of their norm, more than {allowed:.1e}")
    finally:
        _convolve_in(state, dtype)
        for network, values in buffers.items():
            for name, value in network.named_buffers():
                value.copy_(values[name])  # BatchNorm's statistics have moved


def _convolve_in(state: TrainState, dtype: torch.dtype) -> None:
    for network in state.networks.values():
        network.compute_dtype = dtype


def _distance(value: Tensor, of: Tensor) -> float:
    """Of two rows, in the second one's norm."""
    return float((value - of).norm() / of.norm().clamp_min(1e-12))


def _probe(state: TrainState, run: Run, forms: Forms) -> dict[str, Tensor]:
    """Images, logits and gradients of a micro-batch of random latents, noise and images, flat, float32.

    Whatever training will ask for: styles of one w and of two, images with a graph and without.
    """
    generator, discriminator, device = state.generator, state.discriminator, state.device
    draw: dict[str, Any] = {
        "generator": torch_generator(run.seed, 0, Purpose.CALIBRATION, device),
        "device": device,
    }
    count, found = run.micro_batch, {}
    z = torch.randn(count, generator.z_dim, **draw)
    label = torch.rand(count, generator.label_dim, **draw) if generator.label_dim else None
    noise = [torch.randn(count, *shape, **draw) for shape in generator.noise_shapes()]
    shape = count, *generator.image_shape
    target = torch.randn(shape, **draw)
    shown = torch.randn(shape, **draw).contiguous(memory_format=torch.channels_last)

    def styled(of: str) -> Tensor:
        w = generator.mapping(z, label)
        return (
            w if of == "one w" else torch.cat([w[:, :1], generator.mapping(z.flip(0), label)[:, 1:]], dim=1)
        )

    for styles in ("one w", "two w") if run.loss.mixing > 0 and generator.num_ws > 1 else ("one w",):
        w = styled(styles)
        image = found[f"G's images of {styles}"] = forms.synthesis(w, noise)
        both = _gradients((image * target).mean(), w, generator)
        found |= {f"{of}'s gradients, {styles}": row for of, row in zip("wG", both, strict=True)}
        w = styled(styles)
        both = _gradients(
            F.softplus(-forms.judge(forms.synthesis(w, noise), label, None)).mean(), w, generator
        )
        found |= {f"{of}'s gradients through D, {styles}": row for of, row in zip("wG", both, strict=True)}
        with torch.no_grad():
            found[f"G's images of {styles}, no graph"] = forms.synthesis(styled(styles), noise)
    logits = found["D's logits"] = forms.discriminate(shown, label, None)
    _, found["D's gradients"] = _gradients(F.softplus(logits).mean(), shown, discriminator)
    return {name: value.detach().float().flatten() for name, value in found.items()}


def _gradients(loss: Tensor, source: Tensor, network: nn.Module) -> tuple[Tensor, Tensor]:
    """The gradients by what a network was given, 0 if it needs none, and by all its weights, in one row."""
    weights = trainable(network)
    inputs = [source, *weights] if source.requires_grad else weights
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    by_source = gradients[0] if source.requires_grad else None
    row = [g.float().flatten() for g in gradients[len(inputs) - len(weights) :] if g is not None]
    return torch.zeros_like(source) if by_source is None else by_source, torch.cat(row)
