r"""How far the estimate can be off: the covariance of the curve, and a grouped jackknife that scales it.

For Gaussian rows the error of the curve read at kappa is :math:`-\partial \Gamma / \partial \ln\kappa` with (Bai &
Silverstein, "CLT for linear spectral statistics", Ann. Probab. 2004, Theorem 1.1, real case, on the negative axis)

.. math:: \operatorname{Cov}\bigl(\Gamma(\kappa_1), \Gamma(\kappa_2)\bigr) = -2 \ln(1 - c_n), \qquad
          c_n = \frac1n \sum_j \frac{\lambda_j^2}{(\lambda_j + \kappa_1)(\lambda_j + \kappa_2)}

and an orthonormal projection adds :math:`-2 \ln\bigl((1 - c_k) / (1 - c_d)\bigr)`. Real rows are not Gaussian and
come in utterances. Their leave-one-utterance-out leverages (see `leave_out`) give the variance of the estimate's
linear part directly, an infinitesimal jackknife over utterances; Gaussian rows would give
:math:`2 c_n / (1 - c_n)` there. The ratio of the two scales the rows' part of the variance.

Where few utterances decide (in trained encoders one frame in a hundred may hold most of the variance) that variance is
itself uncertain, so a quantile of Student's t stands in the place of the normal one, with the degrees of freedom of the
jackknife's variance (Satterthwaite, Biometrics Bulletin 1946) from the influences :math:`I_g` of g utterances:

.. math:: \nu = \frac{2 (\sum I_g^2)^2}{\sum I_g^4 - (\sum I_g^2)^2 / g}

A fifth of what leaving utterances out has changed joins in quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rankwatch.numerics.rank.leave_utterances_out import Parts
from rankwatch.numerics.rank.spectrum_correction import Curve, Fit

Array = NDArray[np.float64]

DOUBT = 0.2
"""Share of the correction for dependent or unequal rows that may be wrong: it corrects on the average over directions,
and rows of an utterance share some of them more than others. Measured on Gaussian rows with the covariances within and
between utterances of trained and random encoders: with 64 utterances of 32 frames the estimate is 0.5 to 0.8 % high,
where the correction is 2 to 4 %."""

NORMAL = 1.6449
"""Half of a 90 % interval in standard deviations."""

FLOOR = 0.0006
"""What the smoothness of the fit may cost, in ln(effective rank); part of every interval."""

SHARES = np.linspace(0.0, 1.0, 11)
"""Correlations at which it is worked out what two estimates have in common."""


@dataclass(frozen=True)
class SamplingError:
    """What the error of ln(effective rank) is made of, and how far each utterance moves the estimate.

    Attributes:
        influence: (g,) how far each utterance's rows move the estimate's linear part, in the order of the utterances'
            keys; the errors of two estimates from the same utterances go together as these do.
        gaussian: Variance that the choice of so many independent Gaussian rows would give.
        scale: How much larger it is for these rows, as the influences say.
        shared: (11,) share of it that two estimates have in common whose rows are correlated by 0, 0.1 ... 1: below
            the correlation itself, since a part of the error is of pairs of rows.
        sketch: Variance that a projection gives.
        doubt: By how much the correction for dependent or unequal rows may be off, with its sign.
        prior: By how much another fit that is as reasonable is off, with its sign.
    """

    influence: Array
    gaussian: float
    scale: float
    shared: Array
    sketch: float
    doubt: float
    prior: float = 0.0

    @property
    def half_width(self) -> float:
        """Half of the 90 % interval of ln(effective rank)."""
        scale = self.scale * (stdtrit(degrees_of_freedom(self.influence), 0.95) / NORMAL) ** 2
        return NORMAL * math.sqrt(self.gaussian * scale + self.sketch + self.doubt**2 + self.prior**2) + FLOOR

    def with_prior(self, difference: float) -> SamplingError:
        """The same where another fit gives a ln(effective rank) that is so much larger."""
        return replace(self, prior=difference)


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


def sampling_error(
    curve: Curve,
    fit: Fit,
    n: float,
    d: int,
    k: int | None,
    energies: Array,
    parts: Parts,
) -> SamplingError:
    """The error of ln(effective rank).

    Args:
        curve: As read from the sample, in units of the trace.
        fit: The spectrum fitted to it.
        n: Independent rows that the sample is worth.
        d: Columns before the projection.
        k: Columns after it, or None.
        energies: (p,) sum of |x|^2 over each part's rows, in units of the trace.
        parts: What was left out at a time.

    Returns:
        What it is made of.
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
    shared = np.array([_form(combine, -2.0 * np.log1p(-s * c), s * with_trace, s * trace) for s in SHARES])
    # The jackknife listens where outside leverages are steady: each ridge damped by t / kappa.
    damped = np.append(slope.T @ (fit.sensitivity[:-1] * curve.t / curve.inner), fit.sensitivity[-1])
    expected = _form(damped, 2.0 * c / (1.0 - c), with_trace, trace)
    influence = _influence(curve, damped, energies, parts)
    groups = influence.size
    found = float(influence @ influence) * groups / (groups - 1)
    scale = found / expected if expected > 0.0 else 1.0
    sketch = 0.0
    if k is not None:
        ratio = np.log1p(-np.clip(pair / k, 0.0, 0.999)) - np.log1p(-np.clip(pair / d, 0.0, 0.999))
        sketch = _form(combine, -2.0 * ratio, np.zeros(curve.kappa.size), 0.0)
    return SamplingError(
        influence=influence,
        gaussian=max(rows, 0.0),
        scale=scale,
        shared=np.clip(shared / rows, 0.0, 1.0) if rows > 0.0 else SHARES,
        sketch=max(sketch, 0.0),
        doubt=DOUBT * _row_correction(curve, fit),
    )


def _row_correction(curve: Curve, fit: Fit) -> float:
    """What leaving utterances out changed in ln(effective rank), to first order."""
    shift = np.log(curve.inner / curve.independent)
    return -float(fit.sensitivity[:-1] @ (np.gradient(curve.df, np.log(curve.kappa)) * shift))


def _form(combine: Array, covariance: Array, with_trace: Array, trace: float) -> float:
    head, last = combine[:-1], float(combine[-1])
    return float(head @ covariance @ head + 2.0 * last * (head @ with_trace) + last**2 * trace)


def _influence(curve: Curve, combine: Array, energies: Array, parts: Parts) -> Array:
    """(g,) how far each group's rows move the estimate's linear part; the sum of squares is nearly its variance."""
    influence = curve.leverage @ (combine[:-1] * curve.t / curve.inner) + combine[-1] * energies
    n = float(parts.masses.sum())
    return np.asarray(np.add.reduceat(influence - parts.masses * (influence.sum() / n), parts.first)) / n


def degrees_of_freedom(influence: Array) -> float:
    """Those of the sum of squares: g - 1 at most, which Gaussian influences of g groups come near to."""
    squares = influence**2
    total, groups = float(squares.sum()), influence.size
    spread = float(squares @ squares) - total**2 / groups
    return min(2.0 * total**2 / spread, groups - 1.0) if spread > 0.0 else groups - 1.0
