"""What one reading says, and the conditions under which it may be compared with another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rankwatch.readings.drift.layer_drift import LayerDrift
from rankwatch.readings.protocol import Level, Protocol

Key = tuple[str, str, str]
"""A curve: (source, level, layer), or (source, "codebook", quantizer)."""

ACCURACY, MAJORITY, CHANCE = "probe_accuracy", "probe_majority_accuracy", "probe_chance_accuracy"
LABELLED = "probe_rows"
"""Names among `Reading.metrics` where the set has labels: see `rankwatch.readings.probe_accuracy`."""


@dataclass(frozen=True)
class Reading:
    """What was measured for one (step, source, level, layer).

    Attributes:
        step: Optimiser steps taken when the reading was made.
        source: Name of the evaluation set, or ``"train"``.
        level: ``"frame"`` or ``"utterance"``.
        layer: The layer's path in the model, without wrappers' parts.
        effective_rank: Corrected, centred estimate; NaN where `status` says that there is none.
        effective_rank_low: Lower end of the 90 % interval; None where no honest one is known.
        effective_rank_high: Upper end, likewise.
        rankme: The paper's plain, uncentred value of the rows at hand; None where rows were projected.
        metrics: Further values from the same rows, by name.
        status: What stands against the number, as flags of `rankwatch.numerics.rank.rank_estimate`; empty when
            nothing does.
        n: Rows used.
        d: Width of the layer.
        k: Columns after projection, or None.
        protocol: The conditions of the measurement.
        spectrum: Corrected singular values relative to the largest, at 64 positions spaced geometrically
            from 1 to d; for pictures, empty where there is none.
        utterances: Utterances that the rows come from.
        brief: Whether it is a brief reading, of the set's first utterances only.
        link: What the rank and its interval were multiplied by, in a brief reading: see `BriefLinks`.
        drift: How far the layer has moved since the full reading before, and since the first one after the warm-up;
            of the primary set's full readings, where that is watched and there is something to compare with.
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
    utterances: int = 0
    brief: bool = False
    link: float = 1.0
    drift: tuple[LayerDrift, ...] = ()

    @property
    def key(self) -> Key:
        """The curve that the reading belongs to."""
        return self.source, self.level, self.layer

    @property
    def value(self) -> float:
        """The number that the curve shows: the effective rank."""
        return self.effective_rank

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """Everything that was measured, by name: `effective_rank`, `rankme`, all `metrics`, and drift to be trusted."""
        drift = {one.metric: one.value for one in self.drift if one.trusted}
        return {"effective_rank": self.effective_rank, "rankme": self.rankme, **self.metrics, **drift}

    def drift_since(self, since: str) -> LayerDrift | None:
        """The drift since the ``"previous"`` or the ``"first"`` reading; None where there is none to be trusted."""
        return next((one for one in self.drift if one.since == since and one.trusted), None)

    @property
    def ok(self) -> bool:
        """Whether there is a number at all (flags of `status` may still stand against it)."""
        return math.isfinite(self.effective_rank)
