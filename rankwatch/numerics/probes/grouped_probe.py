"""A linear probe that is tested on every group of rows in turn, and trained on the others."""

from __future__ import annotations

import math
from typing import Any

import torch

from rankwatch.numerics.probes.left_out_scores import left_out_scores
from rankwatch.numerics.probes.linear_probe import ProbeResult


def grouped_probe(x: Any, labels: Any, groups: Any, *, ridge: float = 1.0) -> ProbeResult:
    r"""Leave one group out, for every group, in closed form: ridge regression on one-hot labels.

    .. math:: H = \tfrac{1}{n} 1 1^T + Z (Z^T Z + \rho d I)^{-1} Z^T, \qquad
              S_g = Y_g - (I - H_{gg})^{-1} (Y_g - (H Y)_g)

    with Z all rows, standardised per feature (features that don't vary are left out), and Y one-hot. S_g are the scores
    that a probe trained on all rows but the group's would give them (the identity is exact: Hastie, Tibshirani &
    Friedman, The Elements of Statistical Learning, 7.10, for blocks instead of single rows); the largest wins, and all
    groups count together. Labels of a group never take part in its own scores. A label that only one group has counts
    as missed. With speakers as groups no speaker is in training and test; rows of one utterance belong in one group.

    Rows that are all alike are given the label that is most frequent among the others: `majority`, or less where
    labels are balanced. Rows with NaN or Inf are left out. The order of rows doesn't matter, to the last bit.

    Args:
        x: (n, d) rows.
        labels: (n,) integer labels.
        groups: (n,) integer group of each row.
        ridge: rho > 0. The penalty is in proportion to d, since each feature adds as much to overfit. Much smaller ones
            still find labels in directions that a collapse has left next to nothing of.

    Returns:
        See `ProbeResult`; `majority` is the share of the most frequent label in all rows. Everything is NaN where
        there are less than two groups or two labels. float64; O(n d min(n, d) + min(n, d)^3 + sum of n_g^3).

    Raises:
        ValueError: If shapes don't fit or ridge is not positive.

    Example:
        >>> x = torch.eye(3).repeat(4, 1)
        >>> grouped_probe(x, [0, 1, 2] * 4, [7] * 6 + [8] * 6)
        ProbeResult(accuracy=1.0, majority=0.3333333333333333, chance=0.3333333333333333)
    """
    rows = torch.as_tensor(x).detach().cpu()
    y, g = (torch.as_tensor(v).detach().cpu().long() for v in (labels, groups))
    if rows.ndim != 2 or y.shape != rows.shape[:1] or g.shape != y.shape:
        shapes = ", ".join(str(tuple(v.shape)) for v in (rows, y, g))
        raise ValueError(f"expected rows (n, d), labels (n,) and groups (n,), got {shapes}")
    if not ridge > 0.0:
        raise ValueError(f"ridge must be positive, got {ridge}")
    finite = torch.isfinite(rows).all(dim=1)
    rows, y, g = rows[finite].float() + 0.0, y[finite], g[finite]
    values, index, counts = torch.unique(y, return_inverse=True, return_counts=True)
    if len(values) < 2 or len(torch.unique(g)) < 2:
        return ProbeResult(math.nan, math.nan, math.nan)
    onehot = torch.nn.functional.one_hot(index, len(values)).double()
    found = left_out_scores(rows, onehot, g, ridge=ridge).argmax(dim=1)
    return ProbeResult(
        accuracy=float((found == index).double().mean()),
        majority=int(counts.max()) / len(y),
        chance=1.0 / len(values),
    )
