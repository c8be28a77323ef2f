"""Functions that are named by an import path, as YAML files and command lines do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def import_function(path: str) -> Callable[..., Any]:
    """The function that a dotted path such as ``"my_project.probes:forward"`` or ``"a.b.f"`` names.

    Returns:
        The function or class.

    Raises:
        ValueError: If the module or the function isn't there.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path!r} names no function that can be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"{path!r} is not a function")
    return function  # type: ignore[no-any-return]
