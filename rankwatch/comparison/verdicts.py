"""What an interval of a ratio says: larger, smaller, alike or not known, next to a smallest difference that matters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scipy.special import ndtri

CONFIDENCE = 0.95
"""With which all claims of one comparison hold together."""

SEEDS: Mapping[str, float] = {"frame": 0.08, "utterance": 0.12}
"""By level, the relative difference that 95 of 100 layers of healthy runs stay below that differ in their seed alone.

Measured on 560 pairs of layers at each level, of five methods with eight seeds (0.076, 0.120; `tests/benchmarks/zoo`);
on the part of the zoo of encoders that may be chosen on it is less (0.035 and 0.085). See docs/pages/compare.md."""

HIGHER, LOWER, ALIKE, UNKNOWN = "higher", "lower", "alike", "not known"

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


def verdict(log_ratio: float, half: float, margin: float, beyond: float | None = None) -> str:
    """What an interval of ln(R_a / R_b) says.

    Args:
        log_ratio: Its middle.
        half: Half of its width; NaN where it isn't known.
        margin: The smallest difference that matters, likewise as a logarithm.
        beyond: What a difference must exceed to be called one, where that is less; `margin` by default.

    Returns:
        `HIGHER` or `LOWER` where all of the interval lies beyond, `ALIKE` where all of it lies within, else
        `UNKNOWN`.

    Example:
        >>> verdict(0.3, 0.1, 0.08), verdict(0.01, 0.02, 0.08), verdict(0.1, 0.1, 0.08)
        ('higher', 'alike', 'not known')
    """
    if not math.isfinite(log_ratio) or not math.isfinite(half):
        return UNKNOWN
    least = margin if beyond is None else beyond
    if log_ratio - half > least:
        return HIGHER
    if log_ratio + half < -least:
        return LOWER
    return ALIKE if abs(log_ratio) + half <= margin else UNKNOWN


def confidence_of_each(comparisons: int) -> float:
    """Confidence of each of several intervals that all hold together with `CONFIDENCE` (Bonferroni)."""
    return 1.0 - (1.0 - CONFIDENCE) / max(comparisons, 1)


def widened(comparisons: int) -> float:
    """By how much half of a 90 % interval of a normal error is to be widened for `confidence_of_each`."""
    return float(ndtri(0.5 + 0.5 * confidence_of_each(comparisons)) / ndtri(0.95))
