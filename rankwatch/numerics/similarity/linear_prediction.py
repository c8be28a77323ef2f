r"""How much of one representation a linear map of another explains, in the population and as a probe of n rows would.

With :math:`\hat Y_{-g}` the prediction for an utterance from all others,

.. math:: \text{explained} = \frac{\sum \langle y, \hat y_{-g} \rangle}{\sum |y|^2}, \qquad
          \text{probe } R^2 = 1 - \frac{\sum |y - \hat y_{-g}|^2}{\sum |y|^2}

The first estimates :math:`\operatorname{tr} \Sigma_{yx} (\Sigma_{xx} + \kappa)^{-1} \Sigma_{xy} / \operatorname{tr}
\Sigma_{yy}` (redundancy: Stewart & Love 1968) without bias where rows are balanced (`balanced_whitening`), the second
is what a probe reaches that was trained on so many rows (PRESS: Allen 1974): a smaller number, below 0 for few rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Utterances, match_rows
from rankwatch.numerics.similarity.resolved_similarity import check_kappa, reasons
from rankwatch.numerics.similarity.resolvents.balanced_whitening import NOTHING, whiten
from rankwatch.numerics.similarity.resolvents.row_populations import Pieces
from rankwatch.numerics.similarity.similarity_result import Similarity, by_name, interval, precision, undefined


def explained(
    x: Any, y: Any, *, groups: Any | None = None, kappa: float = 0.01, weights: Any | None = None
) -> Similarity:
    """Share of the variance of y that the best linear map of x explains in the population, at a resolution of x.

    Args:
        x: (n, p) rows that predict; numpy or torch, any float type.
        y: (n, q) rows that are predicted, at the same frames.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        kappa: Resolution in units of the mean eigenvalue of x, not negative.
        weights: (n,) how much each row counts; None where all count the same.

    Returns:
        See `Similarity`; `plain` is the share that the fit to the rows themselves explains. Not symmetric. Not what a
        probe reaches: see `probe_r2`. O(n p (p + q)).

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = explained(z[:, :8], z[:, 4:], groups=torch.arange(600) // 4, kappa=0.0)
        >>> found.low < 0.5 < found.high
        True
    """
    return _predicted(x, y, groups, kappa, weights, probe=False)


def probe_r2(
    x: Any, y: Any, *, groups: Any | None = None, kappa: float = 0.01, weights: Any | None = None
) -> Similarity:
    """R^2 of a linear (ridge) probe trained on all utterances but one, and tested on that one.

    Args:
        x: (n, p) rows that predict; numpy or torch, any float type.
        y: (n, q) rows that are predicted, at the same frames.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        kappa: Ridge of the probe in units of the mean eigenvalue of the rows of x, not negative.
        weights: (n,) how much each row counts; None where all count the same.

    Returns:
        See `Similarity`; the interval is that of the test for probes of this many rows. `plain` is the probe's R^2 on
        the rows that it was trained on.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> groups = torch.arange(600) // 4
        >>> probe_r2(z[:, :8], z[:, 4:], groups=groups).value < explained(z[:, :8], z[:, 4:], groups=groups).value
        True
    """
    return _predicted(x, y, groups, kappa, weights, probe=True)


def _predicted(x: Any, y: Any, groups: Any, kappa: float, weights: Any, *, probe: bool) -> Similarity:
    check_kappa(kappa)
    matched, _ = match_rows([x, y], groups, weights)
    utterances = matched.utterances
    count = len(utterances.sizes)
    status = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    if count < flags.FEW_GROUPS:
        status.add(flags.TOO_FEW_GROUPS)
    if count < 3 or matched.n < 8:
        return undefined(matched, status | {flags.TOO_FEW_ROWS}, kappa)
    if not (matched.varies(0) and matched.varies(1)):
        return undefined(matched, status | {flags.CONSTANT}, kappa)
    balanced = whiten(matched.centred(0), utterances, kappa)
    if not probe:
        status |= reasons(matched, (balanced,), (kappa,))
    pieces = Pieces(matched.centred(0), utterances)
    ones = torch.ones(count, dtype=torch.float64, device="cpu")
    ridge = max(kappa, NOTHING) * float(pieces.rows.square().sum()) / matched.n / pieces.dimensions
    fit = pieces.whitened(ones, ones, ridge)
    target = utterances.root[:, None] * matched.centred(1)
    inside = fit @ (fit.T @ target)
    if probe:
        found = _left_out(fit, target, utterances)
        plain = 1.0 - float((target - inside).square().sum() / target.square().sum())
        parts = [(target - found).square().sum(dim=1), target.square().sum(dim=1)]
        errors, energy = (utterances.sums(p) for p in parts)
        value = 1.0 - float(errors.sum() / energy.sum())
        change = errors - (1.0 - value) * energy
    else:
        found = _balanced_left_out(
            balanced.rows, target, utterances, pieces.unit_rows, balanced.within, balanced.between
        )
        plain = float((target * inside).sum() / target.square().sum())
        agreement, energy = (utterances.sums((target * p).sum(dim=1)) for p in (found, target))
        value = float(agreement.sum() / energy.sum())
        # Each utterance counts as the one that is predicted and as one of those that predict.
        change = 2.0 * agreement - utterances.sums(found.square().sum(dim=1)) - value * energy
    error = float((change - change.mean()).square().sum().sqrt() / energy.sum()) if math.isfinite(value) else math.nan
    low, high = interval(value, error, count)
    return Similarity(
        value,
        low,
        high,
        plain,
        matched.n,
        count,
        (balanced.df, float(matched.views[1].shape[1])),
        balanced.n_eff,
        balanced.kappa,
        frozenset(status | precision(low, high)),
        without=by_name(utterances, (change if probe else -change) / energy.sum()),
    )


def _left_out(white: torch.Tensor, target: torch.Tensor, utterances: Utterances) -> torch.Tensor:
    """(n, q) predictions of each utterance's rows from all others: Y - (I - H)^-1 (Y - H Y)."""
    found = []
    residual = target - white @ (white.T @ target)
    for u, y, r in zip(*(utterances.stacks(v) for v in (white, target, residual)), strict=True):
        eye = torch.eye(u.shape[1], dtype=torch.float64, device="cpu")
        found.append((y - torch.linalg.solve(eye - u @ u.mT, r)).flatten(0, 1))
    return torch.cat(found)


def _balanced_left_out(
    white: torch.Tensor,
    target: torch.Tensor,
    utterances: Utterances,
    unit: torch.Tensor,
    within: torch.Tensor,
    between: torch.Tensor,
) -> torch.Tensor:
    """The same with weights A inside of each utterance: A^(-1/2) of the predictions of A^(1/2) Y."""

    def scale(rows: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        means = utterances.sums(unit[:, None] * rows)
        return utterances.spread(a)[:, None] * rows + unit[:, None] * utterances.spread((b - a)[:, None] * means)

    weighted = scale(target, within.sqrt(), between.sqrt())
    return scale(_left_out(white, weighted, utterances), within.rsqrt(), between.rsqrt())
