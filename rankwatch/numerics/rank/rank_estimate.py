"""What an estimate of the effective rank says, beside the number itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankwatch.numerics.rank.spectrum import Spectrum


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
            float16; in wider types told from the rows' bits) and were left out; 0 for float32.
        status: What stands against the number, as flags of `rankwatch.numerics.rank.status_flags`; empty when
            nothing does. Rows and groups of unequal weight count as (sum w)^2 / sum w^2.
        spectrum: The corrected spectrum, in squared units of the rows.
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
