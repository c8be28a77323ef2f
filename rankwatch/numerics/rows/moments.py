"""First and second moments of rows, before any projection, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

ROUNDING = 2.0**-22
"""Relative size, in standard deviations, of what counts as rounding of a constant column."""

SUMMED = 2.0**-42
"""Variance, relative to the whole second moment, that counts as none: next to it a column doesn't vary."""

CHUNK = 32_768
"""Numbers treated at once, so that they stay in the processor's cache."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Moments of n rows and of the same rows scaled to length one.

    Attributes:
        n: Rows that were summed.
        n_nonfinite: Rows that were left out because of a NaN or an Inf.
        mean: (d,) mean of the rows (weighted).
        variance: (d,) mean squared distance from it (divisor n), in a second pass: nothing cancels.
        unit_variance: (d,) variance of the rows scaled to length one.
    """

    n: int
    n_nonfinite: int
    mean: Array
    variance: Array
    unit_variance: Array

    @staticmethod
    def from_rows(rows: torch.Tensor, n_nonfinite: int = 0, weights: torch.Tensor | None = None) -> Moments:
        """Moments of finite rows (n, d) float32, weights (n,) of mean 1 or None; O(n d), the same bits in one order."""
        n, d = rows.shape
        total, units = np.zeros(d), np.zeros(d)
        for x, w, unit in _chunks(rows, weights):
            total += w @ x
            units += unit.sum(0)
        mean, middle = total / max(n, 1), units / max(n, 1)
        squares, spread = np.zeros(d), np.zeros(d)
        for x, w, unit in _chunks(rows, weights):
            squares += w @ (x - mean) ** 2
            spread += ((unit - middle) ** 2).sum(0)
        return Moments(n, n_nonfinite, mean, squares / max(n, 1), spread / max(n, 1))

    def second_moment(self) -> Array:
        """(d,) mean of the squares."""
        return np.asarray(self.variance + self.mean**2)

    def live(self) -> NDArray[np.bool_]:
        """(d,) columns that vary by more than the float32 rounding of their own mean, and than that of the sums."""
        rounding = np.maximum((ROUNDING * self.mean) ** 2, SUMMED * float(self.second_moment().sum()))
        return np.asarray(self.variance > rounding)


def _chunks(rows: torch.Tensor, weights: torch.Tensor | None) -> Iterator[tuple[Array, Array, Array]]:
    """Some rows at a time, their weights, and the same rows scaled to length one."""
    n, d = rows.shape
    step = max(1, CHUNK // max(d, 1))
    for start in range(0, n, step):
        x = rows[start : start + step].double().numpy()
        norms = np.sqrt(np.einsum("ij,ij->i", x, x))
        w = np.ones(len(x)) if weights is None else weights[start : start + step].numpy()
        yield x, w, x / np.where(norms > 0.0, norms, 1.0)[:, None]
