"""What one reading says, and the conditions under which it may be compared with another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rankwatch.readings.protocol import Level, Protocol


@dataclass(frozen=True)
class Reading:
    """What was measured for one (step, source, level, layer).

    Attributes:
        step: Optimiser steps taken when the reading was made.
        source: Name of the evaluation set, or ``"train"``.
        level: ``"frame"``, ``"utterance"`` or ``"codebook"``; see `codebook_usage.read_usage`.
        layer: The layer's path in the model, without wrappers' parts.
        effective_rank: Corrected, centred estimate; NaN where `status` says that there is none.
        effective_rank_low: Lower end of the 90 % interval; None where no honest one is known.
        effective_rank_high: Upper end, likewise.
        rankme: The paper's plain, uncentred value of the rows at hand; None where rows were projected.
        metrics: Further values from the same rows, by name.
        status: What stands against the number, as flags of `rankwatch.numerics.rank.status_flags` (a quantizer's:
            of `rankwatch.readings.codebook_usage`); empty when nothing does.
        n: Rows used.
        d: Width of the layer.
        k: Columns after projection, or None.
        protocol: The conditions of the measurement.
        spectrum: Corrected singular values relative to the largest, at 64 positions spaced geometrically
            from 1 to d; for pictures, empty where there is none.
    """

    step: int
    source: str
    level: Level
    layer: str
    effective_rank: float
    effective_rank_low: float | None
    effective_rank_high: float | None
    rankme: float | None
    metrics: Mapping[str, float]
    status: frozenset[str]
    n: int
    d: int
    k: int | None
    protocol: Protocol
    spectrum: tuple[float, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a number at all (flags of `status` may still stand against it)."""
        return math.isfinite(self.effective_rank)

    def to_dict(self) -> dict[str, Any]:
        """One JSON record; the protocol by its id."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**record, "metrics": dict(self.metrics), "status": sorted(self.status), "protocol": self.protocol.id}


Key = tuple[str, str, str]
"""(source, level, layer)."""


def key_of(reading: Reading) -> Key:
    """The curve that a reading belongs to."""
    return reading.source, reading.level, reading.layer
