"""Similarity of two representations at a resolution, and the parts that squared correlations share with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Matched, match_rows
from rankwatch.numerics.similarity.permutation_null import permutation_p_value
from rankwatch.numerics.similarity.resolvents.balanced_whitening import (
    NOTHING,
    Whitened,
    is_uneven,
    out_of_reach,
    whiten,
)
from rankwatch.numerics.similarity.resolvents.delete_utterances import Contributions, contributions
from rankwatch.numerics.similarity.resolvents.row_populations import Pieces
from rankwatch.numerics.similarity.resolvents.shared_directions import shared
from rankwatch.numerics.similarity.similarity_result import Similarity, by_name, interval, precision, undefined


def similarity(
    x: Any,
    y: Any,
    *,
    groups: Any | None = None,
    kappa: float = 0.1,
    weights: Any | None = None,
    permutations: int = 0,
    seed: int = 0,
) -> Similarity:
    r"""Similarity of two populations at a resolution.

    .. math:: \frac{R_{xy}}{\sqrt{R_{xx} R_{yy}}}, \quad R_{xy} = \operatorname{tr}\,(\Sigma_{xx} + \kappa_x)^{-1}
              \Sigma_{xy} (\Sigma_{yy} + \kappa_y)^{-1} \Sigma_{yx}

    with kappa_x = kappa tr Sigma_xx / p: the sum of squared canonical correlations in which directions of much less
    variance than kappa mean eigenvalues fade out. 1 for equal representations (up to rotation, scale and shift), 0 for
    unrelated ones. Large kappa gives linear CKA, which sees the largest directions alone; kappa 0 squared canonical
    correlations, which see all alike.

    The estimate is that of the population, for rows that depend on each other within utterances, whatever directions
    belong to utterances; see the page on similarity for the derivation. It needs rows from more utterances than there
    are degrees of freedom that belong to utterances: `status` says where it isn't so.

    Args:
        x: (n, p) rows of one representation; numpy or torch, any float type.
        y: (n, q) rows of the other at the same frames.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        kappa: Resolution in units of each representation's mean eigenvalue, not negative.
        weights: (n,) how much each row counts; None where all count the same.
        permutations: How often utterances are shuffled against each other for `p_value`; 0 for none.
        seed: Seed of the shuffling.

    Returns:
        See `Similarity`; `plain` is the sample's own value at the same ridge. O(n (p + q)^2). A ValueError says which
        shapes don't fit, that weights are none, or that kappa is negative.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = similarity(z[:, :8], z[:, 4:], groups=torch.arange(600) // 4)
        >>> round(found.value, 1), found.low < found.value < found.high
        (0.5, True)
    """
    check_kappa(kappa)
    matched, _ = match_rows([x, y], groups, weights)
    against = unresolvable(matched, 0) | unresolvable(matched, 1)
    if against:
        return undefined(matched, status_of_all(matched) | against, kappa)
    one, other = (resolve(matched, view, kappa) for view in (0, 1))
    return similarity_of(matched, one, other, None, permutations, seed)


def check_kappa(kappa: float) -> None:
    """Refuse a negative or infinite resolution.

    Args:
        kappa: In units of the mean eigenvalue.

    Raises:
        ValueError: If it is negative, infinite or NaN.
    """
    if not 0.0 <= kappa < math.inf:
        raise ValueError(f"kappa must be finite and not negative, got {kappa} (an infinite one is `cka`)")


@dataclass(frozen=True)
class Resolved:
    """One representation at its resolution.

    Attributes:
        white: Its rows, whitened at the population's resolution.
        kappa: The resolution that was asked for.
        plain: (n, r) rows whitened at the same ridge without any correction.
        status: What stands against it.
        rows: (n, p) rows themselves, centred.
    """

    white: Whitened
    kappa: float
    plain: torch.Tensor
    status: set[str]
    rows: torch.Tensor


def resolve(matched: Matched, view: int, kappa: float) -> Resolved:
    """Whiten one view at a resolution.

    Args:
        matched: Rows that vary, of five utterances at least.
        view: Which.
        kappa: Resolution in units of its mean eigenvalue.

    Returns:
        All that a similarity to any other view needs of it. O(n p^2).
    """
    rows, utterances = matched.centred(view), matched.utterances
    white, pieces = whiten(rows, utterances, kappa), Pieces(rows, utterances)
    mean = float(pieces.rows.square().sum()) / utterances.n / pieces.dimensions
    ones = torch.ones(len(utterances.sizes), dtype=torch.float64, device="cpu")
    plain = pieces.whitened(ones, ones, max(kappa, NOTHING) * mean)[:, :-1]
    one = Matched((matched.views[view],), utterances, (matched.rounding[view],), 0)
    return Resolved(white, kappa, plain, reasons(one, (white,), (kappa,)), rows)


def unresolvable(matched: Matched, view: int) -> set[str]:
    """What keeps a view from having any value: too few rows or utterances, or no variance."""
    if len(matched.utterances.sizes) < 5 or matched.n < 8:
        return {flags.TOO_FEW_ROWS}
    return set() if matched.varies(view) else {flags.CONSTANT}


def similarity_of(
    matched: Matched, x: Resolved, y: Resolved, directions: int | None = None, permutations: int = 0, seed: int = 0
) -> Similarity:
    """R over its own size.

    Args:
        matched: The rows that both are of.
        x: One representation.
        y: The other.
        directions: What R is divided by; None for the geometric mean of R of each with itself.
        permutations: How often utterances are shuffled against each other for `p_value`; 0 for none.
        seed: Seed of the shuffling.

    Returns:
        The similarity with its interval, plain value and status.
    """
    r = shared(x.white, y.white)
    norm, change = float(directions or 1), None
    # Without a ridge R of each with itself is known, so that its error can be taken out of R of both.
    if directions is None or x.kappa == y.kappa == 0.0:
        own = shared(x.white, x.white), shared(y.white, y.white)
        positive = own[0] > 0.0 and own[1] > 0.0
        norm = math.sqrt(own[0] * own[1]) if positive else math.nan
        if positive and math.isfinite(r):
            own_changes = contributions(x.white, x.white, own[0]), contributions(y.white, y.white, own[1])
            change = ratio_contributions(contributions(x.white, y.white, r), r, own_changes, own)
        if directions is not None:
            known = math.sqrt(x.white.df * y.white.df) / directions
            norm, change = norm / known, None if change is None else change * known
    elif math.isfinite(r):
        change = contributions(x.white, y.white, r) * (1.0 / norm)
    value, count = r / norm, len(matched.utterances.sizes)
    low, high = interval(value, math.nan if change is None else change.error(), count)
    p_value = None
    if permutations and math.isfinite(r):

        def shuffled(order: torch.Tensor) -> float:
            return shared(x.white, whiten(y.rows[order], matched.utterances, y.kappa))

        p_value = permutation_p_value(r, shuffled, matched.utterances, permutations, seed)
    return Similarity(
        value,
        low,
        high,
        _plain(x.plain, y.plain, directions),
        matched.n,
        count,
        (x.white.df, y.white.df),
        min(x.white.n_eff, y.white.n_eff),
        x.white.kappa,
        frozenset(status_of_all(matched) | x.status | y.status | precision(low, high)),
        p_value,
        by_name(matched.utterances, None if change is None else change.single),
    )


def status_of_all(matched: Matched) -> set[str]:
    """What stands against any value of these rows."""
    found = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    return found | ({flags.TOO_FEW_GROUPS} if len(matched.utterances.sizes) < flags.FEW_GROUPS else set())


def ratio_contributions(
    crossed: Contributions, r: float, own_changes: tuple[Contributions, Contributions], own: tuple[float, float]
) -> Contributions:
    """How R_xy / sqrt(R_xx R_yy) changes with utterances: nothing for equal representations.

    Args:
        crossed: How R_xy does.
        r: R_xy.
        own_changes: How R_xx and R_yy do.
        own: R_xx and R_yy.

    Returns:
        Contributions to the ratio.
    """
    norm = math.sqrt(own[0] * own[1])
    change = crossed * (1.0 / norm)
    for one, r_own in zip(own_changes, own, strict=True):
        change = change + one * (-r / (2.0 * norm * r_own))
    return change


def reasons(matched: Matched, whitened: Sequence[Whitened], kappas: Sequence[float]) -> set[str]:
    """What stands against each representation's resolution."""
    found = set()
    for k, (one, kappa) in enumerate(zip(whitened, kappas, strict=True)):
        found |= out_of_reach(one, kappa) | ({flags.UNEVEN_UTTERANCES} if is_uneven(one) else set())
        rows = matched.views[k]
        variance = float(matched.centred(k).square().sum()) / matched.n
        if 4.0 * matched.rounding[k] > max(kappa, NOTHING) * variance and rows.shape[1]:
            found.add(flags.ROUNDED)
    return found


def _plain(x: torch.Tensor, y: torch.Tensor, directions: int | None) -> float:
    """The same measure of the sample itself, from rows whitened at the ridge that kappa is of its own variance."""
    crossed = float((x.T @ y).square().sum())
    if directions is not None:
        return crossed / directions
    norms = [float((w.T @ w).square().sum()) for w in (x, y)]
    return crossed / math.sqrt(norms[0] * norms[1])
