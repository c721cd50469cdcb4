"""Where and how networks run: device, precision, memory layout."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TypeVar

import torch

from facegan.config import UsageError, choose
from facegan.networks import Discriminator, Generator

Network = TypeVar("Network", Generator, Discriminator)

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        UsageError: unknown, or not on this machine.
    """
    choose("device", name, DEVICES)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available[name]:
        raise UsageError(f"device {name!r}: not on this machine; use --device auto or cpu")
    return torch.device(name)


def training_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The convolutions' precision for training; "auto" is bfloat16 where the hardware multiplies it fast.

    Weights, statistics, losses and the optimiser stay in float32 either way.
    """
    choose("precision", precision, PRECISIONS)
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def sampling_dtype(precision: str) -> torch.dtype:
    """The convolutions' precision for sampling; "auto" is float32: a seed is the same picture everywhere."""
    choose("precision", precision, PRECISIONS)
    return torch.bfloat16 if precision == "bf16" else torch.float32


@lru_cache
def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16: CUDA from Ampere on, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def place(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on the device, channels last, convolving in `dtype`; changes the network given."""
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    network.compute_dtype = dtype
    return network


def exact_convolutions() -> AbstractContextManager[None]:
    """A block in which CUDA's float32 convolutions are float32 (no TF32) and repeatable, as the CPU's are."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
