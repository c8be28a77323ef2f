"""From a sample to the effective rank of what it was drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.metrics.rankme import rankme
from rankwatch.numerics.rank import rank_estimate as flags
from rankwatch.numerics.rank.centred_rows import Rows
from rankwatch.numerics.rank.confidence_interval import sampling_error
from rankwatch.numerics.rank.leave_utterances_out import Directions, Parts, directions, equal_masses, keys_of
from rankwatch.numerics.rank.rank_estimate import RankEstimate
from rankwatch.numerics.rank.spectrum import Spectrum, plain_rank, typical_noise
from rankwatch.numerics.rank.spectrum_correction import (
    PROJECTED,
    RESOLVED,
    UNRESOLVED,
    Curve,
    Fit,
    NoFit,
    Prior,
    fit_spectrum,
    read_curve,
    to_spectrum,
)
from rankwatch.numerics.rows.sample import NO_GROUP, Sample

Array = NDArray[np.float64]

CONSTANT = 1e-11
"""Rows whose variance is at most this share of their second moment are one vector and its rounding
(a root mean square of 3e-6, about fifty float32 roundings)."""

SAME = 1e-6
"""Rows that differ by less, relative to the largest, are one and the same."""

FEW_ROWS = 32
"""Below so many rows, or below d / 8, no correction can be trusted."""

NARROW = 3
"""Projections below d / 3 leave the answer to the smoothness that the fit assumes."""

FEW_GROUPS = 16
"""With fewer utterances nothing can be said about how far rows of one utterance depend on each other."""

ENOUGH_GROUPS, DEPENDENT = 96, 0.75
"""With fewer utterances (1 / sum of squared shares) whose rows are worth less than this share of their number, the
correction for their dependence is itself uncertain: up to 6 % high at 50 utterances of 40 consecutive frames."""

DEAD = 1e-3
"""Columns that seem not to vary and together hold more of the variance than this do vary."""

ALMOST = 0.9
"""Rows of which so many are linearly independent fill what so many rows can fill: the others are repetitions."""

ROUNDED = 0.01
"""Rounding that would have added less than this share is taken out without a word."""


@dataclass(frozen=True)
class Extent:
    """In how many dimensions the population lies, as far as a sample tells.

    Attributes:
        dimensions: Their number.
        known: Whether all of them were seen: then the smallest eigenvalue bounds the spectrum.
    """

    dimensions: int
    known: bool

    @staticmethod
    def of(found: Directions, sample: Sample, center: bool) -> Extent:
        """Columns that vary; fewer where rows and columns would have had room for more directions than there are."""
        live = _varying_columns(found, sample, center)
        columns, rank = min(sample.rows.shape[1], live), found.eigenvalues.size
        room = found.n
        if rank < min(columns, room):
            room = min(room, _n_distinct_rows(sample) - int(center))
        if columns <= room:
            return Extent(live, sample.k is None or live < sample.k) if rank >= columns else Extent(rank, True)
        return Extent(live, False) if rank >= ALMOST * room else Extent(rank, True)


def _varying_columns(found: Directions, sample: Sample, center: bool) -> int:
    """Columns that vary, before any projection."""
    if sample.k is None:
        return found.rows.live(found.gram)
    if not center:
        return sample.d
    # The sums that are left of projected rows can't see a small variance next to a huge mean.
    live, variance = sample.moments.live(), sample.moments.variance
    return int(live.sum()) if variance[~live].sum() <= DEAD * variance.sum() else sample.d


def estimate_from_sample(sample: Sample, *, center: bool = True) -> RankEstimate:
    """Estimate from a sample: a pure function of it.

    Args:
        sample: Rows as gathered.
        center: Whether to take the mean out.

    Returns:
        See `RankEstimate`.
    """
    n, d, moments = sample.n, sample.d, sample.moments
    reasons = {flags.NON_FINITE_ROWS} if sample.n_nonfinite else set()
    independent = n - 1 if center else n
    if independent < 2 or d == 0:
        return _undefined_estimate(sample, math.nan, {*reasons, flags.TOO_FEW_ROWS})
    energy, variance = float(moments.second_moment().sum()), float(moments.variance.sum())
    if energy == 0.0 or variance <= CONSTANT * energy:
        return _undefined_estimate(sample, 1.0, {*reasons, flags.CONSTANT})
    rows = Rows.of(sample, center)
    found = directions(rows)
    if not found.eigenvalues.size:
        return _undefined_estimate(sample, 1.0, {*reasons, flags.CONSTANT})
    parts = Parts.of(sample.groups, sample.weights)
    reasons |= _insufficiency_reasons(sample, parts)
    if flags.TOO_FEW_GROUPS in reasons:
        parts = Parts.of(torch.full((n,), NO_GROUP, device="cpu"), sample.weights)
    extent = Extent.of(found, sample, center)
    if extent.known:  # further directions are the float32 rounding of projected constants
        found = found.first(extent.dimensions)
    trace = variance * n / independent if center else energy
    try:
        curve, fit, second = _fitted(found, found.eigenvalues / trace, parts, sample, extent)
    except NoFit:
        return _undefined_estimate(sample, math.nan, {*reasons, flags.NO_FIT})
    whole = to_spectrum(fit, trace, d, extent.dimensions)
    noise = sample.noise()
    spectrum = whole.above(noise) if noise.any() else whole
    value, n_eff = min(spectrum.effective_rank(), float(d)), _effective_sample_size(curve, n)
    if value < (1.0 - ROUNDED) * whole.effective_rank():
        reasons.add(flags.ROUNDED)
    if parts.sizes.max() > 1 and n_eff < DEPENDENT * n and parts.groups < ENOUGH_GROUPS:
        reasons.add(flags.DEPENDENT_ROWS)
    half, error = math.nan, None
    if flags.TOO_FEW_GROUPS not in reasons and _n_weighted_rows(sample) >= FEW_ROWS:
        energies = parts.sums(rows.energies().numpy() / trace)
        error = sampling_error(curve, fit, min(n_eff, independent), d, sample.k, energies, parts)
        if second is not None:
            other = to_spectrum(second, trace, d, extent.dimensions)
            error = error.with_prior(math.log(other.effective_rank() / whole.effective_rank()))
        half = error.half_width
    return RankEstimate(
        value=value,
        low=None if math.isnan(half) else max(value * math.exp(-half), 1.0),
        high=None if math.isnan(half) else min(value * math.exp(half), float(d)),
        plain=plain_rank(found.eigenvalues),
        rankme=rows.uncentred_rank(found.gram) if sample.k is None and sample.weights is None else None,
        n=n,
        d=d,
        k=sample.k,
        n_eff=n_eff,
        noise_floor=math.sqrt(typical_noise(noise) / float(found.eigenvalues[0])),
        status=frozenset(reasons),
        spectrum=spectrum,
        error=error,
        utterances=keys_of(sample.groups) if error is not None else (),
    )


def _fitted(
    found: Directions, eigenvalues: Array, parts: Parts, sample: Sample, extent: Extent
) -> tuple[Curve, Fit, Fit | None]:
    """The curve, the spectrum that fits it, and where not all of it is resolved another that fits as well."""
    curve = read_curve(found, eigenvalues, parts, sample.d, sample.k)
    largest, smallest = float(eigenvalues[0]), 0.3 * float(eigenvalues[-1]) if extent.known else 0.0

    def fitted(prior: Prior) -> Fit:
        return fit_spectrum(curve, largest, smallest, extent.dimensions, prior)

    if extent.known:
        return curve, fitted(RESOLVED), None
    prior = UNRESOLVED if sample.k is None else PROJECTED
    return curve, fitted(prior), fitted(prior.other())


def _n_weighted_rows(sample: Sample) -> float:
    """Rows of equal weight that would have as much weight apart: (sum w)^2 / sum w^2."""
    return float(sample.n) if sample.weights is None else equal_masses(sample.weights.numpy())


def _insufficiency_reasons(sample: Sample, parts: Parts) -> set[str]:
    """What there is too little of."""
    rows, k = _n_weighted_rows(sample), sample.k
    reasons = set()
    if rows < FEW_ROWS or rows < sample.d / 8:
        reasons.add(flags.TOO_FEW_ROWS)
    if k is not None and k < sample.d / NARROW and k < sample.n:
        reasons.add(flags.PROJECTED_TOO_FAR)
    if parts.groups < min(FEW_GROUPS, rows) * (1.0 - 1e-9):
        reasons.add(flags.TOO_FEW_GROUPS)
    return reasons


def _n_distinct_rows(sample: Sample) -> int:
    """Rows without repetitions.

    Within an utterance they span no more than one does. Equal rows of different utterances are evidence, too, of a
    representation that knows only a few points; but not where most rows occur once, since then most are still to
    be seen (Good-Turing): a silent frame, a recording that is there twice.

    Returns:
        Their number.
    """
    points, groups = _distinct_row_ids(sample.rows), sample.groups.numpy()
    keys = np.where(groups == NO_GROUP, -1 - np.arange(sample.n), groups)
    once = np.unique(np.stack([points, keys]), axis=1)[0]  # each point once an utterance
    counts = np.unique(once, return_counts=True)[1]
    return counts.size if 2 * int((counts == 1).sum()) >= counts.size else once.size


def _distinct_row_ids(rows: torch.Tensor) -> NDArray[np.int64]:
    """(n,) the same number for rows that are equal but for float32 rounding: equal along two random directions."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    frame = torch.randn(rows.shape[1], 2, generator=generator, dtype=torch.float64, device="cpu")
    along = (rows.double() @ frame).numpy()
    order = np.argsort(along[:, 0], kind="stable")
    apart = np.abs(np.diff(along[order], axis=0)).max(axis=1) > SAME * float(np.abs(along).max())
    points = np.empty(rows.shape[0], dtype=np.int64)
    points[order] = np.concatenate([[0], np.cumsum(apart)])
    return points


def _effective_sample_size(curve: Curve, n: int) -> float:
    """Independent rows that would lose as much to their own leverage, where df is half of what it can be."""
    middle = int(np.argmin(np.abs(curve.df - curve.df.max() / 2)))
    lost = 1.0 - curve.t[middle] / curve.inner[middle]
    return float(min(curve.df[middle] / lost, n)) if lost > 0.0 else float(n)


def _undefined_estimate(sample: Sample, value: float, reasons: set[str]) -> RankEstimate:
    """The answer where there is no spectrum: NaN for too few rows and where nothing fits, 1 for a single vector."""
    plain = rankme(sample.rows) if sample.k is None and sample.weights is None and sample.n else None
    empty = Spectrum(np.zeros(1), np.full(1, float(sample.d)))
    status = frozenset(reasons)
    return RankEstimate(
        value, None, None, value, plain, sample.n, sample.d, sample.k, float(sample.n), 0.0, status, empty
    )
