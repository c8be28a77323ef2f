r"""How far the estimate can be off: the covariance of the curve, and a grouped jackknife that scales it.

For Gaussian rows the error of the curve read at kappa is :math:`-\partial \Gamma / \partial \ln\kappa` with (Bai &
Silverstein, "CLT for linear spectral statistics", Ann. Probab. 2004, Theorem 1.1, real case, on the negative axis)

.. math:: \operatorname{Cov}\bigl(\Gamma(\kappa_1), \Gamma(\kappa_2)\bigr) = -2 \ln(1 - c_n), \qquad
          c_n = \frac1n \sum_j \frac{\lambda_j^2}{(\lambda_j + \kappa_1)(\lambda_j + \kappa_2)}

and an orthonormal projection adds :math:`-2 \ln\bigl((1 - c_k) / (1 - c_d)\bigr)`. Real rows are not Gaussian and
come in utterances. Their leave-one-utterance-out leverages (see `leave_out`) give the variance of the estimate's
linear part directly, an infinitesimal jackknife over utterances; Gaussian rows would give
:math:`2 c_n / (1 - c_n)` there. The ratio of the two scales the rows' part of the variance. A twentieth of what leaving
utterances out has changed joins in quadrature.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rankwatch.numerics.rank.leave_utterances_out import Parts
from rankwatch.numerics.rank.spectrum_correction import Curve, Fit

Array = NDArray[np.float64]

DOUBT = 0.05
"""Share of the correction for dependent or unequal rows that may be wrong: it corrects on the average over directions,
and rows may share some of them more than others. Measured on six kinds of rows."""


def two_point(ridge: Array, df: Array) -> Array:
    """Sum of lambda^2 / ((lambda + a)(lambda + b)) for all pairs of ridges, from df alone.

    It is (a df(a) - b df(b)) / (a - b); on the diagonal its limit.

    Returns:
        (r, r), symmetric.
    """
    product = ridge * df
    gap = ridge[:, None] - ridge
    diagonal = np.gradient(product, ridge)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (product[:, None] - product) / gap
    return np.asarray(np.where(gap == 0.0, diagonal[:, None], ratio))


def rank_variance(
    curve: Curve,
    fit: Fit,
    n: float,
    d: int,
    k: int | None,
    energies: Array,
    parts: Parts,
) -> float:
    """Variance of ln(effective rank).

    Args:
        curve: As read from the sample, in units of the trace.
        fit: The spectrum fitted to it.
        n: Independent rows that the sample is worth.
        d: Columns before the projection.
        k: Columns after it, or None.
        energies: (p,) sum of |x|^2 over each part's rows, in units of the trace.
        parts: What was left out at a time.

    Returns:
        A variance; multiply the standard deviation by 1.645 for 90 %.
    """
    model = (fit.weights * fit.support / (fit.support + curve.kappa[:, None])).sum(1)
    resolved = fit.support[:, None] / (fit.support[:, None] + curve.kappa)
    pair = (fit.weights[:, None] * resolved).T @ resolved
    # In the projected space the curve has the same df at the inner ridge.
    inner = pair if k is None else two_point(curve.inner, model)
    c = np.clip(inner / n, 0.0, 0.999)
    with_trace = 2.0 / n * (fit.weights * fit.support) @ resolved
    trace = 2.0 / n * float(np.dot(fit.weights, fit.support**2))
    slope = np.asarray(np.gradient(-np.eye(curve.kappa.size), np.log(curve.kappa), axis=0))
    combine = np.append(slope.T @ fit.sensitivity[:-1], fit.sensitivity[-1])
    rows = _form(combine, -2.0 * np.log1p(-c), with_trace, trace)
    # The jackknife listens where outside leverages are steady: each ridge damped by t / kappa.
    damped = np.append(slope.T @ (fit.sensitivity[:-1] * curve.t / curve.inner), fit.sensitivity[-1])
    expected = _form(damped, 2.0 * c / (1.0 - c), with_trace, trace)
    found = _jackknife(curve, damped, energies, parts)
    scale = found / expected if expected > 0.0 else 1.0
    sketch = 0.0
    if k is not None:
        ratio = np.log1p(-np.clip(pair / k, 0.0, 0.999)) - np.log1p(-np.clip(pair / d, 0.0, 0.999))
        sketch = _form(combine, -2.0 * ratio, np.zeros(curve.kappa.size), 0.0)
    doubt = DOUBT * _row_correction(curve, fit)
    return max(rows, 0.0) * scale + max(sketch, 0.0) + doubt**2


def _row_correction(curve: Curve, fit: Fit) -> float:
    """What leaving utterances out changed in ln(effective rank), to first order."""
    shift = np.log(curve.inner / curve.independent)
    return -float(fit.sensitivity[:-1] @ (np.gradient(curve.df, np.log(curve.kappa)) * shift))


def _form(combine: Array, covariance: Array, with_trace: Array, trace: float) -> float:
    head, last = combine[:-1], float(combine[-1])
    return float(head @ covariance @ head + 2.0 * last * (head @ with_trace) + last**2 * trace)


def _jackknife(curve: Curve, combine: Array, energies: Array, parts: Parts) -> float:
    """Variance of the mean over rows of what each row contributes, by groups."""
    influence = curve.leverage @ (combine[:-1] * curve.t / curve.inner) + combine[-1] * energies
    n, groups = float(parts.masses.sum()), parts.first.size
    influence = np.add.reduceat(influence - parts.masses * (influence.sum() / n), parts.first)
    return float(np.dot(influence, influence)) / n**2 * groups / (groups - 1)


def half_width(variance: float, floor: float) -> float:
    """Half of the 90 % interval of ln(effective rank)."""
    return 1.6449 * math.sqrt(variance) + floor
