"""What a window gathers for one layer and level, in a form that processes can exchange and merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.moments import Moments
from rankwatch.numerics.projection import project

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
        d: Columns before any projection.
        k: Columns after the projection, or None.
        seed: Seed of the projection.
        moments: Sums over the same rows before the projection, and the number of rows left out.
    """

    rows: torch.Tensor
    groups: torch.Tensor
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
    def from_rows(x: Any, groups: Any | None = None, projection: int | None = None, seed: int = 0) -> Sample:
        """Take rows into a sample.

        Args:
            x: (n, d) rows; numpy or torch, any float type, CPU or GPU.
            groups: (n,) integer utterance keys, the same in all processes, not negative; None where rows
                are independent of one another.
            projection: Columns to project to; None, or anything not below d, leaves rows as they are.
            seed: Seed of the projection, which depends on (seed, d, projection) alone.

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
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be positive, got {projection}")
        n, d = rows.shape
        keys = torch.full((n,), NO_GROUP) if groups is None else torch.as_tensor(groups).detach().cpu()
        if keys.shape != (n,):
            raise ValueError(f"expected one group key for each of {n} rows, got {tuple(keys.shape)}")
        rows = rows.float()
        finite = torch.isfinite(rows).all(dim=1)
        bad = n - int(finite.sum())
        if bad:
            rows, keys = rows[finite], keys[finite.cpu()]
        # Adding zero turns -0.0, which equals 0.0 and differs in its bytes, into 0.0.
        rows, keys = rows + 0.0, keys.to(torch.int64)
        moments = Moments.from_rows(rows.cpu(), bad)
        k = projection if projection is not None and projection < d else None
        kept = (rows if k is None else project(rows, k, seed)).cpu()
        return _canonical(kept, keys, d, k, seed, moments)

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
        kinds = {(sample.d, sample.k, sample.seed) for sample in samples}
        if len(kinds) > 1:
            raise ValueError(f"samples differ in (d, k, seed): {sorted(kinds, key=str)}")
        rows = torch.cat([sample.rows for sample in samples])
        groups = torch.cat([sample.groups for sample in samples])
        first = samples[0]
        moments = Moments.merge([sample.moments for sample in samples])
        return _canonical(rows, groups, first.d, first.k, first.seed, moments)

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Plain tensors that hold everything, for the way to another process."""
        m = self.moments
        header = [self.d, -1 if self.k is None else self.k, self.seed, m.n, m.n_nonfinite]
        return {
            "header": torch.tensor(header, dtype=torch.int64),
            "rows": self.rows,
            "groups": self.groups,
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
        rows, groups = tensors["rows"].cpu(), tensors["groups"].cpu()
        return Sample(rows, groups, d, None if k < 0 else k, seed, moments)


def _canonical(rows: torch.Tensor, groups: torch.Tensor, d: int, k: int | None, seed: int, moments: Moments) -> Sample:
    """Sort by group, rows of one group by their bytes: an order that hangs on nothing else."""
    array = np.ascontiguousarray(rows.numpy())
    if array.size:
        as_bytes = array.view(np.dtype((np.void, array.shape[1] * array.itemsize))).ravel()
        order = np.argsort(as_bytes, kind="stable")
        order = order[np.argsort(groups.numpy()[order], kind="stable")]
        index = torch.from_numpy(order)
        rows, groups = rows[index], groups[index]
    return Sample(rows.contiguous(), groups.contiguous(), d, k, seed, moments)
