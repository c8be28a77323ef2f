"""Rows of one layer and level, in a form that hangs on nothing but what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.rows.moments import Moments
from rankwatch.numerics.rows.projection import project
from rankwatch.numerics.rows.rounding import rounding_of

NEGLIGIBLE = 1e-12
"""Rows of less than this share of the mean weight are left out: what they would add is lost in rounding."""

NO_GROUP = -1
"""Key of a row that belongs to no utterance but stands by itself."""


@dataclass(frozen=True)
class Sample:
    """Rows of one layer and level, in an order that depends on their content alone.

    Two samples of the same rows are equal bit for bit, however the rows were ordered and spread over
    processes; everything that is computed from a sample is therefore the same everywhere.

    Attributes:
        rows: (n, k) or, unprojected, (n, d) float32 on CPU: sorted by group, then by what they were unprojected.
        groups: (n,) int64, the utterance key of each row; -1 for a row that stands by itself.
        weights: (n,) float64, how much each row counts, 1 on the average; None where all count the same.
        rounding: (n,) float64, variance of each row's rounding, summed over its columns before the projection.
        d: Columns before any projection.
        k: Columns after the projection, or None.
        seed: Seed of the projection.
        moments: Those of the same rows before the projection, and the number of rows left out.
    """

    rows: torch.Tensor
    groups: torch.Tensor
    weights: torch.Tensor | None
    rounding: torch.Tensor
    d: int
    k: int | None
    seed: int
    moments: Moments

    @property
    def n(self) -> int:
        """Rows kept."""
        return int(self.rows.shape[0])

    @property
    def n_nonfinite(self) -> int:
        """Rows left out because of a NaN or an Inf."""
        return self.moments.n_nonfinite

    @staticmethod
    def from_rows(
        x: Any,
        groups: Any | None = None,
        projection: int | None = None,
        seed: int = 0,
        *,
        weights: Any | None = None,
        rounding: Any | None = None,
    ) -> Sample:
        """Take rows into a sample.

        Args:
            x: (n, d) rows; numpy or torch, any float type, CPU or GPU.
            groups: (n,) integer utterance keys, the same in all processes, not negative; None where rows
                are independent of one another.
            projection: Columns to project to; None, or anything not below d, leaves rows as they are.
            seed: Seed of the projection, which depends on (seed, d, projection) alone.
            weights: (n,) how much each row counts, in any unit; None where all count the same.
            rounding: (n,) variance of each row's rounding, summed over its columns, where it is known; else it is
                what the type of `x` gives (zero for float32).

        Returns:
            The sample. Rows with NaN or Inf (also: beyond float32) are left out and counted; rows of next to no weight
            (below 1e-12 of the mean) are just left out.

        Raises:
            ValueError: If shapes don't fit, the projection is no positive number, a key is negative, or a weight is,
                or is not finite, or none is positive.

        Example:
            >>> Sample.from_rows(torch.randn(8, 4), groups=[0, 0, 1, 1, 2, 2, 3, 3]).n
            8
        """
        rows = (x if isinstance(x, torch.Tensor) else torch.as_tensor(x, device="cpu")).detach()
        if rows.ndim != 2:
            raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
        if projection is not None and (int(projection) != projection or projection < 1):
            raise ValueError(f"projection must be a positive whole number, got {projection}")
        n, d = rows.shape
        keys = (
            torch.full((n,), NO_GROUP, device="cpu")
            if groups is None
            else torch.as_tensor(groups, device="cpu").detach()
        )
        if keys.shape != (n,):
            raise ValueError(f"expected one group key for each of {n} rows, got {tuple(keys.shape)}")
        if n and int(keys.min()) < NO_GROUP:
            raise ValueError(f"group keys must not be negative, got {int(keys.min())}")
        counting = None if weights is None else checked_weights(weights, n)
        if rounding is None:
            rounding = rounding_of(rows)
        rows, rounded = rows.float(), torch.as_tensor(rounding, device="cpu").detach().double()
        if rounded.shape != (n,):
            raise ValueError(f"expected one rounding variance for each of {n} rows, got {tuple(rounded.shape)}")
        finite = torch.isfinite(rows).all(dim=1)
        bad = n - int(finite.sum())
        kept_rows = finite.cpu() if counting is None else finite.cpu() & (counting > NEGLIGIBLE * counting.mean())
        if not bool(kept_rows.all()):
            rows = rows[kept_rows.to(rows.device)]
            keys, rounded = keys[kept_rows], rounded[kept_rows]
            counting = None if counting is None else counting[kept_rows]
        if counting is not None and len(counting):
            counting = counting * (len(counting) / math.fsum(counting.tolist()))  # a sum that hangs on no order
        # Adding zero turns -0.0, which equals 0.0 and differs in its bytes, into 0.0.
        rows, keys = rows + 0.0, keys.to(torch.int64)
        rows = rows.cpu()
        order = canonical_order(rows, keys, rounded, *(() if counting is None else (counting,)))
        rows, keys, rounded = rows[order], keys[order], rounded[order]
        counting = None if counting is None else counting[order]
        k = projection if projection is not None and projection < d else None
        kept = rows if k is None else project(rows, k, seed)
        return Sample(kept, keys, counting, rounded, d, k, seed, Moments.from_rows(rows, bad, counting))

    def noise(self) -> NDArray[np.float64]:
        """(d,) variance that rounding has put into each column before the projection: in proportion to its squares."""
        squares = self.moments.second_moment()
        if self.n == 0 or squares.sum() == 0.0:
            return np.zeros(self.d)
        rounding = self.rounding if self.weights is None else self.rounding * self.weights
        return np.asarray(float(rounding.mean()) / squares.sum() * squares)


def canonical_order(rows: torch.Tensor, groups: torch.Tensor, *tie_breakers: torch.Tensor) -> torch.Tensor:
    """By group, rows of one group by their bytes: an order that hangs on nothing else.

    Args:
        rows: (n, d) on the CPU, without -0.0, which equals 0.0 and differs in its bytes.
        groups: (n,) group of each.
        tie_breakers: (n,) each, what else equal rows may differ in; the last counts first.

    Returns:
        (n,) int64 positions of the rows in that order.
    """
    n, d = rows.shape
    if not n or not d:
        return torch.arange(n, device="cpu")
    array = np.ascontiguousarray(rows.numpy())
    as_bytes = array.view(np.dtype((np.void, d * array.itemsize))).ravel()
    order = np.lexsort([column.numpy() for column in tie_breakers])
    order = order[np.argsort(as_bytes[order], kind="stable")]
    return torch.from_numpy(order[np.argsort(groups.numpy()[order], kind="stable")])


def checked_weights(weights: Any, n: int) -> torch.Tensor:
    """Weights as they may be: (n,) float64 on the CPU; ValueError for others."""
    given = torch.as_tensor(weights).detach().double().cpu()
    if given.shape != (n,):
        raise ValueError(f"expected one weight for each of {n} rows, got {tuple(given.shape)}")
    if n and not (bool(torch.isfinite(given).all()) and float(given.min()) >= 0.0 and float(given.max()) > 0.0):
        raise ValueError("weights must be finite and not negative, and not all zero")
    return given
