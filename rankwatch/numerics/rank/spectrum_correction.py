r"""From the eigenvalues of a sample, or of its projection, to the spectrum of the population.

With l_1..l_r the sample's eigenvalues and df(t) = sum_i l_i / (l_i + t), the population with eigenvalues
lambda_j has the same degrees of freedom at a larger ridge (Silverstein & Bai, J. Multivariate Anal. 1995,
eq. 1.4, on the negative real axis):

.. math:: \sum_j \frac{\lambda_j}{\lambda_j + \kappa} = df(t), \qquad \kappa = \frac{t}{1 - df(t)/n}

where n is what the rows are worth (see `leave_out`, which measures kappa), and a uniformly distributed orthonormal
projection from d to k columns gives :math:`\kappa = t (1 - df/d) / (1 - df/k)` (see `projection`). Both together
multiply. The curve df(kappa), the number of dimensions and the trace determine a non-negative measure on a
grid of lambda by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rankwatch.numerics.rank.leave_utterances_out import Directions, Parts, outside_leverage
from rankwatch.numerics.rank.spectrum import Spectrum

Array = NDArray[np.float64]

RIDGES = 32
"""Ridges at which df is read."""

FEWEST = 8
"""Ridges that a curve must have."""

GRID = 60
"""Support points of the fitted spectrum."""

HARD = 10.0
"""Weight of the two constraints, the number of dimensions and the trace."""


class NoFit(ArithmeticError):  # noqa: N818 - it says what there isn't
    """No spectrum explains what was read from the rows."""


@dataclass(frozen=True)
class Prior:
    """What the fit assumes where the curve says nothing.

    Attributes:
        smoothness: Weight of the second differences of neighbouring weights.
        reach: Lower end of the support relative to the resolution limit, the smallest kappa; where all of the
            spectrum is resolved, the smallest sample eigenvalue bounds it.
    """

    smoothness: float
    reach: float = 0.01

    def other(self) -> Prior:
        """One that is as reasonable: where the two disagree, the data don't decide."""
        return Prior(5.0 * self.smoothness, 0.5 * self.reach)


RESOLVED, UNRESOLVED, PROJECTED = Prior(0.0005), Prior(0.01), Prior(0.001)
"""For n > d without projection; for n < d; for projected rows. Chosen on nine spectra, see the page."""


@dataclass(frozen=True)
class Curve:
    """Degrees of freedom of the population over its ridge, as read from a sample.

    Attributes:
        t: (m,) ridges of the sample, ascending.
        inner: (m,) the ridge that belongs to t in the population of the rows as they are (projected or not).
        independent: (m,) what it would be if all rows were independent and of equal size.
        kappa: (m,) the ridge of the population before the projection.
        df: (m,) degrees of freedom, the same for all three.
        leverage: (g, m) what each group contributed: its rows' leverage from outside.
    """

    t: Array
    inner: Array
    independent: Array
    kappa: Array
    df: Array
    leverage: Array


@dataclass(frozen=True)
class Fit:
    """A fitted spectrum in units of the trace, with what is needed to differentiate it.

    Attributes:
        support: (g,) eigenvalues, descending.
        weights: (g,) dimensions at each.
        sensitivity: (m + 1,) derivative of ln(effective rank) by df at each ridge, and by the trace.
    """

    support: Array
    weights: Array
    sensitivity: Array


def degrees_of_freedom(eigenvalues: Array, t: Array, size: float) -> tuple[Array, Array]:
    """Degrees of freedom df(t), and size - df(t) as a sum of positive terms, which does not cancel."""
    resolvent = (1.0 / (eigenvalues[:, None] + t)).sum(0)
    return eigenvalues.size - t * resolvent, t * resolvent + (size - eigenvalues.size)


def read_curve(found: Directions, eigenvalues: Array, parts: Parts, d: int, k: int | None) -> Curve:
    """Read df over kappa, from the resolution limit to far above the largest eigenvalue.

    Args:
        found: The rows' decomposition.
        eigenvalues: (r,) its eigenvalues in units of the trace.
        parts: What is left out at a time.
        d: Columns before the projection.
        k: Columns after it, or None.

    Returns:
        The curve, from which the spectrum is fitted.

    Raises:
        NoFit: If the rows give no rising curve.
    """
    fine = np.geomspace(eigenvalues[-1] * 1e-4, 30.0 * eigenvalues[0], 200)
    df, rest = degrees_of_freedom(eigenvalues, fine, found.n)
    expected = _undo_projection(eigenvalues, fine, fine * found.n / rest, d, k)
    # With n = k + 1 both factors vanish together and kappa turns back up as t falls.
    turn = int(np.argmin(expected))
    fine, expected = fine[turn:], expected[turn:]
    lowest = max(expected[0] * 1.001, eigenvalues[-1] * 0.1)
    wanted = np.geomspace(lowest, 20.0 * eigenvalues[0], RIDGES)
    t = np.exp(np.interp(np.log(wanted), np.log(expected), np.log(fine)))
    df, rest = degrees_of_freedom(eigenvalues, t, found.n)
    independent = t * found.n / rest
    leverage = outside_leverage(found, eigenvalues, parts.sizes, t)
    inner = t * leverage.sum(0) / (len(found.rows) * df)
    # Rows of very unequal size leave nothing to be read at the smallest ridges.
    level = np.flatnonzero(~(np.diff(inner) > 0.0))
    keep = slice(int(level[-1]) + 1 if level.size else 0, None)
    t, inner, independent, df, leverage = t[keep], inner[keep], independent[keep], df[keep], leverage[:, keep]
    if t.size < FEWEST or not np.isfinite(inner).all():
        raise NoFit("the curve does not rise")
    inner = inner / _one_group_more(t, inner, df, parts)
    return Curve(t, inner, independent, _undo_projection(eigenvalues, t, inner, d, k), df, leverage)


def _one_group_more(t: Array, inner: Array, df: Array, parts: Parts) -> Array:
    """What b(t) loses when the group that was left out comes back.

    For n independent rows ln b falls by (c / (1 - c)) dn / n when dn rows are added, with c = df2 / n and
    df2 = d(kappa df) / d kappa; here n is what the rows are worth at this ridge, df / (1 - t / kappa).

    Returns:
        Factors, one for each t.
    """
    share = float(np.square(parts.masses / parts.masses.sum()).sum())
    df2 = np.clip(np.gradient(inner * df, inner), 0.0, df)
    c = np.clip(df2 / df * (1.0 - t / inner), 0.0, 0.99)
    return np.asarray(1.0 + share * c / (1.0 - c))


def _undo_projection(eigenvalues: Array, t: Array, inner: Array, d: int, k: int | None) -> Array:
    if k is None:
        return inner
    df, rest = degrees_of_freedom(eigenvalues, t, k)
    return inner * (1.0 - df / d) * k / rest


def fit_spectrum(curve: Curve, largest: float, smallest: float, dimensions: int, prior: Prior) -> Fit:
    """Fit a non-negative measure to the curve.

    Args:
        curve: Degrees of freedom over kappa, in units of the trace.
        largest: Largest eigenvalue of the sample.
        smallest: Lower end of the support, or 0 to let the resolution limit decide.
        dimensions: Number of dimensions that carry variance.
        prior: What to assume below the resolution limit.

    Returns:
        The fit. About 1 ms.

    Raises:
        NoFit: If the least squares did not converge.
    """
    support = np.geomspace(largest * 1.1, max(curve.kappa[0] * prior.reach, smallest), GRID)
    second = np.eye(GRID)[:-2] - 2.0 * np.eye(GRID, k=1)[:-2] + np.eye(GRID, k=2)[:-2]
    root = HARD * np.sqrt(dimensions)
    matrix = np.concatenate(
        [
            support / (support + curve.kappa[:, None]),
            root * support[None],
            HARD * np.ones((1, GRID)),
            prior.smoothness * second,
        ]
    )
    target = np.concatenate([curve.df, [root, HARD * dimensions], np.zeros(GRID - 2)])
    try:
        weights = np.asarray(nnls(matrix, target, maxiter=50 * GRID)[0])
    except (RuntimeError, ValueError) as error:
        raise NoFit(str(error)) from error
    used = weights > 0.0
    if not used.any():
        raise NoFit("every weight is zero")
    active = matrix[:, used]
    normal = active.T @ active + 1e-12 * np.eye(active.shape[1])
    gradient = rank_gradient(support[used], weights[used])
    response = active @ np.linalg.solve(normal, gradient)
    sensitivity = np.append(response[: curve.df.size], response[curve.df.size] * root)
    return Fit(support, weights, sensitivity)


def rank_gradient(support: Array, weights: Array) -> Array:
    """Derivative of ln(effective rank) by each weight."""
    sigma = np.sqrt(support)
    total = float(np.dot(weights, sigma))
    entropy = float(np.dot(weights, sigma * np.log(sigma)))
    return np.asarray(sigma / total - sigma * np.log(sigma) / total + entropy * sigma / total**2)


def to_spectrum(fit: Fit, trace: float, d: int, dimensions: int) -> Spectrum:
    """The fitted spectrum in the rows' units, with d - `dimensions` zeros."""
    keep = fit.weights > 0.0
    support, weights = fit.support[keep] * trace, fit.weights[keep]
    weights = weights * (dimensions / weights.sum())
    if dimensions < d:
        support, weights = np.append(support, 0.0), np.append(weights, float(d - dimensions))
    return Spectrum(support, weights)
