"""A layer that is suddenly another one, which its rank needn't show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from rankwatch.alarms.detectors.base import Finding, StepContext, upper, with_interval
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.drift.layer_drift import PREVIOUS, LayerDrift
from rankwatch.readings.reading import Reading


@dataclass(frozen=True)
class AbruptChange:
    r"""A layer has moved much further since the full reading before than it usually does, while its rank holds.

    With :math:`D` the lower end of the drift's interval and :math:`u` the median of the newest drifts from one full
    reading to the next, each stretched to as many steps as lie between these two (never shrunk), it is a finding where

    .. math:: D > \text{above} \quad \text{and} \quad D > \text{times} \cdot u

    A layer whose rank has fallen too is left to the detectors of the rank. A layer that was reset, a checkpoint that
    was swapped, and targets that have changed look like this, and so may a change that was meant: never more than a
    warning. A drift that something stands against, and the learning rate's first warm-up, tell nothing.

    Attributes:
        above: Drift that must be exceeded, whatever is usual.
        times: Multiple of what is usual that must be exceeded.
        fewest: Earlier drifts that are needed to know what is usual.
        newest: How many of them are looked at.
        holds: Share of the layer's reference that its rank must have.
        patience: Readings in a row before it is an alarm: the change lies between two readings, and the next is quiet.
    """

    above: float = 0.2
    times: float = 4.0
    fewest: int = 3
    newest: int = 8
    holds: float = 0.6
    kind: str = "abrupt_change"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with ``past.drifts``."""
        drift = reading.drift_since(PREVIOUS)
        if drift is None or drift.low is None or context.lr_warming_up or past.n_readings < IGNORED_READINGS:
            return None
        usual = self._usual(reading.step - drift.step, past)
        if usual is None or not drift.low > max(self.above, self.times * usual):
            return None
        reference = past.reference(IGNORED_READINGS)
        if reference is not None and upper(reading) < self.holds * reference:
            return None
        return Finding(self._evidence(reading, drift, usual, reference), 1.0, can_be_critical=False)

    def _usual(self, steps: int, past: Series) -> float | None:
        """What the layer usually moves in so many steps; None as long as that isn't known."""
        stretched = [value * max(1.0, steps / span) for _, span, value, _ in past.drifts[-self.newest :] if span > 0]
        return median(stretched) if len(stretched) >= self.fewest else None

    @staticmethod
    def _evidence(reading: Reading, drift: LayerDrift, usual: float, reference: float | None) -> str:
        share = "" if reference is None else f", {reading.effective_rank / reference:.0%} of its reference"
        interval = (
            "" if drift.high is None or not math.isfinite(drift.high) else f" [{drift.low:.2f}, {drift.high:.2f}]"
        )
        return (
            f"drift since step {drift.step} is {drift.value:.2f}{interval}, usually {max(usual, 0.0):.2g} in as many "
            f"steps, while the effective rank is {with_interval(reading)}{share}"
        )
