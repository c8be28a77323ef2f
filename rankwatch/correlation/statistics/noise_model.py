"""How many independent pairs of values two autocorrelated series are worth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rankwatch.correlation.statistics.trend_basis import (
    SKIPPED,
    natural_spline,
    step_coordinate,
    trend_columns,
)

Floats = npt.NDArray[np.float64]

_LEVEL_PHI = (*np.linspace(-0.5, 0.9, 15), 0.94, 0.97, 0.99, 0.999)
_CHANGE_PHI = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

FEWEST_CHECKPOINTS = 5
FEWEST_CHANGES = 5
"""Dimensions that must be left when the trend is taken away; eleven checkpoints leave as many."""


@dataclass(frozen=True)
class NoiseModel:
    r"""What is compared of two series, and the autocorrelations that it may have.

    Of a series x, :math:`e = C x` is compared. Its covariance is one of a grid of candidates :math:`\Sigma_i` (AR(1),
    and where changes are compared also changes that are AR(1)), each as likely as the restricted likelihood says
    (Patterson & Thompson 1971): :math:`w_i \propto |\Sigma_i|^{-1/2} (e^\top \Sigma_i^{-1} e)^{-m/2}`. The correlation
    of two independent series has the variance
    :math:`v_{ij} = \mathrm{tr}(\Sigma_i \Sigma_j) / (\mathrm{tr} \Sigma_i\, \mathrm{tr} \Sigma_j)` (Clifford,
    Richardson & Hémon 1989; Dutilleul 1993, for means and trends that were taken away), so they are worth
    :math:`1 + \sum_{ij} w_i w'_j / v_{ij}` independent pairs.

    Attributes:
        contrasts: (m, n) with rows that no trend reaches.
        back: (m, m') from contrasts to residuals, a value for each checkpoint or change.
        inverses: (k, m, m) of the candidates' covariances.
        log_determinants: (k,)
        pairs: (k, k) independent pairs for each two candidates.
        first: Checkpoints that are left out before the rest is compared.
    """

    contrasts: Floats
    back: Floats
    inverses: Floats
    log_determinants: Floats
    pairs: Floats
    first: int = 0

    def compared(self, series: npt.ArrayLike) -> Floats:
        """The contrasts of series.

        Args:
            series: (s, n)

        Returns:
            (s, m)
        """
        values = np.asarray(series, dtype=np.float64)[:, self.first :]
        spread = np.abs(values).max(axis=1, keepdims=True)
        found = np.asarray(values @ self.contrasts.T)
        # What is left of a constant, or of a pure trend, is rounding, and no variation.
        return np.where(np.abs(found).max(axis=1, keepdims=True) > 1e-12 * spread, found, 0.0)

    def residuals(self, compared: Floats) -> Floats:
        """What is left of each checkpoint's value, or of each change, once mean or trend are taken away.

        Args:
            compared: (s, m) contrasts.

        Returns:
            (s, m')
        """
        return np.asarray(compared @ self.back)

    def weights(self, compared: Floats) -> Floats:
        """How likely each candidate is.

        Args:
            compared: (s, m) contrasts.

        Returns:
            (s, k) that sum to one; alike for a series that doesn't vary.
        """
        size = compared.shape[1]
        scale = np.sqrt((compared**2).mean(axis=1, keepdims=True))
        unit = compared / np.where(scale > 0.0, scale, 1.0)
        squares = np.einsum("si,kij,sj->sk", unit, self.inverses, unit)
        logs = -0.5 * self.log_determinants - 0.5 * size * np.log(np.where(squares > 0.0, squares, 1.0))
        found = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def effective_pairs(self, weights: Floats, others: Floats) -> Floats:
        """Independent pairs that each two series are worth.

        Args:
            weights: (a, k) of the one kind.
            others: (b, k) of the other.

        Returns:
            (a, b)
        """
        return np.asarray(1.0 + weights @ self.pairs @ others.T)


def level_model(n: int) -> NoiseModel:
    """Values of n checkpoints (layers) in their order, with their mean taken away.

    Args:
        n: At least 3.

    Returns:
        The model.
    """
    return _level_model(n)


def change_model(steps: npt.ArrayLike) -> NoiseModel | None:
    """Changes from one checkpoint to the next, with a smooth trend in the logarithm of the step taken away.

    The earliest quarter of the checkpoints is left out. The trend is a natural spline of 1 + a third as many columns as
    checkpoints are left. Changes, and not values, because the values of a run that wanders are worth few independent
    pairs (5 of 20 at an autocorrelation of 0.9), its changes nearly as many as there are.

    Args:
        steps: (n,) ascending.

    Returns:
        The model, or None where fewer than `FEWEST_CHANGES` dimensions would be left (fewer than eleven checkpoints).
    """
    return _change_model(tuple(float(step) for step in np.asarray(steps).ravel()))


@lru_cache(maxsize=256)
def _level_model(n: int) -> NoiseModel:
    contrasts = _complement(np.full((n, 1), n**-0.5))
    candidates = [contrasts @ _autocovariance(phi, n) @ contrasts.T for phi in _LEVEL_PHI]
    return _model(contrasts, contrasts, candidates, 0)


@lru_cache(maxsize=256)
def _change_model(steps: tuple[float, ...]) -> NoiseModel | None:
    first = len(steps) // SKIPPED
    later = np.asarray(steps[first:])
    n = len(later)
    columns = trend_columns(n)
    if n - columns < FEWEST_CHANGES:
        return None
    differences = np.eye(n)[1:] - np.eye(n)[:-1]
    trend = differences @ natural_spline(step_coordinate(later), columns)
    outside = _complement(trend)
    contrasts = outside @ differences
    candidates = [contrasts @ _autocovariance(phi, n) @ contrasts.T for phi in _LEVEL_PHI]
    candidates += [outside @ _autocovariance(phi, n - 1) @ outside.T for phi in _CHANGE_PHI]
    return _model(contrasts, outside, candidates, first)


def _complement(columns: Floats) -> Floats:
    """Orthonormal rows that are orthogonal to all columns."""
    left, values, _ = np.linalg.svd(columns, full_matrices=True)
    return np.asarray(left[:, int((values > 1e-9 * values[0]).sum()) :].T)


def _autocovariance(phi: float, n: int) -> Floats:
    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return np.asarray(np.float64(phi) ** lags)


def _model(contrasts: Floats, back: Floats, candidates: list[Floats], first: int) -> NoiseModel:
    stacked = np.stack(candidates)
    traces = np.einsum("kii->k", stacked)
    products = np.einsum("kij,lij->kl", stacked, stacked)
    return NoiseModel(
        contrasts,
        back,
        np.asarray(np.linalg.inv(stacked), np.float64),
        np.asarray(np.linalg.slogdet(stacked)[1], np.float64),
        np.asarray(np.outer(traces, traces) / products, np.float64),
        first,
    )
