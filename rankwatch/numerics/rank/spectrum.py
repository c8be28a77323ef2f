"""Spectra: eigenvalues of the rows at hand, and the corrected spectrum of what they were drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.metrics.expected_rankme import plain_rank_at
from rankwatch.numerics.metrics.rankme import effective_rank

Array = NDArray[np.float64]


VISIBLE = 1.5
"""Dimensions that together hold less than this multiple of the noise can't be distinguished from it."""


@dataclass(frozen=True)
class Spectrum:
    """A spectrum of d eigenvalues, as weighted support points.

    Attributes:
        support: (g,) eigenvalues lambda = sigma^2 of the covariance, descending, not negative.
        weights: (g,) how many dimensions have that eigenvalue; not negative, their sum is d. Fractions occur.
    """

    support: Array
    weights: Array

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return round(float(self.weights.sum()))

    def effective_rank(self, power: str = "sigma") -> float:
        """Effective rank of the spectrum itself.

        Args:
            power: ``"sigma"`` (p = sigma / sum sigma, RankMe's) or ``"sigma^2"`` (explained variance).

        Returns:
            A number in [1, d]; NaN for an empty spectrum, 1.0 for one of zeros.

        Raises:
            ValueError: If `power` is neither.
        """
        if power not in ("sigma", "sigma^2"):
            raise ValueError(f"power must be 'sigma' or 'sigma^2', got {power!r}")
        return weighted_rank(np.sqrt(self.support) if power == "sigma" else self.support, self.weights)

    def eigenvalues(self) -> Array:
        """(d,) eigenvalues, descending: averages of the spectrum over one dimension each. O(g + d)."""
        d = self.d
        if d == 0:
            return np.zeros(0)
        edges = np.concatenate([[0.0], np.cumsum(self.weights)])
        mass = np.concatenate([[0.0], np.cumsum(self.weights * self.support)])
        # Rounding may leave the weights' sum a little off d.
        at = np.interp(np.linspace(0.0, edges[-1], d + 1), edges, mass)
        return np.asarray(np.maximum(np.diff(at), 0.0))

    def singular_values(self, ranks: Sequence[int]) -> Array:
        """Singular values at some ranks.

        Args:
            ranks: Positions counted from 1 (the largest) to d; others are clipped.

        Returns:
            (len(ranks),) square roots of `eigenvalues` there: standard deviations, in the rows' units.
        """
        values = self.eigenvalues()
        if values.size == 0:
            return np.full(len(ranks), math.nan)
        index = np.clip(np.asarray(ranks, dtype=np.int64) - 1, 0, values.size - 1)
        return np.asarray(np.sqrt(values[index]))

    def above(self, noise: Array) -> Spectrum:
        """The spectrum without noise that is independent from column to column.

        The smallest eigenvalues are zero as far as their sum is below `VISIBLE` times what the quietest columns
        give; the others lose the median of those that give any.

        Args:
            noise: (d,) variance of each column's noise.

        Returns:
            The spectrum that is left.
        """
        ascending = self.eigenvalues()[::-1]
        hidden = np.flatnonzero(np.cumsum(ascending) <= VISIBLE * np.cumsum(np.sort(noise)))
        least = ascending[hidden[-1]] if hidden.size else 0.0
        seen = self.support > least * (1.0 + 1e-9)
        return Spectrum(np.where(seen, np.maximum(self.support - typical_noise(noise), 0.0), 0.0), self.weights)

    def plain_at(self, n: int, *, center: bool = True) -> float:
        """Plain effective rank that n independent rows would read: to compare with published numbers.

        Args:
            n: Rows.
            center: Whether their mean is taken out.

        Returns:
            `prediction.plain_rank_at`; about 10 ms.

        Example:
            >>> flat = Spectrum(np.ones(1), np.full(1, 768.0))
            >>> round(flat.plain_at(1024)), round(flat.plain_at(25_600))
            (673, 765)
        """
        return plain_rank_at(self.support, self.weights, n - 1 if center else n)


def typical_noise(noise: Array) -> float:
    """Median over the columns that have any."""
    return float(np.median(noise[noise > 0.0])) if (noise > 0.0).any() else 0.0


def weighted_rank(sigma: Array, weights: Array) -> float:
    """Effective rank of values that occur `weights` times each; within [1, sum of weights]."""
    used = (weights > 0.0) & (sigma > 0.0)
    if weights.size == 0 or weights.sum() == 0.0:
        return math.nan
    if not used.any():
        return 1.0
    s, w = sigma[used] / sigma[used].max(), weights[used]
    total = float(np.dot(w, s))
    rank = math.exp(math.log(total) - float(np.dot(w, s * np.log(s))) / total)
    return max(min(rank, float(weights.sum())), 1.0)


def eigenvalues_of(gram: torch.Tensor) -> Array:
    """Eigenvalues of a float64 Gram matrix, descending; those below the largest one's rounding are zero."""
    if gram.shape[0] == 0:
        return np.zeros(0)
    values = torch.linalg.eigvalsh(gram).flip(0).numpy()
    floor = max(float(values[0]), 0.0) * values.size * np.finfo(np.float64).eps
    return np.asarray(np.where(values > floor, values, 0.0))


def plain_rank(eigenvalues: Array) -> float:
    """Effective rank (sigma) of eigenvalues as they are, uncorrected."""
    return effective_rank(np.sqrt(eigenvalues))
