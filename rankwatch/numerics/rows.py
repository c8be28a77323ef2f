"""A sample's rows as they are decomposed: centred and weighted, in float64, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from rankwatch.numerics.sample import Sample
from rankwatch.numerics.spectrum import eigenvalues_of, plain_rank

BLOCK = 1 << 18
"""Numbers that are float64 at once (2 MB): more would take more memory than the Gram matrix of wide rows."""


@dataclass(frozen=True)
class Rows:
    """Rows x_i = root_i (raw_i - mean).

    Attributes:
        raw: (n, w) float32.
        mean: (w,) float64 (weighted) mean, zeros where it is left in.
        root: (n, 1) float64 roots of the weights, or None.
        removed: (n,) unit vector along which the rows sum to nothing since the mean is gone, or None.
        ready: (n, w) float64, all of them, where they are few; else None.
    """

    raw: torch.Tensor
    mean: torch.Tensor
    root: torch.Tensor | None
    removed: torch.Tensor | None
    ready: torch.Tensor | None = None

    @staticmethod
    def of(sample: Sample, center: bool) -> Rows:
        """The rows of a sample."""
        raw = sample.rows
        n, width = raw.shape
        weights = torch.ones(n, dtype=torch.float64) if sample.weights is None else sample.weights.double()
        mean = torch.zeros(width, dtype=torch.float64)
        root = weights.sqrt()
        if center:
            for part in _blocks(raw):
                mean += weights[part] @ raw[part].double()
            mean /= weights.sum()
        removed = root / root.norm() if center else None
        rows = Rows(raw, mean, None if sample.weights is None else root[:, None], removed)
        return replace(rows, ready=rows.take(slice(None))) if raw.numel() <= BLOCK else rows

    def __len__(self) -> int:
        return int(self.raw.shape[0])

    @property
    def wide(self) -> bool:
        """Whether there are fewer rows than columns."""
        return int(self.raw.shape[1]) > len(self)

    def take(self, index: slice | torch.Tensor) -> torch.Tensor:
        """(..., w) float64 rows."""
        if self.ready is not None:
            return self.ready[index]
        rows = self.raw[index].double() - self.mean
        return rows if self.root is None else rows * self.root[index]

    def gram(self) -> torch.Tensor:
        """The smaller Gram matrix, X^T X (w, w) or X X^T (n, n), float64."""
        if self.wide:
            x = self.take(slice(None))
            return x @ x.T
        gram = torch.zeros(self.raw.shape[1], self.raw.shape[1], dtype=torch.float64)
        for part in _blocks(self.raw):
            x = self.take(part)
            gram.addmm_(x.T, x)
        return gram

    def energies(self) -> torch.Tensor:
        """(n,) squared norms."""
        return torch.cat([self.take(part).square().sum(dim=1) for part in _blocks(self.raw)])

    def uncentred_rank(self, gram: torch.Tensor) -> float:
        """Plain value of unweighted rows with their mean, from `gram` of the centred ones."""
        if self.removed is None:
            return plain_rank(eigenvalues_of(gram))
        if not self.wide:
            return plain_rank(eigenvalues_of(torch.addr(gram, self.mean, self.mean, alpha=len(self))))
        shift = self.take(slice(None)) @ self.mean
        return plain_rank(eigenvalues_of(gram + shift + shift[:, None] + self.mean @ self.mean))


def _blocks(rows: torch.Tensor) -> Iterator[slice]:
    step = max(1, BLOCK // max(rows.shape[1], 1))
    return (slice(start, start + step) for start in range(0, rows.shape[0], step))
