"""Runs in which nothing is learnt, which the rank alone can't tell: layers that stand still, one batch for ever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankwatch.alarms.detectors.base import Finding, StepContext
from rankwatch.alarms.history import Series
from rankwatch.readings.reading import Reading


@dataclass(frozen=True)
class RepeatedBatch:
    """Successive training batches hold the same samples to the last bit.

    While a network memorises one batch its loss falls, and its effective rank on other recordings may rise, hold or
    fall: neither tells. The samples do. Never more than a warning, as it may be meant (a trial on one batch).

    Attributes:
        patience: Readings in a row before it is an alarm.
    """

    kind: str = "repeated_batch"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at what was seen of the batches, and say it of all layers of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or not context.repeated_batches:
            return None
        return Finding("successive training batches hold the same samples", 1.0, can_be_critical=False)


@dataclass(frozen=True)
class FrozenRepresentation:
    """No layer changes any more though the learning rate is high: there is nothing left that gives a gradient.

    So it is where one constant answer meets every target (one cluster for all, a loss that is zero): the representation
    stays what it was at random, with a high rank. Never more than a warning.

    Attributes:
        readings: How many are looked at.
        within: Range of the effective rank over these, relative to it, that counts as no change.
        rate: Learning rate, relative to its highest so far, from which on layers should change.
        patience: Readings in a row before it is an alarm.
    """

    readings: int = 8
    within: float = 1e-3
    rate: float = 0.2
    kind: str = "frozen_representation"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the newest readings, of all layers of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or not context.learning_rate >= self.rate:
            return None
        curves = [key for key in context.readings if key[:2] == (reading.source, reading.level)]
        if not all(self._still(context.readings[key], context.series[key]) for key in curves):
            return None
        evidence = f"no layer's effective rank has changed by {self.within:.1%} over {self.readings} readings"
        evidence += f", at {context.learning_rate:.0%} of the highest learning rate"
        return Finding(evidence, 1.0, can_be_critical=False)

    def _still(self, reading: Reading, past: Series) -> bool:
        values = np.array([*past.values[-self.readings + 1 :], reading.effective_rank])
        return len(values) == self.readings and bool(np.ptp(values) < self.within * values[-1])
