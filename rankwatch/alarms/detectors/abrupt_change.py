"""A layer that is suddenly another one, which its rank needn't show."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from rankwatch.alarms.detectors.base import Finding, StepContext, upper, with_interval
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.drift.layer_drift import PREVIOUS, LayerDrift
from rankwatch.readings.reading import Reading

LEAST = 1e-3
"""Drift below which a ratio to it says nothing."""


@dataclass(frozen=True)
class AbruptChange:
    r"""A layer has moved much further since the full reading before than it usually does, while its rank holds.

    Of all that moves, two things are told from usual. The whole: with :math:`D` the lower end of the drift's interval
    and :math:`u` the median of the layer's newest drifts, each stretched to as many steps as lie between these two
    readings (never shrunk), it is a finding where

    .. math:: D > \text{above} \quad \text{and} \quad D > \text{times} \cdot u

    And one layer: what drives all of training moves neighbours alike, so with :math:`D'` the upper end of the drift of
    the layer before it, and :math:`q` the median of the newest ratios of both, it is one where

    .. math:: D > \text{step\_above} \quad \text{and} \quad D > \text{step\_times} \cdot q D'

    A layer whose rank has fallen too is left to the detectors of the rank. A layer that was reset, and a checkpoint
    that was swapped, look like this, and so may a change that was meant: never more than a warning. A drift that
    something stands against, and the learning rate's first warm-up, tell nothing.

    Attributes:
        above: Drift that must be exceeded, whatever is usual.
        times: Multiple of what is usual that must be exceeded.
        step_above: Drift that must be exceeded where it is compared with the layer before.
        step_times: Multiple of the usual ratio to the layer before that must be exceeded.
        fewest: Earlier drifts that are needed to know what is usual.
        newest: How many of them are looked at.
        holds: Share of the layer's reference that its rank must have.
        patience: Readings in a row before it is an alarm: the change lies between two readings, and the next is quiet.
    """

    above: float = 0.2
    times: float = 4.0
    step_above: float = 0.03
    step_times: float = 2.5
    fewest: int = 3
    newest: int = 8
    holds: float = 0.6
    kind: str = "abrupt_change"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with ``past.drifts``, and with the drift of the layer before."""
        drift = reading.drift_since(PREVIOUS)
        if drift is None or drift.low is None or context.lr_warming_up or past.n_readings < IGNORED_READINGS:
            return None
        usual = self._usual(reading.step - drift.step, past)
        if usual is None:
            return None
        words = f"usually {max(usual, 0.0):.2g} in as many steps"
        if not drift.low > max(self.above, self.times * usual):
            expected = self._expected(reading, past, context)
            if expected is None or not drift.low > max(self.step_above, self.step_times * expected):
                return None
            words += f", and {max(expected, 0.0):.2g} where the layer before has moved as it has"
        reference = past.reference(IGNORED_READINGS)
        if reference is not None and upper(reading) < self.holds * reference:
            return None
        return Finding(_evidence(reading, drift, words, reference), 1.0, can_be_critical=False)

    def _usual(self, steps: int, past: Series) -> float | None:
        """What the layer usually moves in so many steps; None as long as that isn't known."""
        stretched = [value * max(1.0, steps / span) for _, span, value, _ in past.drifts[-self.newest :] if span > 0]
        return median(stretched) if len(stretched) >= self.fewest else None

    def _expected(self, reading: Reading, past: Series, context: StepContext) -> float | None:
        """At most how far the layer should have moved, as the one before it has; None where that can't be said."""
        curves = [key for key in context.readings if key[:2] == (reading.source, reading.level)]
        place = curves.index(reading.key)
        before = context.readings[curves[place - 1]] if place else None
        drift = before.drift_since(PREVIOUS) if before is not None else None
        if before is None or drift is None or drift.high is None:
            return None
        known = {row[0]: row[2] for row in context.series[before.key].drifts}
        rows = [row for row in past.drifts if row[0] in known][-self.newest :]
        ratios = [row[2] / max(known[row[0]], LEAST) for row in rows]
        return median(ratios) * max(drift.high, LEAST) if len(ratios) >= self.fewest else None


def _evidence(reading: Reading, drift: LayerDrift, usual: str, reference: float | None) -> str:
    share = "" if reference is None else f", {reading.effective_rank / reference:.0%} of its reference"
    interval = "" if drift.high is None else f" [{drift.low:.2g}, {drift.high:.2g}]"
    return (
        f"drift since step {drift.step} is {drift.value:.2g}{interval}, {usual}, while the effective rank is "
        f"{with_interval(reading)}{share}"
    )
