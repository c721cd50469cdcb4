"""Arrays of numbers in a pickle: numpy's and PyTorch's, described first, read when somebody asks for them.

    Array, Tensor      .shape, .nbytes, .read() -> float32, C order
    CONSTRUCTORS       what makes them, and plain containers, for pickles.read_pickle

What is described must be there: shapes are compared with the bytes that the file really has, strides are not
negative, no element lies outside its storage, and no tensor has more elements than that. Nor are the sizes
of one without elements beyond what numpy takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from facegan.config import UsageError
from facegan.interop.inert import Budget, Constructor, Global, checked_key, damaged

Floats = npt.NDArray[np.float32]
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**48  # counted without the sizes that are 0
_NUMPY_TYPES = (
    "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1",
)  # fmt: skip
# PyTorch's storage classes; bfloat16 is the upper half of a float32
_STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?", "UntypedStorage": "u1",
}  # fmt: skip


class Numbers(Protocol):
    """An array in the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""

    def read(self) -> Floats:
        """The numbers as float32, a copy in C order."""


# ---- PyTorch


class Storage:
    """The memory of tensors: `count` numbers of a kind; their bytes may come later in the file."""

    def __init__(self, storage_class: object, count: object) -> None:
        known = isinstance(storage_class, Global) and storage_class.module in ("torch", "torch.storage")
        name = storage_class.name if known and isinstance(storage_class, Global) else ""
        if name not in _STORAGES:
            raise damaged(f"a tensor of {_named(storage_class)}")
        self.kind, self.count = _STORAGES[name], _size(count)
        self.itemsize = 2 if self.kind == "bfloat16" else np.dtype(self.kind).itemsize
        self.data: memoryview | None = None

    def fill(self, data: memoryview) -> None:
        """Gives it its bytes.

        Raises:
            UsageError: another number than it was declared with.
        """
        if len(data) != self.count * self.itemsize:
            raise damaged(f"a tensor's storage of {self.count:,} numbers has {len(data):,} bytes")
        self.data = data


class Tensor:
    """A view of a storage: element [i, j, ...] is number offset + i stride_0 + j stride_1 + ..."""

    def __init__(self, storage: object, offset: object, shape: object, strides: object) -> None:
        if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
            raise damaged("a tensor without a storage, shape and strides")
        if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
            raise damaged(f"a tensor of {len(shape)} dimensions with {len(strides)} strides")
        self.storage, self.offset = storage, _size(offset)
        self.shape, self.strides = tuple(map(_size, shape)), tuple(map(_size, strides))
        count = math.prod(self.shape)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        beyond = math.prod(filter(None, self.shape)) > MAX_ELEMENTS
        if beyond or (count and (last >= storage.count or count > storage.count)):
            raise damaged(f"a tensor of shape {self.shape} in a storage of {storage.count:,} numbers")
        self.nbytes = count * storage.itemsize

    def read(self) -> Floats:
        """The numbers as float32.

        Raises:
            UsageError: the file ended before its storage.
        """
        if self.storage.data is None:
            raise damaged("a tensor whose numbers are not in the file")
        kind = "<u2" if self.storage.kind == "bfloat16" else self.storage.kind
        flat = np.frombuffer(self.storage.data, kind)[self.offset if self.nbytes else 0 :]
        steps = [stride * self.storage.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(flat, self.shape, steps, writeable=False)
        if self.storage.kind == "bfloat16":
            return np.array((view.astype(np.uint32) << 16).view(np.float32), order="C", ndmin=len(self.shape))
        return _as_floats(view)


def _rebuild_tensor(args: tuple[Any, ...], _: Budget) -> Tensor:
    return Tensor(*args[:4])


def _rebuild_parameter(args: tuple[Any, ...], _: Budget) -> Any:
    return args[0] if args and isinstance(args[0], Tensor) else None


# ---- numpy


class DType:
    """numpy.dtype(text), and with its state the order of its bytes; of a type that is no number: nothing."""

    def __init__(self, text: object) -> None:
        known = isinstance(text, str) and text.lstrip("<>|=") in _NUMPY_TYPES
        self.dtype = np.dtype(str(text)).newbyteorder("<") if known else None
        self.text = str(text)[:20] if isinstance(text, str) else "?"

    def build(self, state: Any) -> None:
        """Its second part is the order."""
        if self.dtype is not None and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """A numpy array: what `_reconstruct` makes, complete with its state."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.shape: tuple[int, ...] = ()
        self.view: npt.NDArray[Any] | None = None
        self.nbytes = 0

    def build(self, state: Any) -> None:
        """state: (version, shape, dtype, is Fortran's order, bytes).

        Raises:
            UsageError: another number of bytes than the shape needs.
        """
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran is True else "C")

    def fill(self, data: object, dtype: object, shape: object, order: str) -> None:
        """Gives it its numbers; those of a type that is no number stay unknown.

        Raises:
            UsageError: as in `build`.
        """
        if not isinstance(dtype, DType) or not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
            raise damaged("an array without a type and a shape")
        self.shape = tuple(map(_size, shape))
        if dtype.dtype is None or isinstance(data, list):
            return
        raw = data
        if isinstance(data, str):  # Python 2's
            self.budget.copy(len(data))
            raw = data.encode("latin-1")
        if not isinstance(raw, (bytes, memoryview)):
            raise damaged("an array without bytes")
        if math.prod(self.shape) * dtype.dtype.itemsize != len(raw):
            raise damaged(f"an array of shape {self.shape} and type {dtype.text} has {len(raw):,} bytes")
        self.nbytes = len(raw)
        self.view = np.frombuffer(raw, dtype.dtype).reshape(self.shape, order="F" if order == "F" else "C")

    def read(self) -> Floats:
        """The numbers as float32.

        Raises:
            UsageError: it has none.
        """
        if self.view is None:
            raise damaged("an array of objects where one of numbers should be")
        return _as_floats(self.view)


def _array(args: tuple[Any, ...], budget: Budget) -> Array:
    return Array(budget)


def _from_buffer(args: tuple[Any, ...], budget: Budget) -> Array:
    data, dtype, shape, order = args
    array = Array(budget)
    array.fill(data, dtype, shape, order)
    return array


def _scalar(args: tuple[Any, ...], _: Budget) -> Any:
    """A plain number where it is one."""
    dtype, data = args
    raw = data[:8].encode("latin-1") if isinstance(data, str) else data
    if not isinstance(dtype, DType) or dtype.dtype is None or not isinstance(raw, bytes):
        return None
    return np.frombuffer(raw, dtype.dtype, 1)[0].item()


# ---- containers and text


def _dict(args: tuple[Any, ...], budget: Budget) -> dict[Any, Any] | None:
    """An empty one, as new pickles make it; or of a list of pairs, whose keys are texts."""
    pairs = args[0] if args else []
    if not isinstance(pairs, (list, tuple)):
        return None
    budget.step(len(pairs))  # the same list can be given many times
    if not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        return None
    return {checked_key(key): value for key, value in pairs}


def _list(args: tuple[Any, ...], _: Budget) -> list[Any] | None:
    if not args:
        return []
    return args[0] if isinstance(args[0], list) else None


def _encode(args: tuple[Any, ...], budget: Budget) -> bytes | memoryview | None:
    """Bytes as protocol 2 writes them: as text in Latin-1."""
    if len(args) != 2 or not isinstance(args[0], str) or args[1] not in ("latin1", "latin-1"):
        return None
    budget.copy(len(args[0]))
    return args[0].encode("latin-1")


def _no_bytes(args: tuple[Any, ...], _: Budget) -> bytes | None:
    return b"" if not args else None


CONSTRUCTORS: dict[tuple[str, str], Constructor] = {
    ("collections", "OrderedDict"): _dict,
    ("dnnlib.util", "EasyDict"): _dict,
    ("dnnlib", "EasyDict"): _dict,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("numpy", "dtype"): lambda args, _: DType(args[0]),
}
for _builtins in ("builtins", "__builtin__"):
    CONSTRUCTORS |= {(_builtins, name): _list for name in ("list", "set", "frozenset")}
    CONSTRUCTORS |= {(_builtins, "dict"): _dict, (_builtins, "bytes"): _no_bytes}
for _core in ("numpy.core", "numpy._core"):
    CONSTRUCTORS |= {
        (f"{_core}.multiarray", "_reconstruct"): _array,
        (f"{_core}.multiarray", "scalar"): _scalar,
        (f"{_core}.numeric", "_frombuffer"): _from_buffer,
    }


def _as_floats(view: npt.NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):  # what is not finite is refused later
        return np.array(view, np.float32, order="C")


def _size(value: object) -> int:
    """A size, stride or position.

    Raises:
        UsageError: not a number from 0 to 2**62.
    """
    if type(value) is not int or not 0 <= value <= 2**62:
        raise damaged("a shape, stride or offset that is not a number from 0 to 2**62")
    return value


def _named(what: object) -> str:
    return str(what)[:80] if isinstance(what, Global) else f"a {type(what).__name__}"


def first_names(names: Sequence[str]) -> str:
    """The first eight names for a message."""
    shown = ", ".join(name[:60] for name in names[:8])
    return shown + (f" ... ({len(names):,} in all)" if len(names) > 8 else "")


def shape_of(tensors: Mapping[str, Numbers], name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of the tensor of that name.

    Raises:
        UsageError: none is called so, or it has another number of dimensions.
    """
    if name not in tensors or len(tensors[name].shape) != dimensions:
        raise UsageError(f"{name} is missing, or not of {dimensions} dimensions")
    return tensors[name].shape
