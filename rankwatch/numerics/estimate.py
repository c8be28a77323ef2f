"""The effective rank of the population that rows were drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.correction import correct
from rankwatch.numerics.projection import choose_projection
from rankwatch.numerics.sample import Sample
from rankwatch.numerics.spectrum import Spectrum, gram_eigenvalues, plain_rank

CONSTANT = 1e-11
"""Rows whose variance is at most this share of their second moment are one vector and its rounding
(a root mean square of 3e-6, about fifty float32 roundings)."""

FEW_ROWS = 32
"""Below so many rows, or below d / 8, no correction can be trusted."""

NARROW = 3
"""Projections below d / 3 leave the answer to the smoothness that the fit assumes."""


@dataclass(frozen=True)
class RankEstimate:
    """An effective rank, and what it rests on.

    Attributes:
        value: Corrected effective rank of the population, in [1, d]; NaN where there is none.
        low: Lower end of the interval; None where no honest one is known.
        high: Upper end, likewise.
        plain: Uncorrected value of the rows kept (centred if the estimate is).
        rankme: The paper's uncentred value of the rows at hand; None where they were projected.
        n: Rows used.
        d: Columns before any projection.
        k: Columns after it, or None.
        n_eff: Independent rows that they are worth.
        status: ``"ok"``, or reasons joined by ``"+"``: ``"too_few_rows"`` (NaN below three rows; a value not
            to be trusted below 32 or d / 8), ``"constant"`` (one vector up to rounding; the value is 1),
            ``"non_finite_rows"`` (some were left out), ``"projected_too_far"`` (k < d / 3 and k < n).
        spectrum: The corrected spectrum, in squared units of the rows.
    """

    value: float
    low: float | None
    high: float | None
    plain: float
    rankme: float | None
    n: int
    d: int
    k: int | None
    n_eff: float
    status: str
    spectrum: Spectrum = field(repr=False)


def estimate_rank(
    x: Any,
    *,
    projection: int | str | None = None,
    groups: Any | None = None,
    center: bool = True,
    seed: int = 0,
) -> RankEstimate:
    """Estimate the effective rank of the population that the rows of `x` were drawn from.

    Args:
        x: (n, d) rows; numpy or torch, any float type, CPU or GPU.
        projection: Columns to project to first; ``"auto"`` (see `choose_projection`) or None.
        groups: (n,) utterance key of each row, or None where rows are independent.
        center: Whether to take the mean out. Without, one shared vector hides everything else.
        seed: Seed of the projection.

    Returns:
        See `RankEstimate`. The same rows give the same bits in any order.

    Raises:
        ValueError: If shapes don't fit, or `projection` is neither positive, ``"auto"`` nor None.

    Example:
        >>> x = torch.randn(512, 64, generator=torch.Generator().manual_seed(0))
        >>> estimate = estimate_rank(x)
        >>> estimate.plain < 62 < estimate.value <= 64
        True
    """
    rows = torch.as_tensor(x)
    if rows.ndim != 2:
        raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
    if isinstance(projection, str):
        if projection != "auto":
            raise ValueError(f"projection must be a number, 'auto' or None, got {projection!r}")
        projection = choose_projection(rows.shape[1], rows.shape[0])
    return analyse(Sample.from_rows(rows, groups, projection, seed), center=center)


def analyse(sample: Sample, *, center: bool = True) -> RankEstimate:
    """Estimate from a sample: a pure function of it.

    Args:
        sample: Rows as gathered.
        center: Whether to take the mean out.

    Returns:
        See `RankEstimate`.
    """
    n, d, k = sample.n, sample.d, sample.k
    reasons = ["non_finite_rows"] if sample.n_nonfinite else []
    independent = n - 1 if center else n
    if independent < 2 or d == 0:
        return _nothing(sample, math.nan, [*reasons, "too_few_rows"])
    moments = sample.moments
    energy = float(moments.second_moment().sum())
    trace = float(moments.variance().sum()) * n / independent if center else energy
    rows = sample.rows.double()
    mean = rows.mean(dim=0)
    if energy == 0.0 or float(moments.variance().sum()) <= CONSTANT * energy:
        return _nothing(sample, 1.0, [*reasons, "constant"])
    if not center:
        mean = torch.zeros_like(mean)
    eigenvalues = gram_eigenvalues(rows - mean, independent)
    if n < FEW_ROWS or n < d / 8:
        reasons.append("too_few_rows")
    if k is not None and k < d / NARROW and k < n:
        reasons.append("projected_too_far")
    spectrum = correct(eigenvalues, independent, d, k, trace)
    plain = plain_rank(eigenvalues)
    return RankEstimate(
        value=spectrum.effective_rank(),
        low=None,
        high=None,
        plain=plain,
        rankme=_uncentred(rows, plain if not center else None) if k is None else None,
        n=n,
        d=d,
        k=k,
        n_eff=float(n),
        status="+".join(reasons) or "ok",
        spectrum=spectrum,
    )


def _uncentred(rows: torch.Tensor, known: float | None = None) -> float:
    return plain_rank(gram_eigenvalues(rows, 1.0)) if known is None else known


def _nothing(sample: Sample, value: float, reasons: list[str]) -> RankEstimate:
    """The answer where there is no spectrum: NaN for too few rows, 1 for a single vector."""
    plain = _uncentred(sample.rows.double()) if sample.k is None and sample.n else None
    empty = Spectrum(np.zeros(1), np.full(1, float(sample.d)))
    status = "+".join(reasons)
    return RankEstimate(
        value, None, None, value, plain, sample.n, sample.d, sample.k, float(sample.n), status, empty
    )
