"""A pickled network as names, tensors and settings: what its state dict would be, without its class.

    module_of(record)    -> Module("SynthesisNetwork", settings, tensors, children)
    module.flat()        {"b4.conv1.weight": Tensor, ...}

A network is a Record with the state of a torch.nn.Module: by its own class, or, in NVIDIA's files, by
torch_utils.persistence, which keeps the class as source text. The text is dropped, unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from facegan.interop.arrays import Array, Numbers, Tensor
from facegan.interop.inert import Global, Record, damaged

MAX_ENTRIES = 20_000  # modules and tensors; the largest published networks have some 1,000
MAX_DEPTH = 12
_PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
_MAKERS = {
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    ("copyreg", "__newobj__"), ("copy_reg", "__newobj__"),
}  # fmt: skip


@dataclass
class Module:
    """One module: its class's name, plain settings, its own tensors, the modules inside it."""

    class_name: str
    settings: Mapping[str, Any]
    tensors: dict[str, Numbers]
    children: dict[str, Module]

    def flat(self) -> dict[str, Numbers]:
        """All tensors by their dotted names."""
        return {f"{prefix}{name}": t for prefix, module in self.walk() for name, t in module.tensors.items()}

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Each module with what its tensors' names begin with: "", "mapping.", "mapping.fc0." ..."""
        yield prefix, self
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}{name}.")


def class_of(found: object) -> tuple[str, str, Any] | None:
    """Module and name of the class that a Record is an instance of, and its state; of others nothing."""
    if not isinstance(found, Record) or not isinstance(found.callable, Global):
        return None
    name = (found.callable.module, found.callable.name)
    if name == _PERSISTENT:
        meta = found.args[0] if found.args else None
        if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
            return None
        return _PERSISTENT[0], meta["class_name"], meta.get("state")
    if name in _MAKERS and found.args and isinstance(found.args[0], Global):
        return found.args[0].module, found.args[0].name, found.state
    return *name, found.state


def module_of(found: object) -> Module | None:
    """The network that a Record describes; of what is none, nothing.

    Raises:
        UsageError: too many modules or too deep ones, or a state that is not a module's.
    """
    return _Walker().module(found, 0)


class _Walker:
    def __init__(self) -> None:
        self.count = (
            0  # what was met: the same module in two places counts twice, so a small file stays small
        )

    def module(self, found: object, depth: int) -> Module | None:
        described = class_of(found)
        if described is None:
            return None
        _, class_name, state = described
        if not isinstance(state, dict) or not all(
            isinstance(state.get(part), dict) for part in ("_parameters", "_buffers", "_modules")
        ):
            return None
        parameters, buffers, modules = state["_parameters"], state["_buffers"], state["_modules"]
        self.count += 1 + len(parameters) + len(buffers) + len(modules)
        if self.count > MAX_ENTRIES or depth > MAX_DEPTH:
            raise damaged(f"a network of more than {MAX_ENTRIES:,} parts, or nested deeper than {MAX_DEPTH}")
        tensors: dict[str, Numbers] = {}
        for name, tensor in (parameters | buffers).items():
            if isinstance(name, str) and isinstance(tensor, (Tensor, Array)):
                tensors[name] = tensor
        children = {}
        for name, child in modules.items():
            module = self.module(child, depth + 1) if isinstance(name, str) else None
            if module is not None:
                children[name] = module
        return Module(class_name[:100], state, tensors, children)


def describe(found: object) -> str:
    """What a file holds, in a line: for the refusal of an unknown kind."""
    if isinstance(found, dict):
        names = [f"{_short(key)}: {_kind(value)}" for key, value in list(found.items())[:12]]
        more = f" and {len(found) - 12:,} more" if len(found) > 12 else ""
        return f"a dictionary of {', '.join(names)}{more}" if names else "an empty dictionary"
    if isinstance(found, (tuple, list)):
        return f"{type(found).__name__} of {', '.join(map(_kind, found[:6]))}"
    return _kind(found)


def _kind(found: object) -> str:
    described = class_of(found)
    if described is not None:
        return f"{described[0]}.{described[1]}"[:80]
    if isinstance(found, (Tensor, Array)):
        return f"numbers {list(found.shape)}"
    if isinstance(found, dict):
        return (
            f"{len(found):,} entries ({', '.join(map(_short, list(found)[:3]))} ...)" if found else "nothing"
        )
    return type(found).__name__


def _short(key: object) -> str:
    return str(key)[:40] if isinstance(key, (str, int, Global)) else type(key).__name__
