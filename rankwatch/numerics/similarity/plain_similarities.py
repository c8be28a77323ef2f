"""Similarities of samples as they are published: to compare with numbers in papers, not to learn about populations.

All of them grow with the number of columns and fall with the number of rows: two unrelated clouds of 2,048 rows in 768
dimensions have a mean canonical correlation of 0.60. None knows of utterances.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from rankwatch.numerics.similarity.matched_rows import match_rows

RANK = 1e-10
"""Singular values below this share of the largest are rounding."""


def plain_cka(x: Any, y: Any) -> float:
    """Linear CKA of the rows themselves (Kornblith et al. 2019, eq. 3), with the biased HSIC.

    Args:
        x: (n, p) rows.
        y: (n, q) rows.

    Returns:
        A number in [0, 1]; NaN for constant rows. Of independent clouds it is about sqrt(r_x r_y) / n with r the
        participation ratios, not 0.

    Example:
        >>> z = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
        >>> plain_cka(z[:, :20], z[:, 20:]) > 0.2
        True
    """
    a, b = _centred(x, y)
    norms = [torch.linalg.matrix_norm(v.T @ v if v.shape[1] <= len(v) else v @ v.T) for v in (a, b)]
    return float(torch.linalg.matrix_norm(a.T @ b).square() / norms[0] / norms[1])


def canonical_correlations(x: Any, y: Any) -> torch.Tensor:
    """Canonical correlations of the rows themselves (Hotelling 1936).

    Args:
        x: (n, p) rows.
        y: (n, q) rows.

    Returns:
        (min(rank x, rank y),) float64, descending. All are 1 where ranks add up to n or more, whatever the rows are.

    Example:
        >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> canonical_correlations(x, x.flip(1) * torch.tensor([1.0, -2.0, 3.0])).numpy().round(6)
        array([1., 1., 1.])
    """
    a, b = (_directions(v) for v in _centred(x, y))
    found: torch.Tensor = torch.linalg.svdvals(a.T @ b).clamp(max=1.0)
    return found


def svcca(x: Any, y: Any, *, variance: float = 0.99) -> float:
    """SVCCA (Raghu et al. 2017): mean canonical correlation of the largest directions of both.

    Warning: how many directions hold 99 % of the *sample's* variance changes with the number of rows, so the measure
    itself does; and few rows inflate the correlations.

    Args:
        x: (n, p) rows.
        y: (n, q) rows.
        variance: Share of the variance that the directions kept hold, in (0, 1].

    Returns:
        A number in [0, 1]; NaN for constant rows.

    Example:
        >>> z = torch.randn(100, 40, generator=torch.Generator().manual_seed(0))
        >>> svcca(z[:, :20], z[:, 20:]) > 0.3
        True
    """
    kept = []
    for rows in _centred(x, y):
        u, s, _ = torch.linalg.svd(rows, full_matrices=False)
        shares = s.square().cumsum(0) / s.square().sum()
        kept.append(u[:, : int((shares < variance * (1.0 - 1e-12)).sum()) + 1])
    return float(torch.linalg.svdvals(kept[0].T @ kept[1]).clamp(max=1.0).mean())


def pwcca(x: Any, y: Any) -> float:
    r"""PWCCA (Morcos et al. 2018, eq. 2): canonical correlations weighted by what their directions hold of x.

    .. math:: \sum_i \alpha_i \rho_i / \sum_i \alpha_i, \qquad \alpha_i = \sum_j |\langle h_i, x_j \rangle|

    with h_i the canonical variates of x and x_j its columns. Warnings: the weights are the sample's own and depend on
    the basis of x; the measure isn't symmetric (x is the one with fewer columns in the authors' code, the first here);
    and that code takes variates of rows that it hasn't whitened, so that its numbers differ where x isn't white.

    Args:
        x: (n, p) rows.
        y: (n, q) rows.

    Returns:
        A number in [0, 1]; NaN for constant rows. Inflated for few rows like every mean of correlations.

    Example:
        >>> z = torch.randn(100, 40, generator=torch.Generator().manual_seed(0))
        >>> pwcca(z[:, :20], z[:, 20:]) > 0.3
        True
    """
    a, b = _centred(x, y)
    own = _directions(a)
    u, rho, _ = torch.linalg.svd(own.T @ _directions(b), full_matrices=False)
    weights = ((own @ u).T @ a).abs().sum(dim=1)
    return float((weights * rho.clamp(max=1.0)).sum() / weights.sum())


def plain_procrustes(x: Any, y: Any) -> float:
    r"""Procrustes similarity of the rows themselves: :math:`\|X^T Y\|_* / (\|X\|_F \|Y\|_F)` of centred rows.

    Its arc cosine is the angular distance of Williams et al. (2021); twice what it lacks to 1 is the squared distance
    of Ding et al. (2021).

    Args:
        x: (n, p) rows.
        y: (n, q) rows; the narrower one counts as padded with zeros.

    Returns:
        A number in [0, 1]; NaN for constant rows. Never below the population's in expectation.

    Example:
        >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> round(plain_procrustes(x, -2.0 * x[:, [2, 0, 1]] + 1.0), 6)
        1.0
    """
    a, b = _centred(x, y)
    norms = float(a.norm() * b.norm())
    return float(torch.linalg.svdvals(a.T @ b).sum()) / norms if norms > 0.0 else math.nan


def _centred(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
    matched, _ = match_rows([x, y])
    return matched.centred(0), matched.centred(1)


def _directions(rows: torch.Tensor) -> torch.Tensor:
    """(n, rank) orthonormal basis of the columns."""
    u: torch.Tensor
    u, s, _ = torch.linalg.svd(rows, full_matrices=False)
    return u[:, s > RANK * s.max()] if s.numel() else u
