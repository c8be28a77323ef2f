r"""How much of each row's leverage is its own: the ridge of the population, by leaving utterances out.

A row x that is not part of the sample S sees :math:`b(t) = E[x^T (S + t)^{-1} x]`, and with the deterministic
equivalent :math:`t (S + t)^{-1} \simeq \kappa (\Sigma + \kappa)^{-1}` (Silverstein & Bai 1995; Bai & Zhou 2008)
that is :math:`(\kappa / t)\, df`, while a row of the sample sees df(t) itself. Hence

.. math:: \kappa = t \; b(t) / df(t), \qquad b(t) = \frac1n \sum_g \operatorname{tr} X_g (S_{-g} + t)^{-1} X_g^T
          = \sum_g \bigl( \operatorname{tr} E_g^{-1} - m_g \bigr), \quad E_g = I - X_g (S + t)^{-1} X_g^T / n

by Woodbury's identity. For independent rows of equal size this is t / (1 - df/n), Silverstein's equation; for rows
of unequal size it is its separable version, without an estimate of any row's weight; and rows of one utterance,
left out together, count for as much as they really add.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rankwatch.numerics.rank.centred_rows import Rows
from rankwatch.numerics.rows.sample import NO_GROUP

KNOTS = 16
"""Ridges at which leverages are computed; between them their ratio to df is splined over ln t."""

LARGEST_GROUP = 64
"""Groups with more rows are left out in parts of so many rows (the interval still takes them whole)."""

LEAST, SLACK = 1e-9, 0.05
"""A part's leverage counts from this share of an average row on; how far its logarithm may overshoot in a spline."""

CHUNK = 250_000
"""Products in memory at once (2 MB, so that they stay in the processor's cache)."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Eigenvectors of the rows' own Gram matrix: X X^T = n U diag(l) U^T.

    Attributes:
        rows: The rows X.
        eigenvalues: (r,) positive eigenvalues of the sample covariance, descending.
        basis: U itself, (rows, r), where there are fewer rows than columns; else (columns, r) B with U = X B: U is
            taken a few rows at a time.
        n: Degrees of freedom of the rows: one less than there are if a mean was taken out of them.
        gram: The Gram matrix that was decomposed, X^T X or X X^T (the smaller).
    """

    rows: Rows
    eigenvalues: Array
    basis: torch.Tensor
    n: int
    gram: torch.Tensor

    def first(self, r: int) -> Directions:
        """The first r directions alone."""
        return replace(self, eigenvalues=self.eigenvalues[:r], basis=self.basis[:, :r])

    def vectors(self, index: torch.Tensor) -> torch.Tensor:
        """(g, m, r) rows of U, for (g, m) indices."""
        if self.rows.wide:
            return self.basis[index]
        return (self.rows.take(index.flatten()) @ self.basis).view(*index.shape, -1)

    @property
    def full(self) -> bool:
        """Whether the rows span all that so many rows can."""
        return self.eigenvalues.size >= self.n


def directions(rows: Rows) -> Directions:
    """Decompose rows; O(n w min(n, w))."""
    n = len(rows) if rows.removed is None else len(rows) - 1
    gram = rows.gram()
    values, basis = torch.linalg.eigh(gram)
    values, basis = values.flip(0) / n, basis.flip(1)
    floor = float(values[0]) * gram.shape[0] * torch.finfo(torch.float64).eps
    r = min(int((values > floor).sum()), n)
    values, basis = values[:r], basis[:, :r]
    if not rows.wide:
        basis /= (n * values).sqrt()
    return Directions(rows, values.numpy(), basis, n, gram)


@dataclass(frozen=True)
class Parts:
    """What is left out at a time: utterances, in the order of the rows (which are sorted by group).

    Attributes:
        sizes: (p,) rows of each part, at most `LARGEST_GROUP`; 1 for each row by itself.
        masses: (p,) the sum of their weights; `sizes` where all rows count the same.
        first: (g,) the first part of each group.
    """

    sizes: NDArray[np.int64]
    masses: Array
    first: NDArray[np.int64]

    @staticmethod
    def of(groups: torch.Tensor, weights: torch.Tensor | None = None) -> Parts:
        """Parts of sorted groups (n,)."""
        alone = int((groups == NO_GROUP).sum())
        sizes, first = [1] * alone, list(range(alone))
        for count in torch.unique_consecutive(groups[alone:], return_counts=True)[1].tolist():
            whole, rest = divmod(count, LARGEST_GROUP)
            first.append(len(sizes))
            sizes += [LARGEST_GROUP] * whole + ([rest] if rest else [])
        found = Parts(np.asarray(sizes, dtype=np.int64), np.asarray(sizes, dtype=np.float64), np.asarray(first))
        return found if weights is None else replace(found, masses=found.sums(weights.numpy()))

    def sums(self, values: Array) -> Array:
        """(p,) sums over each part's rows."""
        return np.asarray(np.add.reduceat(values, np.cumsum(self.sizes) - self.sizes))

    @property
    def groups(self) -> float:
        """How many groups of equal mass would have as much weight apart."""
        return equal_masses(np.add.reduceat(self.masses, self.first))


def keys_of(groups: torch.Tensor) -> tuple[int, ...]:
    """Keys of sorted groups (n,), in the order of `Parts.first`; none where any row stands by itself."""
    keys = torch.unique_consecutive(groups)
    return () if bool((keys == NO_GROUP).any()) else tuple(keys.tolist())


def equal_masses(masses: Array) -> float:
    """Number of equal masses that are spread as widely as these: (sum m)^2 / sum m^2 (Kish)."""
    return float(masses.sum() ** 2 / np.square(masses).sum())


def outside_leverage(found: Directions, eigenvalues: Array, sizes: NDArray[np.int64], t: Array) -> Array:
    """Sum over each group's rows of x^T (S_{-g} + t)^{-1} x, between `KNOTS` by interpolation.

    Args:
        found: The decomposition.
        eigenvalues: (r,) its eigenvalues in the units of t.
        sizes: (g,) rows of each group, in order.
        t: (m,) positive ridges, ascending.

    Returns:
        (g, m), positive.
    """
    knots = np.geomspace(t[0], t[-1], KNOTS)
    # Relative to the sample's own df, which varies far more than the ratio does.
    own = [(eigenvalues[:, None] / (eigenvalues[:, None] + at)).sum(0) for at in (knots, t)]
    # Rows of next to no leverage have its rounding; a spline must not make hills of that.
    known = np.log(np.maximum(_leverage(found, eigenvalues, sizes, knots) / own[0], LEAST / sizes.sum()))
    weights = CubicSpline(np.log(knots), np.eye(KNOTS))(np.log(t))
    between = np.clip(known @ weights.T, known.min(1)[:, None] - SLACK, known.max(1)[:, None] + SLACK)
    return np.asarray(np.exp(between) * own[1])


def _leverage(found: Directions, eigenvalues: Array, sizes: NDArray[np.int64], t: Array) -> Array:
    """The same, exactly.

    Args:
        found: The decomposition.
        eigenvalues: (r,) its eigenvalues in the units of t.
        sizes: (g,) rows of each group, in order.
        t: (m,) positive ridges.

    Returns:
        (g, m). O(m r sum of squared sizes).
    """
    # E = U diag(t / (l + t)) U^T where U spans everything; else what the rows leave of the identity comes in, too.
    shares = torch.from_numpy((t if found.full else eigenvalues[:, None]) / (eigenvalues[:, None] + t))
    out = np.empty((sizes.size, t.size))
    for where, index in _batches(sizes, found.eigenvalues.size):
        size = index.shape[1]
        part, removed = found.vectors(index), found.rows.removed
        gone = torch.zeros_like(part[:, :, 0]) if removed is None else removed[index]
        # Products of the rows of each pair, first each row with itself, then with the next one, ...
        products = torch.cat([part[:, : size - lag] * part[:, lag:] for lag in range(size)], dim=1)
        entries = products @ shares
        if not found.full:
            identity = -torch.cat([gone[:, : size - lag] * gone[:, lag:] for lag in range(size)], dim=1)
            identity[:, :size] += 1.0
            entries = identity[:, :, None] - entries
        # E lies between t / (l_1 + t) and 1; rounding may take it out where one row is nearly everything.
        share = 1.0 - gone.square().mean(dim=1, keepdim=True).numpy()
        least, most = size / share, size * (eigenvalues[0] + t) / t / share
        traces = _trace_of_inverse(entries, size)
        traces = np.clip(np.where(traces > 0.0, traces, most), least, most)
        out[where] = found.n * (share * traces - size)
    return out


def _batches(sizes: NDArray[np.int64], r: int) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Groups of equal size together: their places, and the rows (g, size) of each."""
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes):
        where = np.flatnonzero(sizes == size)
        step = max(1, CHUNK // int(size * (size + 1) // 2 * max(r, 1)))
        for begin in range(0, where.size, step):
            chosen = where[begin : begin + step]
            yield chosen, torch.from_numpy(starts[chosen][:, None] + np.arange(size))


def _trace_of_inverse(entries: torch.Tensor, size: int) -> Array:
    """Traces (g, m) of the inverses of symmetric matrices given by their diagonals (g, pairs, m)."""
    if size == 1:
        return np.asarray(entries[:, 0].reciprocal().numpy())
    if size == 2:
        a, c, b = entries.unbind(1)
        return np.asarray(((a + c) / (a * c - b * b)).numpy())
    groups, _, ridges = entries.shape
    matrices = entries.new_zeros(groups, ridges, size, size)
    first = np.concatenate([np.arange(size - lag) for lag in range(size)])
    second = first + np.repeat(np.arange(size), size - np.arange(size))
    lower = entries.transpose(1, 2)
    matrices[:, :, first, second] = lower
    matrices[:, :, second, first] = lower
    return np.asarray(torch.linalg.inv_ex(matrices).inverse.diagonal(dim1=2, dim2=3).sum(2).numpy())
