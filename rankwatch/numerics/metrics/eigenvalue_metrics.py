"""Other measures of a spectrum of eigenvalues lambda = sigma^2. All ignore the spectrum's scale and order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.01
"""Singular values above this share of the largest count in `dimensions_above`."""

Array = NDArray[np.float64]


def _descending(eigenvalues: Any) -> Array:
    values = np.sort(np.asarray(eigenvalues, dtype=np.float64).ravel())[::-1]
    if values.size and values[-1] < 0.0:
        raise ValueError("eigenvalues must not be negative")
    return values / values[0] if values.size and values[0] > 0.0 else values


def participation_ratio(eigenvalues: Any) -> float:
    """(sum lambda)^2 / sum lambda^2, in [1, d]; NaN where all are zero.

    Returns:
        The participation ratio.

    Example:
        >>> participation_ratio([1.0, 1.0, 0.0])
        2.0
    """
    values = _descending(eigenvalues)
    return float(values.sum() ** 2 / (values**2).sum()) if values.any() else math.nan


def stable_rank(eigenvalues: Any) -> float:
    """Sum of lambda over the largest (Rudelson & Vershynin 2007), in [1, d]; NaN where all are zero.

    Returns:
        The stable rank.

    Example:
        >>> stable_rank([4.0, 2.0, 2.0])
        2.0
    """
    values = _descending(eigenvalues)
    return float(values.sum()) if values.any() else math.nan


def top1_explained_variance(eigenvalues: Any) -> float:
    """Fraction of the variance along the first direction, max lambda / sum lambda; NaN where all are zero.

    Args:
        eigenvalues: (d,) eigenvalues.

    Returns:
        The fraction, in (0, 1].

    Example:
        >>> top1_explained_variance([2.0, 1.0, 1.0])
        0.5
    """
    values = _descending(eigenvalues)
    return float(1.0 / values.sum()) if values.any() else math.nan


def dimensions_above(eigenvalues: Any, threshold: float = THRESHOLD) -> float:
    """Number of singular values above `threshold` times the largest; NaN where all are zero.

    Returns:
        The number, as a float.

    Example:
        >>> dimensions_above([1.0, 0.5, 1e-6])
        2.0
    """
    values = _descending(eigenvalues)
    return float((values > threshold**2).sum()) if values.any() else math.nan


def explained_variance_dimensions(eigenvalues: Any, share: float = 0.9) -> float:
    """Smallest number of directions that carry `share` of the variance; NaN where all are zero.

    Returns:
        The number, as a float.

    Example:
        >>> explained_variance_dimensions([5.0, 4.0, 1.0], 0.9)
        2.0
    """
    values = _descending(eigenvalues)
    if not values.any():
        return math.nan
    reached = np.cumsum(values) / values.sum()
    return float(min(int(np.searchsorted(reached, share * (1.0 - 1e-12))) + 1, values.size))


def alpha_req(eigenvalues: Any, first: int = 11, last: int | None = None) -> float:
    """Slope alpha of lambda_i ~ i^-alpha (Agrawal et al., alpha-ReQ, NeurIPS 2022).

    Args:
        eigenvalues: (d,) eigenvalues.
        first: First rank of the least-squares line in log-log (counted from 1), where there are enough.
        last: Last rank; by default d / 2, since the far tail bends in every finite spectrum.

    Returns:
        The slope, positive for a falling spectrum; NaN with fewer than three positive values in the range.

    Example:
        >>> round(alpha_req(np.arange(1.0, 101.0) ** -2.0), 6)
        2.0
    """
    values = _descending(eigenvalues)
    last = max(values.size // 2, 3) if last is None else last
    first = first if first + 3 <= last else 1
    chosen = values[first - 1 : last]
    ranks = np.arange(first, first + chosen.size)[chosen > 0.0]
    chosen = chosen[chosen > 0.0]
    if chosen.size < 3:
        return math.nan
    return -float(np.polyfit(np.log(ranks), np.log(chosen), 1)[0])
