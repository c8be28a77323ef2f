"""From what each run says to what runs say together; runs are the independent units."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from rankwatch.correlation.statistics.coefficients import LEVEL, fisher_interval, to_z

Floats = npt.NDArray[np.float64]

FEWEST_UNITS = 3
"""Runs (or groups of runs) from which on an interval speaks of runs like these, and not of these runs alone."""

_POINTS = 400  # of the integral over the share that loses
_SURE = 0.8


@dataclass(frozen=True)
class Interval:
    """A number with its 90 % interval.

    Attributes:
        value: The number; NaN where there is none.
        low: Lower end; NaN where none is known.
        high: Upper end, likewise.
        units: Independent runs or groups of runs that it comes from.
        beyond_these: Whether the interval speaks of further runs like these, and not of these runs alone.
    """

    value: float
    low: float
    high: float
    units: int
    beyond_these: bool


def pooled_correlation(values: npt.ArrayLike, errors: npt.ArrayLike, groups: Sequence[Hashable]) -> Interval:
    """The mean correlation of several runs.

    Fisher's z of the runs is averaged, within groups first. From three groups on the interval is Student's over
    groups, which takes in what runs differ by; of one or two it is that of their mean, and speaks of these runs alone.

    Args:
        values: (r,) a coefficient of each run; NaN where a run has none.
        errors: (r,) standard errors of their z; NaN where a run's isn't known, and then the mean of one or two groups
            has no interval.
        groups: (r,) what isn't independent has one name, for example the seeds of one method.

    Returns:
        The mean and its interval.
    """
    found, error = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    known = np.isfinite(found)
    z, spread, names = to_z(found[known]), error[known], [g for g, there in zip(groups, known, strict=True) if there]
    if not names:
        return Interval(np.nan, np.nan, np.nan, 0, False)
    means, variances = _within_groups(z, names), _within_groups(spread**2, names, of_means=True)
    value = float(np.tanh(means.mean()))
    if len(means) < FEWEST_UNITS:
        low, high = fisher_interval(value, np.sqrt(variances.sum()) / len(means))
        return Interval(value, float(low), float(high), len(means), False)
    width = _student(means)
    return Interval(value, float(np.tanh(means.mean() - width)), float(np.tanh(means.mean() + width)), len(means), True)


def mean_over_runs(values: npt.ArrayLike, groups: Sequence[Hashable]) -> Interval:
    """The mean of a number over runs with Student's interval over groups.

    Args:
        values: (r,) of each run; NaN where a run has none.
        groups: (r,) as above.

    Returns:
        The mean; without an interval where there are fewer than three groups, or where all are alike: that a few runs
        lose nothing doesn't say that none does.
    """
    means = _known_means(values, groups)
    value = float(means.mean()) if means.size else np.nan
    if len(means) < FEWEST_UNITS or np.ptp(means) <= 1e-12 * np.abs(means).max():
        return Interval(value, np.nan, np.nan, len(means), False)
    width = _student(means)
    return Interval(value, value - width, value + width, len(means), True)


def mean_loss(values: npt.ArrayLike, groups: Sequence[Hashable]) -> Interval:
    r"""The mean of what choices lose against the best one: never below nothing, often nothing, and sometimes much.

    Student's interval is too short and too low for such numbers. Here those above nothing are taken as gamma
    distributed, a share p of all, with shape :math:`a = 1` (exponential), or more where three or more vary less than
    that for sure; k of r groups lose something, S together. The interval is
    that of generalised pivots (Krishnamoorthy & Wang, Stat. Methods Med. Res. 2016, there for log-normal numbers):
    quantiles of :math:`p \, S a / G` with :math:`p \sim \mathrm{Beta}(k + 1/2, r - k + 1/2)` and
    :math:`G \sim \mathrm{Gamma}(k a)`.

    Args:
        values: (r,) of each run, none below 0 but for rounding; NaN where a run has none.
        groups: (r,) as above.

    Returns:
        The mean; without an interval where there are fewer than three groups, or where none loses anything: that a few
        runs lose nothing doesn't say that none does.
    """
    means = np.maximum(_known_means(values, groups), 0.0)
    value = float(means.mean()) if means.size else np.nan
    lost = means[means > 1e-12 * means.max(initial=0.0)]
    if len(means) < FEWEST_UNITS or not lost.size:
        return Interval(value, np.nan, np.nan, len(means), False)
    low, high = _pivot_quantiles(len(lost), len(means), _shape_step(lost))
    total = float(means.sum())
    return Interval(value, min(low * total, value), max(high * total, value), len(means), True)


def _shape_step(lost: Floats) -> int:
    """The logarithm of the shape in steps of a quarter, rounded down: 0 for an exponential."""
    degrees = len(lost) - 1
    if degrees < 2:
        return 0
    variation = float(lost.std(ddof=1) / lost.mean() * np.sqrt(degrees / stats.chi2.ppf(1.0 - _SURE, degrees)))
    return int(-8.0 * np.log(np.clip(variation, 0.01, 1.0)))


@cache
def _pivot_quantiles(losing: int, of: int, shape_step: int) -> tuple[float, float]:
    """Both ends for losses that sum to one."""
    shape = float(np.exp(shape_step / 4.0))
    shares = stats.beta.ppf((np.arange(_POINTS) + 0.5) / _POINTS, losing + 0.5, of - losing + 0.5)

    def below(log_mean: float, share: float) -> float:
        """How much of the distribution lies below a mean, more than a share."""
        return float(stats.gamma.sf(shares * shape / np.exp(log_mean), losing * shape).mean()) - share

    ends = [optimize.brentq(below, -20.0, 20.0, args=(0.5 + sign * LEVEL / 2.0,)) for sign in (-1.0, 1.0)]
    return float(np.exp(ends[0])), float(np.exp(ends[1]))


def _known_means(values: npt.ArrayLike, groups: Sequence[Hashable]) -> Floats:
    found = np.asarray(values, np.float64)
    known = np.isfinite(found)
    names = [group for group, there in zip(groups, known, strict=True) if there]
    return _within_groups(found[known], names) if names else np.empty(0)


def _within_groups(values: Floats, groups: Sequence[Hashable], *, of_means: bool = False) -> Floats:
    """Means of each group, or the variances of its mean."""
    found = []
    for group in dict.fromkeys(groups):
        ours = np.array([value for value, one in zip(values, groups, strict=True) if one == group])
        found.append(ours.mean() / (len(ours) if of_means else 1))
    return np.array(found)


def _student(values: Floats) -> float:
    return float(_quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


@cache
def _quantile(degrees: int) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2.0, degrees))
