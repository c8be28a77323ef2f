"""What matrices of similarities have in common: their result, the pairs asked for, rows a few utterances at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Matched, Utterances, match_rows

AT_ONCE = 256
"""Rows whose products with all others are in memory at once, for every layer."""


@dataclass(frozen=True)
class PairwiseSimilarity:
    """Similarities of all pairs.

    Attributes:
        value: (layers, layers) or (layers, others) estimates, NaN where there is none.
        kappa: Resolution of each layer (and then of each other), in units of its mean eigenvalue; infinite for CKA.
        df: Degrees of freedom of each at this resolution; NaN for CKA.
        status: What stands against each of them, as in `Similarity`.
        n: Rows used.
        utterances: Utterances that they come from.
        low: Lower ends of the 90 % intervals, like `value`; None where not asked for, NaN where not known.
        high: Upper ends, likewise.
    """

    value: NDArray[np.float64]
    kappa: NDArray[np.float64]
    df: NDArray[np.float64]
    status: tuple[frozenset[str], ...]
    n: int
    utterances: int
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


class _Both(Sequence[Any]):
    """Layers and others behind each other, looked up when they are asked for."""

    def __init__(self, layers: Sequence[Any], others: Sequence[Any]) -> None:
        self._layers, self._others = layers, others

    def __len__(self) -> int:
        return len(self._layers) + len(self._others)

    def __getitem__(self, k: Any) -> Any:
        if k >= len(self):
            raise IndexError(k)
        return self._layers[k] if k < len(self._layers) else self._others[k - len(self._layers)]


def one_at_a_time(layers: Sequence[Any], others: Sequence[Any] | None) -> bool:
    """Whether rows are looked up when they are needed: where they don't come in lists, which hold them all anyway."""
    return not isinstance(layers, (list, tuple)) or not isinstance(others or (), (list, tuple))


def matched_pairs(
    layers: Sequence[Any], others: Sequence[Any] | None, groups: Any, weights: Any
) -> tuple[Matched, int, list[tuple[int, int]]]:
    """All rows in one order, how many are layers, and the pairs that are asked for.

    Args:
        layers: (n, d) rows of each layer.
        others: (n, d) rows of each of the others; None for all pairs of `layers`.
        groups: (n,) utterance of each row, or None.
        weights: (n,) how much each row counts, or None.

    Returns:
        The rows, the number of layers, and pairs of places among them, the first one not after the second.
    """
    count, total = len(layers), len(layers) + len(others or ())
    alone = one_at_a_time(layers, others)
    matched, _ = match_rows(_Both(layers, others or ()), groups, weights, one_at_a_time=alone)
    if others is None:
        return matched, count, [(i, j) for i in range(count) for j in range(i, count)]
    return matched, count, [(i, j) for i in range(count) for j in range(count, total)]


def status_of_each(matched: Matched) -> list[set[str]]:
    """What stands against each representation, whatever is measured."""
    found = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    utterances = len(matched.utterances.sizes)
    if utterances < flags.FEW_GROUPS:
        found.add(flags.TOO_FEW_GROUPS)
    if utterances < 5 or matched.n < 8:
        found.add(flags.TOO_FEW_ROWS)
    return [found | (set() if matched.varies(k) else {flags.CONSTANT}) for k in range(len(matched.views))]


def parts(utterances: Utterances) -> Iterator[tuple[int, slice, slice, slice]]:
    """Some utterances of one size at a time: which size, which of its block, which utterances, which rows."""
    before = 0
    for which, (at, size) in enumerate(utterances.blocks):
        count, step = (at.stop - at.start) // size, max(1, AT_ONCE // size)
        for start in range(0, count, step):
            stop = min(start + step, count)
            rows = slice(at.start + start * size, at.start + stop * size)
            yield which, slice(start, stop), slice(before + start, before + stop), rows
        before += count


def as_matrix(
    found: Mapping[tuple[int, int], float], pairs: list[tuple[int, int]], count: int, total: int
) -> NDArray[np.float64]:
    """(layers, layers) or, where there are others than layers, (layers, others) values of pairs; NaN for the rest."""
    square = total == count
    values = np.full((count, count if square else total - count), math.nan)
    for i, j in pairs:
        if square:
            values[i, j] = values[j, i] = found.get((i, j), math.nan)
        else:
            values[i, j - count] = found.get((i, j), math.nan)
    return values
