"""Calls and batches as plain containers, which a file may hold and which load without running anybody's code.

Named tuples, dataclasses and mappings of the user's own become marked dicts with the path of their class. On the way
back a class is only taken from a module that is imported already: a file can't make one be.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CLASS = "rankwatch.class"


def pack(thing: Any) -> Any:
    """Nested containers as dicts, lists and tuples; tensors, numbers and strings as they are."""
    kind = type(thing)
    if isinstance(thing, tuple) and hasattr(thing, "_asdict"):
        return _marked(kind, "named_tuple", thing._asdict())
    if dataclasses.is_dataclass(thing) and not isinstance(thing, (type, Mapping)):
        return _marked(kind, "dataclass", {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init})
    if kind is dict:
        return {name: pack(value) for name, value in thing.items()}
    if isinstance(thing, Mapping):
        return _marked(kind, "mapping", dict(thing))
    if kind in (list, tuple):
        return kind(pack(value) for value in thing)
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf":
        return {_CLASS: ["numpy", "ndarray", "array"], "fields": torch.tensor(thing)}
    if isinstance(thing, np.generic):
        return thing.item()
    plain = thing is None or isinstance(
        thing, (Tensor, bool, int, float, complex, str, bytes, torch.dtype, torch.device)
    )
    return thing if plain else _marked(kind, "opaque", {})


def _marked(kind: type, form: str, fields: dict[Any, Any]) -> dict[str, Any]:
    return {_CLASS: [kind.__module__, kind.__qualname__, form], "fields": pack(fields)}


def unpack(thing: Any, lenient: bool = False) -> Any:
    """What `pack` was given.

    Args:
        thing: From `pack`.
        lenient: A class that isn't there any more leaves a dict, and what no file may hold leaves None.

    Returns:
        The same containers, with the objects that `pack` took apart made anew.

    Raises:
        ValueError: For a class that isn't there, or isn't what it was.
    """
    if isinstance(thing, dict) and _CLASS in thing:
        fields = unpack(thing["fields"], lenient)
        module, path, form = thing[_CLASS]
        if form == "array":
            return fields.numpy()
        if form == "opaque" and lenient:
            return None
        try:
            return _made(module, path, form, fields)
        except ValueError:
            if lenient:
                return fields
            raise
    if isinstance(thing, dict):
        return {name: unpack(value, lenient) for name, value in thing.items()}
    return type(thing)(unpack(value, lenient) for value in thing) if isinstance(thing, (list, tuple)) else thing


def _made(module: str, path: str, form: str, fields: dict[Any, Any]) -> Any:
    kind: Any = sys.modules.get(module)
    for part in path.split("."):
        kind = getattr(kind, part, None)
    if not isinstance(kind, type):
        raise ValueError(f"there is no class {module}.{path} any more")
    fits = {
        "opaque": False,
        "named_tuple": issubclass(kind, tuple) and hasattr(kind, "_fields"),
        "dataclass": dataclasses.is_dataclass(kind),
        "mapping": issubclass(kind, Mapping),
    }
    if not fits[form]:
        raise ValueError(f"{module}.{path} can't be read back from a file, or is no {form.replace('_', ' ')} any more")
    if form == "mapping":
        try:
            return kind(fields)
        except Exception:
            return fields  # what it holds is what counts
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"{module}.{path} has other fields than before: {error}") from error
