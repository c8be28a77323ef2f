"""The order of runs or checkpoints within a layer, and which neighbours can't be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.comparison.differences.difference import Difference, Place

ABOVE, SAME = ">", "="


@dataclass(frozen=True)
class Order:
    """One layer.

    Attributes:
        place: Which.
        names: Of the sides, the largest effective rank first; those without one are left out.
        marks: Between neighbours, `ABOVE`, or `SAME` where the two can't be told apart on these data.
    """

    place: Place
    names: tuple[str, ...]
    marks: tuple[str, ...]

    def __str__(self) -> str:
        words = [word for pair in zip(self.names, (*self.marks, ""), strict=True) for word in pair if word]
        return " ".join(words)


def orders(differences: Sequence[Difference]) -> list[Order]:
    """The order in each place.

    Neighbours are told apart where the interval of their ratio, which holds together with all others, leaves out 1.

    Args:
        differences: Of all pairs.

    Returns:
        An order for each place, as they come.
    """
    found = []
    for place in dict.fromkeys(one.place for one in differences):
        here = [one for one in differences if one.place == place]
        ranks = {name: rank for one in here for name, rank in zip((one.one, one.other), one.ranks, strict=True)}
        names = sorted((name for name in ranks if math.isfinite(ranks[name])), key=lambda name: -ranks[name])
        apart = {frozenset((one.one, one.other)) for one in here if one.differs}
        marks = [ABOVE if frozenset(pair) in apart else SAME for pair in itertools.pairwise(names)]
        found.append(Order(place, tuple(names), tuple(marks)))
    return found
