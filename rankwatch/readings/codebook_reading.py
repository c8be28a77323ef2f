"""What one reading says about a quantizer: how evenly it uses its codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rankwatch.readings.protocol import CODEBOOK, Protocol
from rankwatch.readings.reading import Key, Reading

NON_FINITE: Final = "non_finite"
"""Flag of `CodebookReading.status`: the quantizer gave NaN or Inf for its perplexity."""

TOO_FEW_ASSIGNMENTS: Final = "too_few_assignments"
"""Flag of `CodebookReading.status`: fewer than five assignments for each code, so the perplexity reads too low."""


@dataclass(frozen=True)
class CodebookReading:
    r"""How one quantizer has used its codes in the training batches before a reading.

    The perplexity is the exponential of the entropy of the usage, :math:`\exp(-\sum_i p_i \ln p_i)` with :math:`p_i`
    the share of assignments that went to code i, and the mean over the groups of a product quantizer. It lies between 1
    (a single code) and `n_codes` (all codes alike).

    Where the model predicts codes, the perplexity of its predictions is that of the mean over frames of the predicted
    distributions, as DinoSR and SpidR log it (``pred_ppl`` beside ``target_ppl``): where it falls while that of the
    targets holds, the predictions collapse to few codes.

    Attributes:
        step: Optimiser steps taken when the reading was made.
        source: ``"train"``: codes are counted in the training pass.
        quantizer: The quantizer's path in the model.
        perplexity: See above; NaN where `status` says that there is none.
        n_codes: Codes in each group, V; 0 where that isn't known.
        n_assignments: Assignments that were counted, over all groups; 0 where the quantizer exposes only a perplexity.
        active_code_fraction: Share of the codes that were used at least once, in [0, 1]; NaN where it isn't known.
        normalized_perplexity: `perplexity` / `n_codes`, in [0, 1]; NaN where `n_codes` isn't known.
        status: What stands against the number: `NON_FINITE`, `TOO_FEW_ASSIGNMENTS`, or empty.
        protocol: The conditions of the measurement.
        active_codes: Number of codes that were used at least once, the mean over groups; NaN where it isn't known.
        prediction_perplexity: Perplexity of the model's predictions of these codes; None where nothing predicts
            them.
    """

    step: int
    source: str
    quantizer: str
    perplexity: float
    n_codes: int
    n_assignments: int
    active_code_fraction: float
    normalized_perplexity: float
    status: frozenset[str]
    protocol: Protocol
    active_codes: float = math.nan
    prediction_perplexity: float | None = None

    @property
    def key(self) -> Key:
        """The curve that the reading belongs to."""
        return self.source, CODEBOOK, self.quantizer

    @property
    def value(self) -> float:
        """The number that the curve shows: the perplexity."""
        return self.perplexity

    @property
    def metrics(self) -> Mapping[str, float]:
        """Further numbers, by name."""
        predicted = {} if self.prediction_perplexity is None else {"prediction_perplexity": self.prediction_perplexity}
        return {
            "active_code_fraction": self.active_code_fraction,
            "normalized_perplexity": self.normalized_perplexity,
            "active_codes": self.active_codes,
            **predicted,
        }

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """Everything that was measured, by name: `perplexity` and all `metrics`."""
        return {"perplexity": self.perplexity, **self.metrics}

    @property
    def ok(self) -> bool:
        """Whether there is a number at all (flags of `status` may still stand against it)."""
        return math.isfinite(self.perplexity)


AnyReading = Reading | CodebookReading
"""A layer's reading or a quantizer's: both have `step`, `source`, `key`, `value`, `metrics`, `numbers`, `status`,
`protocol` and `ok`."""
