"""A sample's rows as they are decomposed: centred and weighted, in float64, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from rankwatch.numerics.rank.spectrum import eigenvalues_of, plain_rank
from rankwatch.numerics.rows.moments import ROUNDING
from rankwatch.numerics.rows.sample import Sample

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
        ones = torch.ones(n, dtype=torch.float64, device="cpu")
        weights = ones if sample.weights is None else sample.weights
        mean = torch.zeros(width, dtype=torch.float64, device="cpu")
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
        size = min(self.raw.shape)
        gram = torch.zeros(size, size, dtype=torch.float64, device="cpu")
        if self.wide:
            for part in _blocks(self.raw.T):
                x = self.raw[:, part].double() - self.mean[part]
                x = x if self.root is None else x * self.root
                gram.addmm_(x, x.T)
            return gram
        for part in _blocks(self.raw):
            x = self.take(part)
            gram.addmm_(x.T, x)
        return gram

    def live(self, gram: torch.Tensor) -> int:
        """Columns that vary by more than the float32 rounding of their own mean."""
        energies = gram.diagonal()
        if self.wide:
            energies = torch.stack([self.take(part).square().sum(dim=0) for part in _blocks(self.raw)]).sum(dim=0)
        return int((energies > len(self) * (ROUNDING * self.mean).square()).sum())

    def energies(self) -> torch.Tensor:
        """(n,) squared norms."""
        return torch.cat([self.take(part).square().sum(dim=1) for part in _blocks(self.raw)])

    def uncentred_rank(self, gram: torch.Tensor) -> float:
        """Plain value of unweighted rows with their mean, from `gram` of the centred ones."""
        if self.removed is None:
            return plain_rank(eigenvalues_of(gram))
        if not self.wide:
            return plain_rank(eigenvalues_of(torch.addr(gram, self.mean, self.mean, alpha=len(self))))
        shift = torch.cat([self.take(part) @ self.mean for part in _blocks(self.raw)])
        return plain_rank(eigenvalues_of(gram + shift + shift[:, None] + self.mean @ self.mean))


def _blocks(rows: torch.Tensor) -> Iterator[slice]:
    step = max(1, BLOCK // max(rows.shape[1], 1))
    return (slice(start, start + step) for start in range(0, rows.shape[0], step))
