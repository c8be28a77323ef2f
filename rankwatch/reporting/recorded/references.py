"""What a layer usually reads, as alarms have it: see `rankwatch.alarms.history.Series.reference`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rankwatch.readings.alarm import CRITICAL, INFO
from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.recorded_run import RecordedRun

_IGNORED, _RECENT, _QUANTILE, _FEWEST, _INITIAL = 4, 60, 0.8, 2, 8


def references(run: RecordedRun) -> Mapping[Key, float]:
    """Each curve's own reference: a high quantile of the last 60 clean readings, without the first four.

    It may differ a little from the one in an alarm's message: readings that were thinned out are missing in it, and
    readings in which something was found that became no alarm are in it.

    Args:
        run: What was recorded.

    Returns:
        References, by curve; NaN where nothing was read.
    """
    return {key: _reference(curve.values, clean_readings(run, key)) for key, curve in run.curves.items()}


def clean_readings(run: RecordedRun, key: Key) -> npt.NDArray[np.bool_]:
    """At which readings neither a critical alarm of any layer nor any alarm of this layer held.

    From the beginning of the breach until no alarm of the run held any more: a layer that collapses at frame level is
    no reference at utterance level either.

    Args:
        run: What was recorded.
        key: The curve.

    Returns:
        Shape ``(n_steps,)``.
    """
    clean = np.ones(len(run.steps), dtype=bool)
    for alarm in run.alarms:
        if alarm.severity == CRITICAL or (alarm.severity != INFO and alarm.layer == key[2]):
            calm = run.steps[(run.steps > alarm.step) & (run.alarm_level == 0)]
            until = calm[0] if len(calm) else np.inf
            clean &= ~((run.steps >= alarm.since) & (run.steps < until))
    return clean


def _reference(values: npt.NDArray[np.float32], clean: npt.NDArray[np.bool_]) -> float:
    there = np.isfinite(values)
    settled = values[clean & there][_IGNORED:][-_RECENT:]
    if len(settled) >= _FEWEST:
        return float(np.quantile(settled, _QUANTILE))
    early = values[there][:_INITIAL]  # too short, or alarmed from its start
    return float(np.median(early)) if len(early) else float("nan")
