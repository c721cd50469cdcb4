"""A generator as a fixed program, for what runs without facegan: torch.export, ONNX.

    Faces(G, "z")    z [N, z_dim], psi [] [, label [N, label_dim]]    -> images, float_images
    Faces(G, "w")    w [N, num_ws, w_dim], psi [] [, label]           -> images, float_images
    Mapping(G)       z [, label]                                      -> w, not truncated
    Synthesis(G)     w                                                -> float_images

    images uint8 [N, H, W, C] as facegan.images.to_uint8 makes them, float_images float32 [N, C, H, W]

Any batch N, constant noise, float32. `label` is there for models that know labels; of a start at w only where
truncation needs it, which is a DCGAN's, whose w holds the label.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facegan.config import UsageError, how_to_install
from facegan.networks import Generator

Space = Literal["z", "w"]
OPSET = 20
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_BATCH_OF_EXAMPLES = 2  # 0 and 1 would become constants of the program


class Program(nn.Module):
    """A function of a generator: `examples` are its inputs by name, `outputs` the names of its results."""

    examples: dict[str, Tensor]
    outputs: tuple[str, ...]

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.eval()

    def export(self) -> torch.export.ExportedProgram:
        """The program that torch.export makes of it, for any batch."""
        batch = torch.export.Dim("batch")
        shapes = tuple({0: batch} if value.ndim else {} for value in self.examples.values())
        with _quiet():
            return torch.export.export(self, tuple(self.examples.values()), dynamic_shapes=shapes)

    def _inputs(self, *names: str) -> dict[str, Tensor]:
        g, batch = self.generator, _BATCH_OF_EXAMPLES
        examples = {
            "z": torch.zeros(batch, g.z_dim),
            "w": torch.zeros(batch, g.num_ws, g.w_dim),
            "psi": torch.tensor(1.0),
            "label": torch.zeros(batch, g.label_dim),
        }
        return {name: examples[name] for name in names}


class Faces(Program):
    """z or w, psi [, label] -> pictures, truncated: G(centre + psi (w - centre))."""

    outputs = ("images", "float_images")

    def __init__(self, generator: Generator, start: Space = "z") -> None:
        super().__init__(generator)
        self.start = start
        w_holds_label = type(generator).centre is not Generator.centre
        takes_label = generator.label_dim > 0 and (start == "z" or w_holds_label)
        self.examples = self._inputs(start, "psi", *["label"] * takes_label)

    def forward(self, latent: Tensor, psi: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w = self.generator.mapping(latent, label) if self.start == "z" else latent
        centre = self.generator.centre(label)
        image = self.generator.synthesis(centre + psi * (w - centre))
        pixels = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1), image


class Mapping(Program):
    """z [, label] -> w."""

    outputs = ("w",)

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        self.examples = self._inputs("z", *["label"] * (generator.label_dim > 0))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.generator.mapping(z, label)


class Synthesis(Program):
    """w -> the picture as float32."""

    outputs = ("float_images",)

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        self.examples = self._inputs("w")

    def forward(self, w: Tensor) -> Tensor:
        return self.generator.synthesis(w)


# ---- ONNX


def require_onnx(what: str) -> None:
    """Checks that the packages are there.

    Raises:
        UsageError: one is not; `what` is what needs it.
    """
    for package in ONNX_PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError(f"{what} needs {error.name}: {how_to_install('onnx')}") from None


def onnx_model(program: Program) -> Any:
    """The program as an onnx.ModelProto, for any batch.

    Raises:
        UsageError: a package is missing.
    """
    require_onnx("ONNX")
    exported = program.export()
    with _quiet():
        result = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(program.examples),
            output_names=list(program.outputs),
            verbose=False,
        )
    assert result is not None  # None is what the old exporter returns
    proto = result.model_proto
    del proto.graph.value_info[:]  # of what is between: readers work it out themselves
    for value in (*proto.graph.input, *proto.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:  # torch's own name, such as s81
                size.dim_param = "batch"
    return proto


class Session:
    """An ONNX model, from its bytes, run on the CPU with as many threads as torch has."""

    def __init__(self, model: bytes) -> None:
        require_onnx("running ONNX")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors: its warnings are of its own rewriting of the graph
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, **inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The outputs, in their order."""
        outputs: list[npt.NDArray[Any]] = self._session.run(None, inputs)
        return outputs


def as_array(tensor: Tensor) -> npt.NDArray[np.float32]:
    """The tensor as a contiguous array on the CPU, as sessions take it."""
    array: npt.NDArray[np.float32] = tensor.detach().float().cpu().contiguous().numpy()
    return array


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own code, and on packages that it can do without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
