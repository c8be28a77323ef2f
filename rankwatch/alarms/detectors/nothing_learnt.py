"""Runs in which nothing is learnt, which the rank alone can't tell: layers that stand still, one batch for ever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankwatch.alarms.detectors.base import Finding, StepContext
from rankwatch.alarms.history import Series
from rankwatch.readings.drift.layer_drift import PREVIOUS
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
    r"""No layer changes any more though the learning rate is high: there is nothing left that gives a gradient.

    So it is where one constant answer meets every target (one cluster for all, a loss that is zero): the representation
    stays what it was at random, with a high rank. It shows in the ranks, or where drift is watched in

    .. math:: \max_{\text{layers, readings}} D \le \text{drift}

    over the newest readings with a drift :math:`D` that together reach as far back as the ranks that are compared: the
    running statistics of batch norms go on moving a network that learns nothing, and its ranks with it, while its
    rows stay where they are. In the learning rate's first warm-up, small steps may move as little, and the drift tells
    nothing. Never more than a warning, as a network may be frozen on purpose.

    Attributes:
        readings: How many are looked at.
        within: Range of the effective rank over these, relative to it, that counts as no change.
        drift: Drift since the full reading before that counts as none.
        rate: Learning rate, relative to its highest so far, from which on layers should change.
        patience: Readings in a row before it is an alarm.
    """

    readings: int = 8
    within: float = 1e-3
    drift: float = 1e-3
    rate: float = 0.2
    kind: str = "frozen_representation"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the newest readings, of all layers of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or not context.learning_rate >= self.rate:
            return None
        curves = [key for key in context.readings if key[:2] == (reading.source, reading.level)]
        both = [(context.readings[key], context.series[key]) for key in curves]
        over = f"over {self.readings} readings, at {context.learning_rate:.0%} of the highest learning rate"
        if all(self._still(now, before) for now, before in both):
            evidence = f"no layer's effective rank has changed by {self.within:.1%} {over}"
        elif not context.lr_warming_up and all(self._stays(now, before) for now, before in both):
            evidence = f"no layer has moved (a drift of {self.drift:g} or less from one to the next) {over}"
        else:
            return None
        return Finding(evidence, 1.0, can_be_critical=False)

    def _still(self, reading: Reading, past: Series) -> bool:
        values = np.array([*past.values[-self.readings + 1 :], reading.effective_rank])
        return len(values) == self.readings and bool(np.ptp(values) < self.within * values[-1])

    def _stays(self, reading: Reading, past: Series) -> bool:
        """Whether no drift shows a movement since the oldest of the readings; brief ones between have none."""
        now = reading.drift_since(PREVIOUS)
        if now is None or len(past.steps) < self.readings - 1:
            return False
        oldest, known_from = past.steps[-self.readings + 1], float(reading.step)
        drifts = [*(row[:3] for row in past.drifts), [reading.step, reading.step - now.step, now.value]]
        for step, span, drift in reversed(drifts):
            if step < known_from or not drift <= self.drift:  # nothing is known between the two, or it has moved
                return False
            known_from = step - span
            if known_from <= oldest:
                return True
        return False
