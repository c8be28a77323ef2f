r"""From the eigenvalues of a sample, or of its projection, to the spectrum of the population.

With l_1..l_r the sample's eigenvalues and df(t) = sum_i l_i / (l_i + t), the population with eigenvalues
lambda_j has the same degrees of freedom at a larger ridge (Silverstein & Bai, J. Multivariate Anal. 1995,
eq. 1.4, on the negative real axis):

.. math:: \sum_j \frac{\lambda_j}{\lambda_j + \kappa} = df(t), \qquad \kappa = \frac{t}{1 - df(t)/N}

and a uniformly distributed orthonormal projection from d to k columns gives
:math:`\kappa = t (1 - df/d) / (1 - df/k)` (see `projection`). Both together multiply. The curve df(kappa),
the number of dimensions and the trace determine a non-negative measure on a grid of lambda by least
squares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rankwatch.numerics.spectrum import Spectrum

Array = NDArray[np.float64]

POINTS = 60
"""Ridges at which df is read."""

GRID = 100
"""Support points of the fitted spectrum."""

SMOOTHNESS = 0.03
"""Weight of the second differences of neighbouring weights."""

HARD = 10.0
"""Weight of the two constraints, the number of dimensions and the trace."""


def degrees_of_freedom(
    eigenvalues: Array, t: Array, n: float, d: int, k: int | None
) -> tuple[Array, Array]:
    """The ridge of the population, and its degrees of freedom, at ridge t of the sample.

    Args:
        eigenvalues: (r,) positive sample eigenvalues, r <= min(n, k or d).
        t: (m,) positive ridges.
        n: Independent rows (n - 1 for centred ones).
        d: Columns before the projection.
        k: Columns after it, or None.

    Returns:
        kappa (m,) and df (m,). Near df = n and df = k the differences 1 - df/n and 1 - df/k are taken as
        sums of positive terms, which do not cancel.
    """
    r = eigenvalues.size
    resolvent = (1.0 / (eigenvalues[:, None] + t)).sum(0)
    df = r - t * resolvent
    kappa = t
    if k is not None:
        kappa = kappa * (1.0 - df / d) * k / (t * resolvent + (k - r))
    return kappa * n / (t * resolvent + (n - r)), df


def correct(eigenvalues: Array, n: float, d: int, k: int | None, trace: float) -> Spectrum:
    """Spectrum of the population from that of a sample.

    Args:
        eigenvalues: (r,) sample eigenvalues, descending, the first positive; zeros allowed.
        n: Independent rows (n - 1 for centred ones); at least 1.
        d: Columns before any projection.
        k: Columns after it, or None.
        trace: Sum of the population's eigenvalues, from the unprojected rows.

    Returns:
        The fitted spectrum. About 5 ms.
    """
    width = min(max(int(n), 1), d if k is None else k)
    positive = eigenvalues[eigenvalues > 0.0][:width] / trace
    # A sample that doesn't fill its own space comes from a population of exactly its rank.
    rank = d if positive.size == width else positive.size
    kappa, df = _curve(positive, n, d, k)
    resolved = rank < d or (k is None and n > d)
    floor = positive[-1] * 0.3 if resolved else 0.0
    support = np.geomspace(positive[0] * 1.1, max(kappa[0] * 0.03, floor), GRID)
    weights = _fit(support, kappa, df, rank)
    keep = weights > 0.0
    if not keep.any():
        return Spectrum(positive * trace, np.ones_like(positive))
    support, weights = support[keep] * trace, weights[keep] * (rank / weights.sum())
    if rank < d:
        support, weights = np.append(support, 0.0), np.append(weights, float(d - rank))
    return Spectrum(support, weights)


def _curve(eigenvalues: Array, n: float, d: int, k: int | None) -> tuple[Array, Array]:
    """Read df on a log grid of kappa, from the resolution limit to far above the largest eigenvalue."""
    fine = np.geomspace(eigenvalues[-1] * 1e-4, 30.0 * eigenvalues[0], 400)
    limit, _ = degrees_of_freedom(eigenvalues, fine, n, d, k)
    lowest = max(limit[0] * 1.001, eigenvalues[-1] * 0.1)
    wanted = np.geomspace(lowest, 20.0 * eigenvalues[0], POINTS)
    t = np.exp(np.interp(np.log(wanted), np.log(limit), np.log(fine)))
    return degrees_of_freedom(eigenvalues, t, n, d, k)


def _fit(support: Array, kappa: Array, df: Array, d: int) -> Array:
    """Non-negative weights on the support that fit df, their number and (in units of the trace) 1."""
    size = support.size
    second = np.eye(size)[:-2] - 2.0 * np.eye(size, k=1)[:-2] + np.eye(size, k=2)[:-2]
    root = np.sqrt(d)
    matrix = np.concatenate(
        [
            support / (support + kappa[:, None]),
            HARD * np.ones((1, size)),
            HARD * root * support[None],
            SMOOTHNESS * second,
        ]
    )
    target = np.concatenate([df, [HARD * d, HARD * root], np.zeros(size - 2)])
    try:
        return np.asarray(nnls(matrix, target, maxiter=50 * size)[0])
    except RuntimeError:  # no convergence: no fitted spectrum rather than a crash
        return np.zeros(size)
