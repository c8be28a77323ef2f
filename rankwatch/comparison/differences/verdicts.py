"""What an interval of a ratio says: larger, smaller, alike or not known, next to a smallest difference that matters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

CONFIDENCE = 0.95
"""With which all claims of one comparison hold together."""

SEEDS: Mapping[str, float] = {"frame": 0.11, "utterance": 0.15}
"""By level, the relative difference that 95 of 100 layers of healthy runs stay below that differ in their seed only.

Measured on five methods with eight seeds, 112 pairs of layers each: that of HuBERT, whose seeds differ most (0.106 and
0.153), since yours is none of them; over all methods it is 0.076 and 0.120. See docs/pages/compare.md."""

HIGHER, LOWER, ALIKE, UNKNOWN = "higher", "lower", "alike", "not known"

_NINETY_FIVE = float(ndtri(0.975) / ndtri(0.95))

AtLeast = float | Mapping[str, float]
"""The smallest relative difference that matters: one number, or one for each level."""


def smallest(at_least: AtLeast | None, level: str) -> float:
    """The smallest difference that matters at a level, as a difference of logarithms.

    Args:
        at_least: Relative, for example 0.1 for 10 %; `SEEDS` if None.
        level: ``"frame"`` or ``"utterance"``.

    Returns:
        ln(1 + at_least).
    """
    known = SEEDS if at_least is None else at_least
    return math.log1p(known.get(level, max(known.values())) if isinstance(known, Mapping) else known)


def exceeds(size: Any, half: Any, wide: Any, margin: float, given: bool) -> Any:
    """Whether differences are larger than what doesn't matter.

    A margin that was given is exceeded where all of the interval lies beyond it. What seeds do is no fixed margin but a
    spread, and independent of the error that the choice of utterances makes: runs that differ in their seed alone are
    at most ``hypot(margin, error)`` apart in 95 of 100 layers. More than that counts, where the interval leaves out 0.

    Args:
        size: ln(R_a / R_b), turned so that it is positive where the difference is in the direction that is asked about.
        half: Half of its own 90 % interval.
        wide: Half of the interval that holds together with all others.
        margin: The smallest difference that matters, or what seeds do, as a logarithm.
        given: Whether it was given.

    Returns:
        Whether, for numbers or arrays; False where anything isn't known.

    Example:
        >>> bool(exceeds(0.12, 0.03, 0.05, 0.08, given=False)), bool(exceeds(0.12, 0.03, 0.05, 0.08, given=True))
        (True, False)
    """
    if given:
        return size - wide > margin
    return (size > np.hypot(margin, half * _NINETY_FIVE)) & (size > wide)


def verdict(log_ratio: float, half: float, wide: float, margin: float, given: bool) -> str:
    """What an interval of ln(R_a / R_b) says; the arguments are those of `exceeds`.

    Args:
        log_ratio: Its middle.
        half: Half of the own 90 % interval; NaN where it isn't known.
        wide: Half of the simultaneous one, likewise.
        margin: The smallest difference that matters.
        given: Whether it was given.

    Returns:
        `HIGHER` or `LOWER` where the difference exceeds the margin, `ALIKE` where all of the simultaneous interval lies
        within it, else `UNKNOWN`.

    Example:
        >>> [verdict(size, 0.01, 0.02, 0.08, True) for size in (0.3, 0.01, 0.07)]
        ['higher', 'alike', 'not known']
    """
    if exceeds(log_ratio, half, wide, margin, given):
        return HIGHER
    if exceeds(-log_ratio, half, wide, margin, given):
        return LOWER
    return ALIKE if abs(log_ratio) + wide <= margin else UNKNOWN


def confidence_of_each(comparisons: int) -> float:
    """Confidence of each of several intervals that all hold together with `CONFIDENCE` (Bonferroni)."""
    return 1.0 - (1.0 - CONFIDENCE) / max(comparisons, 1)


def widened(comparisons: int) -> float:
    """By how much half of a 90 % interval of a normal error is to be widened for `confidence_of_each`."""
    return float(ndtri(0.5 + 0.5 * confidence_of_each(comparisons)) / ndtri(0.95))
