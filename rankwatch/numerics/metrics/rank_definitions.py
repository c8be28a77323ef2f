"""Other plain definitions that are in use, by name, so that published and logged numbers can be compared.

None is corrected for the number of rows. On one matrix of 5,000 rows of 768 dimensions with a mean they read
131 (``"rankme"``), 594 (``"centred"``), 145 (``"variance"``) and 137 (``"epsilon"``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from rankwatch.numerics.metrics.rankme import effective_rank, rankme

EPSILON = 1e-5
"""What some implementations add to every p, without renormalising."""


def _rows(x: Any) -> torch.Tensor:
    rows = torch.as_tensor(x).detach().double()
    if rows.ndim != 2:
        raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
    return rows


def centred_rank(x: Any) -> float:
    """Effective rank of the rows less their mean: what `RankEstimate.plain` is.

    Args:
        x: (n, d) rows.

    Returns:
        The rank, in [1, min(n, d)]; NaN where there are no rows.

    Example:
        >>> round(centred_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
        2.0
    """
    rows = _rows(x)
    return rankme(rows - rows.mean(dim=0)) if rows.shape[0] else math.nan


def variance_rank(x: Any) -> float:
    """Exponential of the entropy of a PCA's explained variance: centred, p = sigma^2 / sum sigma^2.

    Args:
        x: (n, d) rows.

    Returns:
        The rank, in [1, min(n, d)]; NaN where there are no rows or some are not finite.

    Example:
        >>> round(variance_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
        2.0
    """
    rows = _rows(x)
    if rows.numel() == 0 or not bool(torch.isfinite(rows).all()):
        return math.nan
    return effective_rank(torch.linalg.svdvals(rows - rows.mean(dim=0)).square())


def epsilon_rank(x: Any, epsilon: float = EPSILON) -> float:
    """RankMe as its paper's equation (2) is often coded: epsilon added to every p, not renormalised.

    It can exceed d: a flat spectrum of 768 dimensions reads 802, a single direction among them 1.09.

    Args:
        x: (n, d) rows.
        epsilon: What is added.

    Returns:
        The rank; NaN where there are no rows or some are not finite.

    Example:
        >>> epsilon_rank([[1.0, 0.0], [0.0, 1.0]], epsilon=0.0)
        2.0
    """
    rows = _rows(x)
    if rows.numel() == 0 or not bool(torch.isfinite(rows).all()):
        return math.nan
    sigma = torch.linalg.svdvals(rows)
    if float(sigma.sum()) == 0.0:
        return 1.0
    p = sigma / sigma.sum() + epsilon
    return math.exp(-float((p * p.log()).sum()))


DEFINITIONS: dict[str, Callable[[Any], float]] = {
    "rankme": rankme,
    "centred": centred_rank,
    "variance": variance_rank,
    "epsilon": epsilon_rank,
}
"""Plain definitions by name; each takes (n, d) rows."""


def pool_frames(frames: Any, lengths: Any, how: str = "mean") -> torch.Tensor:
    """One row per utterance from padded frames.

    Args:
        frames: (b, t, d) frames; what lies behind an utterance's length is ignored, whatever it holds.
        lengths: (b,) valid frames of each, 1 to t.
        how: ``"sum"`` (RankMe-t, Aldeneh et al., arXiv 2409.10787: `rankme` of these rows; it also measures
            length) or ``"mean"`` (frame-pooled).

    Returns:
        (b, d) float64 rows.

    Raises:
        ValueError: If shapes don't fit, a length is out of range, or `how` is neither.

    Example:
        >>> pool_frames(torch.ones(2, 3, 1), [1, 3], how="sum").ravel().tolist()
        [1.0, 3.0]
    """
    x = torch.as_tensor(frames).detach().double()
    n = torch.as_tensor(lengths).to(x.device)
    if x.ndim != 3 or n.shape != x.shape[:1]:
        raise ValueError(f"expected (b, t, d) and (b,), got {tuple(x.shape)} and {tuple(n.shape)}")
    if how not in ("sum", "mean"):
        raise ValueError(f"how must be 'sum' or 'mean', got {how!r}")
    if n.numel() and not 1 <= int(n.min()) <= int(n.max()) <= x.shape[1]:
        raise ValueError(f"lengths must be within 1 and {x.shape[1]}")
    valid = torch.arange(x.shape[1], device=x.device) < n[:, None]
    total = x.masked_fill(~valid[:, :, None], 0.0).sum(dim=1)
    return total if how == "sum" else total / n[:, None]
