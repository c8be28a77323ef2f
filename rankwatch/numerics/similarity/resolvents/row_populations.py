"""Rows as two populations, the mean directions of utterances and the deviations from them, and their leverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity.matched_rows import Utterances


@dataclass(frozen=True)
class Leverage:
    """Sums over utterances: own leverage H and leverage T from outside, of both populations, without the constant."""

    own: tuple[float, float]
    outside: tuple[float, float]

    def shrinkage(self) -> tuple[float, float]:
        """Own leverage over that from outside, of each population; 1 for deviations where there are none."""
        first, second = (o / t if t > 0.0 else 1.0 for o, t in zip(self.own, self.outside, strict=True))
        return first, second

    def level(self) -> float:
        """Own leverage over that from outside, of all rows."""
        return sum(self.own) / sum(self.outside)


class Pieces:
    """Rows in the two populations, from which the Gram matrix at any weights follows.

    Args:
        rows: (n, p) float64, centred.
        utterances: Which belong together.
    """

    def __init__(self, rows: torch.Tensor, utterances: Utterances) -> None:
        self.utterances = utterances
        self.dimensions = rows.shape[1]
        weighted = utterances.root[:, None] * rows
        n, p = rows.shape
        if p > n:  # coordinates in the rows' own span: the same inner products
            weighted = torch.linalg.qr(weighted.T, mode="r").R.T.contiguous()
        self.rows = weighted
        self.masses = utterances.masses
        self.unit_rows = utterances.root / utterances.spread(self.masses.sqrt())
        self.means = utterances.sums(self.unit_rows[:, None] * weighted)
        # Mean square of a row around the population's mean: pairs of distinct utterances are independent.
        apart = n * n - float(self.masses.square().sum())
        energy = float(weighted.square().sum()) / n
        self.mean_eigenvalue = (energy + float(self.masses @ self.means.square().sum(dim=1)) / apart) / p
        self.gram = weighted.T @ weighted
        self.evenly = self.masses / utterances.sizes

    def whitened(self, within: torch.Tensor, between: torch.Tensor, ridge: float) -> torch.Tensor:
        """(n, r + 1) U, with the constant direction as its last column."""
        one = bool((within == within[0]).all())
        root_w, root_b = within.sqrt(), between.sqrt()
        side = between * self.masses.sqrt()
        mean = side @ self.means / float(between @ self.masses)
        if one:
            gram = within[0] * self.gram + self.means.T @ ((between - within)[:, None] * self.means)
            gram -= float(between @ self.masses) * mean[:, None] * mean
        shift = (root_b - root_w)[:, None] * self.means - (root_b * self.masses.sqrt())[:, None] * mean
        scale = root_w[0] if one else self.utterances.spread(root_w)[:, None]
        rows = scale * self.rows + self.unit_rows[:, None] * self.utterances.spread(shift)
        if not one:
            gram = rows.T @ rows
        gram.diagonal().add_(self.utterances.n * ridge)
        factor = torch.linalg.cholesky(gram)
        white = torch.linalg.solve_triangular(factor, rows.T, upper=False).T
        constant = self.utterances.spread(root_b) * self.utterances.root
        return torch.cat([white, (constant / constant.norm())[:, None]], dim=1)


def leverage(
    pieces: Pieces, hats: list[torch.Tensor], inverses: list[torch.Tensor], within: torch.Tensor, between: torch.Tensor
) -> Leverage:
    """Own leverage and leverage from outside of both populations."""
    units = pieces.utterances.stacks(pieces.unit_rows)
    parts = [
        torch.stack([_along(h, u), _trace(h), _along(i, u) - 1.0, _trace(i) - h.shape[1]])
        for h, i, u in zip(hats, inverses, units, strict=True)
    ]
    own_b, own, out_b, out = torch.cat(parts, dim=1)
    # The constant direction is 1 of H, and as much of T as one direction that all utterances share.
    share = pieces.masses * between / float(pieces.masses @ between)
    constant = float((share / (1.0 - share) / between).sum())
    return Leverage(
        (float(own_b.sum()) - 1.0, float((own - own_b).sum())),
        (float((out_b / between).sum()) - constant, float(((out - out_b) / within).sum())),
    )


def _trace(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.diagonal(dim1=1, dim2=2).sum(dim=1)


def _along(blocks: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    return ((blocks @ units[:, :, None])[:, :, 0] * units).sum(dim=1)
