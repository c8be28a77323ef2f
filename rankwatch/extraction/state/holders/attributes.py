"""Attributes, slots and closures: which value stood where is put back."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable
from collections.abc import Container as Names
from operator import is_
from typing import Any, Protocol

from rankwatch.extraction.state.belonging import per_class, works_in_threads

ABSENT = object()
"""Stands for a value where there is none."""


class Holder(Protocol):
    """Something that holds values, as it was when this was made."""

    @property
    def values(self) -> Collection[Any]:
        """What it held."""

    def exchange(self, old: Any, new: Any) -> None:
        """Hold another value in an old one's place, until `restore`."""

    def restore(self) -> bool:
        """Hold again what it held, under the same names and in the same order; whether it had changed."""


class Attributes:
    """An object's attributes.

    Args:
        thing: The object.
        passed_over: Names of attributes that are left alone; something that can be asked by ``in``.
    """

    def __init__(self, thing: Any, passed_over: Names[str] = frozenset()) -> None:
        self._thing, self._passed_over, self._kind = thing, passed_over, type(thing)
        self._all = dict.copy(vars(thing))
        self.before = {name: value for name, value in self._all.items() if name not in passed_over}

    @property
    def values(self) -> Collection[Any]:
        """What they were."""
        return self.before.values()

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        dict.update(vars(self._thing), {name: new for name, value in self.before.items() if value is old})

    def restore(self) -> bool:
        """See `Holder`; not by the object's own methods, which may do more than that."""
        other_class = type(self._thing) is not self._kind and not hasattr(self._kind, "cls_to_become")  # a lazy layer
        if other_class:
            object.__setattr__(self._thing, "__class__", self._kind)
        now, before = vars(self._thing), self.before
        if are_the_same(now, self._all):
            return other_class
        new = [name for name in dict.keys(now) if name not in self._passed_over and name not in before]
        for name in new:
            dict.__delitem__(now, name)
        changed = {name: value for name, value in before.items() if dict.get(now, name, ABSENT) is not value}
        if changed:
            dict.update(now, changed)
        names = [name for name in self._all if name in now]
        moved = [name for name in dict.keys(now) if name in self._all] != names
        for name in names if moved else ():
            dict.__setitem__(now, name, dict.pop(now, name))
        return bool(new or changed or moved or other_class)


def are_the_same(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    """Whether two dictionaries hold the same objects in the same order, names too; fast, since this is the rule."""
    same_size = len(now) == len(before)
    return same_size and all(map(is_, dict.values(now), before.values())) and all(map(is_, dict.keys(now), before))


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
            return ABSENT

    @property
    def values(self) -> Collection[Any]:
        """What was in them."""
        return [value for _, value in self._before if value is not ABSENT]

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for member, value in self._before:
            if value is old:
                member.__set__(self._thing, new)

    def restore(self) -> bool:
        """See `Holder`."""
        changed = [(member, value) for member, value in self._before if self._value(member) is not value]
        for member, value in changed:
            if value is ABSENT:
                member.__delete__(self._thing)
            else:
                member.__set__(self._thing, value)
        return bool(changed)


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
            return ABSENT

    @property
    def values(self) -> Collection[Any]:
        """What they were."""
        return [value for _, value in self._before if value is not ABSENT]

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for cell, value in self._before:
            if value is old:
                cell.cell_contents = new

    def restore(self) -> bool:
        """See `Holder`."""
        changed = [(cell, value) for cell, value in self._before if self._value(cell) is not value]
        for cell, value in changed:
            if value is ABSENT:
                del cell.cell_contents
            else:
                cell.cell_contents = value
        return bool(changed)


def holders_of(thing: Any) -> list[Holder] | None:
    """What an object holds by itself: its attributes, and its slots.

    Args:
        thing: The object; one with a thread of its own is left alone.

    Returns:
        Holders of what it has; None where it can have neither, as objects of C code.
    """
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        attributes = None
    slots = slots_of(type(thing))
    found: list[Holder] = [Slots(thing, slots)] if slots else []
    if isinstance(attributes, dict) and not works_in_threads(attributes):
        found.append(Attributes(thing))
    return found if found or isinstance(attributes, dict) or type(thing) is object else None
