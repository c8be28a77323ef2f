"""Rows as two populations, the mean directions of utterances and the deviations from them, and their leverage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity.matched_rows import Utterances

NO_LEVERAGE = 1e-8
"""Share of all leverage below which a population's is rounding."""


@dataclass(frozen=True)
class Leverage:
    """Sums over utterances: own leverage H and leverage T from outside, of both populations, without the constant."""

    own: tuple[float, float]
    outside: tuple[float, float]

    def shrinkage(self) -> tuple[float, float]:
        """Own leverage over that from outside, of each population; NaN for one that doesn't vary at all."""
        least = NO_LEVERAGE * sum(self.own)
        first, second = (o / t if o > least else math.nan for o, t in zip(self.own, self.outside, strict=True))
        return first, second

    def balance(self) -> float:
        """Shrinkage of mean directions over that of deviations; 1 where one of the two populations doesn't vary."""
        first, second = self.shrinkage()
        return 1.0 if math.isnan(first) or math.isnan(second) else first / second

    def level(self) -> float:
        """Own leverage over that from outside, of all rows."""
        return sum(self.own) / sum(self.outside)


@dataclass(frozen=True)
class Part:
    """Some of the utterances: which, their rows, and which of these belong together."""

    chosen: torch.Tensor
    rows: torch.Tensor
    utterances: Utterances


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
        self.gram_of_means: torch.Tensor | None = None
        self.evenly = self.masses / utterances.sizes

    def some(self, step: int) -> Part:
        """Every so many utterances."""
        chosen = torch.arange(0, len(self.masses), step, device="cpu")
        if step == 1:
            return Part(chosen, torch.arange(self.utterances.n, device="cpu"), self.utterances)
        of_row = torch.arange(len(self.masses), device="cpu").repeat_interleave(self.utterances.sizes)
        rows = torch.nonzero(of_row % step == 0)[:, 0]
        some = Utterances(self.utterances.sizes[chosen], self.utterances.weights[rows], self.utterances.root[rows])
        return Part(chosen, rows, some)

    def whitened(
        self, within: torch.Tensor, between: torch.Tensor, ridge: float, rows_of: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(n, r + 1) U, with the constant direction as its last column; or those of its rows that are asked for."""
        one = bool((within == within[0]).all())
        root_w, root_b = within.sqrt(), between.sqrt()
        side = between * self.masses.sqrt()
        mean = side @ self.means / float(between @ self.masses)
        constant = self.utterances.spread(root_b) * self.utterances.root
        constant /= constant.norm()
        shift = (root_b - root_w)[:, None] * self.means - (root_b * self.masses.sqrt())[:, None] * mean
        shift, unit, rows = self.utterances.spread(shift), self.unit_rows[:, None], self.rows
        scale = root_w[0] if one else self.utterances.spread(root_w)[:, None]
        if one:
            gram = within[0] * self.gram + self._of_means(between - within)
            gram -= float(between @ self.masses) * mean[:, None] * mean
            if rows_of is not None:
                rows, shift, unit = rows[rows_of], shift[rows_of], unit[rows_of]
        rows = torch.addcmul(scale * rows, unit, shift)
        if not one:
            gram = rows.T @ rows
            rows = rows if rows_of is None else rows[rows_of]
        constant = constant if rows_of is None else constant[rows_of]
        gram.diagonal().add_(self.utterances.n * ridge)
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), rows.T, upper=False).T
        return torch.cat([white, constant[:, None]], dim=1)

    def _of_means(self, weights: torch.Tensor) -> torch.Tensor:
        """(p, p) Gram matrix of the mean directions, weighted; one matrix where all weigh the same."""
        if not bool((weights == weights[0]).all()):
            return self.means.T @ (weights[:, None] * self.means)
        if self.gram_of_means is None:
            self.gram_of_means = self.means.T @ self.means
        return weights[0] * self.gram_of_means


def leverage(
    pieces: Pieces,
    hats: list[torch.Tensor],
    inverses: list[torch.Tensor],
    within: torch.Tensor,
    between: torch.Tensor,
    part: Part,
) -> Leverage:
    """Own leverage and leverage from outside of both populations, summed over some utterances."""
    units = part.utterances.stacks(pieces.unit_rows[part.rows])
    found = [
        torch.stack([_along(h, u), _trace(h), _along(i, u) - 1.0, _trace(i) - h.shape[1]])
        for h, i, u in zip(hats, inverses, units, strict=True)
    ]
    own_b, own, out_b, out = torch.cat(found, dim=1)
    # The constant direction is 1 of H, and as much of T as one direction that all utterances share.
    share = (pieces.masses * between / float(pieces.masses @ between))[part.chosen]
    within, between = within[part.chosen], between[part.chosen]
    constant = float((share / (1.0 - share) / between).sum())
    return Leverage(
        (float(own_b.sum() - share.sum()), float((own - own_b).sum())),
        (float((out_b / between).sum()) - constant, float(((out - out_b) / within).sum())),
    )


def _trace(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.diagonal(dim1=1, dim2=2).sum(dim=1)


def _along(blocks: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    return ((blocks @ units[:, :, None])[:, :, 0] * units).sum(dim=1)
