"""Frozen dataclasses as configuration: to JSON, from JSON, and "a.b=c" overrides.

    to_json(config)             -> plain dictionaries, lists, numbers, strings
    from_json(Run, data)        -> Run, every value checked against its annotation
    override(config, ["a.b=c"]) -> a new config
    differences(old, new)       -> the dotted names whose values differ

A field annotated with a union of dataclasses is read by its tag: the field that every member of
the union has with a one-value Literal type (`architecture: Literal["dcgan"] = "dcgan"`).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import operator
import os
import sys
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal, SupportsIndex, TypeVar, Union

NEAR = 0.7  # share of letters in common, in their order; at 0.5 "run" is near to "train", "list" to "edit"
MAX_INT = 2**63  # what torch and numpy hold is below
MAX_FLOAT = sys.float_info.max
TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
T = TypeVar("T")
Json = dict[str, Any]


class UsageError(ValueError):
    """A wrong input: the message says what was given, what is allowed, and what to try."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """` (did you mean X?)` where an allowed word is nearly the given one or begins with it, else nothing."""
    words, word = {word.lower(): word for word in allowed}, given[:100].lower()
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=NEAR)
    if len(word.strip("-.")) >= 3:
        close += [longer for longer in words if longer.startswith(word)]
    return f" (did you mean {words[close[0]]!r}?)" if close else ""


def how_to_install(extra: str) -> str:
    """The command that brings what an optional extra of the package names."""
    return f"pip install 'facegan[{extra}]' (in a checkout: -e '.[{extra}]')"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def choose(what: str, given: str, allowed: Iterable[str]) -> str:
    """The given word when it is allowed.

    Raises:
        UsageError: it is not; the message lists the allowed words and names the nearest.
    """
    words = list(allowed)
    if not isinstance(given, str):
        raise UsageError(f"{what} {given!r}: a word, one of {', '.join(words)}")
    if given not in words:
        raise UsageError(f"{what} {given!r}: one of {', '.join(words)}{nearest(given, words)}")
    return given


def is_whole(text: str) -> bool:
    """Whether the text is a whole number, 0 or above, in plain digits."""
    return text.isascii() and text.isdecimal()


def parse_json(text: str) -> Any:
    """What the JSON text says, from a file that may hold anything.

    Raises:
        ValueError: not JSON; also where Python's reader gives up on its depth.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json(config: Any) -> Json:
    """The config as nested dictionaries that `json.dumps` takes; tuples become lists."""
    plain: Json = json.loads(json.dumps(dataclasses.asdict(config), default=_plain))
    return plain


def _plain(value: object) -> int | str:
    """A whole number of another library, or a path.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, SupportsIndex):
        return operator.index(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    raise UsageError(f"{value!r}: no setting can be that")


def from_json(cls: type[T], data: object, where: str = "") -> T:
    """A `cls` made of nested dictionaries; missing fields take their defaults.

    Raises:
        UsageError: an unknown or missing field, or a value of the wrong type.
    """
    if not isinstance(data, dict):
        raise UsageError(f"{where or cls.__name__}: expected an object, got {as_setting(data)}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise UsageError(
                f"{_dotted(where, name)}: no such setting; {where or cls.__name__} has "
                f"{', '.join(fields)}{nearest(str(name), fields)}"
            )
    values = {name: _convert(hints[name], value, _dotted(where, name)) for name, value in data.items()}
    for name, field in fields.items():
        no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if no_default and name not in values:
            raise UsageError(f"{_dotted(where, name)}: missing")
    return cls(**values)


def union_from_json(union: object, data: object, where: str) -> Any:
    """The member of a union of config classes that the data's tag names ("architecture": "dcgan").

    Raises:
        UsageError: as from_json, and a tag of none of them.
    """
    return _convert(union, data, where)


def override(config: T, assignments: Sequence[str]) -> T:
    """The config with each "a.b=c" applied; values are read as JSON, else as a bare string.

    A list may be written without its brackets: "model.base=5,4". The tag of a union ("loss.name=hinge")
    starts that group anew, with the defaults of its new kind. Such tags, and whole groups ("growth={}"), are
    applied before the other values, so that none of those is lost.

    Raises:
        UsageError: an assignment without "=", an unknown name, or a value of the wrong type.
    """
    for assignment in assignments:
        if "=" not in assignment:
            raise UsageError(f"--set {assignment!r}: expected NAME=VALUE, such as optimizer.lr=0.001")
    data = to_json(config)
    for name, text in sorted(map(_name_and_text, assignments), key=lambda a: not _sets_group(config, a[0])):
        *parents, last = name.split(".")
        node = data
        for depth, part in enumerate(parents):
            if not isinstance(node.get(part), dict):
                where = ".".join(parents[: depth + 1])
                if part in node and node[part] is None:
                    raise UsageError(f"--set {name}: {where} is null here; --set {where}={{...}} makes it")
                groups = [key for key, value in node.items() if isinstance(value, dict)]
                allowed = f"; one of {', '.join(groups)}" if groups else ""
                raise UsageError(f"--set {where}: no such group of settings{allowed}{nearest(part, groups)}")
            node = node[part]
        value = _json_or_text(text)
        kinds = _kinds_at(config, parents)
        hints = [typing.get_type_hints(kind).get(last) for kind in kinds]
        if any(typing.get_origin(hint) is tuple for hint in hints) and type(value) is not list:
            value = [_json_or_text(part.strip()) for part in text.split(",") if part.strip()]
        if parents and any(last in _tags(kind) for kind in kinds) and value != node.get(last):
            node.clear()
        node[last] = text if isinstance(node.get(last), str) and not isinstance(value, str) else value
    return from_json(type(config), data)


def _name_and_text(assignment: str) -> tuple[str, str]:
    name, _, text = assignment.partition("=")
    return name.strip(), text


def _sets_group(config: object, name: str) -> bool:
    """Whether the dotted name is that of a whole group of settings, or of its tag."""
    *parents, last = name.split(".")
    is_tag = bool(parents) and any(last in _tags(kind) for kind in _kinds_at(config, parents))
    return is_tag or bool(_kinds_at(config, [*parents, last]))


def _kinds_at(config: object, place: Sequence[str]) -> list[type]:
    """The config classes that may stand at this place, whichever of them stands there now."""
    kinds = [type(config)]
    for part in place:
        hints = [typing.get_type_hints(kind).get(part) for kind in kinds]
        members = [member for hint in hints for member in typing.get_args(hint) or (hint,)]
        kinds = [
            member for member in members if isinstance(member, type) and dataclasses.is_dataclass(member)
        ]
    return kinds


def _json_or_text(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def differences(old: Json, new: Json, where: str = "") -> list[str]:
    """One line `name: old -> new` for each setting that two JSON configs do not share."""
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, _dotted(where, name))
        elif before != after:
            lines.append(f"{_dotted(where, name)}: {as_setting(before)} -> {as_setting(after)}")
    return lines


def as_setting(value: object) -> str:
    """The value as settings are written: null, true, 0.5, [1, 2]; a word in quotes."""
    try:
        return repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    except RecursionError:
        return "nested too deeply"


def _dotted(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _convert(hint: Any, value: object, where: str) -> Any:
    """The value as the annotation wants it (int to float, 1e6 to int, list to tuple, dict to dataclass)."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(typing.get_args(hint), value, where)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            words = [str(word) for word in allowed]
            raise UsageError(
                f"{where} {as_setting(value)}: one of {', '.join(words)}{nearest(str(value), words)}"
            )
        return value
    if origin is tuple:
        item, *_ = typing.get_args(hint)
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{where} {as_setting(value)}: expected a list")
        return tuple(_convert(item, element, where) for element in value)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, where)
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if hint is int and isinstance(value, int) and abs(value) >= MAX_INT:
        raise UsageError(f"{where} {value}: expected a number below 2**63")
    if hint is float and isinstance(value, (int, float)) and not abs(value) <= MAX_FLOAT:
        raise UsageError(f"{where} {as_setting(value)}: expected a finite number")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where} {as_setting(value)}: expected {TYPES.get(hint, hint.__name__)}")
    return value


def _convert_union(members: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in members:
        return None
    members = tuple(member for member in members if member is not type(None))
    if isinstance(value, dict) and len(members) > 1:
        for member in members:
            tag, word = _tag(member)
            if value.get(tag) == word:
                return from_json(member, value, where)
        tag = _tag(members[0])[0]
        words = [_tag(member)[1] for member in members]
        if tag not in value:
            raise UsageError(f"{where}.{tag}: missing; one of {', '.join(words)}")
        given = value[tag]
        choose(f"{where}.{tag}", given if isinstance(given, str) else as_setting(given), words)
    return _convert(members[0], value, where)


def _tag(cls: type) -> tuple[str, str]:
    """Name and value of the one-value Literal field that tells the members of a union apart."""
    return next(iter(_tags(cls).items()))


def _tags(cls: type) -> dict[str, str]:
    """The one-value Literal fields of a dataclass, with their values."""
    literals = {
        name: hint for name, hint in typing.get_type_hints(cls).items() if typing.get_origin(hint) is Literal
    }
    values = {name: typing.get_args(hint) for name, hint in literals.items()}
    return {name: str(allowed[0]) for name, allowed in values.items() if len(allowed) == 1}
