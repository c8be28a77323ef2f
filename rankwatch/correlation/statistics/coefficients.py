"""Pearson's, Spearman's and Kendall's coefficients of all pairs of two sets of series, and Fisher's interval."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

PEARSON, SPEARMAN, KENDALL = "pearson", "spearman", "kendall"

LEVEL = 0.9
"""Of all intervals."""

QUANTILE = float(stats.norm.ppf(0.5 + LEVEL / 2.0))
"""Standard errors from the middle to the end of an interval, 1.645; looked up once, since scipy takes 0.1 ms for it."""

_LARGEST = 0.999999  # nearer to one, Fisher's z has no use


def pearson(x: Floats, y: Floats) -> Floats:
    """Pearson's coefficient of each row of x with each row of y.

    Args:
        x: (a, n)
        y: (b, n)

    Returns:
        (a, b); NaN where a row is constant.

    Example:
        >>> pearson(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 6.0], [3.0, 3.0, 3.0]])).round(6).tolist()
        [[1.0, nan]]
    """
    return cosine(_centred(x), _centred(y))


def cosine(x: Floats, y: Floats) -> Floats:
    """The cosine of each row of x with each row of y: Pearson's coefficient of what has been centred already.

    Args:
        x: (a, n)
        y: (b, n)

    Returns:
        (a, b); NaN where a row is zero.
    """
    return np.asarray(np.clip(_scaled(x) @ _scaled(y).T, -1.0, 1.0))


def spearman(x: Floats, y: Floats) -> Floats:
    """Spearman's coefficient of each row of x with each row of y: Pearson's of their ranks, ties in the middle.

    Args:
        x: (a, n)
        y: (b, n)

    Returns:
        (a, b); NaN where a row is constant.
    """
    return pearson(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))


def kendall(x: Floats, y: Floats) -> Floats:
    """Kendall's tau-b of each row of x with each row of y (as `scipy.stats.kendalltau` of each pair).

    Args:
        x: (a, n)
        y: (b, n)

    Returns:
        (a, b); NaN where a row is constant. O(n²) for each row, and for each pair.
    """
    return cosine(_signs(x), _signs(y))


COEFFICIENTS: MappingProxyType[str, Callable[[Floats, Floats], Floats]] = MappingProxyType(
    {PEARSON: pearson, SPEARMAN: spearman, KENDALL: kendall}
)


def to_z(value: npt.ArrayLike) -> Floats:
    """Fisher's z, ``atanh(r)``; finite at one."""
    return np.asarray(np.arctanh(np.clip(np.asarray(value, dtype=np.float64), -_LARGEST, _LARGEST)))


def standard_error(value: npt.ArrayLike, pairs: npt.ArrayLike, kind: str) -> Floats:
    """The standard error of Fisher's z of a coefficient.

    ``1 / sqrt(n - 3)`` for Pearson's (Fisher 1921), ``sqrt((1 + r²/2) / (n - 3))`` for Spearman's (Bonett & Wright
    2000, equation 4), ``sqrt(0.437 / (n - 4))`` for Kendall's (Fieller, Hartley & Pearson 1957).

    Args:
        value: The coefficient.
        pairs: n, independent pairs.
        kind: ``"pearson"``, ``"spearman"`` or ``"kendall"``.

    Returns:
        The error; infinite where there are too few pairs for any.
    """
    n, r = np.asarray(pairs, dtype=np.float64), np.asarray(value, dtype=np.float64)
    top = {PEARSON: 1.0, SPEARMAN: 1.0 + r**2 / 2.0, KENDALL: 0.437}[kind]
    left = n - (4.0 if kind == KENDALL else 3.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(left > 0.0, np.sqrt(top / np.where(left > 0.0, left, 1.0)), np.inf))


def fisher_interval(value: npt.ArrayLike, error: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The 90 % interval of a coefficient, ``tanh(z ± 1.645 error)``.

    Args:
        value: The coefficient.
        error: Standard error of its z.

    Returns:
        Lower and upper ends; (-1, 1) where the error is infinite.

    Example:
        >>> low, high = fisher_interval(0.6, standard_error(0.6, 20, "pearson"))
        >>> f"{float(low):.2f} {float(high):.2f}"
        '0.29 0.80'
    """
    r = np.asarray(value, dtype=np.float64)
    z, width = to_z(r), QUANTILE * np.asarray(error, dtype=np.float64)
    # A coefficient of one lies beyond the largest z.
    return np.asarray(np.minimum(np.tanh(z - width), r)), np.asarray(np.maximum(np.tanh(z + width), r))


def _centred(rows: Floats) -> Floats:
    """Rows without their mean; zero where only rounding would be left."""
    found = rows - rows.mean(axis=1, keepdims=True)
    rounding = 1e-12 * np.abs(rows).max(axis=1, keepdims=True)
    return np.asarray(np.where(np.abs(found).max(axis=1, keepdims=True) > rounding, found, 0.0))


def _scaled(rows: Floats) -> Floats:
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(lengths > 0.0, rows / lengths, np.nan))


def _signs(rows: Floats) -> Floats:
    first, second = np.triu_indices(rows.shape[1], 1)
    return np.asarray(np.sign(rows[:, second] - rows[:, first]))
