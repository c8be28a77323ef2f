r"""How sure a share of right answers is, also where all or none of them are right.

A jackknife over utterances sees no variation where every answer is right, and would call the share exact. A share of
so many independent answers behaves like a binomial one: with :math:`\hat\sigma` the jackknife's standard error,
:math:`m = p (1 - p) / \hat\sigma^2` independent answers would vary as much, and where nothing varies an utterance
counts as one answer, or as less where utterances hold unequal numbers of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import FEWEST
from rankwatch.numerics.similarity.similarity_result import QUANTILE, jackknife_error


def effective_answers(value: float, error: float, units: float, rows: float) -> float:
    """Independent answers that would vary as much as these.

    Args:
        value: The share of right ones, in [0, 1].
        error: The jackknife's standard error.
        units: Independent utterances or speakers: what an answer is worth where nothing varies.
        rows: All answers: there are no more independent ones.

    Returns:
        Their number, at least 1.

    Example:
        >>> round(effective_answers(0.9, 0.03, 50, 200))
        100
        >>> effective_answers(1.0, 0.0, 50, 200)
        50
    """
    varies = value * (1.0 - value)
    found = varies / error**2 if error > 0.0 and varies > 0.0 else units
    return max(min(found, rows), 1.0)


def equal_units(rows: Sequence[float] | NDArray[np.float64]) -> float:
    """Units of equal size that are worth as much as units of these (Kish, Survey Sampling, 1965).

    Args:
        rows: Rows of each, not negative and not all of them zero.

    Returns:
        The square of their sum over the sum of their squares.
    """
    sizes = np.asarray(rows, dtype=np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def wilson(value: float, answers: float) -> tuple[float, float]:
    r"""90 % interval of a share of so many independent answers (Wilson, JASA 1927).

    .. math:: \frac{p + z^2/2m \pm z \sqrt{p (1 - p)/m + z^2/4m^2}}{1 + z^2/m}

    Args:
        value: The share p.
        answers: Independent answers m.

    Returns:
        Its ends, within [0, 1]; never of no width.

    Example:
        >>> [round(end, 3) for end in wilson(1.0, 50)]
        [0.949, 1.0]
    """
    z2 = QUANTILE**2 / answers
    middle = value + z2 / 2.0
    half = QUANTILE * math.sqrt(value * (1.0 - value) / answers + z2 / (4.0 * answers))
    return max(0.0, (middle - half) / (1.0 + z2)), min(1.0, (middle + half) / (1.0 + z2))


def share_interval(
    value: float, changes: Sequence[float], units: float, rows: float
) -> tuple[float | None, float | None]:
    """90 % interval of a share, for as many independent answers as what each unit changes implies.

    Args:
        value: The share of right ones, in [0, 1].
        changes: How the share changes without each unit.
        units: Units of equal size that these are worth, of `equal_units`.
        rows: All answers.

    Returns:
        Its ends; None where fewer than `FEWEST` units have rows.
    """
    if len(changes) < FEWEST:
        return None, None
    return wilson(value, effective_answers(value, jackknife_error(changes), units, rows))


def least_error(units: float) -> float:
    """Standard error that a share, or the paired difference of two, has at least.

    One half of an answer is added to each of the two ways in which the two may differ, so that a difference of none is
    not exact (Agresti and Min, Statistics in Medicine 2005).

    Args:
        units: Independent utterances or speakers.

    Returns:
        1 / (units + 2).
    """
    return 1.0 / (units + 2.0)
