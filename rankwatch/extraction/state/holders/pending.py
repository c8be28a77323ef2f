"""Values that are still to be followed, those nearest to the model first, and no more than a pass can afford."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

from rankwatch.extraction.state.belonging import UNCHANGING
from rankwatch.extraction.state.holders.attributes import Holder

Found = tuple[str, Holder | None, Collection[Any]]
"""Where values were found, what holds them, and they themselves."""


class Pending:
    """First in, first out, so that what is left out is what lies deepest.

    Args:
        most: Values that are followed in all.
    """

    def __init__(self, most: int) -> None:
        self._queue: deque[Found] = deque()
        self._left = most

    def add(self, where: str, holder: Holder | None, values: Collection[Any]) -> None:
        """Values that may hold others; those that never change need not be followed.

        Args:
            where: Module and attribute that hold them.
            holder: What does; None for what can't be written into, as a tuple.
            values: The values.
        """
        if not UNCHANGING.issuperset(map(type, values)):
            self._queue.append((where, holder, values))

    def take(self) -> Found | None:
        """What is next; None if there is nothing more, or no more is affordable."""
        return self._queue.popleft() if self._queue and self._left > 0 else None

    def affords_one(self) -> bool:
        """Whether one more value is affordable; it is counted."""
        self._left -= 1
        return self._left >= 0

    def left_out(self) -> list[str]:
        """Where values are that nobody has looked at, each place once."""
        return list(dict.fromkeys(where for where, _, _ in self._queue))
