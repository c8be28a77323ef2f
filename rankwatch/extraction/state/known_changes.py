"""What forward passes have been seen to change, so that what is large is copied only where it has to be."""

from __future__ import annotations

LARGE = 16_000_000
"""Bytes above which an array or a tensor is not copied before every pass."""

_MOST_COPIED = 2_000_000_000
_MOST_SMALL = 256_000_000
_MOST_COPIES = 10_000

MANY = 10_000
"""Values above which not all of a container's are followed before every pass."""

MOST_FOLLOWED = 50_000
"""Values of a whole model that are followed before a pass, which takes half a second to a second."""


class KnownChanges:
    """What is known of a model's state; one for all passes.

    A copy of everything is taken in a first pass. From then on what is large is only copied where it was seen to
    change; of the rest something cheap is looked at, which shows if it changes later. What can't be put back is
    named.
    """

    def __init__(self) -> None:
        self.thorough = True
        """Whether the pass is a first one."""
        self._changing: set[str] = set()
        self._unrestored: dict[str, str] = {}
        self._left_out: dict[str, bool] = {}
        self._left, self._left_small, self._copies = _MOST_COPIED, _MOST_SMALL, 0

    def begin(self, thorough: bool) -> None:
        """Before a pass.

        Args:
            thorough: Whether it is a first one, of its kind.
        """
        self.thorough = thorough
        self._left, self._left_small, self._copies = _MOST_COPIED, _MOST_SMALL, 0

    def wants_copy(self, where: str, size: int) -> bool:
        """Whether something is to be copied.

        Args:
            where: Module and attribute that hold it.
            size: Its bytes.

        Returns:
            True for what is small, unless there is very much of it, for what was seen to change, and in a first pass
            for the rest, as far as there is room.
        """
        if size <= LARGE:
            self._copies, self._left_small = self._copies + 1, self._left_small - size
            if self._copies <= _MOST_COPIES and self._left_small >= 0:
                return True
        elif where in self._changing:
            return True
        if not self.follows_all(where):
            return False
        self._left -= size
        return self._left >= 0

    def follows_all(self, where: str) -> bool:
        """Whether very many values that are held somewhere are all followed, and not only some of them."""
        return self.thorough or where in self._changing

    def has_changed(self, where: str) -> None:
        """Something has changed; however large it is, it is copied before every pass from now on."""
        self._changing.add(where)

    def was_lost(self, where: str, kind: str) -> None:
        """Something has changed and can't be put back.

        Args:
            where: Module and attribute that hold it.
            kind: What it is, in words.
        """
        self._unrestored.setdefault(where, kind)

    def were_left_out(self, *places: str) -> None:
        """There is more than can be followed; whether a pass changes that isn't known.

        Args:
            places: Modules and attributes that hold it.
        """
        self._left_out.update({where: False for where in places if where not in self._left_out})

    def take_left_out(self) -> list[str]:
        """Places where there is more than was followed, each of them once."""
        new = [where for where, told in self._left_out.items() if not told]
        self._left_out = dict.fromkeys(self._left_out, True)
        return new

    def take_unrestored(self) -> dict[str, str]:
        """What has newly been found to change without a way to put it back: what it is by where it is."""
        found, self._unrestored = self._unrestored, {}
        return found
