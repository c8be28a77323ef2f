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
    stays what it was at random, with a high rank. Over the newest readings each layer must have kept its rank,

    .. math:: \max r - \min r < \text{within} \cdot r

    or, where drift is watched, its rows: no drift :math:`D` of theirs between full readings was above a limit,

    .. math:: D \le \text{drift} \cdot \min(1, \text{steps between the two} / \text{steps})

    The running statistics of batch norms go on moving a network that learns nothing, and its ranks with it, while its
    rows stay where they are. In the learning rate's first warm-up small steps may move rows as little, so there the
    drift tells nothing, nor does it where something stands against it. Never more than a warning, as a network may be
    frozen on purpose.

    Attributes:
        readings: How many are looked at.
        within: Range of the effective rank over these, relative to it, that counts as no change.
        drift: Drift since the full reading before that counts as none.
        steps: Optimiser steps between two full readings below which less drift is asked, in proportion.
        rate: Learning rate, relative to its highest so far, that it must have had since the oldest of the readings.
        patience: Readings in a row before it is an alarm.
    """

    readings: int = 8
    within: float = 1e-3
    drift: float = 1e-3
    steps: int = 10
    rate: float = 0.2
    kind: str = "frozen_representation"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the newest readings, of all layers of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or not context.learning_rate >= self.rate:
            return None
        if len(past.steps) < self.readings - 1:
            return None
        since = [row for row in context.rates if row[0] > past.steps[-self.readings + 1]]
        if not all(rate >= self.rate for _, rate, _ in since):
            return None
        curves = [key for key in context.readings if key[:2] == (reading.source, reading.level)]
        layers = [(context.readings[key], context.series[key]) for key in curves]
        over = f"over {self.readings} readings, at {context.learning_rate:.0%} of the highest learning rate"
        if all(self._keeps_rank(now, before) for now, before in layers):
            return Finding(
                f"no layer's effective rank has changed by {self.within:.1%} {over}", 1.0, can_be_critical=False
            )
        if any(warming_up for _, _, warming_up in since):
            return None
        holds = context.holds(self.kind, reading)
        if all(self._keeps_rank(now, before) or self._keeps_rows(now, before, holds) for now, before in layers):
            evidence = f"no layer has drifted by more than {self.drift:g} from one full reading to the next {over}"
            return Finding(evidence, 1.0, can_be_critical=False)
        return None

    def _keeps_rank(self, reading: Reading, past: Series) -> bool:
        values = np.array([*past.values[-self.readings + 1 :], reading.effective_rank])
        return len(values) == self.readings and bool(np.ptp(values) < self.within * values[-1])

    def _keeps_rows(self, reading: Reading, past: Series, holds: bool) -> bool:
        """Whether drifts reach back to the oldest of the readings without a gap, and none is above the limit.

        Returns:
            `holds` where there is no drift: a brief reading has none, so it ends nothing, and begins nothing.
        """
        now = reading.drift_since(PREVIOUS)
        if now is None:
            return holds
        oldest, known_from = past.steps[-self.readings + 1], float(reading.step)
        drifts = [*(row[:3] for row in past.drifts), [reading.step, reading.step - now.step, now.value]]
        for step, span, drift in reversed(drifts):
            if step < known_from:  # nothing is known of what was between
                return False
            if not drift <= self.drift * min(1.0, span / self.steps):
                return False
            known_from = step - span
            if known_from <= oldest:
                return True
        return False
