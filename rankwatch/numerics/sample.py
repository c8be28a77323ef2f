"""What a window gathers for one layer and level, in a form that processes can exchange and merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.moments import Moments
from rankwatch.numerics.projection import project
from rankwatch.numerics.rounding import rounding_share

NO_GROUP = -1
"""Key of a row that belongs to no utterance but stands by itself."""


@dataclass(frozen=True)
class Sample:
    """Rows of one layer and level, in an order that depends on their content alone.

    Two samples of the same rows are equal bit for bit, however the rows were ordered and spread over
    processes; everything that is computed from a sample is therefore the same everywhere.

    Attributes:
        rows: (n, k) or, unprojected, (n, d) float32 on CPU: sorted by group, then by content.
        groups: (n,) int64, the utterance key of each row; -1 for a row that stands by itself.
        weights: (n,) float32, how much each row counts, 1 on the average; None where all count the same.
        rounding: (n,) float32, variance of each row's rounding relative to its squares (`rounding_share`).
        d: Columns before any projection.
        k: Columns after the projection, or None.
        seed: Seed of the projection.
        moments: Sums over the same rows before the projection, and the number of rows left out.
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
            weights: (n,) how much each row counts, 1 on the average; None where all count the same.
            rounding: (n,) what `rounding_share` would say of each row, where that is known; else the rows' bits tell.

        Returns:
            The sample. Rows with NaN or Inf (also: beyond float32) are left out and counted.

        Raises:
            ValueError: If shapes don't fit, or the projection is not positive.

        Example:
            >>> Sample.from_rows(torch.randn(8, 4), groups=[0, 0, 1, 1, 2, 2, 3, 3]).n
            8
        """
        rows = torch.as_tensor(x).detach()
        if rows.ndim != 2:
            raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
        if rounding is None:
            rounding = torch.full((rows.shape[0],), rounding_share(rows))
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be positive, got {projection}")
        n, d = rows.shape
        keys = torch.full((n,), NO_GROUP) if groups is None else torch.as_tensor(groups).detach().cpu()
        if keys.shape != (n,):
            raise ValueError(f"expected one group key for each of {n} rows, got {tuple(keys.shape)}")
        counting = None if weights is None else torch.as_tensor(weights).detach().float().cpu()
        rows, rounded = rows.float(), torch.as_tensor(rounding).detach().float().cpu()
        finite = torch.isfinite(rows).all(dim=1)
        bad = n - int(finite.sum())
        if bad:
            rows, finite = rows[finite], finite.cpu()
            keys, rounded = keys[finite], rounded[finite]
            counting = None if counting is None else counting[finite]
        # Adding zero turns -0.0, which equals 0.0 and differs in its bytes, into 0.0.
        rows, keys = rows + 0.0, keys.to(torch.int64)
        moments = Moments.from_rows(rows.cpu(), bad, counting)
        k = projection if projection is not None and projection < d else None
        kept = (rows if k is None else project(rows, k, seed)).cpu()
        return Sample(kept, keys, counting, rounded, d, k, seed, moments)._sorted()

    @staticmethod
    def merge(samples: Sequence[Sample]) -> Sample:
        """The sample of all rows together.

        Args:
            samples: At least one; the same d, k and seed. Empty ones are welcome.

        Returns:
            What `from_rows` would give for the whole, in whatever order the parts come.

        Raises:
            ValueError: If there is none, or they were taken differently.
        """
        if not samples:
            raise ValueError("nothing to merge")
        if any(sample.weights is not None for sample in samples):
            raise ValueError("weights are relative to their own sample: merge the rows, then weigh them")
        kinds = {(sample.d, sample.k, sample.seed) for sample in samples}
        if len(kinds) > 1:
            raise ValueError(f"samples differ in (d, k, seed): {sorted(kinds, key=str)}")
        rows = torch.cat([sample.rows for sample in samples])
        groups = torch.cat([sample.groups for sample in samples])
        rounding = torch.cat([sample.rounding for sample in samples])
        first = samples[0]
        moments = Moments.merge([sample.moments for sample in samples])
        return Sample(rows, groups, None, rounding, first.d, first.k, first.seed, moments)._sorted()

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Plain tensors that hold everything but weights, for the way to another process."""
        m = self.moments
        header = [self.d, -1 if self.k is None else self.k, self.seed, m.n, m.n_nonfinite]
        return {
            "header": torch.tensor(header, dtype=torch.int64),
            "rows": self.rows,
            "groups": self.groups,
            "rounding": self.rounding,
            "exponents": m.exponents,
            "sums": m.sums,
            "squares": m.squares,
            "unit": m.unit,
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, torch.Tensor]) -> Sample:
        """The way back from `to_tensors`."""
        d, k, seed, n, bad = (int(value) for value in tensors["header"])
        names = ("exponents", "sums", "squares", "unit")
        moments = Moments(n, bad, *(tensors[name].cpu() for name in names))
        rows, groups, rounding = (tensors[name].cpu() for name in ("rows", "groups", "rounding"))
        return Sample(rows, groups, None, rounding, d, None if k < 0 else k, seed, moments)

    def _sorted(self) -> Sample:
        """Sorted by group, rows of one group by their bytes: an order that hangs on nothing else."""
        array = np.ascontiguousarray(self.rows.numpy())
        if not array.size:
            return self
        as_bytes = array.view(np.dtype((np.void, array.shape[1] * array.itemsize))).ravel()
        order = np.argsort(as_bytes, kind="stable")
        index = torch.from_numpy(order[np.argsort(self.groups.numpy()[order], kind="stable")])
        weights = None if self.weights is None else self.weights[index]
        return replace(
            self, rows=self.rows[index], groups=self.groups[index], weights=weights, rounding=self.rounding[index]
        )
