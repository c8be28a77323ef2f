"""Dataclasses as plain data (for JSON, for checkpoints and for other processes), and back: the only such mechanism."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Hashable, Mapping, Set
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dicts, lists, strings and numbers only; loads with ``torch.load(..., weights_only=True)``.

    A set becomes a sorted list, a mapping whose keys aren't strings a list of pairs. Numbers stay what they are, and so
    does NaN.

    Args:
        value: A dataclass, a container of them, or what is plain already.

    Returns:
        New containers, which share nothing with `value`.

    Example:
        >>> @dataclasses.dataclass
        ... class Status:
        ...     step: int
        ...     flags: frozenset[str]
        >>> to_plain(Status(500, frozenset({"too_few_rows", "rounded"})))
        {'step': 500, 'flags': ['rounded', 'too_few_rows']}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: to_plain(item) for key, item in value.items()}
        return [[to_plain(key), to_plain(item)] for key, item in value.items()]
    if isinstance(value, Set):
        return sorted(to_plain(item) for item in value)
    return [to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_plain(kind: type[T], plain: Mapping[str, Any]) -> T:
    """The dataclass that `to_plain` was called on.

    Args:
        kind: The dataclass; the annotations of its fields say what each value becomes.
        plain: Values by field. Fields that `kind` doesn't have are ignored: files of later versions can be read.

    Returns:
        The dataclass. A number that is None (JSON has no NaN) is NaN where the annotation doesn't allow None.
    """
    hints = _hints(typing.cast(Hashable, kind))
    return kind(**{name: _restore(hints[name], value) for name, value in plain.items() if name in hints})


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    known = typing.get_type_hints(kind)
    return {field.name: known[field.name] for field in dataclasses.fields(typing.cast(Any, kind))}


def _restore(hint: Any, value: Any) -> Any:
    """`value` as its annotation wants it: a union's first member (of those but None), containers item by item."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _restore(next(one for one in inner if one is not type(None)), value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value)
    if origin is tuple:
        each = [inner[0]] * len(value) if inner[-1] is ... else inner
        return tuple(_restore(one, item) for one, item in zip(each, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        pairs = value.items() if isinstance(value, Mapping) else value
        return {_restore(inner[0], key): _restore(inner[1], item) for key, item in pairs}
    if isinstance(origin, type) and issubclass(origin, Collection):
        items = [_restore(inner[0], item) for item in value]
        return frozenset(items) if issubclass(origin, Set) else items
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        return hint(*value)
    return math.nan if hint is float and value is None else value
