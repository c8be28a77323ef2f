"""Correlations of two sets of series over one run's checkpoints, as they are and beyond the passage of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rankwatch.correlation.statistics.coefficients import (
    COEFFICIENTS,
    PEARSON,
    cosine,
    standard_error,
)
from rankwatch.correlation.statistics.noise_model import (
    FEWEST_CHECKPOINTS,
    NoiseModel,
    change_model,
    level_model,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairStatistics:
    """Coefficients of a measures with b checks.

    Attributes:
        values: (a, b) by the coefficient's name; NaN where a series doesn't vary.
        errors: (a, b) standard errors of Fisher's z, likewise.
        pairs: (a, b) independent pairs that they are worth.
        n: Checkpoints, layers or changes that were compared.
    """

    values: Mapping[str, Floats]
    errors: Mapping[str, Floats]
    pairs: Floats
    n: int


def over_time(x: npt.ArrayLike, y: npt.ArrayLike) -> PairStatistics | None:
    """Correlations of values in the order in which they were measured, checkpoint by checkpoint.

    A high one says that both have changed, often no more than "later is better": two curves that only rise are worth
    three or four independent pairs, and their intervals are as wide as that.

    Args:
        x: (a, n) series without NaN.
        y: (b, n) series.

    Returns:
        The statistics, or None for fewer than five checkpoints.
    """
    measures, checks = np.atleast_2d(np.asarray(x, np.float64)), np.atleast_2d(np.asarray(y, np.float64))
    n = measures.shape[1]
    return None if n < FEWEST_CHECKPOINTS else _statistics(measures, checks, level_model(n))


def beyond_the_step(x: npt.ArrayLike, y: npt.ArrayLike, steps: npt.ArrayLike) -> PairStatistics | None:
    """Correlations of changes from one checkpoint to the next that the passage of training doesn't explain.

    See `rankwatch.correlation.statistics.noise_model.change_model`.

    Args:
        x: (a, n) series without NaN.
        y: (b, n) series.
        steps: (n,) ascending.

    Returns:
        The statistics, or None for fewer than eleven checkpoints.
    """
    model = change_model(steps)
    if model is None:
        return None
    return _statistics(np.atleast_2d(np.asarray(x, np.float64)), np.atleast_2d(np.asarray(y, np.float64)), model)


def _statistics(x: Floats, y: Floats, model: NoiseModel) -> PairStatistics:
    a, b = model.compared(x), model.compared(y)
    pairs = model.effective_pairs(model.weights(a), model.weights(b))
    left, right = model.residuals(a), model.residuals(b)
    values = {kind: coefficient(left, right) for kind, coefficient in COEFFICIENTS.items()}
    # Contrasts are centred already, and residuals of changes have no mean that would have to be taken away.
    values[PEARSON] = cosine(a, b)
    for kind in values:
        values[kind] = np.where(np.isnan(values[PEARSON]), np.nan, values[kind])
    errors = {kind: standard_error(value, pairs, kind) for kind, value in values.items()}
    return PairStatistics(values, errors, pairs, left.shape[1])
