"""A layer that is suddenly another one, which its rank needn't show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from rankwatch.alarms.detectors.base import Finding, StepContext, upper, with_interval
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.drift.layer_drift import PREVIOUS, LayerDrift
from rankwatch.readings.reading import Reading

LEAST = 1e-3
"""Drift below which a ratio to it says nothing; and similarity below which nothing is left to lose."""

_TREND = 3
"""Newest values of which the highest counts too: what has risen over several readings goes on, and isn't abrupt."""


@dataclass(frozen=True)
class AbruptChange:
    r"""A layer has moved much further since the full reading before than it usually does, while its rank holds.

    Of all that moves, two things are told from usual. The whole: successive similarities multiply, so
    :math:`t = -\ln(1 - D)` adds up over steps, with :math:`D` the drift. With :math:`D` the lower end of its interval
    and :math:`u` what is usual of the layer's newest :math:`t`, each stretched to this interval of steps, it is a
    finding where

    .. math:: D > \text{above} \quad \text{and} \quad t > \text{times} \cdot u

    And one layer, at frame level: what drives all of training moves neighbours alike, so with :math:`D'` the upper end
    of the drift of the layer before it, and :math:`q` what is usual of the newest ratios of both, it is one where

    .. math:: D > \text{step\_above} \quad \text{and} \quad D > \text{step\_times} \cdot q D'

    *Usual* is the median of the newest eight or the highest of the newest three, whichever is more: while training is
    young, and the learning rate rises, each reading moves further than the one before, and a median lags behind. From
    the interval :math:`[a', b']` to :math:`[a, b]` a turnover is stretched by :math:`\ln(b/a) / \ln(b'/a')`, since
    movement slows down as training grows old, and never by more than the ratio of the steps, nor shrunk: so that the
    rule also holds where checkpoints lie far and unevenly apart.

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
    times: float = 3.0
    step_above: float = 0.03
    step_times: float = 2.5
    fewest: int = 5
    newest: int = 8
    holds: float = 0.6
    kind: str = "abrupt_change"
    patience: int = 1

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with ``past.drifts``, and with the drift of the layer before."""
        drift = reading.drift_since(PREVIOUS)
        if drift is None or drift.low is None or context.lr_warming_up or past.n_readings < IGNORED_READINGS:
            return None
        turnovers = [
            _turnover(value) * _stretch(step - span, step, drift.step, reading.step)
            for step, span, value, _ in past.drifts[-self.newest :]
            if span > 0
        ]
        if len(turnovers) < self.fewest:
            return None
        usual = _usual(turnovers)
        words = f"usually {max(1.0 - math.exp(-usual), 0.0):.2g} in as many steps"
        if not (drift.low > self.above and _turnover(drift.low) > self.times * usual):
            expected = self._expected(reading, past, context)
            if expected is None or not drift.low > max(self.step_above, self.step_times * expected):
                return None
            words += f", and {max(expected, 0.0):.2g} where the layer before has moved as it has"
        reference = past.reference(IGNORED_READINGS)
        if reference is not None and upper(reading) < self.holds * reference:
            return None
        return Finding(_evidence(reading, drift, words, reference), 1.0, can_be_critical=False)

    def _expected(self, reading: Reading, past: Series, context: StepContext) -> float | None:
        """At most how far the layer should have moved, as the one before it has; None where that can't be said."""
        if reading.level != "frame":  # one row an utterance: too few for ratios of two of them
            return None
        curves = [key for key in context.readings if key[:2] == (reading.source, reading.level)]
        place = curves.index(reading.key)
        before = context.readings[curves[place - 1]] if place else None
        drift = before.drift_since(PREVIOUS) if before is not None else None
        if before is None or drift is None or drift.high is None:
            return None
        known = {row[0]: row[2] for row in context.series[before.key].drifts}
        rows = [row for row in past.drifts if row[0] in known][-self.newest :]
        ratios = [row[2] / max(known[row[0]], LEAST) for row in rows]
        return _usual(ratios) * max(drift.high, LEAST) if len(ratios) >= self.fewest else None


def _usual(values: Iterable[float]) -> float:
    """What goes on, up to the newest: the median, or the highest of the newest where that is more."""
    several = list(values)
    return max(median(several), *several[-_TREND:])


def _turnover(drift: float) -> float:
    """Drift as a number that adds up over steps: minus the logarithm of the similarity."""
    return -math.log(max(1.0 - drift, LEAST))


def _stretch(begin: float, end: float, now_begin: float, now_end: float) -> float:
    """How much more a layer may move over another interval: with the logarithm of the step, at most with the steps."""
    linear = (now_end - now_begin) / (end - begin)
    if begin <= 0 or now_begin <= 0:
        return max(1.0, linear)
    return max(1.0, min(linear, math.log(now_end / now_begin) / math.log(end / begin)))


def _evidence(reading: Reading, drift: LayerDrift, usual: str, reference: float | None) -> str:
    share = "" if reference is None else f", {reading.effective_rank / reference:.0%} of its reference"
    interval = "" if drift.high is None else f" [{drift.low:.2g}, {drift.high:.2g}]"
    return (
        f"drift since step {drift.step} is {drift.value:.2g}{interval}, {usual}, while the effective rank is "
        f"{with_interval(reading)}{share}"
    )
