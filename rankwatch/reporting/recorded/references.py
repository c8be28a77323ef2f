"""What a layer usually reads, as alarms have it: see `rankwatch.alarms.history.Series.reference`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.recorded_run import RecordedRun

_IGNORED, _RECENT, _QUANTILE, _FEWEST = 4, 60, 0.8, 2


def references(run: RecordedRun) -> Mapping[Key, float]:
    """Each curve's own reference: a high quantile of the last 60 readings at which none of its alarms held.

    The first four readings are left out where there are others: a short dip at the start is normal. Readings that were
    thinned out are missing in it, and readings in which something was found that became no alarm are in it, so it may
    differ a little from the one in an alarm's message.

    Args:
        run: What was recorded.

    Returns:
        References, by curve; NaN where nothing was read.
    """
    return {key: _reference(curve.values, clean_readings(run, key)) for key, curve in run.curves.items()}


def clean_readings(run: RecordedRun, key: Key) -> npt.NDArray[np.bool_]:
    """At which readings no alarm of a curve held.

    From the beginning of the breach until no alarm of the run held any more.

    Args:
        run: What was recorded.
        key: The curve.

    Returns:
        Shape ``(n_steps,)``.
    """
    clean = np.ones(len(run.steps), dtype=bool)
    for alarm in run.alarms:
        if (alarm.source, alarm.level, alarm.layer) == key:
            calm = run.steps[(run.steps > alarm.step) & (run.alarm_level == 0)]
            until = calm[0] if len(calm) else np.inf
            clean &= ~((run.steps >= alarm.since) & (run.steps < until))
    return clean


def _reference(values: npt.NDArray[np.float32], clean: npt.NDArray[np.bool_]) -> float:
    usable = values[clean & np.isfinite(values)]
    settled = usable[_IGNORED:][-_RECENT:]
    if len(settled) >= _FEWEST:
        return float(np.quantile(settled, _QUANTILE))
    fallback = usable if len(usable) else values[np.isfinite(values)]
    return float(np.median(fallback)) if len(fallback) else float("nan")
