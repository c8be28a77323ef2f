"""The effective rank of the population that rows were drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.correction import (
    PROJECTED,
    RESOLVED,
    UNRESOLVED,
    Curve,
    fit_spectrum,
    read_curve,
    to_spectrum,
)
from rankwatch.numerics.interval import half_width, rank_variance
from rankwatch.numerics.leave_out import directions, group_sizes
from rankwatch.numerics.projection import choose_projection
from rankwatch.numerics.rankme import rankme
from rankwatch.numerics.rows import Rows
from rankwatch.numerics.sample import NO_GROUP, Sample
from rankwatch.numerics.spectrum import Spectrum, plain_rank

Array = NDArray[np.float64]

CONSTANT = 1e-11
"""Rows whose variance is at most this share of their second moment are one vector and its rounding
(a root mean square of 3e-6, about fifty float32 roundings)."""

FEW_ROWS = 32
"""Below so many rows, or below d / 8, no correction can be trusted."""

NARROW = 3
"""Projections below d / 3 leave the answer to the smoothness that the fit assumes."""


FEW_GROUPS = 16
"""With fewer utterances nothing can be said about how far rows of one utterance depend on each other."""

ENOUGH_GROUPS, DEPENDENT = 96, 0.75
"""With fewer utterances (1 / sum of squared shares) whose rows are worth less than this share of their number, the
correction for their dependence is itself uncertain: up to 6 % high at 50 utterances of 40 consecutive frames."""

ROUNDED = 0.01
"""Rounding that would have added less than this share is taken out without a word."""

FLOOR = 0.0006
"""What the smoothness of the fit may cost, in ln(effective rank); part of every interval."""


@dataclass(frozen=True)
class RankEstimate:
    """An effective rank, and what it rests on.

    Attributes:
        value: Corrected effective rank of the population, in [1, d]; NaN where there is none.
        low: Lower end of the 90 % interval (see `interval`); None where no honest one is known.
        high: Upper end, likewise.
        plain: Uncorrected value of the rows kept (centred if the estimate is).
        rankme: The paper's uncentred value of the rows at hand; None where they were projected.
        n: Rows used.
        d: Columns before any projection.
        k: Columns after it, or None.
        n_eff: Independent rows that they are worth.
        noise_floor: Singular values below this share of the largest are rounding of a narrow number format (bfloat16,
            float16: told from the rows' bits) and were left out; 0 for float32.
        status: ``"ok"``, or reasons joined by ``"+"``: ``"too_few_rows"`` (NaN below three rows; a value not
            to be trusted below 32 or d / 8), ``"constant"`` (one vector up to rounding; the value is 1),
            ``"too_few_groups"`` (below 16 utterances: rows taken for independent), ``"dependent_rows"`` (rows
            that are worth less than 3/4 of their number, from fewer than 96 utterances), ``"non_finite_rows"``
            (some were left out), ``"projected_too_far"`` (k < d / 3 and k < n), ``"rounded"`` (the number format's
            rounding would have added more than 1 %).
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
    noise_floor: float
    status: str
    spectrum: Spectrum = field(repr=False)


def estimate_rank(
    x: Any,
    *,
    projection: int | str | None = None,
    groups: Any | None = None,
    weights: Any | None = None,
    center: bool = True,
    seed: int = 0,
) -> RankEstimate:
    """Estimate the effective rank of the population that the rows of `x` were drawn from.

    Args:
        x: (n, d) rows; numpy or torch, any float type, CPU or GPU.
        projection: Columns to project to first; ``"auto"`` (see `choose_projection`) or None.
        groups: (n,) utterance of each row, numbers or names, or None where rows are independent. Where utterances come in batches
            of their own kind (by length, by language), the batch's key: the largest unit that is independent of others.
        weights: (n,) how much each row counts, in any unit, or None where all count the same. With frames drawn evenly
            from every utterance, its length: then every frame of the corpus counts the same.
        center: Whether to take the mean out. Without, one shared vector hides everything else.
        seed: Seed of the projection.

    Returns:
        See `RankEstimate`. The same rows give the same bits in any order.

    Raises:
        ValueError: If shapes don't fit, a weight is negative or not finite or all are zero, or `projection` is neither
            positive, ``"auto"`` nor None.

    Example:
        >>> x = torch.randn(512, 64, generator=torch.Generator().manual_seed(0))
        >>> estimate = estimate_rank(x)
        >>> estimate.plain < 63 < estimate.low < estimate.value <= 64
        True
    """
    rows = torch.as_tensor(x)
    if rows.ndim != 2:
        raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
    if isinstance(projection, str):
        if projection != "auto":
            raise ValueError(f"projection must be a number, 'auto' or None, got {projection!r}")
        projection = choose_projection(rows.shape[1], rows.shape[0])
    if groups is not None:
        names = groups.detach().cpu().numpy() if isinstance(groups, torch.Tensor) else np.asarray(groups)
        groups = np.unique(names, return_inverse=True)[1].reshape(names.shape)
    counting = None if weights is None else _relative(weights, rows.shape[0])
    return analyse(Sample.from_rows(rows, groups, projection, seed, weights=counting), center=center)


def _relative(weights: Any, n: int) -> torch.Tensor:
    """Weights of mean 1."""
    given = torch.as_tensor(weights).detach().double()
    if given.shape != (n,):
        raise ValueError(f"expected one weight for each of {n} rows, got {tuple(given.shape)}")
    if n and not (bool(torch.isfinite(given).all()) and float(given.min()) >= 0.0 and float(given.max()) > 0.0):
        raise ValueError("weights must be finite and not negative, and not all zero")
    return given / given.mean() if n else given


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
    if energy == 0.0 or float(moments.variance().sum()) <= CONSTANT * energy:
        return _nothing(sample, 1.0, [*reasons, "constant"])
    rows = Rows.of(sample, center)
    found = directions(rows)
    if n < FEW_ROWS or n < d / 8:
        reasons.append("too_few_rows")
    if k is not None and k < d / NARROW and k < n:
        reasons.append("projected_too_far")
    sizes, first = group_sizes(sample.groups)
    if grouped_thinly := first.size < min(FEW_GROUPS, n):
        reasons.append("too_few_groups")
        sizes, first = np.ones(n, dtype=np.int64), np.arange(n)
    width = min(independent, d if k is None else k)
    if found.eigenvalues.size < width:
        width = min(width, _distinct(sample) - (1 if center else 0))
    # A sample that doesn't fill its own space comes from a population of exactly its rank.
    filled = found.eigenvalues.size == width
    dimensions = d if filled else found.eigenvalues.size
    eigenvalues = found.eigenvalues / trace
    curve = read_curve(found, eigenvalues, sizes, d, k)
    resolved = not filled or (k is None and width == d)
    prior = RESOLVED if resolved else UNRESOLVED if k is None else PROJECTED
    bounds = float(eigenvalues[0]), 0.3 * float(eigenvalues[-1]) if resolved else 0.0
    fit = fit_spectrum(curve, *bounds, dimensions, prior)
    whole = to_spectrum(fit, trace, d, dimensions)
    noise = float(sample.rounding.double().mean()) * moments.second_moment()
    spectrum = whole.above(noise) if noise.any() else whole
    value, n_eff = min(spectrum.effective_rank(), float(d)), _worth(curve, n)
    if value < (1.0 - ROUNDED) * whole.effective_rank():
        reasons.append("rounded")
    shares = np.add.reduceat(sizes, first) / n
    if sizes.max() > 1 and n_eff < DEPENDENT * n and float(np.square(shares).sum()) > 1.0 / ENOUGH_GROUPS:
        reasons.append("dependent_rows")
    low = high = None
    if not grouped_thinly and n >= FEW_ROWS:
        energies = _group_sums(rows.energies().numpy() / trace, sizes)
        variance = rank_variance(curve, fit, min(n_eff, independent), d, k, energies, sizes, first)
        if not resolved:
            other = fit_spectrum(curve, *bounds, dimensions, prior.other())
            second = to_spectrum(other, trace, d, dimensions)
            variance += math.log(second.effective_rank() / whole.effective_rank()) ** 2
        half = half_width(variance, FLOOR)
        low, high = max(value * math.exp(-half), 1.0), min(value * math.exp(half), float(d))
    plain = plain_rank(found.eigenvalues)
    return RankEstimate(
        value=value,
        low=low,
        high=high,
        plain=plain,
        rankme=rows.uncentred_rank(found.gram) if k is None and sample.weights is None else None,
        n=n,
        d=d,
        k=k,
        n_eff=n_eff,
        noise_floor=math.sqrt(float(np.median(noise)) / (float(eigenvalues[0]) * trace)),
        status="+".join(reasons) or "ok",
        spectrum=spectrum,
    )


def _distinct(sample: Sample) -> int:
    """Rows without repetitions within an utterance, which span no more than one does.

    Equal rows of different utterances are evidence: a representation that knows only a few points.
    """
    rows, groups = sample.rows, sample.groups
    repeated = (rows[1:] == rows[:-1]).all(dim=1) & (groups[1:] == groups[:-1]) & (groups[1:] != NO_GROUP)
    return sample.n - int(repeated.sum())


def _worth(curve: Curve, n: int) -> float:
    """Independent rows that would lose as much to their own leverage, where df is half of what it can be."""
    middle = int(np.argmin(np.abs(curve.df - curve.df.max() / 2)))
    lost = 1.0 - curve.t[middle] / curve.inner[middle]
    return float(min(curve.df[middle] / lost, n)) if lost > 0.0 else float(n)


def _group_sums(values: Array, sizes: NDArray[np.int64]) -> Array:
    return np.asarray(np.add.reduceat(values, np.cumsum(sizes) - sizes))


def _nothing(sample: Sample, value: float, reasons: list[str]) -> RankEstimate:
    """The answer where there is no spectrum: NaN for too few rows, 1 for a single vector."""
    plain = rankme(sample.rows) if sample.k is None and sample.n else None
    empty = Spectrum(np.zeros(1), np.full(1, float(sample.d)))
    status = "+".join(reasons)
    return RankEstimate(
        value, None, None, value, plain, sample.n, sample.d, sample.k, float(sample.n), 0.0, status, empty
    )
