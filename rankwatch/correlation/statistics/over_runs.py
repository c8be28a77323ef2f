"""From what each run says to what runs say together; runs are the independent units."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from rankwatch.correlation.statistics.coefficients import LEVEL, fisher_interval, to_z

Floats = npt.NDArray[np.float64]

FEWEST_UNITS = 3
"""Runs (or groups of runs) from which on an interval speaks of runs like these, and not of these runs alone."""


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


def mean_over_runs(values: npt.ArrayLike, groups: Sequence[Hashable], lowest: float = -np.inf) -> Interval:
    """The mean of a number over runs with Student's interval over groups.

    Args:
        values: (r,) of each run; NaN where a run has none.
        groups: (r,) as above.
        lowest: What the number can't be below.

    Returns:
        The mean; without an interval where there are fewer than three groups, or where all are alike: that a few runs
        lose nothing doesn't say that none does.
    """
    found = np.asarray(values, np.float64)
    known = np.isfinite(found)
    names = [group for group, there in zip(groups, known, strict=True) if there]
    if not names:
        return Interval(np.nan, np.nan, np.nan, 0, False)
    means = _within_groups(found[known], names)
    value = float(means.mean())
    if len(means) < FEWEST_UNITS or np.ptp(means) <= 1e-12 * np.abs(means).max():
        return Interval(value, np.nan, np.nan, len(means), False)
    width = _student(means)
    return Interval(value, max(value - width, lowest), value + width, len(means), True)


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
