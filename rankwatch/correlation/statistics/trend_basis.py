"""What "the mere passage of training" can explain: smooth functions of the logarithm of the step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SKIPPED = 4
"""One in so many checkpoints, the earliest, is left out before a trend is taken away: there curves leap, and no smooth
function of few parameters follows them."""

_PER_COLUMN = 3  # checkpoints for each column of the trend
_MOST_COLUMNS = 10


def step_coordinate(steps: npt.ArrayLike) -> Floats:
    """The logarithm of the step, with step 0 allowed: ``log(step + s)``, s the smallest positive step.

    Args:
        steps: (n,) optimiser steps, ascending.

    Returns:
        (n,) coordinates.

    Example:
        >>> step_coordinate([0, 1000, 3000]).round(2).tolist()
        [6.91, 7.6, 8.29]
    """
    values = np.asarray(steps, dtype=np.float64)
    positive = values[values > 0]
    return np.asarray(np.log(values + (positive.min() if positive.size else 1.0)))


def natural_spline(positions: npt.ArrayLike, columns: int) -> Floats:
    """An orthonormal basis of natural cubic splines with knots at quantiles of the positions.

    Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning" (2009), equations 5.4 and 5.5: cubic between
    the knots, linear outside.

    Args:
        positions: (n,) ascending, not all alike.
        columns: Dimensions of the space, at least 2 (straight lines) and at most n.

    Returns:
        (n, columns) whose first column is constant.
    """
    x = np.asarray(positions, dtype=np.float64)
    x = (x - x[0]) / (x[-1] - x[0])
    knots = np.quantile(x, np.linspace(0.0, 1.0, columns))
    found = [np.ones_like(x), x]

    def scaled(knot: float) -> Floats:
        return np.asarray((np.maximum(x - knot, 0.0) ** 3 - np.maximum(x - knots[-1], 0.0) ** 3) / (knots[-1] - knot))

    found += [scaled(knots[j]) - scaled(knots[-2]) for j in range(columns - 2)]
    return np.asarray(np.linalg.qr(np.stack(found, axis=1))[0])


def trend_columns(checkpoints: int) -> int:
    """Dimensions of the trend that is taken away from so many checkpoints: 1 + a third of them, at most 10.

    Args:
        checkpoints: After the earliest were left out.

    Returns:
        The number, at least 2.
    """
    return max(2, min(1 + -(-checkpoints // _PER_COLUMN), _MOST_COLUMNS))
