"""Rows in ten parts, as cross-validation wants them: of equal size within each label, or whole utterances."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PARTS = 10
"""Eight to learn from, one to choose by and one to report."""


def parts_of_rows(labels: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Divide rows, as many of each label into every part.

    Args:
        labels: (n,) number of each row's label.
        generator: Random numbers.

    Returns:
        Ten lists of rows. What is left of a label when every part has its share goes to parts at random.

    Example:
        >>> parts = parts_of_rows(np.repeat([0, 1], 20), np.random.default_rng(0))
        >>> [[int((part < 20).sum()), int((part >= 20).sum())] for part in parts[:3]]
        [[2, 2], [2, 2], [2, 2]]
    """
    parts = _divided((generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)), generator)
    return [np.sort(part) for part in parts]


def parts_of_groups(groups: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Divide utterances, so that all rows of one are in the same part.

    Args:
        groups: (n,) number of each row's utterance.
        generator: Random numbers.

    Returns:
        Ten lists of rows.

    Example:
        >>> parts = parts_of_groups(np.arange(40) // 2, np.random.default_rng(0))
        >>> [len(part) for part in parts], all((part[::2] + 1 == part[1::2]).all() for part in parts)
        ([4, 4, 4, 4, 4, 4, 4, 4, 4, 4], True)
    """
    parts = _divided([generator.permutation(np.unique(groups))], generator)
    return [np.flatnonzero(np.isin(groups, part)) for part in parts]


def _divided(lists: Iterable[NDArray[np.int64]], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Every shuffled list cut in ten, its rest dealt at random."""
    parts: list[list[int]] = [[] for _ in range(PARTS)]
    for shuffled in lists:
        share = len(shuffled) // PARTS
        for k in range(PARTS):
            parts[k] += shuffled[k * share : (k + 1) * share].tolist()
        for one in shuffled[PARTS * share :].tolist():
            parts[int(generator.integers(PARTS))].append(one)
    return [np.asarray(part, dtype=np.int64) for part in parts]
