"""Rows of several representations at the same frames, in an order that depends on their content alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.rows.rounding import number_format, rounding_of
from rankwatch.numerics.rows.sample import checked_weights

VARIES = 1e-11
"""Rows whose variance is at most this share of their second moment are one vector and its rounding."""


@dataclass(frozen=True)
class Utterances:
    """Which rows belong together: sorted by size, so that those of equal size are one block.

    Attributes:
        sizes: (g,) rows of each, ascending.
        weights: (n,) float64, how much each row counts, 1 on the average.
        root: (n,) their square roots.
        names: (g,) what the caller calls each; None where rows are independent.
    """

    sizes: torch.Tensor
    weights: torch.Tensor
    root: torch.Tensor
    names: NDArray[Any] | None = None

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.weights.shape[0])

    @property
    def masses(self) -> torch.Tensor:
        """(g,) sum of the weights of each."""
        return self.sums(self.weights)

    def sums(self, rows: torch.Tensor) -> torch.Tensor:
        """(g, ...) sums over each utterance's rows (n, ...)."""
        if len(self.sizes) == len(rows):
            return rows
        return torch.cat([stack.sum(dim=1) for stack in self.stacks(rows)])

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """(n, ...) each utterance's value (g, ...) at each of its rows."""
        return values if len(self.sizes) == self.n else values.repeat_interleave(self.sizes, dim=0)

    def stacks(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """(count, size, ...) the rows of all utterances of one size, for each size."""
        return [rows[at].reshape(-1, size, *rows.shape[1:]) for at, size in self.blocks]

    @cached_property
    def blocks(self) -> list[tuple[slice, int]]:
        """Rows of the utterances of one size, and that size."""
        found, start = [], 0
        for size, count in zip(*np.unique(self.sizes.numpy(), return_counts=True), strict=True):
            found.append((slice(start, start + int(size) * int(count)), int(size)))
            start += int(size) * int(count)
        return found


@dataclass(frozen=True)
class Matched:
    """Rows of several representations at the same frames.

    Attributes:
        views: (n, d_k) each, float32 or float64 as they came, on the CPU; looked up when they are asked for, where the
            caller wants one in memory at a time.
        utterances: Which rows belong together.
        rounding: Of each view, the mean variance of a row's rounding, summed over its columns; 0 for wide formats.
        n_nonfinite: Rows that were left out because of a NaN or Inf in any view.
    """

    views: Sequence[torch.Tensor]
    utterances: Utterances
    rounding: tuple[float, ...]
    n_nonfinite: int

    @property
    def n(self) -> int:
        """Rows kept."""
        return self.utterances.n

    def centred(self, view: int) -> torch.Tensor:
        """(n, d) float64 rows without their weighted mean."""
        return centred(self.views[view], self.utterances)

    def varies(self, view: int) -> bool:
        """Whether the rows of a view are more than one vector and its rounding."""
        rows = self.centred(view)
        variance = float(rows.square().sum())
        return variance > VARIES * float(self.views[view].double().square().sum()) and variance > 0.0


class _Views(Sequence[torch.Tensor]):
    """Rows as they are calculated with, one view at a time."""

    def __init__(self, given: Sequence[Any], at: torch.Tensor | None = None) -> None:
        self._given, self._at = given, at

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, k: Any) -> Any:
        rows = _tensor(self._given[k])
        rows = (rows if rows.dtype == torch.float64 else rows.float()).cpu() + 0.0  # -0.0 becomes 0.0
        return rows if self._at is None else rows[self._at]


def match_rows(
    views: Sequence[Any],
    groups: Any | None = None,
    weights: Any | None = None,
    labels: Sequence[Any] = (),
    *,
    one_at_a_time: bool = False,
) -> tuple[Matched, tuple[torch.Tensor, ...]]:
    """Take rows of several representations together.

    Args:
        views: (n, d_k) each: numpy or torch, any float type, CPU or GPU. float64 stays, all else is read as float32.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent of one another.
        weights: (n,) how much each row counts, in any unit; None where all count the same.
        labels: (n,) each, integers that are carried along.
        one_at_a_time: Whether `views` are looked up anew whenever rows are needed, so that no two are in memory.

    Returns:
        The rows in one order, whatever order they and their utterances came in, and the labels in the same order.
        Rows that have a NaN or Inf in any view, or no weight, are left out of all.

    Raises:
        ValueError: If shapes don't fit, or a weight is negative or not finite, or none is positive.
    """
    given = views if one_at_a_time else [_tensor(v) for v in views]
    n, finite, rounding = _looked_through(given)
    rows_of = _Views(given) if one_at_a_time else list(_Views(given))
    names = np.arange(n) if groups is None else _names(groups)
    if names.shape != (n,):
        raise ValueError(f"expected one group for each of {n} rows, got {tuple(names.shape)}")
    counting = _weights(weights, n)
    keep = np.flatnonzero((finite & (counting > 1e-12 * counting.mean())).numpy())
    ids = np.unique(names[keep], return_inverse=True)[1].reshape(-1)
    order, sizes = _order((v.numpy() for v in rows_of), keep, ids)
    at = torch.from_numpy(keep[order])
    counting = counting[at]
    counting = counting * (len(counting) / counting.sum()) if weights is not None and len(counting) else counting
    kept = _Views(given, at) if one_at_a_time else tuple(v[at] for v in rows_of)
    called = None if groups is None else names[keep[order[np.cumsum(sizes) - sizes]]]
    utterances = Utterances(torch.from_numpy(sizes), counting, counting.sqrt(), called)
    means = tuple(float(r[at].mean()) if len(at) else 0.0 for r in rounding)
    carried = tuple(torch.as_tensor(one, device="cpu").detach()[at] for one in labels)
    return Matched(kept, utterances, means, n - int(finite.sum())), carried


def _tensor(rows: Any) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(rows) if isinstance(rows, np.ndarray) else rows).detach()


def _looked_through(given: Sequence[Any]) -> tuple[int, torch.Tensor, list[torch.Tensor]]:
    """How many rows there are, (n,) which of them are finite in all views, and (n,) of each view their rounding."""
    shapes: list[tuple[int, ...]] = []
    finite, rounding = torch.ones(0, dtype=torch.bool, device="cpu"), []
    for view in given:
        rows = _tensor(view)
        shapes.append(tuple(rows.shape))
        if rows.ndim != 2 or rows.shape[0] != shapes[0][0]:
            raise ValueError(f"expected rows of shape (n, d) with the same n, got {', '.join(map(str, shapes))}")
        own = torch.isfinite(rows).all(dim=1).cpu()
        finite = own if len(shapes) == 1 else finite & own
        rounding.append(rounding_of(rows, number_format(rows)).cpu())
    return shapes[0][0], finite, rounding


def centred(rows: torch.Tensor, utterances: Utterances) -> torch.Tensor:
    """(n, d) float64 rows without their weighted mean."""
    rows = rows.double()
    return rows - utterances.weights @ rows / utterances.n if len(rows) else rows


def _names(groups: Any) -> NDArray[Any]:
    return groups.detach().cpu().numpy() if isinstance(groups, torch.Tensor) else np.asarray(groups)


def _weights(weights: Any | None, n: int) -> torch.Tensor:
    if weights is None:
        return torch.ones(n, dtype=torch.float64, device="cpu")
    return checked_weights(weights, n)


def _order(
    views: Iterable[NDArray[Any]], keep: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places among the kept rows, by the utterance's size, its first row, then the rows' bytes; sizes in that order."""
    if not ids.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    ranks = []
    for view in views:
        ranks.append(_ranks(np.ascontiguousarray(view if len(keep) == len(view) else view[keep])))
        if int(ranks[-1].max()) == len(keep) - 1:  # no two rows are equal: further views decide nothing
            break
    order = np.lexsort([*reversed(ranks), ids])
    counts = np.bincount(ids)
    first = order[np.cumsum(counts) - counts]
    place = np.empty(counts.size, dtype=np.int64)
    place[np.lexsort([*(r[first] for r in reversed(ranks)), counts])] = np.arange(counts.size)
    order = order[np.argsort(place[ids[order]], kind="stable")]
    return order, np.sort(counts)


def _ranks(rows: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) place of each row among the distinct ones, by its bytes."""
    if not rows.shape[1]:
        return np.zeros(rows.shape[0], dtype=np.int64)
    as_bytes = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    order = np.argsort(as_bytes, kind="stable")
    new = np.empty(order.size, dtype=np.int64)
    new[0], new[1:] = 0, as_bytes[order][1:] != as_bytes[order][:-1]
    found = np.empty(order.size, dtype=np.int64)
    found[order] = np.cumsum(new)
    return found
