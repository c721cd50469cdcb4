"""Networks compiled by torch.compile for the main phases of a step, after a test against the eager ones.

A compiled network can be differentiated once, so gradient and path length penalties stay eager. D has two
forms: in its own phase its weights get gradients, in G's they are constants, which saves their part of the
backward pass (a compiled one would compute it and throw it away).

The self-test compares values and gradients of every form. Where it fails, or the compiler does, training goes
on with eager networks and says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from facegan.networks import Discriminator, Generator
from facegan.presets import Run
from facegan.randomness import Purpose, torch_generator
from facegan.training.state import Forms, TrainState, eager

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}  # relative, of a whole tensor; fused kernels round less often
NOTE = "training goes on with eager networks, which are slower; --set compile=no says nothing of it"


class Mismatch(ValueError):
    """A compiled network does not compute what the eager one does."""


def choose_forms(state: TrainState, run: Run, warn: Callable[[str], None]) -> Forms:
    """Compiled forms if run.compile is "yes" and they pass the test, else eager ones; warn says why."""
    plain = eager(state.generator, state.discriminator)
    if run.compile != "yes":
        return plain
    forms = compiled(state.generator, state.discriminator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's, of its own code
            require_equal(state, run, forms)
    except Mismatch as error:
        warn(f"compiled networks are wrong on this machine: {error}; {NOTE}")
        return plain
    except Exception as error:  # a compiler can fail in any way at all
        line = str(error).strip().splitlines()
        warn(f"torch.compile failed ({type(error).__name__}: {line[0] if line else ''}); {NOTE}")
        return plain
    return forms


def compiled(generator: Generator, discriminator: Discriminator, backend: str = "inductor") -> Forms:
    """The networks through torch.compile; every batch has the same shape."""

    def judge(image: Tensor) -> Tensor:
        constants = {name: weight.detach() for name, weight in discriminator.named_parameters()}
        logits: Tensor = functional_call(discriminator, constants, (image,))
        return logits

    functions = generator.synthesis, discriminator, judge
    return Forms(*(torch.compile(function, dynamic=False, backend=backend) for function in functions))


def require_equal(state: TrainState, run: Run, forms: Forms) -> None:
    """Raises Mismatch where a form's value or gradient differs from its eager twin's; changes no state."""
    plain = eager(state.generator, state.discriminator)
    buffers = {
        network: {name: value.clone() for name, value in network.named_buffers()}
        for network in state.networks.values()
    }
    try:
        for name, value, expected in zip(
            ("G's images", "G's gradient", "D's logits", "D's gradient", "G's gradient through D"),
            _probe(state, run, forms),
            _probe(state, run, plain),
            strict=True,
        ):
            error = float((value - expected).norm() / expected.norm().clamp_min(1e-12))
            if not error <= TOLERANCE[run.precision]:  # nor if it is not a number
                raise Mismatch(f"{name} differ by {error:.1e} of their norm")
    finally:
        for network, values in buffers.items():
            for name, value in network.named_buffers():
                value.copy_(values[name])  # BatchNorm's statistics have moved


def _probe(state: TrainState, run: Run, forms: Forms) -> list[Tensor]:
    """Images, logits and gradients of one micro-batch of random latents, noise and images, flat, float32."""
    generator, discriminator, device = state.generator, state.discriminator, state.device
    random: dict[str, Any] = {
        "generator": torch_generator(run.seed, 0, Purpose.CALIBRATION, device),
        "device": device,
    }
    count = run.micro_batch
    w = generator.mapping(torch.randn(count, generator.z_dim, **random)).detach()
    noise = [torch.randn(count, *shape, **random) for shape in generator.noise_shapes()]
    image = forms.synthesis(w, noise)
    target = torch.randn(image.shape, **random)
    of_g = _gradient((image * target).mean(), generator)
    shown = torch.randn(image.shape, **random).contiguous(memory_format=torch.channels_last)
    logits = forms.discriminate(shown)
    of_d = _gradient(nn.functional.softplus(logits).mean(), discriminator)
    image = forms.synthesis(w, noise)
    through_d = _gradient(nn.functional.softplus(-forms.judge(image)).mean(), generator)
    return [value.detach().float().flatten() for value in (image, of_g, logits, of_d, through_d)]


def _gradient(loss: Tensor, network: nn.Module) -> Tensor:
    """The gradient by all weights of a network, in one row."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat([gradient.float().flatten() for gradient in gradients if gradient is not None])
