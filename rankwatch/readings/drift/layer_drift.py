"""How far a layer has moved since another reading: plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PREVIOUS: Final = "previous"
"""Since the full reading before."""

FIRST: Final = "first"
"""Since the first full reading after the warm-up."""

_IMPRECISE: Final = "imprecise"  # as in rankwatch.numerics.similarity, which loads torch; pages of readings need none


def is_trusted(status: Iterable[str]) -> bool:
    """Whether nothing stands against a value but the width of its interval, which is shown beside it."""
    return not set(status) - {_IMPRECISE}


@dataclass(frozen=True)
class LayerDrift:
    r"""One minus the similarity of a layer's rows to the same rows at another reading.

    .. math:: \text{drift} = 1 - \frac{R_{xy}}{\sqrt{R_{xx} R_{yy}}}

    with the similarity of `rankwatch.similarity` at kappa = 0.1 of at most 48 random columns of the layer: 0 where it
    hasn't moved, 1 where nothing of what it said is left. The same utterances, frames and columns stand on both sides.

    Attributes:
        since: ``"previous"`` or ``"first"``: which reading it is compared with.
        step: Optimiser step of that reading.
        value: The drift; an estimate of the population's, so it may lie slightly below 0. NaN where there is none.
        low: Lower end of the 90 % interval; None where it isn't known.
        high: Upper end, likewise.
        status: What stands against the value, as the flags of `rankwatch.Similarity`; empty where nothing does.
    """

    since: str
    step: int
    value: float
    low: float | None
    high: float | None
    status: frozenset[str] = frozenset()

    @property
    def metric(self) -> str:
        """Its name among metrics: ``"drift_previous"`` or ``"drift_first"``."""
        return f"drift_{self.since}"

    @property
    def trusted(self) -> bool:
        """Whether there is a value, and nothing stands against it but the width of its interval."""
        return math.isfinite(self.value) and is_trusted(self.status)
