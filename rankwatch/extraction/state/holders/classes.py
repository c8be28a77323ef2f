"""What classes hold themselves: counters, caches, registries; and members of enumerations."""

from __future__ import annotations

import enum
import functools
from collections.abc import Collection
from typing import Any

from rankwatch.extraction.state.holders.attributes import ABSENT

_BEHIND = {staticmethod: "__func__", classmethod: "__func__", property: "fget", functools.cached_property: "func"}


class ClassAttributes:
    """What a class itself holds: counters, caches, and methods, which somebody may exchange.

    Args:
        kind: The class.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self.before = _own(kind)

    @property
    def functions(self) -> dict[str, Any]:
        """What they were; of methods that are static or the class's, and of properties, the function."""
        return {name: getattr(value, _BEHIND.get(type(value), ""), value) for name, value in self.before.items()}

    @property
    def values(self) -> Collection[Any]:
        """See `Holder`."""
        return self.functions.values()

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for name, value in self.before.items():
            if value is old:
                type.__setattr__(self._kind, name, new)

    def restore(self) -> bool:
        """See `Holder`; not by what its metaclass makes of that."""
        now = _own(self._kind)
        new = now.keys() - self.before.keys()
        for name in new:
            type.__delattr__(self._kind, name)
        changed = {name: value for name, value in self.before.items() if now.get(name, ABSENT) is not value}
        for name, value in changed.items():
            type.__setattr__(self._kind, name, value)
        return bool(new or changed)


def _own(kind: type) -> dict[str, Any]:
    ours = "_" if issubclass(kind, enum.Enum) else "__"  # an enumeration finds its members by what it has there
    return {name: value for name, value in vars(kind).items() if not name.startswith(ours) and name != "_abc_impl"}


def members_of(kind: type) -> Collection[Any]:
    """The members of an enumeration, each of which is one object for all; of other classes none."""
    return list(vars(kind).get("_member_map_", {}).values()) if issubclass(kind, enum.Enum) else ()
