r"""What a plain RankMe of n rows would read, from the spectrum of the population.

For s = 1/2, sum sigma = (1/pi) int t^(-1/2) df(t) dt and sum sigma ln sigma^2 = (1/pi) int t^(-1/2) ln(t) df(t) dt
over t > 0, hence ln RankMe = ln S1 - S2 / (2 S1). For n Gaussian rows df(t) is the population's at kappa, with
t = kappa (1 - df(kappa) / n), so both integrals run over kappa.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.optimize import brentq

Array = NDArray[np.float64]

STEPS = 4000
"""Points of the integral; its error is below 1e-4 of the result."""


def plain_rank_at(support: Array, weights: Array, n: float) -> float:
    """Predicted plain effective rank of n independent Gaussian rows (n + 1 if they are centred).

    Args:
        support: (g,) eigenvalues.
        weights: (g,) how many dimensions have each.
        n: Rows; infinity gives the population's own effective rank.

    Returns:
        A number in [1, min(n, d)]; NaN for n < 1 or an empty spectrum, 1.0 for one of zeros.
    """
    used = (support > 0.0) & (weights > 0.0)
    if n < 1.0 or weights.size == 0:
        return math.nan
    if not used.any():
        return 1.0
    lam, w = support[used] / support.max(), weights[used]

    def df(kappa: Array) -> Array:
        return np.asarray((w * lam / (lam + kappa[:, None])).sum(1))

    def lacking(log_kappa: float) -> float:
        return float(df(np.array([math.exp(log_kappa)]))[0]) - n

    start = 0.0
    if lacking(-80.0) > 0.0:  # fewer rows than dimensions: t = 0 at a positive kappa
        start = math.exp(brentq(lacking, -80.0, math.log(w.sum()) + 1.0))
    scale = lam.min() if start == 0.0 else start
    kappa = start + np.geomspace(1e-9 * scale, 1e9, STEPS)
    freedom = df(kappa)
    t = np.maximum(kappa * (1.0 - freedom / n), 0.0)
    root = np.sqrt(t)
    first = freedom * 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        second = np.where(t > 0.0, first * np.log(t), 0.0)
    # Beyond the last point df = trace / t; before the first it is constant.
    head, tail = float(root[0] * first[0]), float(2.0 * np.dot(w, lam) / root[-1])
    s1 = float(trapezoid(first, root)) + head + tail
    s2 = float(trapezoid(second, root)) + tail * (math.log(t[-1]) + 2.0)
    s2 += head * (math.log(t[0]) - 2.0) if t[0] > 0.0 else 0.0
    return max(min(math.exp(math.log(s1 / math.pi) - s2 / (2.0 * s1)), float(min(n, w.sum()))), 1.0)
