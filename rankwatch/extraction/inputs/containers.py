"""Nested containers, as batches and calls are: tuples, lists, mappings, named tuples, dataclasses, objects."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

_MAX_DEPTH = 6
_MAX_ENTRIES = 64
_MAX_CONTAINERS = 256


def walk(thing: Any) -> Iterator[tuple[str, Any]]:
    """Leaves of nested tuples, lists, mappings, named tuples, dataclasses and objects, with dotted paths."""
    # A batch may hold its dataset, or itself: each container is entered once, and there is an end to it.
    seen: set[int] = set()
    todo = [("", thing, 0)]
    while todo and len(seen) < _MAX_CONTAINERS:
        path, value, depth = todo.pop()
        inside = entries(value) if depth < _MAX_DEPTH and not is_numbers(value) else None
        if inside is None:
            yield path, value
        elif id(value) not in seen:
            seen.add(id(value))
            named = [(f"{path}.{name}" if path else str(name), entry, depth + 1) for name, entry in inside]
            todo += reversed(named[:_MAX_ENTRIES])


def entries(thing: Any) -> list[tuple[Any, Any]] | None:
    """What is in a container, by name or position; None for anything else."""
    if isinstance(thing, (Tensor, np.ndarray, torch.nn.Module, type, str, bytes)):
        return None
    if isinstance(thing, Mapping):
        return list(thing.items())
    if isinstance(thing, tuple) and hasattr(thing, "_asdict"):
        return list(thing._asdict().items())
    if isinstance(thing, (tuple, list)):
        return list(enumerate(thing))
    if hasattr(thing, "__dict__") and not callable(thing):
        return [(name, value) for name, value in vars(thing).items() if not name.startswith("_")]
    return None


def is_numbers(thing: Any) -> bool:
    """Whether this is a list or tuple of numbers, which counts as one leaf."""
    numbers = (int, float, np.integer, np.floating)
    return (
        isinstance(thing, (list, tuple))
        and len(thing) > 0
        and all(isinstance(entry, numbers) and not isinstance(entry, bool) for entry in thing)
    )


def map_tensors(thing: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same nested containers with every tensor replaced by what the function gives for it.

    Containers are made anew, frozen dataclasses too. An object that isn't a container is copied where it holds tensors,
    but not what objects it holds in turn: a batch may hold its dataset. What holds no tensor is kept as it is.

    Args:
        thing: Anything; what contains itself is kept as it is there.
        function: Of one tensor.

    Returns:
        The new containers; `thing` itself is not changed.

    Example:
        >>> map_tensors({"a": [torch.ones(2), "word"]}, lambda x: x.sum().item())
        {'a': [2.0, 'word']}
    """
    return _map(thing, function, frozenset(), True)


def _map(thing: Any, function: Callable[[Tensor], Any], above: frozenset[int], objects: bool) -> Any:
    if isinstance(thing, Tensor):
        return function(thing)
    if isinstance(thing, (torch.nn.Module, type, str, bytes, np.ndarray)) or id(thing) in above:
        return thing
    above |= {id(thing)}

    def inner(value: Any, objects: bool = objects) -> Any:
        return _map(value, function, above, objects)

    if isinstance(thing, PackedSequence):
        return thing._replace(data=function(thing.data))  # its sizes belong on the CPU
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(inner(value) for value in thing))
    if isinstance(thing, (tuple, list)):
        return thing if is_numbers(thing) else _like(thing, [inner(value) for value in thing])
    if isinstance(thing, Mapping):
        return _like(thing, {name: inner(value) for name, value in thing.items()})
    if dataclasses.is_dataclass(thing):
        return _object(thing, [field.name for field in dataclasses.fields(thing)], inner)
    if objects and hasattr(thing, "__dict__") and not callable(thing):
        return _object(thing, list(vars(thing)), partial(inner, objects=False))
    return thing


def _like(thing: Any, content: Any) -> Any:
    """Of the same class where that can be made of its content alone."""
    if type(thing) in (tuple, list, dict):
        return type(thing)(content)
    try:
        if not isinstance(thing, Mapping):
            return type(thing)(content)
        made = copy.copy(thing)
        for name, value in content.items():
            made[name] = value  # type: ignore[index]
    except Exception:  # a class of somebody's, which may refuse in any way
        return content
    return made


def _object(thing: Any, names: list[str], inner: Callable[[Any], Any]) -> Any:
    """A copy with its own attributes replaced; itself where none has a tensor in it, or where it can't be copied."""
    new = {name: inner(getattr(thing, name)) for name in names if hasattr(thing, name)}
    changed = {name: value for name, value in new.items() if value is not getattr(thing, name)}
    if not any(isinstance(leaf, Tensor) for _, leaf in walk(list(changed.values()))):
        return thing
    try:
        made = copy.copy(thing)
        for name, value in changed.items():
            object.__setattr__(made, name, value)  # also where the dataclass is frozen
    except (AttributeError, TypeError, copy.Error):
        return thing
    return made
