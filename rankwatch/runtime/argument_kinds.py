"""Of what kind an argument is, and what is said of a wrong one: its name, and what it may be."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rankwatch.runtime.import_path import import_function

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def refusal(owner: str, name: str, value: object, wanted: str) -> str:
    """What the error says about an argument that is not what it may be.

    Args:
        owner: The function or class that was called with it, or empty where the name alone says enough.
        name: The argument.
        value: What was passed.
        wanted: What it may be.

    Returns:
        One sentence.

    Example:
        >>> refusal("AudioFolder", "sample_rate", "16k", "a whole number")
        "AudioFolder(sample_rate='16k'): sample_rate must be a whole number"
    """
    passed = f"{name}={_shown(value)}"
    return f"{f'{owner}({passed})' if owner else passed}: {name} must be {wanted}"


def _shown(value: object) -> str:
    """The value as it was written, in one line that is short enough for a message."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except Exception:  # its class can't write it
        return f"<{type(value).__name__}>"


def is_whole(value: Any, least: int | None = None) -> bool:
    """Whether it is a whole number: Python's or numpy's; True and False are none, and neither is 2.0.

    Args:
        value: What was passed.
        least: The smallest that it may be, or None.

    Returns:
        Whether it is one.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and (least is None or int(value) >= least)


def is_number(value: Any) -> bool:
    """Whether it is a number, Python's or numpy's, that others can be compared with: neither NaN nor True or False."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and not math.isnan(value)


def is_flag(value: object) -> bool:
    """Whether it is True or False. "no" and 0 are neither: it would be a guess which one is meant."""
    return isinstance(value, (bool, np.bool_))


def is_text(value: object) -> bool:
    """Whether it is a string that isn't empty."""
    return isinstance(value, str) and bool(value)


def is_path(value: object) -> bool:
    """Whether it is a path: a string that isn't empty, or a `pathlib.Path` or the like."""
    return is_text(value) or isinstance(value, os.PathLike)


def words(value: object) -> tuple[str, ...] | None:
    """The strings of a list, a tuple or another container.

    Args:
        value: What was passed.

    Returns:
        The strings, or None where there are none, or anything else is among them. A string by itself is no list of
        words, and neither is a mapping.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return None
    found = tuple(value)
    return found if found and all(is_text(one) for one in found) else None


def takes(function: object, count: int) -> bool:
    """Whether it can be called with so many positional arguments, as far as its signature says.

    Args:
        function: What was passed.
        count: Arguments that it will be called with.

    Returns:
        False for what can't be called at all, and for a function that would raise for the number of its arguments.
    """
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # what is called is the wrapper
    except (TypeError, ValueError):  # some that are built in have none
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def function_of(owner: str, name: str, value: object, count: int, wanted: str) -> Callable[..., Any]:
    """The function that an argument is, or whose import path it is.

    Args:
        owner: The function or class that was called with it, or empty.
        name: The argument.
        value: What was passed.
        count: Arguments that the function will be called with.
        wanted: What it may be, for the message.

    Returns:
        The function.

    Raises:
        ValueError: If it is no function of so many arguments, or nothing that can be imported; with its name.
    """
    function = value
    if isinstance(value, str):
        try:
            function = import_function(value)
        except ValueError as error:
            raise ValueError(f"{refusal(owner, name, value, wanted)}; {error}") from error
    if not callable(function) or not takes(function, count):
        raise ValueError(refusal(owner, name, value, wanted))
    return function
