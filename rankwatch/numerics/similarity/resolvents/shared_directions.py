r"""How much two representations share at a resolution: a product of utterances left out, and what it estimates.

With both representations whitened and balanced (`balanced_whitening`), Q_x and Q_y their left-out resolvents and the
cross moment :math:`S_{yx} = \frac1n \sum_g Y_g^T A^y_g A^x_g X_g`,

.. math:: V_{kl} = \frac1n \sum_g \operatorname{tr}\,\bigl[Y_g Q_{y,-g} S^{(k)}_{yx,-g} Q_{x,-g} X_g^T\bigr]_l

splits by population twice: k says whether mean directions or deviations of the other utterances predict, l whether
those of the left-out one are predicted. The two resolvents come from the same rows, so
:math:`\mathbb{E}\, Q_y \Sigma_{yx} Q_x` isn't the product of what each stands for; leaving a second utterance out gives
a linear equation between V and the population's R, with F the rows of each population,

.. math:: V = \varphi U F, \qquad U = R + U \,\chi F\, R

and the sum of F R F is :math:`R(\kappa_x, \kappa_y) = \operatorname{tr} (\Sigma_{xx} + \kappa_x)^{-1} \Sigma_{xy}
(\Sigma_{yy} + \kappa_y)^{-1} \Sigma_{yx}`. For independent rows this is R = v / (1 + v / n).
"""

from __future__ import annotations

import math

import torch

from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened
from rankwatch.numerics.similarity.resolvents.hat_products import HatProducts, hat_products
from rankwatch.numerics.similarity.resolvents.row_populations import NO_LEVERAGE
from rankwatch.numerics.similarity.resolvents.utterance_blocks import Block


def shared(x: Whitened, y: Whitened, products: HatProducts | None = None) -> float:
    """R of two representations of the same rows.

    Args:
        x: Whitened rows of one.
        y: Of the other.
        products: Of both, where they are there already.

    Returns:
        R without the constant direction; NaN where it can't be solved for. O(n p q).
    """
    products = hat_products(x, y) if products is None else products
    return from_products(x, y, products.means, products.rest)


def from_products(x: Whitened, y: Whitened, means: list[torch.Tensor], rest: list[torch.Tensor]) -> float:
    """R from the blocks of the product of both hat matrices.

    Args:
        x: Whitened rows of one.
        y: Of the other.
        means: Blocks (count, m, m), for each size, of U_y U_y^T P U_x U_x^T with P the utterances' mean directions,
            weighted by A^(1/2) of both.
        rest: The same with the deviations in the middle.

    Returns:
        R without the constant direction; NaN where it can't be solved for.
    """
    between, within = (x.between * y.between).sqrt(), (x.within * y.within).sqrt()
    sums, start = torch.zeros(5, 2, dtype=torch.float64, device="cpu"), 0
    for one, two, products in zip(x.blocks, y.blocks, zip(means, rest, strict=True), strict=True):
        part = slice(start, start + len(products[0]))
        start += len(products[0])
        sums += block_sums(one, two, products, (between[part], within[part]), x.df >= y.df)
    return solved(x, y, sums)


def block_sums(
    one: Block,
    two: Block,
    products: tuple[torch.Tensor, torch.Tensor],
    roots: tuple[torch.Tensor, torch.Tensor],
    first_is_larger: bool,
) -> torch.Tensor:
    """What some utterances of one size add to V (two rows) and to its scales (three rows).

    Args:
        one: Blocks of the first representation.
        two: Of the second.
        products: Blocks of the product of both hat matrices, through mean directions and through deviations.
        roots: (count,) roots of the products of both weights, of mean directions and of deviations.
        first_is_larger: Whether the first has more degrees of freedom.

    Returns:
        (5, 2) sums.
    """
    split = one.mean, torch.eye(one.mean.shape[1], dtype=torch.float64, device="cpu") - one.mean
    v = []
    for product, root, projector in zip(products, roots, split, strict=True):
        own = two.hat @ (root[:, None, None] * projector) @ one.hat
        left_out = two.left @ (product.double() - own) @ one.left.mT
        v.append(torch.stack([(left_out * p).sum() for p in split]))
    return torch.cat([torch.stack(v), _scales(one, two, split, one if first_is_larger else two)])


def solved(x: Whitened, y: Whitened, sums: torch.Tensor) -> float:
    """R from the sums over all utterances; NaN where it can't be solved for."""
    n, g = x.utterances.n, len(x.utterances.sizes)
    # A population that doesn't vary (no deviations, or rows that are the same within every utterance) shares nothing.
    used = sums[2] > NO_LEVERAGE * float(sums[2].sum())
    count = torch.tensor([g, n - g], dtype=torch.float64, device="cpu")[used]
    v, leverage, phi, chi = (
        sums[:2][used][:, used],
        sums[2, used],
        sums[3, used] * _without_two(x, y)[used],
        sums[4, used],
    )
    u = v / (count * phi / leverage)[:, None] / count
    chi = chi * count**2 / leverage**2  # times the population's rows
    one = torch.eye(len(count), dtype=torch.float64, device="cpu")
    r, failed = torch.linalg.solve_ex(one + u * chi, u)
    value = float(count @ r @ count) * x.level * y.level - 1.0
    return math.nan if int(failed) or not math.isfinite(value) else value


def _scales(one: Block, two: Block, split: tuple[torch.Tensor, torch.Tensor], larger: Block) -> torch.Tensor:
    """Leverage T from outside, T L L, and T L T L, of each population, summed over utterances: (3, 2)."""
    first, second = larger.outside @ two.inner, larger.outside @ one.inner
    found = torch.zeros(3, 2, dtype=torch.float64, device="cpu")
    for k, projector in enumerate(split):
        if projector.shape[1] > 1 or k == 0:
            found[0, k] = (projector * larger.outside).sum()
            found[1, k] = ((projector @ first) * one.inner.mT).sum()
            found[2, k] = ((projector @ first) * second.mT).sum()
    return found


def _without_two(x: Whitened, y: Whitened) -> torch.Tensor:
    """(2,) what phi loses because the sample that a left-out utterance sees lacks it: first order in 1 / utterances.

    The other utterances' own leverages are then slightly larger than those that the weights were made for, and one
    of them is missing.

    Returns:
        A factor for each population.
    """
    share = float(x.utterances.masses.square().sum()) / x.utterances.n**2
    found = []
    for weights in ((x.between, y.between), (x.within, y.within)):
        lost = sum(
            min(w.df / (w.rows.shape[1] - 1), 1.0) * float((a - 1.0).mean())
            for w, a in zip((x, y), weights, strict=True)
        )
        found.append(max((1.0 - share) * (1.0 - share * lost), 0.5))
    return torch.tensor(found, dtype=torch.float64, device="cpu")
