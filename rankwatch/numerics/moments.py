"""Sums over unprojected rows that can be merged in any order, bit for bit.

Floating-point addition depends on its order; integers don't. Every row is written in multiples of 2^-44 of
the power of two above its norm, and integers are summed per exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

BITS = 44
"""Resolution of the sums relative to a row's norm (squares: its square). Exact up to `MOST` rows."""

ROUNDING = 2.0**-22
"""Relative size, in standard deviations, of what counts as rounding of a constant column."""

MOST = 2**18
"""Rows whose sums are exact."""

ROWS = 2 ** (52 - BITS)
"""Rows whose sum of whole units a float64 holds exactly."""

CHUNK = 32_768
"""Numbers treated at once, so that they stay in the processor's cache."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """First and second moments of n rows and of the same rows scaled to length one.

    Attributes:
        n: Rows that were summed.
        n_nonfinite: Rows that were left out because of a NaN or an Inf.
        exponents: (b,) int64, sorted: exponents of the rows' norms that occur.
        sums: (b, d) int64: sum of the rows (times their weight) with that exponent e, in units of 2^(e - 44).
        squares: (b, d) int64: sum of their squares (likewise), in units of 2^(2e - 44).
        unit: (2, d) int64: sums of the rows scaled to length one and of their squares, in units of 2^-44.
    """

    n: int
    n_nonfinite: int
    exponents: torch.Tensor
    sums: torch.Tensor
    squares: torch.Tensor
    unit: torch.Tensor

    @staticmethod
    def from_rows(rows: torch.Tensor, n_nonfinite: int = 0, weights: torch.Tensor | None = None) -> Moments:
        """Moments of finite rows (n, d) float32, weights (n,) of mean 1 or None; O(n d)."""
        n, d = rows.shape
        _check_number(n)
        found: dict[int, NDArray[np.int64]] = {}
        unit = np.zeros((2, d), dtype=np.int64)
        step = min(max(1, CHUNK // max(d, 1)), ROWS)
        for start in range(0, n, step):
            x = rows[start : start + step].double().numpy()
            root = np.ones((len(x), 1))
            if weights is not None:
                # A weighted row is a row of another size, and its sum takes the root of the weight once more.
                root = weights[start : start + step, None].double().sqrt().numpy()
                x = x * root
            norms = np.sqrt(np.einsum("ij,ij->i", x, x))
            exponent_of = np.frexp(norms)[1]
            for exponent in set(exponent_of[norms > 0.0].tolist()):
                chosen = (exponent_of == exponent) & (norms > 0.0)
                # A power of two: exact.
                scaled = x[chosen] * 2.0**-exponent
                first = _fixed(scaled) if weights is None else _fixed_large(scaled * root[chosen])
                both = np.stack([first, _fixed(scaled * scaled)])
                found[exponent] = found.get(exponent, 0) + both
                units = scaled / (norms[chosen] * 2.0**-exponent)[:, None]
                unit[0] += _fixed(units)
                unit[1] += _fixed(units * units)
        exponents = np.array(sorted(found), dtype=np.int64)
        sums = np.stack([found[e] for e in sorted(found)]) if found else np.zeros((0, 2, d), dtype=np.int64)
        parts = (exponents, sums[:, 0].copy(), sums[:, 1].copy(), unit)
        return Moments(n, n_nonfinite, *(torch.from_numpy(part) for part in parts))

    @staticmethod
    def merge(parts: Sequence[Moments]) -> Moments:
        """Moments of all rows together: the same bits in whatever order they come."""
        d = parts[0].unit.shape[1]
        exponents = torch.unique(torch.cat([part.exponents for part in parts]), sorted=True)
        sums = torch.zeros(exponents.numel(), d, dtype=torch.int64, device="cpu")
        squares = torch.zeros_like(sums)
        for part in parts:
            where = torch.searchsorted(exponents, part.exponents)
            sums[where] += part.sums
            squares[where] += part.squares
        unit = torch.stack([part.unit for part in parts]).sum(0)
        n, bad = sum(part.n for part in parts), sum(part.n_nonfinite for part in parts)
        _check_number(n)
        return Moments(n, bad, exponents, sums, squares, unit)

    @property
    def d(self) -> int:
        """Columns."""
        return int(self.unit.shape[1])

    def mean(self) -> Array:
        """(d,) mean of the rows."""
        return self._total(self.sums, 1) / max(self.n, 1)

    def second_moment(self) -> Array:
        """(d,) mean of the squares."""
        return self._total(self.squares, 2) / max(self.n, 1)

    def variance(self) -> Array:
        """(d,) mean squared distance from the mean (divisor n)."""
        return np.asarray(np.maximum(self.second_moment() - self.mean() ** 2, 0.0))

    def live(self) -> NDArray[np.bool_]:
        """(d,) columns that vary by more than the float32 rounding of their own mean, and than that of the sums."""
        rounding = np.maximum((ROUNDING * self.mean()) ** 2, 2.0**-42 * float(self.second_moment().sum()))
        return np.asarray(self.variance() > rounding)

    def unit_variance(self) -> Array:
        """(d,) variance of the rows scaled to length one."""
        unit = np.ldexp(self.unit.numpy().astype(np.float64), -BITS) / max(self.n, 1)
        return np.asarray(np.maximum(unit[1] - unit[0] ** 2, 0.0))

    def _total(self, integers: torch.Tensor, power: int) -> Array:
        shifts = (power * self.exponents.numpy() - BITS).astype(np.int64)
        return np.asarray(np.ldexp(integers.numpy().astype(np.float64), shifts[:, None]).sum(0))


def _fixed_large(x: Array) -> NDArray[np.int64]:
    """The same for numbers that may be larger, as long as their sum is not: integers from the start."""
    return np.asarray(np.rint(x * 2.0**BITS).astype(np.int64).sum(0))


def _check_number(n: int) -> None:
    if n > MOST:
        raise ValueError(f"{n} rows: at most {MOST} are summed exactly, and 20 for each column are plenty; draw fewer")


def _fixed(x: Array) -> NDArray[np.int64]:
    """Sums of numbers up to 1 in whole units: exact as floats while there are at most `ROWS` of them."""
    units = x * 2.0**BITS
    return np.asarray(np.rint(units, out=units).sum(0).astype(np.int64))
