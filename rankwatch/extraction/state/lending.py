"""What can't be put back once it has moved, so that a pass is given a copy of it: iterators, and sets."""

from __future__ import annotations

from typing import Any

from rankwatch.extraction.state.holders.attributes import Holder
from rankwatch.extraction.state.iterators import copied_iterator


class Loans:
    """Copies for a pass, and what holds the things themselves, which then holds the copies for a while.

    A set could be filled again, but which element ``pop`` takes, and the order, follow from all that was ever done with
    it. It is lent only where it can be exchanged in all places that hold it, so that these go on to hold the same one.
    """

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}  # of iterators
        self._iterators: list[tuple[Holder, Any]] = []
        self._sets: dict[int, tuple[set[Any], list[Holder | None]]] = {}

    def add_iterator(self, holder: Holder | None, iterator: Any) -> bool:
        """An iterator that something holds.

        Args:
            holder: What does; None for what can't be written into, as a tuple.
            iterator: One of Python's own.

        Returns:
            Whether there is a copy of it that can be lent.
        """
        if id(iterator) not in self._copies:
            self._copies[id(iterator)] = copied_iterator(iterator)
        if holder is None or self._copies[id(iterator)] is None:
            return False
        self._iterators.append((holder, iterator))
        return True

    def add_set(self, holder: Holder | None, values: set[Any]) -> None:
        """A set that something holds, likewise."""
        self._sets.setdefault(id(values), (values, []))[1].append(holder)

    def lend(self) -> None:
        """Put the copies in their places; what holds them puts the things themselves back."""
        for holder, iterator in self._iterators:
            holder.exchange(iterator, self._copies[id(iterator)])
        for values, holders in self._sets.values():
            copy, able = set(values), [holder for holder in holders if holder is not None]
            for holder in able if len(able) == len(holders) else ():
                holder.exchange(values, copy)
