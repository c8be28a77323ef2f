"""Whether a labelled evaluation set agrees with an alarm: has a linear probe lost accuracy in that layer, too?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from rankwatch.alarms.history import Series
from rankwatch.readings.reading import ACCURACY, LABELLED, MAJORITY, Key, Reading

_ERRORS = 2.0  # standard errors that a fall has to exceed
_LOST = 0.25  # fraction of what was above the majority that a fall has to exceed


@dataclass(frozen=True)
class _Comparison:
    """What one labelled set says about a layer."""

    where: str
    before: float
    now: float
    majority: float
    agrees: bool

    def sentence(self) -> str:
        if self.agrees:
            found = f"Labels agree: probe accuracy {self.where} fell from {self.before:.2f} to {self.now:.2f}"
        else:
            found = f"Labels do not agree: probe accuracy {self.where} is {self.now:.2f}, before {self.before:.2f}"
        return f"{found} (the most frequent label alone reaches {self.majority:.2f})."


def label_agreement(readings: Iterable[Reading], series: Mapping[Key, Series], level: str, layer: str) -> str:
    """Whether labels agree that a layer has lost something.

    The accuracy before is the highest median that three readings in a row had. Labels agree when the accuracy is below
    that by more than two standard errors, sqrt(p (1 - p) / n) for n labelled rows, and by more than a quarter of what
    was above the accuracy of always naming the most frequent label. Where it was never above that by two standard
    errors, labels have nothing to say. Of several labelled sets the one that has lost most speaks, at the alarm's own
    level if it can.

    Args:
        readings: Of this step.
        series: Their pasts, without these readings.
        level: The alarm's level.
        layer: The alarm's layer.

    Returns:
        A sentence, or empty where labels have nothing to say.
    """
    ours = [reading for reading in readings if reading.layer == layer]
    found = [(r.level == level, said) for r in ours if (said := _compare(r, series[r.key])) is not None]
    best = max(found, key=lambda one: (one[0], one[1].before - one[1].now), default=None)
    return "" if best is None else best[1].sentence()


def _compare(reading: Reading, past: Series) -> _Comparison | None:
    now, majority = reading.metrics.get(ACCURACY, math.nan), reading.metrics.get(MAJORITY, math.nan)
    if not math.isfinite(now) or not past.accuracies:
        return None
    before = median(past.accuracies) if past.best_accuracy is None else past.best_accuracy
    error = _ERRORS * math.sqrt(before * (1.0 - before) / max(reading.metrics.get(LABELLED, reading.n), 1.0))
    if before - majority <= error:
        return None
    agrees = before - now > max(error, _LOST * (before - majority))
    where = f"on {reading.source!r} at {reading.level} level in {reading.layer}"
    return _Comparison(where, before, now, majority, agrees)
