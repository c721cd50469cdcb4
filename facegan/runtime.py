"""Where and how networks run: device, precision, memory layout."""

from __future__ import annotations

import ctypes
import sys
import time
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError, choose
from facegan.networks import Discriminator, Generator

Network = TypeVar("Network", Generator, Discriminator)

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
WORTHWHILE_SPEEDUP = 1.2  # of bfloat16 over float32; below it, the exacter one


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


def keep_freed_memory() -> bool:
    """Asks glibc to keep up to 1 GiB of what is freed for the next step; returns whether it will.

    As it comes, it gives large blocks back and fetches them anew, page by page, some 30,000 pages a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h; the most that is allowed is 32 MiB
    return bool(mallopt(mmap_threshold, 2**25) and mallopt(trim_threshold, 2**30))


def training_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The convolutions' precision for training; "auto" is bfloat16 where it is faster.

    That is on CUDA devices with units for it, from Ampere on, and elsewhere where a probe shows it. Weights,
    statistics, losses and the optimiser stay in float32 either way.
    """
    choose("precision", precision, PRECISIONS)
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if device.type == "cuda":  # a probe that is small enough would time the launching of kernels
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = bfloat16_speedup(device) > WORTHWHILE_SPEEDUP
    return torch.bfloat16 if is_faster else torch.float32


def sampling_dtype(precision: str) -> torch.dtype:
    """The convolutions' precision for sampling; "auto" is float32: a seed is the same picture everywhere."""
    choose("precision", precision, PRECISIONS)
    return torch.bfloat16 if precision == "bf16" else torch.float32


@lru_cache
def bfloat16_speedup(device: torch.device) -> float:
    """How many times faster than in float32 a convolution with its gradients is in bfloat16, measured here.

    The fastest of 15 turns each, some 0.2 s on a CPU, with one thread: on a busy machine all other times are
    of those who wait, and the same machine is to choose the same. 0 where bfloat16 does not work at all.
    CPUs are fast at it with AMX or AVX512-BF16.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        float32, bfloat16 = _Probe(device, torch.float32), _Probe(device, torch.bfloat16)
        times = [(float32.seconds(), bfloat16.seconds()) for _ in range(16)][1:]  # the first warms up
    except (RuntimeError, TypeError):  # how torch says that a device lacks a type
        return 0.0
    finally:
        torch.set_num_threads(threads)
    return min(a for a, _ in times) / min(b for _, b in times)


class _Probe:
    """A transposed convolution of 128 to 64 channels at 16 to 32 px, 2 images."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        def ones(*shape: int) -> Tensor:
            tensor = torch.ones(shape, dtype=dtype, device=device)
            return tensor.contiguous(memory_format=torch.channels_last).requires_grad_()

        self.device, self.image, self.weight = device, ones(2, 128, 16, 16), ones(128, 64, 4, 4)

    def seconds(self) -> float:
        """The time of one pass forward and backward."""
        began = time.perf_counter()
        torch.autograd.backward(F.conv_transpose2d(self.image, self.weight, stride=2, padding=1).sum())
        if self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - began


def place(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on the device, channels last, convolving in `dtype`; changes the network given."""
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    network.compute_dtype = dtype
    return network
