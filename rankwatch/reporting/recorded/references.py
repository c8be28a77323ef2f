"""What a layer usually reads, as alarms have it: see `rankwatch.alarms.history.Series.reference`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rankwatch.readings.alarm import CRITICAL, INFO
from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.recorded_run import RecordedRun

_IGNORED, _RECENT, _QUANTILE, _FEWEST, _INITIAL = 4, 60, 0.8, 2, 8
_CONSTANT, _SETTLING = 6, 1.5  # see rankwatch.alarms.learning_rate_warmup and rankwatch.alarms.history

WORRY = 0.6
"""Health below which somebody should look (``docs/pages/curves.md``: when to worry)."""

EARLY, CALM, LOW, WARNED, CRITICALLY_LOW = range(5)
"""What a health says: nothing much yet, all as usual, below `WORRY` without an alarm, a warning, a critical alarm."""


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


def health_states(run: RecordedRun) -> npt.NDArray[np.int8]:
    """What each reading's health says: little as long as there are only the first readings to compare with.

    Args:
        run: What was recorded.

    Returns:
        `EARLY`, `CALM`, `LOW`, `WARNED` or `CRITICALLY_LOW`, shape ``(n_steps,)``.
    """
    state = np.where(_has_reference(run), CALM, EARLY)
    state[run.health < WORRY] = LOW
    level = np.nan_to_num(run.alarm_level)
    return np.where(level >= 2, CRITICALLY_LOW, np.where(level >= 1, WARNED, state)).astype(np.int8)


def _has_reference(run: RecordedRun) -> npt.NDArray[np.bool_]:
    """Whether two clean readings after the start and the learning rate's warm-up came before, of any layer."""
    stride = run.n_readings / max(len(run.steps), 1)  # more than 1 where readings were thinned out
    first = max(_IGNORED, int(_SETTLING * stride * _warmup_readings(run))) / max(stride, 1.0)
    level = "frame" if "frame" in run.levels else "utterance"
    there = np.zeros(len(run.steps), dtype=bool)
    for key, curve in run.curves.items():
        if key[:2] == (run.primary, level):
            usable = clean_readings(run, key) & np.isfinite(curve.values)
            usable[: int(np.ceil(first))] = False
            there |= np.cumsum(usable) - usable >= _FEWEST
    return there


def _warmup_readings(run: RecordedRun) -> int:
    """Readings in the learning rate's first warm-up, as `rankwatch.alarms.learning_rate_warmup` counts them."""
    count, constant, peak = 0, 0, 0.0
    for rate in run.learning_rate[np.isfinite(run.learning_rate)]:
        constant = 0 if rate > peak * (1 + 1e-6) else constant + 1
        if constant >= _CONSTANT or rate < peak * (1 - 1e-6):
            return count
        count, peak = count + 1, max(peak, float(rate))
    return count


def _reference(values: npt.NDArray[np.float32], clean: npt.NDArray[np.bool_]) -> float:
    there = np.isfinite(values)
    settled = values[clean & there][_IGNORED:][-_RECENT:]
    if len(settled) >= _FEWEST:
        return float(np.quantile(settled, _QUANTILE))
    early = values[there][:_INITIAL]  # too short, or alarmed from its start
    return float(np.median(early)) if len(early) else float("nan")
