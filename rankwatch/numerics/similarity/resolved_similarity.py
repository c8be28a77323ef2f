"""Similarity at a resolution, and squared canonical correlations: between layers, and between a layer and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.rows.usable_labels import FEWEST_GROUPS, FEWEST_ROWS
from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Matched, match_rows
from rankwatch.numerics.similarity.permutation_null import permutation_p_value
from rankwatch.numerics.similarity.resolvents.balanced_whitening import NOTHING, Whitened, out_of_reach, whiten
from rankwatch.numerics.similarity.resolvents.delete_utterances import Contributions, contributions
from rankwatch.numerics.similarity.resolvents.row_populations import Pieces
from rankwatch.numerics.similarity.resolvents.shared_directions import shared
from rankwatch.numerics.similarity.similarity_result import Similarity, by_name, interval, precision, undefined

LABEL_KAPPA = 1e-4
"""Ridge of labels, in units of their mean eigenvalue."""


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
    return _ratio(matched, (kappa, kappa), None, permutations, seed)


def cca_squared(
    x: Any,
    y: Any,
    *,
    groups: Any | None = None,
    kappa: float = 0.01,
    weights: Any | None = None,
    permutations: int = 0,
    seed: int = 0,
) -> Similarity:
    r"""Mean squared canonical correlation of two populations, or of one and labels.

    R(kappa, kappa) / min(p, q) between representations; R(kappa, 0) / (labels - 1) to labels: the share of what can be
    said about labels that a linear map of x says ("R/q"). At kappa = 0 it is Yanai's and Kornblith's mean of squared
    canonical correlations; a little more than 0 leaves directions out that carry next to nothing.

    Args:
        x: (n, p) rows of one representation; numpy or torch, any float type.
        y: (n, q) rows of the other at the same frames, or (n,) labels, numbers or names. Labels of fewer than 20 rows
            or six utterances are one label together, or left out where they are too few even so.
        groups: (n,) utterance of each row (the speaker, where labels are the speaker's property); None where rows
            are independent.
        kappa: Resolution in units of each representation's mean eigenvalue, not negative.
        weights: (n,) how much each row counts; None where all count the same.
        permutations: How often utterances are shuffled against each other for `p_value`; 0 for none.
        seed: Seed of the shuffling.

    Returns:
        See `Similarity`; the root of the value is the root mean square of the correlations. A mean of the correlations
        themselves has no such estimate. NaN with `constant` where fewer than two labels are left.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = cca_squared(z[:, :8], z[:, 4:], groups=torch.arange(600) // 4, kappa=0.0)
        >>> round(found.value, 1), found.low < found.value < found.high
        (0.5, True)
    """
    check_kappa(kappa)
    names = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if names.ndim != 1:
        matched, _ = match_rows([x, y], groups, weights)
        directions = min(matched.views[0].shape[1], matched.views[1].shape[1])
        return _ratio(matched, (kappa, kappa), directions, permutations, seed)
    ids = np.unique(names, return_inverse=True)[1].reshape(-1)
    matched, (labels,) = match_rows([x, ids[:, None].astype(np.float64)], groups, weights, [ids])
    dummies = label_columns(labels, matched)
    matched = Matched((matched.views[0], dummies), matched.utterances, (matched.rounding[0], 0.0), matched.n_nonfinite)
    return _ratio(matched, (kappa, LABEL_KAPPA), dummies.shape[1], permutations, seed)


def check_kappa(kappa: float) -> None:
    """Refuse a negative resolution.

    Args:
        kappa: In units of the mean eigenvalue.

    Raises:
        ValueError: If it is negative or NaN.
    """
    if not kappa >= 0.0:
        raise ValueError(f"kappa must not be negative, got {kappa}")


def label_columns(labels: torch.Tensor, matched: Matched) -> torch.Tensor:
    """(n, labels - 1) ones where a row has a label: of those with enough rows and utterances, all others being one."""
    of_row = torch.arange(len(matched.utterances.sizes), device="cpu").repeat_interleave(matched.utterances.sizes)
    values, index = torch.unique(labels, return_inverse=True)
    columns = [index == k for k in range(len(values))]
    frequent = [_enough(c, of_row) for c in columns]
    used = [c for c, is_enough in zip(columns, frequent, strict=True) if is_enough]
    rest = [c for c, is_enough in zip(columns, frequent, strict=True) if not is_enough]
    # The last is left out: the constant says it. Rows of labels that are too rare to stand for anything do instead.
    used = used[:-1] if not rest or not _enough(torch.stack(rest).any(dim=0), of_row) else used
    return torch.stack(used, dim=1).double() if used else torch.zeros(matched.n, 0, dtype=torch.float64, device="cpu")


def _enough(rows: torch.Tensor, of_row: torch.Tensor) -> bool:
    return int(rows.sum()) >= FEWEST_ROWS and len(torch.unique(of_row[rows])) >= FEWEST_GROUPS


def _ratio(
    matched: Matched, kappas: tuple[float, float], directions: int | None, permutations: int, seed: int
) -> Similarity:
    """R over its own size: a fixed number of directions, or the geometric mean of R of each with itself."""
    utterances = matched.utterances
    count = len(utterances.sizes)
    status = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    if count < flags.FEW_GROUPS:
        status.add(flags.TOO_FEW_GROUPS)
    if count < 5 or matched.n < 8:
        return undefined(matched, status | {flags.TOO_FEW_ROWS}, kappas[0])
    if not (matched.varies(0) and matched.varies(1)):
        return undefined(matched, status | {flags.CONSTANT}, kappas[0])
    x, y = (whiten(matched.centred(k), utterances, kappas[k]) for k in (0, 1))
    status |= reasons(matched, (x, y), kappas)
    r = shared(x, y)
    norm, change = float(directions or 1), None
    # Without a ridge R of each with itself is known, so that its error can be taken out of R of both.
    if directions is None or kappas == (0.0, 0.0):
        own_x, own_y = shared(x, x), shared(y, y)
        norm = math.sqrt(own_x * own_y) if own_x > 0.0 and own_y > 0.0 else math.nan
        change = scaled_contributions(x, y, r, (own_x, own_y))
        if directions is not None:
            known = math.sqrt(x.df * y.df) / directions
            norm, change = norm / known, None if change is None else change * known
    elif math.isfinite(r):
        change = contributions(x, y, r) * (1.0 / norm)
    value = r / norm
    low, high = interval(value, math.nan if change is None else change.error(), count)
    p_value = None
    if permutations and math.isfinite(r):

        def shuffled(order: torch.Tensor) -> float:
            return shared(x, whiten(matched.centred(1)[order], utterances, kappas[1]))

        p_value = permutation_p_value(r, shuffled, utterances, permutations, seed)
    return Similarity(
        value,
        low,
        high,
        plain_of([Pieces(matched.centred(k), utterances) for k in (0, 1)], kappas, directions),
        matched.n,
        count,
        (x.df, y.df),
        min(x.n_eff, y.n_eff),
        x.kappa,
        frozenset(status | precision(low, high)),
        p_value,
        by_name(utterances, None if change is None else change.single),
    )


def scaled_contributions(x: Whitened, y: Whitened, r: float, own: tuple[float, float]) -> Contributions | None:
    """How R_xy / sqrt(R_xx R_yy) changes with utterances: nothing for equal representations."""
    if not (own[0] > 0.0 and own[1] > 0.0 and math.isfinite(r)):
        return None
    norm = math.sqrt(own[0] * own[1])
    change = contributions(x, y, r) * (1.0 / norm)
    for one, r_own in zip((x, y), own, strict=True):
        change = change + contributions(one, one, r_own) * (-r / (2.0 * norm * r_own))
    return change


def reasons(matched: Matched, whitened: Sequence[Whitened], kappas: Sequence[float]) -> set[str]:
    """What stands against each representation's resolution."""
    found = set()
    for k, (one, kappa) in enumerate(zip(whitened, kappas, strict=True)):
        found |= out_of_reach(one, kappa)
        rows = matched.views[k]
        variance = float(matched.centred(k).square().sum()) / matched.n
        if 4.0 * matched.rounding[k] > max(kappa, NOTHING) * variance and rows.shape[1]:
            found.add(flags.ROUNDED)
    return found


def plain_of(pieces: Sequence[Pieces], kappas: Sequence[float], directions: int | None) -> float:
    """The same measure of the sample itself, at the ridge that kappa is in units of its own mean eigenvalue."""
    white = []
    for one, kappa in zip(pieces, kappas, strict=True):
        mean = float(one.rows.square().sum()) / one.utterances.n / one.dimensions
        ones = torch.ones(len(one.utterances.sizes), dtype=torch.float64, device="cpu")
        white.append(one.whitened(ones, ones, max(kappa, NOTHING) * mean)[:, :-1])
    crossed = float((white[0].T @ white[1]).square().sum())
    if directions is not None:
        return crossed / directions
    norms = [float((w.T @ w).square().sum()) for w in white]
    return crossed / math.sqrt(norms[0] * norms[1])
