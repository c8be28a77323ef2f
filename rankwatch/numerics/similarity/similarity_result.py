"""What a similarity says besides the number itself, and the flags that may stand against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.similarity.matched_rows import Matched, Utterances

QUANTILE: Final = 1.6448536269514722
"""Half width of a 90 % interval in standard deviations."""

TOO_FEW_ROWS: Final = "too_few_rows"
"""So few rows or utterances that the asked resolution is hardly reached: the correction is then itself uncertain."""

TOO_FEW_GROUPS: Final = "too_few_groups"
"""Fewer than 16 utterances: they can't be told apart from chance, and there is no interval."""

DEPENDENT_ROWS: Final = "dependent_rows"
"""As many directions belong to whole utterances as there are utterances, or nearly: what is common to an utterance
can't be resolved at the asked resolution, however many rows each has."""

UNEVEN_UTTERANCES: Final = "uneven_utterances"
"""Single utterances have directions of their own that carry much of the variance (as in randomly initialised encoders):
the correction, right for the mean utterance, isn't for these, and neither is the interval."""

NON_FINITE_ROWS: Final = "non_finite_rows"
"""Rows with NaN or Inf in either representation were left out of both."""

CONSTANT: Final = "constant"
"""One of the two doesn't vary; the similarity is NaN."""

IMPRECISE: Final = "imprecise"
"""The 90 % interval reaches further than 0.01 to either side (or isn't known)."""

ROUNDED: Final = "rounded"
"""The resolution lies below four times the rounding of the number format (bfloat16, float16): the directions that it
reaches hold rounding as well."""

WIDE: Final = 0.01
"""Half width of an interval beyond which a value is imprecise."""

FEW_GROUPS: Final = 16
"""Utterances that an interval needs."""


@dataclass(frozen=True)
class Similarity:
    """A similarity of two representations, and what it rests on.

    Attributes:
        value: Estimate of the population's value; not clipped, so it may be slightly below 0 where nothing is shared.
            NaN where there is none.
        low: Lower end of the 90 % interval; None where no honest one is known.
        high: Upper end, likewise.
        plain: The same measure of the sample as it is, as it is usually published: inflated by the number of rows.
        n: Rows used.
        utterances: Utterances that they come from (rows without a group count as one each).
        df: Degrees of freedom of the two representations at this resolution: directions that take part.
        n_eff: Independent rows that they are worth, the smaller of the two.
        kappa: Resolution, in units of the mean eigenvalue: directions with much less variance take no part. Infinite
            where the largest directions alone count (CKA, Procrustes); NaN where it has no meaning.
        status: What stands against the number, as the flags of this module; empty where nothing does.
        p_value: Share of permutations of the utterances that gave as large a value; None where none were asked for.
        without: The value without each utterance minus the value, to first order, by the utterance's name: what paired
            differences are made of (`similarity_difference`); empty where rows have no groups or it isn't known.
    """

    value: float
    low: float | None
    high: float | None
    plain: float
    n: int
    utterances: int
    df: tuple[float, float]
    n_eff: float
    kappa: float
    status: frozenset[str]
    p_value: float | None = None
    without: Mapping[Any, float] = field(default_factory=dict, repr=False, compare=False)


def undefined(matched: Matched, status: set[str], kappa: float) -> Similarity:
    """The answer where there is none."""
    nan, count = math.nan, len(matched.utterances.sizes)
    return Similarity(nan, None, None, nan, matched.n, count, (nan, nan), nan, kappa, frozenset(status))


def interval(value: float, error: float, utterances: int) -> tuple[float | None, float | None]:
    """The 90 % interval of a value with a standard error, or (None, None) where it isn't known."""
    if utterances < FEW_GROUPS or not math.isfinite(error) or math.isnan(value):
        return None, None
    return value - QUANTILE * error, value + QUANTILE * error


def jackknife_error(changes: Sequence[float] | NDArray[np.float64]) -> float:
    r"""The jackknife's standard error of a value that changes by so much without each of g utterances.

    .. math:: \sqrt{\tfrac{g - 1}{g} \sum_i (c_i - \bar c)^2}

    Args:
        changes: (g,) the value without each utterance minus the value.

    Returns:
        The error (Efron and Stein, Ann. Statist. 1981); it errs to the wide side.
    """
    g, parts = len(changes), np.asarray(changes, dtype=np.float64)
    return math.sqrt((g - 1) / g * float(np.square(parts - parts.mean()).sum()))


def precision(low: float | None, high: float | None) -> set[str]:
    """`IMPRECISE` where the interval is wide or unknown."""
    return {IMPRECISE} if low is None or high is None or high - low > 2.0 * WIDE else set()


def by_name(utterances: Utterances, changes: torch.Tensor | None) -> dict[Any, float]:
    """Changes (g,) of a value without each utterance by the utterances' names; empty where there are none."""
    if utterances.names is None or changes is None:
        return {}
    return dict(zip(utterances.names.tolist(), changes.tolist(), strict=True))
