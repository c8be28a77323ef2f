"""Hooks that a copy of their module doesn't have.

A user may pickle or deep-copy a model while hooks of ours are on it: ``torch.save(model)``, workers of a loader that
are spawned with a collator that holds the model, a teacher that is copied from the student in the first training step.
Our hooks can't be pickled, and have no business in a copy. So it is the registry of hooks itself, an `OrderedDict`,
that leaves them out when it is copied. Pickle and deepcopy ask an object's own attributes before its class, and an
`OrderedDict` may have some; nothing is put on the module, and it doesn't matter how its class is copied.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any

Registry = OrderedDict[int, Any]

_ASKED = "__reduce_ex__"


class _WithoutOurs:
    """Takes the place of a registry's ``__reduce_ex__`` while hooks of ours are in it.

    Args:
        registry: The registry.
    """

    __slots__ = ("_registry", "keys")

    def __init__(self, registry: Registry) -> None:
        self._registry = weakref.ref(registry)
        self.keys: set[int] = set()

    def __call__(self, protocol: int) -> Any:
        registry = self._registry()
        assert registry is not None  # this is an attribute of it
        rest = type(registry)((key, value) for key, value in registry.items() if key not in self.keys)
        vars(rest).update({name: value for name, value in vars(registry).items() if name != _ASKED})
        return rest.__reduce_ex__(protocol)


def leave_out_of_copies(registry: Registry, key: int) -> None:
    """Leave one entry out of every copy of a registry, until `copy_again`.

    Args:
        registry: One of a module's dicts of hooks.
        key: The hook's number.
    """
    asked = vars(registry).get(_ASKED)
    if not isinstance(asked, _WithoutOurs):
        asked = _WithoutOurs(registry)
        setattr(registry, _ASKED, asked)
    asked.keys.add(key)


def copy_again(registry: Registry, key: int) -> None:
    """The end of `leave_out_of_copies`; after the last one the registry is as it was.

    Args:
        registry: The same dict.
        key: The hook's number.
    """
    asked = vars(registry).get(_ASKED)
    if isinstance(asked, _WithoutOurs):
        asked.keys.discard(key)
        if not asked.keys:
            delattr(registry, _ASKED)
