"""What an estimate of the effective rank says besides the number itself, and the flags that may stand against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rankwatch.numerics.rank.confidence_interval import SamplingError
from rankwatch.numerics.rank.spectrum import Spectrum

TOO_FEW_ROWS: Final = "too_few_rows"
"""Fewer than 32 rows or fewer than d / 8: no correction can be trusted. NaN below three rows (uncentred: two)."""

TOO_FEW_GROUPS: Final = "too_few_groups"
"""Fewer than 16 utterances: how far rows of one utterance depend on each other can't be estimated, so rows count as
independent and there is no interval."""

DEPENDENT_ROWS: Final = "dependent_rows"
"""Rows of an utterance are alike: they are worth less than 3/4 of their number, and come from fewer than 96 utterances,
so the correction for it is itself uncertain."""

NON_FINITE_ROWS: Final = "non_finite_rows"
"""Rows with NaN or Inf were left out."""

CONSTANT: Final = "constant"
"""All rows are one vector, up to rounding; the effective rank is 1."""

PROJECTED_TOO_FAR: Final = "projected_too_far"
"""Projected to k < d / 3 columns with more rows than k: the answer rests on the assumed smoothness of the spectrum."""

ROUNDED: Final = "rounded"
"""The rounding of the number format (bfloat16, float16) would have added more than 1 %; it was taken out."""

NO_FIT: Final = "no_fit"
"""No spectrum explains the rows; the effective rank is NaN."""


@dataclass(frozen=True)
class RankEstimate:
    """An effective rank, and what it rests on.

    Attributes:
        value: Corrected effective rank of the population, in [1, d]; NaN where there is none.
        low: Lower end of the 90 % interval (see `interval`); None where no honest one is known.
        high: Upper end, likewise.
        plain: Uncorrected value of the rows kept (centred if the estimate is).
        rankme: The paper's uncentred value of the rows at hand; None where they were projected or weighted.
        n: Rows used.
        d: Columns before any projection.
        k: Columns after it, or None.
        n_eff: Independent rows that they are worth.
        noise_floor: Singular values below this share of the largest are rounding of a narrow number format (bfloat16,
            float16; in wider types seen from the rows' bits) and were left out; 0 for float32.
        status: What stands against the number, as the flags above; empty when nothing does. Rows and groups of unequal
            weight count as (sum w)^2 / sum w^2.
        spectrum: The corrected spectrum, in squared units of the rows.
        error: What the interval is made of; None where there is none.
        utterances: Key or name of each utterance that `error` speaks of, in its order; empty where rows had none.
            With the same utterances two estimates can be compared: see `rank_ratio`.
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
    status: frozenset[str]
    spectrum: Spectrum = field(repr=False, compare=False)  # arrays have no one truth value
    error: SamplingError | None = field(default=None, repr=False, compare=False)
    utterances: tuple[int | str, ...] = field(default=(), repr=False, compare=False)
