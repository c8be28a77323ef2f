"""Cheap indicators of collapse that complement the effective rank, from the same sample."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.metrics import eigenvalue_metrics as metrics
from rankwatch.numerics.rank.rank_estimate import CONSTANT, RankEstimate
from rankwatch.numerics.rows.sample import NO_GROUP, Sample

DEAD = 1e-6
"""A dimension is dead when its variance is below this share of the mean variance (its standard deviation a
thousandth of the typical one) or is only the float32 rounding of its own mean."""

FAR = 10.0
"""Distance from the middle, in medians of it, from which a group is far from the rest."""

FEW = 16
"""At most one group of so many can be far: more of them are what the layer is like."""

Array = NDArray[np.float64]


def collapse_indicators(sample: Sample, estimate: RankEstimate) -> dict[str, float]:
    """Indicators by name; none depends on the rows' scale.

    Args:
        sample: The rows.
        estimate: What `estimate_from_sample` said about them.

    Returns:
        * ``mean_energy_fraction``: |mean|^2 / mean |x|^2, in [0, 1]; 1 when all rows are one vector (and for zeros).
        * ``std_normalised``: sqrt(d) times the mean over dimensions of the standard deviation of the rows
          scaled to length one (SimSiam, Chen & He 2021, section 4.1); 1 for a healthy isotropic cloud, and for +-v.
        * ``dead_dimension_fraction``: share of dimensions whose variance is below 1e-6 of the mean variance, or only
          the rounding of their mean.
        * ``within_utterance_variance_fraction``: share of the variance that lies within groups, corrected for the
          degrees of freedom of the groups' means: 1 for rows that know nothing of their group, 0 for groups of equal
          rows; NaN where no group has two rows. Few groups that lie far from all others are left out.
        * ``participation_ratio``, ``stable_rank``, ``top1_explained_variance``,
        ``dimensions_above_threshold`` (singular values above 0.01 of the largest): of the corrected spectrum; NaN where
        there is none.
    """
    moments = sample.moments
    eigenvalues = estimate.spectrum.eigenvalues()
    return {
        "mean_energy_fraction": _mean_share(sample),
        "std_normalised": math.sqrt(sample.d) * float(np.sqrt(moments.unit_variance).mean())
        if sample.n and sample.d
        else math.nan,
        "dead_dimension_fraction": _dead_dimensions(sample),
        "within_utterance_variance_fraction": _within_share(sample, CONSTANT in estimate.status),
        "participation_ratio": metrics.participation_ratio(eigenvalues),
        "stable_rank": metrics.stable_rank(eigenvalues),
        "top1_explained_variance": metrics.top1_explained_variance(eigenvalues),
        "dimensions_above_threshold": metrics.dimensions_above(eigenvalues),
    }


def _mean_share(sample: Sample) -> float:
    energy = float(sample.moments.second_moment().sum())
    if sample.n == 0:
        return math.nan
    return min(float((sample.moments.mean**2).sum()) / energy, 1.0) if energy > 0.0 else 1.0


def _dead_dimensions(sample: Sample) -> float:
    if sample.n == 0 or sample.d == 0:
        return math.nan
    variance = sample.moments.variance
    return float(((variance <= DEAD * variance.mean()) | ~sample.moments.live()).mean())


def _within_share(sample: Sample, constant: bool) -> float:
    """Within / (within + between) variance, each with its degrees of freedom (one-way ANOVA)."""
    if constant:
        return math.nan
    # Rows are sorted by group, those that stand by themselves first.
    alone = int((sample.groups == NO_GROUP).sum())
    counts = torch.unique_consecutive(sample.groups[alone:], return_counts=True)[1].numpy()
    n, g = sample.n - alone, counts.size
    if g == 0 or n == g:
        return math.nan
    rows = sample.rows[alone:].double().numpy()
    near = _near(rows, counts)
    if not near.all():  # one that is far from the rest would decide the variance between all of them
        rows, counts = rows[near.repeat(counts)], counts[near]
        n, g = len(rows), counts.size
        if n == g:
            return math.nan
    centred = rows - rows.mean(axis=0)
    means = _group_means(centred, counts)
    spread_out = float(np.einsum("ij,ij,i->", means, means, counts.astype(np.float64)))
    within = (float(np.vdot(centred, centred)) - spread_out) / (n - g)
    if g == 1:
        return 1.0
    # E[between mean square] = within + size * variance of the groups' true means.
    between = spread_out / (g - 1)
    size = (n - float((counts**2).sum()) / n) / (g - 1)
    within = max(within, 0.0)
    spread = max(between - within, 0.0) / size
    return within / (within + spread) if within + spread > 0.0 else math.nan


def _group_means(rows: Array, counts: NDArray[np.int64]) -> Array:
    return np.asarray(np.add.reduceat(rows, np.cumsum(counts) - counts, axis=0) / counts[:, None])


def _near(rows: Array, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which groups' means are about as far from the middle as others.

    The middle is the median of the groups' means, column by column, which few of them can't move. It is only looked for
    where the mean, which takes no time, shows that there may be something.

    Returns:
        (g,) boolean; all of them where more than few are far, or most are one and the same.
    """
    everything = np.ones(counts.size, dtype=bool)
    means = _group_means(rows, counts)
    rough = ((means - means.mean(axis=0)) ** 2).sum(axis=1)
    if rough.max() <= (FAR / 2.5) ** 2 * np.median(rough):
        return everything
    distances = np.sqrt(((means - np.median(means, axis=0)) ** 2).sum(axis=1))
    usual = float(np.median(distances))
    near = distances <= FAR * usual
    few = np.count_nonzero(~near) <= counts.size / FEW
    return np.asarray(near) if few and usual > 0.0 else everything
