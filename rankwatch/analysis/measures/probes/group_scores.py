"""What a probe reaches in each group of utterances, as it is and with the same mix of labels in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.probes.share_intervals import equal_units, least_error, share_interval

ACCURACY, SAME_MIX = "probe_accuracy", "probe_accuracy_same_mix"
"""The share of a group's rows that were given their label; and that share with all groups' mix of labels."""

_EACH, _MOST = 3, 0.5
"""Rows of a label that each group needs for it to be compared, and the share of rows that such labels have to hold."""


def group_scores(
    right: NDArray[np.bool_],
    labels: NDArray[np.str_],
    names: NDArray[np.str_],
    units: NDArray[np.str_],
    grouping: str,
    **where: Any,
) -> Iterator[Measurement]:
    r"""The scores of each group.

    A group that has more of what is easy in this layer is served better by that alone. With h_{gl} the share of group
    g's rows of label l that were given it, and w_l the share of label l among the rows of all groups,

    .. math:: \text{same mix}_g = \sum_l w_l h_{gl} / \sum_l w_l

    over labels that every group has at least three rows of (direct standardisation); where these hold less than half
    of the rows, groups can't be compared in this way.

    Args:
        right: (n,) whether a row was given its label.
        labels: (n,) its label.
        names: (n,) its group, empty where it is in none.
        units: (n,) what there is to count: utterances or speakers.
        grouping: What the groups are of.
        **where: Model, layer, target and level.

    Yields:
        Both scores of each group, with what each unit changes in them.
    """
    groups = sorted(set(names.tolist()) - {""})
    inside = names != ""
    common, weights = _common(labels[inside], names[inside], groups)
    for name in groups:
        here = names == name
        words, index = np.unique(units[here], return_inverse=True)
        given = {**where, "group": f"{grouping}={name}"}
        yield _scored(ACCURACY, np.ones((1, 1)), right[here], np.zeros(here.sum(), dtype=int), index, words, **given)
        known = np.isin(labels[here], common)
        if len(common):
            which = np.searchsorted(common, labels[here][known])
            yield _scored(SAME_MIX, weights, right[here][known], which, index[known], words, **given)


def _common(
    labels: NDArray[np.str_], names: NDArray[np.str_], groups: list[str]
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Labels that all groups have, and (1, L) their shares; none where they hold too few of the rows."""
    all_, counts = np.unique(labels, return_counts=True)
    fine = np.array([all(((labels == label) & (names == name)).sum() >= _EACH for name in groups) for label in all_])
    if not fine.any() or counts[fine].sum() < _MOST * counts.sum():
        return all_[:0], np.zeros((1, 0))
    return all_[fine], (counts[fine] / counts[fine].sum())[None]


def _scored(
    measure: str,
    weights: NDArray[np.float64],
    right: NDArray[np.bool_],
    which: NDArray[np.int64],
    index: NDArray[np.int64],
    words: NDArray[np.str_],
    **where: Any,
) -> Measurement:
    """A weighted mean over labels of the share of right rows, and how it changes without each unit."""
    hits, rows = np.zeros((len(words), weights.shape[1])), np.zeros((len(words), weights.shape[1]))
    np.add.at(hits, (index, which), right)
    np.add.at(rows, (index, which), 1.0)
    value = float((weights @ (hits.sum(axis=0) / rows.sum(axis=0)))[0])
    left = rows.sum(axis=0) - rows
    shares = (hits.sum(axis=0) - hits) / np.maximum(left, 1.0)
    known_weights = ((left > 0.0) * weights).sum(axis=1)  # of a group of one unit nothing is left without it
    without = (shares * (left > 0.0) * weights).sum(axis=1) / np.where(known_weights > 0.0, known_weights, 1.0) - value
    there = rows.sum(axis=1) > 0.0
    units = equal_units(rows.sum(axis=1))
    changes = dict(zip(words[there].tolist(), without[there].tolist(), strict=True))
    low, high = share_interval(value, list(changes.values()), units, len(right))
    return Measurement(
        measure=measure,
        value=value,
        low=low,
        high=high,
        n=len(right),
        utterances=len(changes),
        without=changes,
        least_error=least_error(units),
        status=() if low is not None else ("too_few_groups",),
        **where,
    )
