"""A notice that is no alarm: nothing has changed for long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.alarms.history import TRACKED, History
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading


@dataclass
class Plateau:
    """Tells once when all layers have been flat for a while: "when may I stop?".

    A curve is flat where the medians of the older and of the newer half of its last readings differ by less than
    `within`, and so do those of a probe's accuracy where there is one. Flat rank says that the representation no longer
    changes much in the way that rank sees, not that it is good: a labelled check decides.

    Attributes:
        readings: How many are looked at.
        within: Relative difference that counts as none.
        told: Whether this plateau was told.
    """

    readings: int = 40
    within: float = 0.02
    told: bool = False

    def look(self, readings: Sequence[Reading], history: History, primary: str, *, alarmed: bool) -> Alarm | None:
        """A notice at the first reading from which on all of the primary set's curves are flat.

        Args:
            readings: Of this step; already part of the history.
            history: The past.
            primary: Name of the first evaluation set.
            alarmed: Whether an alarm holds: then a flat curve is no good sign.
        """
        level = "frame" if any(reading.level == "frame" for reading in readings) else "utterance"
        ours = [r for r in readings if (r.source, r.level) == (primary, level)]
        curves = [history.series(reading).values[-self.readings :] for reading in ours]
        probed = [history.series(r) for r in readings if math.isfinite(r.metrics.get("probe_accuracy", math.nan))]
        column = 2 + TRACKED.index("probe_accuracy")
        curves += [[row[column] for row in series.kept[-self.readings :]] for series in probed]
        changes = [self._change(np.array(curve)) for curve in curves] if ours else [math.inf]
        if max(changes) >= 2 * self.within:
            self.told = False
        if max(changes) >= self.within or self.told or alarmed:
            return None
        self.told = True
        first = history.series(ours[0]).steps[-self.readings]
        message = (
            f"the effective rank of all {len(ours)} layers has changed by less than {self.within:.0%} over the last "
            f"{self.readings} readings; whether that is the end of learning a small labelled check can tell"
        )
        return Alarm(ours[0].step, "flat", "notice", "all layers", level, primary, message, first)

    def _change(self, values: np.ndarray[Any, Any]) -> float:
        """Between the medians of the older and the newer half, relative; infinite as long as there are too few."""
        if len(values) < self.readings or not np.isfinite(values).all():
            return math.inf
        half = self.readings // 2
        older, newer = float(np.median(values[:half])), float(np.median(values[half:]))
        return abs(newer - older) / older if older > 0.0 else math.inf
