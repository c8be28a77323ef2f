"""Iterators of Python's own, which can't be wound back: a pass is given copies of them."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

_HOMES = ("builtins", "itertools", "_collections")
_NO_COPIES = "can't be copied"


def is_plain_iterator(value: Any) -> bool:
    """Whether a value is an iterator of Python's own: `itertools.count`, of a list, `zip`, `map`; no generator."""
    kind = type(value)
    return kind.__module__ in _HOMES and hasattr(kind, "__next__") and not hasattr(kind, "gi_frame")


def copied_iterator(iterator: Any) -> Any | None:
    """A second iterator that is where the first one is; the first one isn't moved.

    What it iterates over is not copied, only the iterators within each other are.

    Args:
        iterator: One for which `is_plain_iterator` holds.

    Returns:
        The copy, or None where there is a generator inside, or something else that can't be copied.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, for those of itertools
            return _copied(iterator)
    except Exception:
        return None


def _copied(iterator: Any) -> Any:
    if isinstance(iterator, itertools.tee(())[0].__class__):
        return copy.copy(iterator)
    make, arguments, *state = iterator.__reduce__()
    second = make(*map(_inner, arguments))
    if state and state[0] is not None:
        second.__setstate__(_state(state[0]))
    return second


def _inner(value: Any) -> Any:
    """An argument of an iterator: another one is copied too; a generator or a file can't be."""
    if is_plain_iterator(value):
        return _copied(value)
    if isinstance(value, Iterator):
        raise TypeError(_NO_COPIES)
    return value


def _state(value: Any) -> Any:
    """An iterator's state; `itertools.cycle` goes on to write into the list that it has there."""
    if isinstance(value, tuple):
        return tuple(map(_state, value))
    return list(value) if type(value) is list else _inner(value)
