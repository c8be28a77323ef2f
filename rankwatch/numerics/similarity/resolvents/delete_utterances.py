r"""What each utterance, and each pair of them, contributes: the interval of a similarity.

The in-sample product :math:`V = \operatorname{tr} U_x U_x^T U_y U_y^T` without any one utterance is exact algebra
(Woodbury), and R is a function of V. The jackknife over utterances counts what hangs on *pairs* of them twice (Efron &
Stein, Ann. Statist. 1981: its expectation is the variance plus that of all interactions), and two unrelated clouds have
interactions alone. They are taken off once, as estimated from the blocks of U_x U_x^T and U_y U_y^T of each pair; they
can't be more than half of what the jackknife says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened
from rankwatch.numerics.similarity.resolvents.hat_products import HatProducts, hat_products
from rankwatch.numerics.similarity.similarity_result import jackknife_error

TRUSTED = 0.8
"""Share of the interactions that is taken off: they are overestimated where what is shared lies within utterances."""


@dataclass(frozen=True)
class Contributions:
    """How a value changes with utterances; they add and scale like the value's own derivative.

    Attributes:
        single: (g,) the value without each utterance minus the value.
        pairs: (s, g) interactions of some utterances with all, or None where they are not known.
        chosen: (s,) which utterances those are.
    """

    single: torch.Tensor
    pairs: torch.Tensor | None
    chosen: torch.Tensor

    def __mul__(self, factor: float) -> Contributions:
        return Contributions(factor * self.single, None if self.pairs is None else factor * self.pairs, self.chosen)

    def __add__(self, other: Contributions) -> Contributions:
        pairs = None if self.pairs is None or other.pairs is None else self.pairs + other.pairs
        return Contributions(self.single + other.single, pairs, self.chosen)

    def error(self) -> float:
        """Standard error: the jackknife's without the second count of interactions."""
        jackknife = jackknife_error(self.single.numpy())
        if self.pairs is None:
            return jackknife
        g, variance = len(self.single), jackknife**2
        pairs = self.pairs - self.pairs.mean(dim=1, keepdim=True) - self.pairs.mean(dim=0) + self.pairs.mean()
        pairs[torch.arange(len(self.chosen), device="cpu"), self.chosen] = 0.0
        interactions = 2.0 * float(pairs.square().sum()) * g / len(self.chosen)
        return math.sqrt(max(variance - TRUSTED * interactions, (1.0 - TRUSTED / 2.0) * variance))


def contributions(
    x: Whitened, y: Whitened, value: float, *, pairs: bool = True, products: HatProducts | None = None
) -> Contributions:
    """How R changes with utterances.

    With H and K the blocks of both hat matrices, C = (U_y U_y^T U_x U_x^T)_g and Q = I - H - K + C^T, Woodbury's
    identity gives V without g minus V. The step from V to R is the derivative of the solution for one population.

    Args:
        x: Whitened rows of one.
        y: Of the other.
        value: R.
        pairs: Whether to look at interactions.
        products: Of both, where they are there already.

    Returns:
        Contributions to R, to first order in what it depends on besides V. O(n p q).
    """
    utterances = x.utterances
    products = hat_products(x, y) if products is None else products
    found = []
    sums = torch.zeros(6, dtype=torch.float64, device="cpu")
    stacks = (utterances.stacks(rows) for rows in (products.to_y, products.to_x))
    for one, two, c, py, px in zip(x.blocks, y.blocks, products.whole, *stacks, strict=True):
        h, k = one.hat, two.hat
        eye = torch.eye(h.shape[1], dtype=torch.float64, device="cpu")
        q = eye - h - k + c.mT
        change = two.inverse * (h - c - c.mT + py @ py.mT) + one.inverse * (k - c - c.mT + px @ px.mT)
        change = change + (one.inverse @ q) * (q @ two.inverse)
        found.append(change.sum(dim=(1, 2)) - h.shape[1])
        outside = (two.inverse @ (c - k @ h)) * one.inverse
        traces = [(m * eye).sum() for m in (h, k, one.inverse - eye, two.inverse - eye)]
        sums += torch.stack([outside.sum(), (k * h).sum(), *traces])
    v, both, df_x, df_y, b_x, b_y = sums.tolist()
    phi = (1.0 - both / df_x) * b_y / df_y if df_x >= df_y else (1.0 - both / df_y) * b_x / df_x
    omega = both / (df_x * df_y)
    simple = v / (phi + omega * v)
    slope: float = b_x * b_y / (df_x * df_y) / (phi + omega * v) ** 2
    if simple > 0.0 and value > 0.0:
        slope *= min(max((value + 1.0) / simple, 0.5), 2.0)
    chosen = x.paired[0] if pairs else torch.arange(0, device="cpu")
    return Contributions(torch.cat(found), _interactions(x, y) if pairs else None, chosen) * slope


def _interactions(x: Whitened, y: Whitened) -> torch.Tensor:
    """(s, g) sums of the products of both hat matrices over the rows of two utterances."""
    chosen, of_row, first = x.paired
    product = first * y.paired[2]
    found = torch.zeros(len(chosen), product.shape[1], dtype=torch.float64, device="cpu")
    found.index_add_(0, torch.searchsorted(chosen, of_row), product)
    return x.utterances.sums(found.T).T
