"""Containers of Python's own, and those that were derived from them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from rankwatch.extraction.state.belonging import per_class
from rankwatch.extraction.state.holders.attributes import are_the_same

_MAPPINGS = (OrderedDict, dict, WeakKeyDictionary, WeakValueDictionary)
_SEQUENCES = (list, deque)
SETS = (set, WeakSet)
CONTAINERS = (*_MAPPINGS, *_SEQUENCES, *SETS)
"""Kinds of containers that can be written into; what was derived from them counts as what it was derived from."""


class Container:
    """What a container holds. Methods of a class that the user has derived are passed by: they may do more.

    Args:
        container: One of `CONTAINERS`.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._kind: Any = _kind_of_container(type(container))
        self._before = self._content()

    def _content(self) -> Any:
        container, kind = self._container, self._kind
        if kind is dict:
            return dict.copy(container)
        if kind is OrderedDict:
            return {key: dict.__getitem__(container, key) for key in OrderedDict.__iter__(container)}
        if kind in _MAPPINGS:
            return dict(kind.items(container))
        return list(kind.__iter__(container))

    @property
    def values(self) -> Collection[Any]:
        """What it held; keys don't change."""
        return self._before.values() if isinstance(self._before, dict) else self._before

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`; there is no place to exchange something in a set or a queue."""
        kind, places = self._kind, self._before.items() if isinstance(self._before, dict) else enumerate(self._before)
        for key, value in places if kind not in SETS else ():
            if value is old:
                kind.__setitem__(self._container, key, new)

    def restore(self) -> bool:
        """See `Holder`."""
        kind, container = self._kind, self._container
        if self._is_as_before(container if kind is dict else self._content()):
            return False
        kind.clear(container)
        if kind is OrderedDict:
            for key, value in self._before.items():
                OrderedDict.__setitem__(container, key, value)
        else:
            (kind.extend if kind in _SEQUENCES else kind.update)(container, self._before)
        return True

    def is_in_order(self) -> bool:
        """Whether it gives what it held in the same order as before; of sets only, this may be otherwise."""
        return self._is_as_before(self._content())

    def _is_as_before(self, now: Any) -> bool:
        before = self._before
        if isinstance(before, dict):
            return are_the_same(now, before)
        return len(now) == len(before) and all(map(is_, now, before))


@per_class
def _kind_of_container(kind: type) -> type:
    return next(one for one in CONTAINERS if issubclass(kind, one))


class Tables:
    """The dictionaries in which a module has its children, buffers and parameters, and what is in them.

    Args:
        module: The module; ``nn.Sequential.pop`` puts another dictionary in the place of one.
        names: Of the dictionaries.
    """

    def __init__(self, module: Any, names: Collection[str]) -> None:
        self._attributes = vars(module)
        self._tables = [(name, self._attributes[name], Container(self._attributes[name])) for name in names]

    def restore(self) -> bool:
        """See `Holder`."""
        changed = False
        for name, table, content in self._tables:
            if self._attributes[name] is not table:
                self._attributes[name], changed = table, True
            changed = content.restore() or changed
        return changed
