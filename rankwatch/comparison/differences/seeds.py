r"""Groups of runs that differ in their seed: what holds for runs of other seeds, too.

For the logarithms of the effective ranks :math:`x_1..x_m` and :math:`y_1..y_n` of two groups, with the variance within
both groups pooled and drawn towards what seeds have done elsewhere (an empirical Bayes estimate: Smyth, Stat. Appl.
Genet. Mol. Biol. 2004, eq. 5),

.. math:: \bar x - \bar y \pm \sqrt{t_{\nu + \nu_0}^2 \tilde s^2 \left(\tfrac1m + \tfrac1n\right) + h^2}, \qquad
          \tilde s^2 = \frac{\nu s^2 + \nu_0 s_0^2}{\nu + \nu_0}, \quad \nu = m + n - 2

where h is half of the interval that the choice of utterances gives. It is that of a single pair, since all runs are
measured on the same utterances and more runs don't make it smaller: an upper bound.

Where each seed was run in both groups, what it does in both cancels: with :math:`d_i = x_i - y_i` of m seeds and their
variance :math:`s_d^2`,

.. math:: \bar d \pm \sqrt{t_{m - 1 + \nu_0}^2 \tilde s_d^2 / m + h^2}, \qquad
          \tilde s_d^2 = \frac{(m - 1) s_d^2 + \nu_0 s_{d,0}^2}{m - 1 + \nu_0}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

PRIOR: Mapping[str, tuple[float, float]] = {"frame": (0.025, 4.0), "utterance": (0.043, 8.0)}
"""By level, the standard deviation of ln(effective rank) between seeds, and how many degrees of freedom it is worth.

The root mean square over 20 layers at each level, of five methods with eight seeds. How unequal the variances are
fits 6 and 27 degrees of freedom; fewer are counted, since other recipes are less like these than these are like one
another. See docs/pages/compare.md."""


SAME_SEED_PRIOR: Mapping[str, tuple[float, float]] = {"frame": (0.025, 4.0), "utterance": (0.042, 8.0)}
"""By level, the standard deviation of the difference of ln(effective rank) between two recipes over runs of one seed.

The root mean square over five methods with four seeds each at another learning rate, warm-up or batch size (0.016 to
0.034, 0.034 to 0.056); seeds correlate between recipes by 0.1 (wav2vec 2.0) to 0.8 (HuBERT), 0.5 in the mean. How
unequal the variances are fits 10 and 15 degrees of freedom; fewer are counted, as in `PRIOR`."""


Prior = tuple[float, float]
"""A standard deviation that is known from elsewhere, and how many degrees of freedom it is worth."""


def prior_at(level: str, *, same_seeds: bool) -> Prior:
    """What seeds have done elsewhere to ln(effective rank) at a level; the larger one for a level that isn't known."""
    known = SAME_SEED_PRIOR if same_seeds else PRIOR
    return known.get(level, max(known.values()))


def group_interval(
    one: Sequence[float], other: Sequence[float], half: float, prior: Prior, confidence: float
) -> tuple[float, float]:
    """How far two groups of runs are apart, for seeds that weren't run as well.

    Args:
        one: ln(effective rank) of each run of the first group, or another logarithm.
        other: Of the second; three runs in all at least.
        half: Half of the interval that the choice of utterances gives, at the same confidence.
        prior: What seeds have done elsewhere: see `prior_at`.
        confidence: Of the interval.

    Returns:
        The difference of the groups' means and half of its interval; NaN where any is, or there are too few runs.

    Example:
        >>> middle, half = group_interval([4.0, 4.02, 3.99], [3.8, 3.82], 0.01, PRIOR["frame"], 0.95)
        >>> round(middle, 3), half < 0.1
        (0.193, True)
    """
    x, y = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    freedom = x.size + y.size - 2
    if freedom < 1 or not min(x.size, y.size):
        return math.nan, math.nan
    usual, worth = prior
    squares = float(np.square(x - x.mean()).sum() + np.square(y - y.mean()).sum())
    variance = (squares + worth * usual**2) / (freedom + worth)
    quantile = float(stdtrit(freedom + worth, 0.5 + 0.5 * confidence))
    spread = quantile * math.sqrt(variance * (1.0 / x.size + 1.0 / y.size))
    return float(x.mean() - y.mean()), math.hypot(spread, half)


def same_seed_interval(
    one: Sequence[float], other: Sequence[float], half: float, prior: Prior, confidence: float
) -> tuple[float, float]:
    """How far two groups of runs are apart in which each seed was run once, for seeds that weren't run as well.

    Args:
        one: ln(effective rank) of each run of the first group, or another logarithm.
        other: Of the second, in the same order of seeds; two seeds at least.
        half: Half of the interval that the choice of utterances gives, at the same confidence.
        prior: What seeds have done elsewhere: see `prior_at`.
        confidence: Of the interval.

    Returns:
        The mean of the seeds' differences and half of its interval; NaN where any is, or there are too few runs.

    Example:
        >>> seeds = [0.0, 0.1, -0.1]
        >>> one, other = [4.0 + s for s in seeds], [3.9 + 1.1 * s for s in seeds]
        >>> middle, half = same_seed_interval(one, other, 0.01, SAME_SEED_PRIOR["frame"], 0.95)
        >>> round(middle, 2), half < 0.5 * group_interval(one, other, 0.01, PRIOR["frame"], 0.95)[1]
        (0.1, True)
    """
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    freedom = differences.size - 1
    if freedom < 1:
        return math.nan, math.nan
    usual, worth = prior
    squares = float(np.square(differences - differences.mean()).sum())
    variance = (squares + worth * usual**2) / (freedom + worth)
    quantile = float(stdtrit(freedom + worth, 0.5 + 0.5 * confidence))
    return float(differences.mean()), math.hypot(quantile * math.sqrt(variance / differences.size), half)
