"""How a generator is run: eager | compiled | onnx, behind one face: w -> float images, with constant noise.

    eager      torch, operation by operation: nothing to prepare
    onnx       ONNX Runtime, on the CPU in float32: some seconds to export, then the fastest on CPUs
    compiled   torch.compile: half a minute or more to compile
    auto       eager, unless so many pictures are wanted that looking for a faster one is worth it

    run = prepare(generator, "onnx", batch=8)       None: eager
    run(w)                                          w [N, num_ws, w_dim] -> images [N, C, H, W]

Only the synthesis is replaced: seeds, labels, truncation and mixing are what they are. A prepared runtime is
of the weights as they were.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from facegan.config import UsageError, choose, how_to_install
from facegan.graphs import ONNX_PACKAGES, Session, Synthesis, as_array, onnx_model
from facegan.networks import Generator
from facegan.runtime import WORTHWHILE_SPEEDUP

RUNTIMES = ("auto", "eager", "compiled", "onnx")
Run = Callable[[Tensor], Tensor]

# What preparing one takes, in seconds: for stylegan2-64-tiny with one thread (benchmarks/runtimes.py).
PREPARATION = {"onnx": 8.0, "compiled": 60.0}
MOST_SPENT = 0.1  # on preparing one, of the time that eager would take for everything
CLOSE = 0.25 / 127.5  # a quarter of a grey level: after rounding, pictures differ by one at most
TURNS = 5

Key = tuple[str, int, tuple[tuple[int, int], ...]]
# Both are weak: a compiled run holds its generator, and neither stays for having been prepared once.
_prepared: WeakKeyDictionary[Generator, WeakValueDictionary[Key, Run]] = WeakKeyDictionary()


def prepare(generator: Generator, runtime: str, *, batch: int, pictures: int = 0) -> Run | None:
    """The generator's synthesis in that runtime, made once for all who use it; None: eager.

    batch: how many pictures at a time; pictures: how many there will be, for "auto".

    Raises:
        UsageError: an unknown runtime, or one that is not for this device, precision or installation.
    """
    choose("runtime", runtime, RUNTIMES)
    if runtime == "auto":
        return Auto(generator, batch, pictures)
    return None if runtime == "eager" else _once(generator, runtime, batch)


class Auto:
    """w -> images: eager, until that has shown to take long for what there is to do, then the fastest.

    The second batch is timed (the first warms up), so that few pictures pay for nothing. A runtime is
    prepared and measured if that takes a tenth at most of what eager would take for the rest: a search that
    finds nothing makes the whole a tenth longer, and one that finds 1.2 times the speed makes it shorter.
    """

    def __init__(self, generator: Generator, batch: int, pictures: int) -> None:
        self._generator, self._batch, self._left = generator, batch, pictures
        self._calls = 0
        self._run: Run = generator.synthesis

    def __call__(self, w: Tensor) -> Tensor:
        """w [N, num_ws, w_dim] -> images [N, C, H, W]."""
        self._calls += 1
        self._left -= len(w)
        if self._calls != 2:
            return self._run(w)
        began = time.perf_counter()
        images = self._run(w)
        float(images.flatten()[0])  # waits for the device
        left = self._left * (time.perf_counter() - began) / len(w)
        names = [
            name
            for name, seconds in PREPARATION.items()
            if seconds <= MOST_SPENT * left and why_not(self._generator, name) is None
        ]
        if names:
            self._run = fastest(self._generator, self._batch, names) or self._run
        return images


def fastest(generator: Generator, batch: int, names: list[str]) -> Run | None:
    """Of eager and those runtimes the fastest at that batch, measured here; None: eager.

    One that fails, or whose pictures are not the same to a grey level, or that is not 1.2 times as fast as
    eager, is not taken.
    """
    w = _probe(generator, batch)
    best: Run | None = None
    limit = seconds_of(generator.synthesis, w) / WORTHWHILE_SPEEDUP
    for name in names:
        try:
            run = _once(generator, name, batch)
            with torch.inference_mode():
                if not (run(w) - generator.synthesis(w)).abs().max() <= CLOSE:
                    continue
        except Exception:  # exporters and compilers can fail in any way at all, and eager is as good
            continue
        seconds = seconds_of(run, w)
        if seconds < limit:
            best, limit = run, seconds
    return best


def seconds_of(run: Run, w: Tensor) -> float:
    """The median time of a batch, without the first, which warms up."""
    times = []
    with torch.inference_mode():
        for _ in range(TURNS + 1):
            began = time.perf_counter()
            run(w).cpu()  # waits for the device
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _probe(generator: Generator, batch: int) -> Tensor:
    """w of the same random numbers at every call."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(batch, generator.z_dim, generator=draw).to(generator.w_avg.device)
    label = z.new_zeros(batch, generator.label_dim) if generator.label_dim else None
    with torch.inference_mode():
        return generator.mapping(z, label)


def _once(generator: Generator, name: str, batch: int) -> Run:
    """The runtime; one of the same weights for the same batch that is in use already, where there is one."""
    kept = _prepared.setdefault(generator, WeakValueDictionary())
    weights = (*generator.parameters(), *generator.buffers())
    versions = (0 if weight.is_inference() else weight._version for weight in weights)
    key = name, batch, tuple(zip((weight.data_ptr() for weight in weights), versions, strict=True))
    run = kept.get(key)
    if run is None:
        with torch.inference_mode(False), torch.no_grad():  # exporters do not know that mode
            run = kept[key] = _MAKERS[name](generator, batch)
    return run


# ---- the runtimes


def why_not(generator: Generator, runtime: str) -> str | None:
    """Why that runtime cannot run this generator here, or None."""
    if runtime != "onnx":
        return None
    if generator.w_avg.device.type != "cpu" or generator.compute_dtype != torch.float32:
        return "it is for --device cpu and --precision fp32"
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    return f"{missing[0]} is not installed: {how_to_install('onnx')}" if missing else None


def _onnx(generator: Generator, batch: int) -> Run:
    why = why_not(generator, "onnx")
    if why is not None:
        raise UsageError(f"runtime 'onnx': {why}; or use --runtime eager")
    session = Session(onnx_model(Synthesis(generator)).SerializeToString())

    def run(w: Tensor) -> Tensor:
        return torch.from_numpy(session(w=as_array(w))[0])

    return run


def _compiled(generator: Generator, batch: int) -> Run:
    return in_batches(torch.compile(generator.synthesis, dynamic=False), batch)


def in_batches(run: Run, batch: int) -> Run:
    """Of a function that is for one size of batch one for any: every other size would be compiled anew.

    A last batch that is smaller is filled up with copies of its last row.
    """

    def whole(w: Tensor) -> Tensor:
        parts = []
        for part in torch.split(w, batch):
            filled = torch.cat([part, part[-1:].expand(batch - len(part), -1, -1)])
            parts.append(run(filled)[: len(part)])
        return torch.cat(parts)

    return whole


_MAKERS: dict[str, Callable[[Generator, int], Run]] = {"onnx": _onnx, "compiled": _compiled}
