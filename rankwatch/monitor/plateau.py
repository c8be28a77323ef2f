"""A notice that is no alarm: nothing has changed for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.monitor.history import History, Series
from rankwatch.monitor.reading import Alarm, Reading


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

    def look(self, readings: Sequence[Reading], history: History, headline: str) -> Alarm | None:
        """A notice at the first reading from which on all of the headline set's curves are flat.

        Args:
            readings: Of this step; already part of the history.
            history: The past.
            headline: Name of the first probe set.
        """
        frames = [r for r in readings if (r.source, r.level) == (headline, "frame")]
        series = [history.series(reading) for reading in frames]
        flat = bool(series) and all(self._flat(one) for one in series)
        if not flat or self.told:
            self.told = flat
            return None
        self.told = True
        first = series[0].steps[-self.readings]
        message = (
            f"the effective rank of all {len(series)} layers has changed by less than {self.within:.0%} over the last "
            f"{self.readings} readings; whether that is the end of learning a small labelled check can tell"
        )
        step = frames[0].step
        return Alarm(step, "flat", "notice", "all layers", "frame", headline, message, first)

    def _flat(self, series: Series) -> bool:
        ranks = np.array(series.values[-self.readings :])
        accuracies = np.array(series.tracked["probe_accuracy"][-self.readings :])
        probed = bool(np.isfinite(accuracies).all())
        return self._still(ranks) and (not probed or self._still(accuracies))

    def _still(self, values: np.ndarray[Any, Any]) -> bool:
        if len(values) < self.readings or not np.isfinite(values).all():
            return False
        half = self.readings // 2
        older, newer = float(np.median(values[:half])), float(np.median(values[half:]))
        return abs(newer - older) < self.within * older
