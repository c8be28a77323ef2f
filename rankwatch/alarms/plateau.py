"""A piece of information that is no alarm: nothing has changed for a long time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.alarms.history import TRACKED, Series
from rankwatch.readings.alarm import INFO, Alarm
from rankwatch.readings.reading import Key, Reading

_FEWEST = 4  # drifts among the last readings: in two halves of two


@dataclass
class Plateau:
    """Says once that all layers have been flat for a while: "when may I stop?".

    This is no detector: it looks at all layers of the primary set together once the reading is part of their past, has
    no curve of its own, and is reported once, not as long as it lasts.

    A run whose rank is flat may still be rewritten: where the drift of layers is watched it must be over, too. A layer
    turns over as long as its drift since the first reading after the warm-up still changes by `within`, between the
    medians of both halves, or as long as from one full reading to the next it is `turnover`, in the median of the
    newer half.

    A curve is flat where the medians of the older and of the newer half of its last readings differ by less than
    `within`, and so do those of a probe's accuracy where there is one. Flat rank says that the representation no longer
    changes much in the way that rank sees, not that it is good: a labelled check decides.

    Attributes:
        readings: How many are looked at.
        within: Relative difference that counts as none; of a drift the difference itself.
        turnover: Drift from one full reading to the next that counts as none.
        reported: Whether this plateau was reported.
    """

    readings: int = 40
    within: float = 0.02
    turnover: float = 0.05
    reported: bool = False

    def check(
        self, readings: Sequence[Reading], series: Mapping[Key, Series], primary: str, *, alarmed: bool
    ) -> Alarm | None:
        """Look whether all of the primary set's curves are flat.

        Args:
            readings: Of this step; already part of the history.
            series: Their pasts, of which these readings are a part already.
            primary: Name of the first evaluation set.
            alarmed: Whether an alarm holds: then a flat curve is no good sign.

        Returns:
            An alarm of severity ``"info"`` at the first reading at which they are; else None.
        """
        level = "frame" if any(reading.level == "frame" for reading in readings) else "utterance"
        ours = [r for r in readings if (r.source, r.level) == (primary, level)]
        curves = [series[reading.key].values[-self.readings :] for reading in ours]
        probed = [series[r.key] for r in readings if math.isfinite(r.metrics.get("probe_accuracy", math.nan))]
        column = 2 + TRACKED.index("probe_accuracy")
        curves += [[row[column] for row in past.recent_clean[-self.readings :]] for past in probed]
        changes = [self._change(np.array(curve)) for curve in curves] if ours else [math.inf]
        moving = [self._turns_over(series[reading.key]) for reading in ours]
        if max(changes) >= 2 * self.within:
            self.reported = False
        if max(changes) >= self.within or any(moving) or self.reported or alarmed:
            return None
        self.reported = True
        first = series[ours[0].key].steps[-self.readings]
        message = (
            f"the effective rank of all {len(ours)} layers has changed by less than {self.within:.0%} over the last "
            f"{self.readings} readings{_still(moving)}; only a small labelled check can say whether learning has ended"
        )
        return Alarm(ours[0].step, "plateau", INFO, "all layers", level, primary, message, first)

    def _turns_over(self, past: Series) -> bool | None:
        """Whether the layer is still rewritten; None where its drift isn't known."""
        first = past.steps[-self.readings] if len(past.steps) >= self.readings else math.inf
        rows = [row for row in past.drifts if row[0] >= first]
        if len(rows) < _FEWEST:
            return None
        half = len(rows) // 2
        since_first = [row[3] for row in rows]
        moved = abs(float(np.median(since_first[half:])) - float(np.median(since_first[:half])))
        turned = float(np.median([row[2] for row in rows[half:]]))
        return moved >= self.within or turned >= self.turnover  # a NaN says nothing

    def _change(self, values: np.ndarray[Any, Any]) -> float:
        """Between the medians of the older and the newer half, relative; infinite as long as there are too few."""
        if len(values) < self.readings or not np.isfinite(values).all():
            return math.inf
        half = self.readings // 2
        older, newer = float(np.median(values[:half])), float(np.median(values[half:]))
        return abs(newer - older) / older if older > 0.0 else math.inf


def _still(moving: Sequence[bool | None]) -> str:
    known = [one for one in moving if one is not None]
    return ", and none of them turns over any more" if known and len(known) == len(moving) else ""
