"""What may stand against a number: the flags of `RankEstimate.status` and `Reading.status`, each with its meaning."""

from __future__ import annotations

from typing import Final

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
