"""What a probe's predictions are worth: accuracy and F1, with what each utterance changes in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.probes.left_out_scores import left_out_scores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """How often predictions were right, by group and label.

    Attributes:
        groups: (g,) names.
        hits: (g, L) rows that have the label and were given it.
        missed: (g, L) that have it and were not given it.
        false: (g, L) that were given it and don't have it.
    """

    groups: NDArray[np.str_]
    hits: Array
    missed: Array
    false: Array

    @property
    def rows(self) -> Array:
        """(g,) pairs of a row and a label that it has, of each group."""
        return np.asarray((self.hits + self.missed).sum(axis=1))

    def score(self, measure: str) -> tuple[float, dict[str, float]]:
        """A score, and by how much it changes without each group.

        Args:
            measure: ``"probe_accuracy"`` (share of rows), ``"probe_macro_f1"`` (mean over labels) or ``"probe_f1"``
                (over all pairs of a row and a label).

        Returns:
            The score and its changes by group.
        """
        whole = _score(measure, *(part.sum(axis=0)[None] for part in (self.hits, self.missed, self.false)))[0]
        parts = [part.sum(axis=0) - part for part in (self.hits, self.missed, self.false)]
        changes = _score(measure, *parts) - whole
        return float(whole), dict(zip(self.groups.tolist(), changes.tolist(), strict=True))

    def chance_f1(self, rows: int) -> float:
        """F1 over all pairs where labels are given at random to as many rows as have them.

        Of label k, which c_k of n rows have, so many are expected to be right: c_k²/n of c_k.

        Args:
            rows: All rows, n.

        Returns:
            The sum of c_k²/n over the sum of c_k.
        """
        having = (self.hits + self.missed).sum(axis=0)
        return float(np.square(having).sum() / max(rows * having.sum(), 1.0))


def _score(measure: str, hits: Array, missed: Array, false: Array) -> Array:
    """(k,) scores of (k, L) counts."""
    if measure == "probe_accuracy":
        return np.asarray(hits.sum(axis=1) / np.maximum((hits + missed).sum(axis=1), 1.0))
    if measure == "probe_f1":
        hits, missed, false = (part.sum(axis=1, keepdims=True) for part in (hits, missed, false))
    there = (hits + missed) > 0.0
    f1 = 2.0 * hits / np.maximum(2.0 * hits + missed + false, 1.0)
    return np.asarray((f1 * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def single_labels(
    x: torch.Tensor, labels: NDArray[np.str_], left_out: NDArray[np.str_], groups: NDArray[np.str_]
) -> tuple[Counts, NDArray[np.bool_]]:
    """Predict one label for each row, by probes that were trained on other groups' rows.

    Args:
        x: (n, d) rows.
        labels: (n,).
        left_out: (n,) what is left out together when rows are predicted.
        groups: (n,) what the score's interval is over.

    Returns:
        The counts, and (n,) whether each row was given its label.
    """
    names, index = np.unique(labels, return_inverse=True)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(index), len(names)).double()
    scores = left_out_scores(x, onehot, _numbers(left_out))
    given = scores.argmax(dim=1).numpy()
    right = given == index
    return _counted(np.eye(len(names))[index], np.eye(len(names))[given], groups), right


def several_labels(
    x: torch.Tensor, labels: Sequence[frozenset[str]], left_out: NDArray[np.str_], groups: NDArray[np.str_], few: int
) -> Counts:
    """Predict all labels of each row; as many rows are given a label as have it.

    Args:
        x: (n, d) rows.
        labels: Of each row.
        left_out: (n,) what is left out together when rows are predicted.
        groups: (n,) what the score's interval is over.
        few: Rows that a label needs to count.

    Returns:
        The counts.
    """
    has = indicators(labels, few)
    scores = left_out_scores(x, torch.from_numpy(has), _numbers(left_out)).numpy()
    given = np.zeros_like(has)
    for k, count in enumerate(has.sum(axis=0).astype(int).tolist()):
        given[np.argsort(-scores[:, k], kind="stable")[:count], k] = 1.0
    return _counted(has, given, groups)


def indicators(labels: Sequence[frozenset[str]], few: int) -> Array:
    """(n, L) ones where a row has a label, of those that enough rows have."""
    names = sorted({label for one in labels for label in one})
    has = np.array([[float(name in one) for name in names] for one in labels])
    return has[:, has.sum(axis=0) >= few]


def _counted(has: Array, given: Array, groups: NDArray[np.str_]) -> Counts:
    names, index = np.unique(groups, return_inverse=True)
    parts = []
    for one in (has * given, has * (1.0 - given), (1.0 - has) * given):
        total = np.zeros((len(names), one.shape[1]))
        np.add.at(total, index, one)
        parts.append(total)
    return Counts(names, *parts)


def _numbers(names: NDArray[np.str_]) -> torch.Tensor:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))
