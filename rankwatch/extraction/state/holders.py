"""What holds other values: attributes, slots, containers, closures, classes. Which value stood where is put back."""

from __future__ import annotations

import types
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping
from operator import is_
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from rankwatch.extraction.state.belonging import per_class

_ABSENT = object()


class Holder(Protocol):
    """Something that holds values, as it was when this was made."""

    @property
    def values(self) -> Collection[Any]:
        """What it held."""

    def exchange(self, old: Any, new: Any) -> None:
        """Hold another value in an old one's place, until `restore`."""

    def restore(self) -> None:
        """Hold again what it held, under the same names and in the same order."""


class Attributes:
    """An object's attributes.

    Args:
        thing: The object.
        passed_over: Names of attributes that are left alone.
    """

    def __init__(self, thing: Any, passed_over: frozenset[str] = frozenset()) -> None:
        self._thing, self._passed_over = thing, passed_over
        self.before = {name: value for name, value in dict.items(vars(thing)) if name not in passed_over}

    @property
    def values(self) -> Collection[Any]:
        """What they were."""
        return self.before.values()

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        dict.update(vars(self._thing), {name: new for name, value in self.before.items() if value is old})

    def restore(self) -> None:
        """See `Holder`; not by the object's own methods, which may do more than that."""
        now, before = vars(self._thing), self.before
        for name in [name for name in dict.keys(now) if name not in self._passed_over and name not in before]:
            dict.__delitem__(now, name)
        changed = {name: value for name, value in before.items() if dict.get(now, name, _ABSENT) is not value}
        if changed:
            dict.update(now, changed)


class Slots:
    """What an object holds in ``__slots__``.

    Args:
        thing: The object.
        members: From `slots_of` its class.
    """

    def __init__(self, thing: Any, members: Iterable[Any]) -> None:
        self._thing = thing
        self._before = [(member, self._value(member)) for member in members]

    def _value(self, member: Any) -> Any:
        try:
            return member.__get__(self._thing)
        except AttributeError:
            return _ABSENT

    @property
    def values(self) -> Collection[Any]:
        """What was in them."""
        return [value for _, value in self._before if value is not _ABSENT]

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for member, value in self._before:
            if value is old:
                member.__set__(self._thing, new)

    def restore(self) -> None:
        """See `Holder`."""
        for member, value in self._before:
            if self._value(member) is not value:
                if value is _ABSENT:
                    member.__delete__(self._thing)
                else:
                    member.__set__(self._thing, value)


@per_class
def slots_of(kind: type) -> tuple[Any, ...]:
    """The slots that a class and those it was derived from declare, by their descriptors."""
    return tuple(
        member
        for one in kind.__mro__
        if "__slots__" in vars(one)
        for member in vars(one).values()
        if isinstance(member, types.MemberDescriptorType)
    )


class ClassAttributes:
    """What a class itself holds: counters, caches, and methods, which somebody may exchange.

    Args:
        kind: The class.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self.before = _own(kind)

    @property
    def values(self) -> Collection[Any]:
        """What they were; of methods that are static or the class's the function."""
        return [getattr(value, "__func__", value) for value in self.before.values()]

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for name, value in self.before.items():
            if value is old:
                type.__setattr__(self._kind, name, new)

    def restore(self) -> None:
        """See `Holder`; not by what its metaclass makes of that."""
        now = _own(self._kind)
        for name in now.keys() - self.before.keys():
            type.__delattr__(self._kind, name)
        for name, value in self.before.items():
            if now.get(name, _ABSENT) is not value:
                type.__setattr__(self._kind, name, value)


def _own(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if name[:2] != "__" and name != "_abc_impl"}


class Closure:
    """Variables of an outer function that a function remembers (``nonlocal``).

    Args:
        function: The inner one.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self._before = [(cell, self._value(cell)) for cell in function.__closure__ or ()]

    @staticmethod
    def _value(cell: types.CellType) -> Any:
        try:
            return cell.cell_contents
        except ValueError:
            return _ABSENT

    @property
    def values(self) -> Collection[Any]:
        """What they were."""
        return [value for _, value in self._before if value is not _ABSENT]

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for cell, value in self._before:
            if value is old:
                cell.cell_contents = new

    def restore(self) -> None:
        """See `Holder`."""
        for cell, value in self._before:
            if value is not _ABSENT and self._value(cell) is not value:
                cell.cell_contents = value


_MAPPINGS = (OrderedDict, dict, WeakKeyDictionary, WeakValueDictionary)
_SEQUENCES = (list, deque)
_SETS = (set, WeakSet)
CONTAINERS = (*_MAPPINGS, *_SEQUENCES, *_SETS)
"""Kinds of containers that can be written into; what was derived from them counts as what it was derived from."""


class Container:
    """What a container holds. Methods of a class that the user has derived are passed by: they may do more.

    Args:
        container: One of `CONTAINERS`.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._kind: Any = next(kind for kind in CONTAINERS if isinstance(container, kind))
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
        for key, value in places if kind not in _SETS else ():
            if value is old:
                kind.__setitem__(self._container, key, new)

    def restore(self) -> None:
        """See `Holder`."""
        now, kind, container = self._content(), self._kind, self._container
        if self._is_as_before(now):
            return
        kind.clear(container)
        if kind is OrderedDict:
            for key, value in self._before.items():
                OrderedDict.__setitem__(container, key, value)
        else:
            (kind.extend if kind in _SEQUENCES else kind.update)(container, self._before)

    def _is_as_before(self, now: Any) -> bool:
        before = self._before
        if len(now) != len(before):
            return False
        if isinstance(now, Mapping):
            return all(map(is_, now, before)) and all(map(is_, now.values(), before.values()))
        return all(map(is_, now, before))
