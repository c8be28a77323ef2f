r"""Linear CKA with utterances left out of the kernel sums: unbiased numerator and denominators.

For random utterances with :math:`C_g = \sum_{i \in g} w_i x_i y_i^T`, :math:`a_g = \sum_i w_i x_i`,
:math:`b_g = \sum_i w_i y_i` and masses :math:`W_g = \sum_i w_i`, the squared Frobenius norm of the population's cross
covariance is estimated without bias by averages over *distinct* utterances,

.. math:: \operatorname{HSIC} = \frac{\sum \langle C_g, C_h \rangle}{\sum W_g W_h}
          - 2 \frac{\sum a_h^T C_g b_k}{\sum W_g W_h W_k}
          + \frac{\sum (a_g^T a_h) (b_k^T b_l)}{\sum W_g W_h W_k W_l}

With one row an utterance this is Song et al.'s estimate (JMLR 2012, eq. 5) of the linear kernel; CKA is
:math:`\operatorname{HSIC}_{xy} / \sqrt{\operatorname{HSIC}_{xx} \operatorname{HSIC}_{yy}}` (Kornblith et al. 2019,
eq. 3). Rows are centred first, which changes nothing but rounding and lets every sum over distinct utterances be
written with the two matrices :math:`M = \sum C_g` and :math:`E = \sum a_g b_g^T`. The same sums give the value
without any one utterance, hence an exact jackknife.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Matched, Utterances, match_rows
from rankwatch.numerics.similarity.permutation_null import permutation_p_value
from rankwatch.numerics.similarity.similarity_result import (
    Similarity,
    interval,
    jackknife_error,
    precision,
    undefined,
)


@dataclass(frozen=True)
class Terms:
    """The three sums over distinct utterances, with all utterances and without each.

    Attributes:
        all: (3,) sums over distinct pairs, triples, quadruples.
        without: (g, 3) the same without one utterance.
    """

    all: torch.Tensor
    without: torch.Tensor

    def hsic(self, counts: Terms) -> tuple[float, torch.Tensor]:
        """HSIC with all utterances, and (g,) without each, given the sums of the products of their masses."""
        signs = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64, device="cpu")
        return float((signs * self.all / counts.all).sum()), (signs * self.without / counts.without).sum(dim=1)


def cka(
    x: Any,
    y: Any,
    *,
    groups: Any | None = None,
    weights: Any | None = None,
    permutations: int = 0,
    seed: int = 0,
) -> Similarity:
    r"""Linear CKA of the populations that the rows of x and y were drawn from.

    .. math:: \operatorname{CKA} = \frac{\|\Sigma_{xy}\|_F^2}{\|\Sigma_{xx}\|_F \|\Sigma_{yy}\|_F}

    Numerator and denominators are unbiased whatever the rows of one utterance have to do with each other, as long as
    utterances are independent; nothing is assumed about distributions. The ratio is nearly unbiased. CKA weighs
    directions by the square of their variance: it often sees a handful of them alone (`df`), and two layers can have
    a CKA of 0.9 that agree in little else.

    Args:
        x: (n, p) rows of one representation; numpy or torch, any float type, in any unit.
        y: (n, q) rows of the other at the same frames.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        weights: (n,) how much each row counts; None where all count the same.
        permutations: How often utterances are shuffled against each other for `p_value`; 0 for none.
        seed: Seed of the shuffling.

    Returns:
        See `Similarity`; `plain` is Kornblith's biased value, `kappa` infinite, `df` the participation ratios. 1 for
        equal rows. O(n p q). A ValueError says which shapes don't fit, or that weights are none.

    Example:
        >>> z = torch.randn(400, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> found = cka(z[:, :6], z[:, 2:], groups=torch.arange(400) // 4)
        >>> found.low < 4 / 6 < found.high < found.plain + 0.1
        True
    """
    matched, _ = match_rows([x, y], groups, weights)
    return cka_of(matched, permutations, seed)


def cka_of(matched: Matched, permutations: int = 0, seed: int = 0) -> Similarity:
    """CKA of the first two views."""
    utterances = matched.utterances
    count = len(utterances.sizes)
    status = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    if count < flags.FEW_GROUPS:
        status.add(flags.TOO_FEW_GROUPS)
    if count < 5:  # four for quadruples of distinct ones, one that may be left out
        return undefined(matched, status | {flags.TOO_FEW_ROWS}, math.inf)
    if not (matched.varies(0) and matched.varies(1)):
        return undefined(matched, status | {flags.CONSTANT}, math.inf)
    rows = [scaled(matched.centred(k)) for k in (0, 1)]
    counts = masses(utterances)
    crossed, own_x, own_y = (terms(rows[i], rows[j], utterances).hsic(counts) for i, j in ((0, 1), (0, 0), (1, 1)))
    value, error = ratio(crossed, own_x, own_y)
    low, high = interval(value, error, count)
    energies = [float(utterances.weights @ r.square().sum(dim=1)) for r in rows]
    between = [float(utterances.sums(utterances.weights[:, None] * r).square().sum()) for r in rows]
    n = utterances.n
    pairs = zip((own_x[0], own_y[0]), energies, strict=True)
    p_value = None
    if permutations and not math.isnan(value):

        def shuffled(order: torch.Tensor) -> float:
            return terms(rows[0], rows[1][order], utterances).hsic(counts)[0]

        p_value = permutation_p_value(crossed[0], shuffled, utterances, permutations, seed)
    return Similarity(
        value=value,
        low=low,
        high=high,
        plain=plain_from(rows[0], rows[1], utterances),
        n=n,
        utterances=count,
        df=tuple((e / n) ** 2 / own if own > 0.0 else math.nan for own, e in pairs),  # type: ignore[arg-type]
        n_eff=min(min(n * e / b, float(n)) if b > 0.0 else float(n) for e, b in zip(energies, between, strict=True)),
        kappa=math.inf,
        status=frozenset(status | precision(low, high)),
        p_value=p_value,
    )


def ratio(
    crossed: tuple[float, torch.Tensor], own_x: tuple[float, torch.Tensor], own_y: tuple[float, torch.Tensor]
) -> tuple[float, float]:
    """CKA and its jackknife standard error from the three HSICs; NaN where a denominator isn't positive."""
    if not (own_x[0] > 0.0 and own_y[0] > 0.0):
        return math.nan, math.nan
    value = crossed[0] / math.sqrt(own_x[0] * own_y[0])
    below = (own_x[1] * own_y[1]).clamp(min=0.0).sqrt()
    return value, jackknife_error((crossed[1] / below).numpy())


def scaled(rows: torch.Tensor) -> torch.Tensor:
    """Rows in units of their root mean square, so that no fourth power leaves the range of float64."""
    return rows / rows.square().mean().sqrt()


def plain_from(x: torch.Tensor, y: torch.Tensor, utterances: Utterances) -> float:
    """Kornblith's CKA of centred rows as they are."""
    wx, wy = utterances.root[:, None] * x, utterances.root[:, None] * y
    norms = [torch.linalg.matrix_norm(v.T @ v if v.shape[1] <= len(v) else v @ v.T) for v in (wx, wy)]
    return float(torch.linalg.matrix_norm(wx.T @ wy).square() / norms[0] / norms[1])


def masses(utterances: Utterances) -> Terms:
    """Sums of products of the masses of distinct utterances: what the three sums are divided by."""
    w = utterances.masses

    def distinct(p1: Any, p2: Any, p3: Any, p4: Any) -> torch.Tensor:
        two, three = p1**2 - p2, p1**3 - 3 * p1 * p2 + 2 * p3
        four = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
        return torch.stack([two, three, four], dim=-1)

    sums = [(w**k).sum() for k in (1, 2, 3, 4)]
    return Terms(distinct(*sums), distinct(*(s - w**k for k, s in enumerate(sums, 1))))


def terms(x: torch.Tensor, y: torch.Tensor, utterances: Utterances) -> Terms:
    """The three sums of centred rows, with all utterances and without each.

    Args:
        x: (n, p) rows whose weighted sum is zero.
        y: (n, q) likewise.
        utterances: Which rows belong together.

    Returns:
        The sums; O(n p q).
    """
    w = utterances.weights
    wx = w[:, None] * x
    a, b = utterances.sums(wx), utterances.sums(w[:, None] * y)
    m, e = wx.T @ y, a.T @ b
    to_a, to_b = (x * utterances.spread(a)).sum(dim=1), (y * utterances.spread(b)).sum(dim=1)
    size_a, size_b = a.square().sum(dim=1), b.square().sum(dim=1)
    # Pairs: each utterance's part of |M|^2 is <C_g, M> - |C_g|^2.
    with_all = utterances.sums(w * ((x @ m) * y).sum(dim=1))
    own = _own_squares(wx, y, utterances)
    pairs = with_all - own
    # Triples: utterance g as the one whose rows are in the middle, or as one of the two at the ends.
    middle = utterances.sums(w * (2.0 * to_a * to_b - ((x @ e) * y).sum(dim=1)))
    fx, fy = wx * to_b[:, None], (w * to_a)[:, None] * y
    fx_g, fy_g = utterances.sums(fx), utterances.sums(fy)
    ends = -(a * (fx_g.sum(dim=0) - fx_g)).sum(dim=1) - (b * (fy_g.sum(dim=0) - fy_g)).sum(dim=1)
    ends -= 2.0 * (((a @ m) * b).sum(dim=1) - utterances.sums(w * to_a * to_b))
    triples = middle.sum()
    # Quadruples: kernels of the utterances' sums without their diagonal; all of a row add up to minus the diagonal.
    both = size_a * size_b
    crossed = ((a @ e) * b).sum(dim=1) - both
    quadruples = size_a.sum() * size_b.sum() - 6.0 * both.sum() + 2.0 * e.square().sum()
    part = -size_a * (2.0 * size_b - size_b.sum()) - size_b * (2.0 * size_a - size_a.sum())
    part = part - 2.0 * (-(a @ (a.T @ size_b)) + both) - 2.0 * (-(b @ (b.T @ size_a)) + both) + 4.0 * crossed
    without = [pairs.sum() - 2.0 * pairs, triples - middle - ends, quadruples - 2.0 * part]
    return Terms(torch.stack([pairs.sum(), triples, quadruples]), torch.stack(without, dim=1))


def _own_squares(wx: torch.Tensor, y: torch.Tensor, utterances: Utterances) -> torch.Tensor:
    """(g,) squared norms of C_g, from the kernels of each utterance's rows."""
    wy, found = utterances.weights[:, None] * y, []
    x = wx / utterances.weights[:, None]
    for xs, wxs, ys, wys in zip(*(utterances.stacks(v) for v in (x, wx, y, wy)), strict=True):
        found.append(((wxs @ xs.mT) * (ys @ wys.mT)).sum(dim=(1, 2)))
    return torch.cat(found)
